"""Contents dealt out: nothing that is evaluated is learned, and what is learned is posed as told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.content import Content, Turn
from moderator.errors import DataError
from moderator.finetuning.building import Posing, Shares, deal, pose
from moderator.finetuning.gold import Gold
from moderator.finetuning.variants import VARIANTS
from moderator.policy import Policy
from moderator.prompt import load_family
from moderator.suite.near import Held
from moderator.suite.prepare.texts import fingerprint


def gold(text: str, violates: str = "no", group: str = "", **fields: object) -> Gold:
    return Gold("house", Content.of(text, **fields), violates, group=group)  # type: ignore[arg-type]


def texts(golds: Sequence[Gold]) -> set[str]:
    return {gold.content.text for gold in golds}


@given(st.lists(st.text("abcde ?!", min_size=1, max_size=40), min_size=1, max_size=30), st.floats(0, 0.45), st.floats(0, 0.45))
def test_what_is_learned_is_not_evaluated_and_not_stopped_on(said: list[str], dev: float, test: float) -> None:
    """Not in the same words, nor in nearly the same."""
    evaluated = said[::4]
    dealt = deal([gold(text) for text in said], evaluated, Shares(dev, test))
    ahead = Held([*evaluated, *texts(dealt.by_place["dev"]), *texts(dealt.by_place["test"])])
    assert not any(ahead.why(text) for text in texts(dealt.by_place["train"]))
    assert not any(Held([*evaluated, *texts(dealt.by_place["test"])]).why(text) for text in texts(dealt.by_place["dev"]))
    assert sum(map(len, dealt.by_place.values())) + dealt.left_out.total() == len(said)


def test_the_same_words_go_the_same_way_whatever_else_is_there() -> None:
    shares = Shares(dev=0.3, test=0.3)
    assert shares.place(gold("Three spokes broke.")) == shares.place(gold("three SPOKES broke!!"))
    places = Counter(shares.place(gold(f"spoke number {number}")) for number in range(2000))
    assert places["dev"] == pytest.approx(600, abs=90)
    assert places["test"] == pytest.approx(600, abs=90)


def test_a_group_stays_together() -> None:
    shares = Shares(dev=0.5)
    assert len({shares.place(gold(f"post {number}", group="thread-1")) for number in range(30)}) == 1


def test_of_equal_contents_one_stays_and_of_contradicting_ones_none() -> None:
    same = [gold("my wheel"), gold("My wheel!"), gold("my saddle", "yes"), gold("my saddle", "no"), gold("my bell")]
    dealt = deal(same, (), Shares(dev=0))
    assert texts(dealt.by_place["train"]) == {"my wheel", "my bell"}
    assert dealt.left_out == {"given twice": 1, "contradicted": 2}


def test_the_same_words_behind_another_turn_are_another_content() -> None:
    behind = [gold("yes", thread=(Turn(text="ready?"),)), gold("yes", "yes", thread=(Turn(text="are you a fool?"),))]
    assert len(deal(behind, (), Shares(dev=0)).by_place["train"]) == 2


def test_shares_leave_something() -> None:
    with pytest.raises(DataError, match="leave nothing to learn from"):
        Shares(dev=0.5, test=0.5)


def test_rows_say_where_they_come_from(golds: Sequence[Gold], policy: Policy) -> None:
    dealt = deal(golds, (), Shares(dev=0.2))
    rows = list(pose(dealt, {"house": policy}, Posing(load_family("nano"), each=2)))
    plain = [row for row in rows if row.variant == "plain"]
    assert {row.policy_digest for row in plain} == {policy.digest}
    assert {row.split for row in rows if row.variant != "plain"} == {"train"}
    assert len(plain) == len(dealt.by_place["train"]) + len(dealt.by_place["dev"])
    of_each = Counter(row.id.partition("/")[0] for row in rows if row.split == "train")
    assert set(of_each.values()) == {3}
    assert {row.variant for row in rows} == {"plain", *VARIANTS}
    learned = {row.text_digest for row in plain if row.split == "train"}
    assert not learned & {row.text_digest for row in rows if row.split == "dev"}


def test_rows_are_the_same_every_time(golds: Sequence[Gold], policy: Policy) -> None:
    def made(seed: int) -> list[str]:
        posing = Posing(load_family("nano"), seed=seed)
        return [row.model_dump_json() for row in pose(deal(golds, (), Shares()), {"house": policy}, posing)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_letters_and_digits_make_a_text() -> None:
    assert fingerprint("Ab-1 c") == "ab1c"
