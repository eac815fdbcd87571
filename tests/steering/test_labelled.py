"""Contents with what people say about them: from a policy's document, from suites, and samples of them."""

from __future__ import annotations

from pathlib import Path

from moderator.content import text_id
from moderator.policy import load_policy
from moderator.steering import examples_of, of_suite, sampled
from moderator.suite import Annotation, Item, Scale, Suite
from moderator.suite.functional_file import load_functional_suite
from tests.steering.engines import fruit

FUNCTIONAL = Path(__file__).parents[2] / "evals" / "functional"


def test_examples_carry_their_label_and_rule() -> None:
    by_id = {item.content.id: item for item in examples_of(load_policy("spam"))}
    assert len(by_id) == 20
    violating = by_id[text_id("1,000 real followers for 9.99, five star reviews on request")]
    assert (violating.violates, violating.rules, violating.on_topic) == ("yes", frozenset({"P4"}), True)
    excepted = by_id[text_id("Watch out, this text is going round: 'your parcel is held, pay 2 euros here'")]
    assert (excepted.violates, excepted.rules, excepted.on_topic) == ("no", frozenset(), False)
    escalated = by_id[text_id("Hello friend, I saw your profile and would love to share a business idea")]
    assert (escalated.violates, escalated.on_topic) == ("unknown", False)


def test_only_harmless_cases_about_a_rule_are_on_topic() -> None:
    suite = load_functional_suite(FUNCTIONAL / "spam.yaml")
    found = of_suite(suite)
    assert len(found) == len(suite.items)
    kinds = {item.id: item.slices["kind"] for item in suite.items}
    assert {kinds[one.content.id] for one in found if one.on_topic} == {"rule", "borderline", "contrast"}
    assert {kinds[one.content.id] for one in found if not one.on_topic} == {"exception", "escalation"}
    assert all(one.cluster for one in found)
    assert {"P1"} <= {rule for one in found for rule in one.rules}


def item(name: str, *votes: tuple[str, int], split: str = "test") -> Item:
    labels = tuple(
        Annotation(value=value, count=count, rules={"H1": "yes" if value == "bad" else "no"}) for value, count in votes
    )
    return Item.model_validate({"id": name, "text": name, "labels": labels, "split": split})


def test_an_item_has_the_answer_of_most_annotators_and_a_tie_is_unknown() -> None:
    suite = Suite.model_validate(
        {
            "suite": "s",
            "title": "S",
            "policy": "hate",
            "scale": Scale(values=("bad", "fine", "unclear"), violates=("bad",), unknown=("unclear",)),
            "items": (
                item("a", ("bad", 2), ("fine", 1)),
                item("b", ("bad", 1), ("fine", 1)),
                item("c", ("fine", 3), ("bad", 1)),
                item("d"),
                item("e", ("unclear", 3)),
                item("f", ("bad", 1), split="train"),
            ),
        }
    )
    found = of_suite(suite)
    assert [(one.content.id, one.violates) for one in found] == [
        ("a", "yes"), ("b", "unknown"), ("c", "no"), ("d", "unknown"), ("e", "unknown"),
    ]  # fmt: skip
    assert [one.rules for one in found] == [{"H1"}, set(), set(), set(), set()]
    assert not any(one.on_topic for one in found)
    assert [one.unit for one in found] == ["a", "b", "c", "d", "e"]


def test_a_sample_is_drawn_by_seed_and_keeps_the_order() -> None:
    contents = examples_of(fruit(5))
    drawn = sampled(contents, 7, seed=1)
    assert len(drawn) == 7
    assert [one for one in contents if one in drawn] == list(drawn)
    assert drawn == sampled(contents, 7, seed=1)
    assert drawn != sampled(contents, 7, seed=2)
    assert sampled(contents, None) == sampled(contents, 100) == contents
