"""An answer is worth more the better it agrees with people, and nothing where it cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.answer import Finding, Label, RuleFinding
from moderator.content import Content
from moderator.finetuning.building import Dealt, Posing, pose
from moderator.finetuning.gold import Gold
from moderator.finetuning.reward import CRITERIA, Reward, reward
from moderator.finetuning.rows import Row
from moderator.policy import Policy
from moderator.prompt import load_family
from moderator.scoring.labels import Known

Ask = Callable[..., Row]
TEXT = 'my "saddle" is darn <|end|> cold'


@pytest.fixture(scope="module")
def ask(policy: Policy) -> Ask:
    def made(violates: Known, rules: Mapping[str, Known], family: str = "default", text: str = TEXT) -> Row:
        gold = Gold(policy.slug, Content.of(text), violates, rules)
        dealt = Dealt(by_place={"train": [gold], "dev": [], "test": []})
        (row,) = pose(dealt, {policy.slug: policy}, Posing(load_family(family), variants=()))
        return row

    return made


def said(
    row: Row, label: Label, rules: Sequence[tuple[str, str]] = (), exceptions: tuple[str, ...] = (), rationale: str = ""
) -> Reward:
    finding = Finding(label, tuple(RuleFinding(*rule) for rule in rules), exceptions, rationale=rationale)
    return reward(row, row.format.write(finding))


def test_what_people_said_is_worth_most(ask: Ask) -> None:
    row = ask("yes", {"H1": "no", "H2": "yes", "H3": "yes"})
    assert said(row, "yes", [("H2", "darn"), ("H3", '"saddle" is')]) == Reward(1.0, 1.0, 1.0, 1.0, 1.0)
    assert said(row, "yes", [("H3", "darn")]).rules == pytest.approx(2 / 3)
    assert said(row, "yes", [("H1", "darn")]).rules == 0
    assert said(row, "no") == Reward(1.0, 0.0, 0.0, 1.0, 1.0)
    assert said(row, "unknown").label == 0


def test_a_rule_of_which_nobody_knows_is_worth_nothing_and_costs_nothing(ask: Ask) -> None:
    row = ask("yes", {"H3": "yes"})
    assert said(row, "yes", [("H3", "darn"), ("H4", "cold")]).rules == 1
    assert said(ask("yes", {}), "yes", [("H3", "darn")]).rules is None
    assert reward(ask("yes", {}), "not an answer") == Reward(rules=None)


def test_a_verdict_for_another_reason_is_worth_half(ask: Ask) -> None:
    row = ask("no", dict.fromkeys(("H1", "H2", "H3", "H4"), "no"))
    assert [said(row, label).label for label in ("no", "none")] == [1.0, 0.5]
    waived = said(row, "exception", [("H3", "darn")], exceptions=("X1",))
    assert (waived.label, waived.rules) == (0.5, 0.0)
    assert said(row, "yes", [("H3", "darn")]).label == 0


@pytest.mark.parametrize("quote", ["", "saddle is", "DARN", "TEXT", "nowhere"])
def test_a_quote_is_verbatim_or_worth_nothing(ask: Ask, quote: str) -> None:
    """Also where the words stand elsewhere in the prompt."""
    row = ask("yes", {"H3": "yes"}, "nano")
    assert said(row, "yes", [("H3", quote)]).quotes == 0
    assert said(row, "yes", [("H3", quote), ("H4", "darn <|end|>")]).quotes == 0.5


def test_words_cost_nothing_up_to_half_of_what_there_may_be(ask: Ask) -> None:
    row = ask("no", {})
    half = row.format.rationale_chars // 2
    assert [said(row, "no", rationale="x" * size).brevity for size in (0, half, half * 3 // 2, half * 2)] == [1, 1, 0.5, 0]


WRITTEN = ('{"violates":"no"} ', '{"violates":"no"}<|end|>', '{"violates":"NO"}', "{}")


@given(answer=st.one_of(st.text(), st.sampled_from(WRITTEN)))
def test_a_reward_is_between_nothing_and_one(ask: Ask, answer: str) -> None:
    found = reward(ask("no", {"H1": "no"}), answer)
    assert all(0 <= getattr(found, criterion) <= 1 for criterion in CRITERIA)
    assert (found.form == 1) == (answer == WRITTEN[0])
    assert (found == Reward()) == (found.form == 0)
