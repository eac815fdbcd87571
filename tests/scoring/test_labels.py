"""Labels and outcomes in the same words: majorities, what nobody knows, what stands against a content."""

from __future__ import annotations

from typing import get_args

import pytest

from moderator.scoring import Pair, decision, gold, native_gold, paired, rule_gold, votes
from moderator.suite import Annotation, Scale, Span
from moderator.verdict import Outcome
from tests.scoring.making import failure, item, said, suite, verdict

OF_OUTCOMES = {
    "allowed": "no",
    "violates": "yes",
    "allowed_by_exception": "no",
    "needs_review": "review",
    "not_covered": "no",
}


def pair(*labels: str | Annotation, outcome: object = None, text: str = "some text") -> Pair:
    of = suite([item("1", *labels, text=text)])
    return Pair(of, of.items[0], outcome or verdict("1", "allowed"))  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_says_something_about_violation(outcome: str) -> None:
    assert decision(verdict("1", outcome)) == OF_OUTCOMES[outcome]


def test_a_failure_is_never_an_answer() -> None:
    assert decision(failure("1")) == "failure"


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        (("yes",), "yes"),
        (("no",), "no"),
        (("yes", "yes", "no"), "yes"),
        (("yes", "no", "no"), "no"),
        (("yes", "no"), None),
        (("unsure",), None),
        (("unsure", "unsure", "yes"), "yes"),
        (("unsure", "unsure", "no"), "no"),
        ((), None),
        ((said("no", count=3), "yes", "yes"), "no"),
        ((said("no", violates="yes"),), "yes"),
        ((said("yes", violates="unknown"),), None),
    ],
)
def test_gold_is_the_majority_of_those_who_know(labels: tuple[str | Annotation, ...], known: str | None) -> None:
    of = suite([item("1", *labels)])
    assert gold(of, of.items[0]) == known
    assert pair(*labels).gold == known


def test_votes_leave_out_who_does_not_know() -> None:
    of = suite([item("1", "unsure", said("yes", count=4), "no")])
    assert votes(of, of.items[0]) == {"yes": 4, "no": 1}


@pytest.mark.parametrize(
    ("of_each", "known"),
    [
        (({"H1": "yes"}, {"H1": "yes"}, {"H1": "no"}), "yes"),
        (({"H1": "yes"}, {"H1": "no"}), None),
        (({"H1": "no"}, {}, {}), "no"),
        (({"H1": "unknown"}, {"H1": "unknown"}, {"H1": "yes"}), "yes"),
        (({"H2": "yes"},), None),
        ((), None),
    ],
)
def test_a_rule_that_is_not_named_is_unknown(of_each: tuple[dict[str, str], ...], known: str | None) -> None:
    assert rule_gold(item("1", *(said(rules=rules) for rules in of_each)), "H1") == known


def test_votes_for_a_rule_are_counted_by_their_number() -> None:
    assert rule_gold(item("1", said(rules={"H1": "no"}, count=3), said(rules={"H1": "yes"}, count=2)), "H1") == "no"


@pytest.mark.parametrize(
    ("labels", "native"),
    [((), None), (("yes",), "yes"), (("unsure", "unsure", "no"), "unsure"), (("yes", "no"), None), (("yes", "no", "no"), "no")],
)
def test_the_native_label_is_the_one_with_most_votes(labels: tuple[str, ...], native: str | None) -> None:
    assert native_gold(item("1", *labels)) == native


def test_native_votes_are_counted_by_their_number() -> None:
    assert native_gold(item("1", said("no", count=2), "yes")) == "no"


@pytest.mark.parametrize(
    ("outcome", "cited"),
    [("violates", ("H2", "H1")), ("needs_review", ("H2", "H1")), ("allowed_by_exception", ()), ("not_covered", ())],
)
def test_rules_stand_against_what_violates_or_waits_for_a_person(outcome: str, cited: tuple[str, ...]) -> None:
    found = verdict("1", outcome, rules=("H2", "H1"), quotes=[("exact", 0, 4), ("absent", None, None), ("normalised", 5, 9)])
    of = pair("yes", outcome=found)
    assert of.cited == cited
    # a quote that stands nowhere has no place
    assert of.spans == (((0, 4), (5, 9)) if cited else ())
    assert {mark.rule for mark in of.evidence} == ({"H2"} if cited else set())


def test_a_failure_cites_nothing_and_quotes_nothing() -> None:
    of = pair("yes", outcome=failure("1"))
    assert (of.cited, of.evidence, of.probability, of.confidence) == ((), (), None, None)


@pytest.mark.parametrize(
    ("outcome", "probability", "confidence"),
    [
        ("violates", 0.9, 0.9),
        ("allowed", 0.1, 0.9),
        ("violates", 0.25, 0.25),
        ("needs_review", 0.5, None),
        ("allowed", None, None),
    ],
)
def test_confidence_is_in_the_decision_taken(outcome: str, probability: float | None, confidence: float | None) -> None:
    of = pair("yes", outcome=verdict("1", outcome, probability))
    assert of.probability == probability
    assert of.confidence == pytest.approx(confidence)


def test_marks_are_of_each_annotator_and_one_who_marked_nothing_counts() -> None:
    marking = said(spans=(Span(start=0, end=4), Span(start=5, end=9)), count=2)
    assert pair(marking, "no").marked == (((0, 4), (5, 9)), ((0, 4), (5, 9)), ())


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        (("no",), "none"),
        ((said("no", rules={"H1": "yes"}),), "none"),
        ((said(rules={"H2": "yes", "H3": "yes"}),), "medium"),
        ((said(rules={"H2": "no", "H3": "yes"}),), "low"),
        (("yes",), None),
        ((said(rules={"H9": "yes"}),), None),
        (("unsure",), None),
        ((said("unsure", rules={"H2": "yes"}),), None),
    ],
)
def test_severity_is_that_of_the_gravest_rule_that_holds(labels: tuple[str | Annotation, ...], severity: str | None) -> None:
    assert pair(*labels).severity({"H1": "critical", "H2": "medium", "H3": "low"}) == severity


def test_rules_hold_by_the_majority_of_those_who_say_so() -> None:
    labels = said(rules={"H1": "yes", "H2": "no"}), said(rules={"H1": "yes", "H2": "yes"}), said("no", rules={"H1": "no"})
    assert pair(*labels).rules_held == {"H1"}


def test_only_items_with_an_outcome_are_paired_and_outcomes_of_nothing_are_left() -> None:
    of = suite([item("a", "yes"), item("b", "no"), item("c")])
    outcomes = {one.content_id: one for one in (verdict("c", "allowed"), failure("a"), verdict("other", "violates"))}
    assert [(one.item.id, one.decision) for one in paired(of, outcomes, of.items)] == [("a", "failure"), ("c", "no")]


def test_an_ordinal_scale_keeps_its_words() -> None:
    scale = Scale(kind="ordinal", values=("1", "0", "-1"), violates=("-1",), unknown=("0",))
    of = suite([item("1", "0", "0", "-1")], scale=scale)
    assert (gold(of, of.items[0]), native_gold(of.items[0])) == ("yes", "0")
