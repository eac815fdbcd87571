"""Quotes against marked spans, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from moderator.scoring.model import EvidenceScore
from moderator.suite import Annotation, Item, Span
from moderator.verdict import Failure, Verdict
from tests.scoring.making import failure, item, said, scored, suite, value, verdict

TEXT = "0123456789" * 2


def marking(*spans: tuple[int, int], **fields: Any) -> Annotation:
    return said(spans=tuple(Span(start=start, end=end) for start, end in spans), **fields)


def evidence(items: Sequence[Item], outcomes: Sequence[Verdict | Failure]) -> EvidenceScore | None:
    return scored(suite(items), outcomes).evidence


def exact(items: Sequence[Item], outcomes: Sequence[Verdict | Failure]) -> float | None:
    """Of all quotes, those that stand in the text word for word."""
    return scored(suite(items), outcomes).quotes.value


def test_one_annotator_by_hand() -> None:
    items = [
        item("a", marking((0, 10)), text=TEXT),
        item("b", marking((0, 4)), text=TEXT),
        item("c", marking((0, 4)), text=TEXT),
        item("d", "no", text=TEXT),
    ]
    outcomes = [
        verdict("a", "violates", rules=["H1"], quotes=[("exact", 5, 15)]),
        verdict("b", "allowed"),
        failure("c"),
        verdict("d", "violates", rules=["H1"], quotes=[("normalised", 0, 4), ("absent", None, None)]),
    ]
    found = evidence(items, outcomes)
    assert found is not None
    # d is an error of the decision: nothing is marked there
    assert (found.n, found.annotators) == (3, 1)
    # a: 5 of 10 and of 10 characters, F1 1/2; b and c were not flagged
    for estimate in (found.union, found.majority, found.each):
        assert value(estimate) == pytest.approx((0.5 + 0 + 0) / 3)
        assert estimate.n == 3
    # intersection over union of a: 5 of 15, below one half
    assert value(found.iou_f1) == 0
    # all quotes of the run, d's too
    assert exact(items, outcomes) == pytest.approx(1 / 3)
    assert (found.people, found.held_out_human, found.held_out_model, found.held_out_difference) == (None, None, None, None)


def test_several_annotators_by_hand() -> None:
    items = [item("a", marking((0, 10), by="1"), marking((0, 6), by="2"), marking((0, 10), by="3"), text=TEXT)]
    found = evidence(items, [verdict("a", "violates", rules=["H1"], quotes=[("exact", 0, 10)])])
    assert found is not None
    assert (value(found.union), value(found.majority)) == (1, 1)
    assert value(found.each) == pytest.approx((1 + 12 / 16 + 1) / 3)
    assert value(found.iou_f1) == 1
    assert value(found.people) == pytest.approx((12 / 16 + 1 + 12 / 16) / 3)
    # who is left: strict majorities of two are what both marked: (0, 6), (0, 10), (0, 6)
    assert value(found.held_out_human) == pytest.approx((12 / 16 + 12 / 16 + 12 / 16) / 3)
    assert value(found.held_out_model) == pytest.approx((12 / 16 + 1 + 12 / 16) / 3)
    assert value(found.held_out_difference) == pytest.approx(0.25 / 3)


def test_two_annotators_agree_but_none_can_be_held_out() -> None:
    found = evidence([item("a", marking((0, 5), count=2), text=TEXT)], [verdict("a", "allowed")])
    assert found is not None
    assert found.annotators == 2
    assert value(found.people) == 1
    assert value(found.held_out_human) is None


def test_who_marked_nothing_counts_among_the_annotators() -> None:
    found = evidence(
        [item("a", marking((0, 5)), "no", "no", text=TEXT)],
        [verdict("a", "violates", rules=["H1"], quotes=[("exact", 0, 5)])],
    )
    assert found is not None
    assert value(found.union) == 1
    assert value(found.majority) == 0


def test_quotes_of_several_rules_are_taken_together_and_waived_ones_not_at_all() -> None:
    items = [item(name, marking((0, 10)), text=TEXT) for name in "ab"]
    outcomes = [
        verdict("a", "needs_review", rules=["H1"], quotes=[("exact", 0, 5), ("normalised", 5, 10)]),
        verdict("b", "allowed_by_exception", rules=["H1"], quotes=[("exact", 0, 10)]),
    ]
    found = evidence(items, outcomes)
    assert found is not None
    assert value(found.union) == pytest.approx((1 + 0) / 2)
    # a quote that was found for a waived rule is a quote, too
    assert exact(items, outcomes) == pytest.approx(2 / 3)


def test_without_marks_there_is_no_evidence_and_without_quotes_no_exactness() -> None:
    quoting = [verdict("a", "violates", rules=["H1"], quotes=[("exact", 0, 1)])]
    assert evidence([item("a", "yes")], quoting) is None
    assert exact([item("a", "yes")], quoting) == 1
    assert exact([item("a", marking((0, 5)), text=TEXT)], [verdict("a", "allowed")]) is None


def test_groups_are_resampled_together() -> None:
    items = [item(f"{n}", marking((0, 5)), text=TEXT, group="g" if n < 3 else "") for n in range(5)]
    report = scored(suite(items), [verdict(f"{n}", "violates", rules=["H1"], quotes=[("exact", 0, 5)]) for n in range(5)])
    found = report.evidence
    assert found is not None
    for estimate in (found.union, found.majority, found.each, found.iou_f1, report.quotes):
        assert estimate.n == 3
