"""The numbers of two-class answers, as they come out of a report, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.metrics import Resampling
from moderator.scoring import METRICS
from tests.scoring.making import FEW_RESAMPLES, Row, report_of, value

OUTCOMES = {"violates": "yes", "allowed": "no", "needs_review": "review", "failure": "failure"}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["y", "n", "yyn", "u", "", "yn"]), st.sampled_from([*OUTCOMES]), st.sampled_from([0.2, 0.6, 0.9])
    ),
    min_size=1,
    max_size=40,
)
GOLD = {"y": "yes", "n": "no", "yyn": "yes"}

# 4 violations: found, missed, left to a person, failed; 5 allowed: 3 cleared, one flagged, one failed; 3 unknown
BY_HAND: list[Row] = [
    ("y", "violates", 0.9), ("y", "allowed", 0.2), ("y", "needs_review", 0.5), ("y", "failure", None),
    ("n", "allowed", 0.1), ("n", "not_covered", 0.2), ("n", "allowed_by_exception", 0.3), ("n", "violates", 0.8),
    ("n", "failure", None),
    ("", "violates", 0.99), ("u", "violates", 0.98), ("yn", "allowed", 0.01),
]  # fmt: skip


def test_who_gave_no_answer_is_counted_by_hand() -> None:
    report = report_of(BY_HAND)
    found = {name: value(estimate) for name, estimate in report.metrics.items()}
    assert found["precision"] == 1 / 2  # what was flagged: one violation, one allowed
    assert found["recall"] == 1 / 4
    assert found["f1"] == pytest.approx(2 / (2 + 1 + 3))  # 2 TP / (2 TP + FP + FN), those not found at all among FN
    assert found["missed"] == 1 / 4  # the one that was answered "no"
    assert found["specificity"] == 3 / 5
    assert found["accuracy"] == 4 / 9
    assert found["balanced_accuracy"] == pytest.approx((1 / 4 + 3 / 5) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 6 + 6 / (6 + 1 + 2)) / 2)
    assert found["base_rate"] == 4 / 9
    assert found["flagged"] == 2 / 9
    assert found["answered"] == 6 / 9
    assert report.table.rows == ("yes", "no")
    assert report.table.columns == ("yes", "no", "review", "failure")
    assert report.table.counts == ((1, 1, 1, 1), (1, 3, 0, 1))


def test_what_nobody_knows_is_in_no_number() -> None:
    with_unknown, without = report_of(BY_HAND), report_of(BY_HAND[:9])
    assert with_unknown.metrics == without.metrics
    assert with_unknown.table == without.table
    assert with_unknown.calibration == without.calibration
    assert with_unknown.selective == without.selective
    assert with_unknown.thresholds == without.thresholds


def test_metrics_are_all_there_in_order() -> None:
    assert tuple(report_of(BY_HAND).metrics) == METRICS


@given(ROWS)
@settings(max_examples=30)
def test_numbers_are_scikit_learns_with_non_answers_as_classes_of_their_own(rows: list[Row]) -> None:
    found = report_of(rows).metrics
    known = [(GOLD[votes], OUTCOMES[name]) for votes, name, _ in rows if votes in GOLD]
    gold, judged = [one for one, _ in known], [other for _, other in known]
    if not known:
        assert all(estimate.value is None and estimate.n == 0 for estimate in found.values())
        return
    positive = {"labels": ["yes"], "average": None, "zero_division": np.nan}
    for name, expected in (
        ("precision", oracle.precision_score(gold, judged, **positive)[0]),
        ("recall", oracle.recall_score(gold, judged, **positive)[0]),
        ("f1", oracle.f1_score(gold, judged, **positive)[0]),
        ("specificity", oracle.recall_score(gold, judged, **positive | {"labels": ["no"]})[0]),
        ("accuracy", oracle.accuracy_score(gold, judged)),
    ):
        assert value(found[name]) == (None if np.isnan(expected) else pytest.approx(expected)), name
    if len({*gold, *judged}) > 1 and len(set(gold)) > 1:
        expected = oracle.matthews_corrcoef(gold, judged)
        assert value(found["mcc"]) == (pytest.approx(expected) if len(set(judged)) > 1 else None)
        assert value(found["cohen_kappa"]) == pytest.approx(oracle.cohen_kappa_score(gold, judged))


@given(ROWS)
@settings(max_examples=30)
def test_areas_are_scikit_learns_over_the_items_with_a_probability(rows: list[Row]) -> None:
    found = report_of(rows).metrics
    known = [(GOLD[votes] == "yes", p) for votes, name, p in rows if votes in GOLD and name != "failure"]
    positive, scores = [one for one, _ in known], [p for _, p in known]
    if any(positive):
        assert value(found["average_precision"]) == pytest.approx(oracle.average_precision_score(positive, scores))
    else:
        assert value(found["average_precision"]) is None
    if len(set(positive)) == 2:
        assert value(found["auroc"]) == pytest.approx(oracle.roc_auc_score(positive, scores))
    else:
        assert value(found["auroc"]) is None
    assert found["auroc"].n == len(known)


def test_of_one_class_alone_what_needs_two_is_undefined() -> None:
    found = report_of([("n", "allowed", 0.1)] * 40).metrics
    for name in ("recall", "precision", "f1", "missed", "balanced_accuracy", "mcc", "cohen_kappa", "auroc"):
        assert value(found[name]) is None, name
        assert found[name].inconclusive
    assert value(found["accuracy"]) == 1
    assert value(found["specificity"]) == 1


def test_all_failures_have_found_nothing_and_flagged_nothing() -> None:
    found = report_of([("y", "failure", None)] * 4 + [("n", "failure", None)] * 4).metrics
    assert (value(found["recall"]), value(found["accuracy"]), value(found["answered"])) == (0, 0, 0)
    assert value(found["precision"]) is None
    assert value(found["auroc"]) is None


def test_intervals_hold_their_values_and_few_items_are_inconclusive() -> None:
    found = report_of(BY_HAND * 5, FEW_RESAMPLES, minimum=25)
    for name, estimate in found.metrics.items():
        assert estimate.low is not None, name
        assert estimate.value is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high, name
    assert found.metrics["recall"].n == 20  # violations
    assert found.metrics["recall"].inconclusive
    assert not found.metrics["accuracy"].inconclusive  # 45 known labels


def test_a_suites_minimum_goes_before_that_of_the_resampling() -> None:
    report = report_of(BY_HAND, Resampling(resamples=0, index_resamples=0, minimum=1), minimum=10)
    assert report.metrics["accuracy"].minimum == 10
    assert report.metrics["accuracy"].inconclusive
