"""Which items are judged: a split, a sample that does not hang on order, copies; and what is left of the suite."""

from __future__ import annotations

import pytest

from moderator.errors import DataError
from moderator.runs import Selection, select
from moderator.suite import Split, Suite
from moderator.suite.perturb import PERTURBATIONS
from tests.runs.suites import items, suite


def ids(chosen: Suite, split: Split = "test") -> list[str]:
    return [item.id for item in chosen.split(split)]


MANY = suite("many", *items(*map(str, range(200))), *items("t", "u", split="train"))


def test_a_split_or_all() -> None:
    assert len(ids(select(MANY, Selection()))) == 200
    assert ids(select(MANY, Selection(split="train")), "train") == ["t", "u"]
    assert ids(select(MANY, Selection(split="train"))) == []
    assert select(MANY, Selection(split="all")) == MANY
    with pytest.raises(DataError, match="suite own: no items to judge: 0 train, 4 test\n  --split"):
        select(suite(), Selection(split="train"))


def test_a_sample_is_no_matter_of_order_and_grows() -> None:
    """In the suite's order; other items under another seed; the first twenty are not simply the first."""
    small, large = (ids(select(MANY, Selection(limit=limit))) for limit in (20, 50))
    assert len(small) == 20
    assert set(small) < set(large)
    assert small == sorted(small, key=int)
    turned = suite("many", *reversed(MANY.items))
    assert set(ids(select(turned, Selection(limit=20)))) == set(small)
    assert set(ids(select(MANY, Selection(limit=20, seed=1)))) != set(small)
    assert max(map(int, small)) > 150
    assert ids(select(MANY, Selection(limit=500))) == [str(number) for number in range(200)]


def test_copies_are_made_of_the_sample() -> None:
    chosen = select(MANY, Selection(limit=5, perturb=("upper-case", "lower-case")))
    assert len(ids(chosen)) == 5 + 5 + 0
    assert chosen.slices == ("perturbation",)
    assert {item.slices["perturbation"] for item in chosen.split("test")} == {"none", "upper-case"}
    assert chosen.digest != MANY.digest
    assert len(ids(select(MANY, Selection(limit=2, perturb=tuple(PERTURBATIONS))))) > 10
    with pytest.raises(DataError, match="perturb: no perturbation 'nope'\n  one of spelling"):
        select(MANY, Selection(perturb=("nope",)))


def test_slices_that_no_selected_item_has_are_dropped() -> None:
    """A suite that says it has them would not be read again."""
    given = suite("own", *items("a"), *items("b", slices={"language": "en"}), slices=("language",))
    left_out = [selected for seed in range(20) if "b" not in ids(selected := select(given, Selection(limit=1, seed=seed)))]
    assert left_out
    assert {selected.slices for selected in left_out} == {()}
    assert given.digest not in {selected.digest for selected in left_out}
    assert select(given, Selection()).slices == ("language",)
