"""Calibration, selection and thresholds, as they come out of a report: by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring.making import FEW_RESAMPLES, MADE_BY, Row, item, report_of, scored, suite, value, verdict

SCORED = st.lists(
    st.tuples(st.sampled_from("yn"), st.sampled_from(["violates", "allowed"]), st.sampled_from([0.0, 0.2, 0.6, 0.9, 1.0])),
    min_size=1,
    max_size=40,
)


def test_calibration_by_hand() -> None:
    # fifteen bins over four items part the scores: |1 - 0.9|, |0 - 0.8|, |0 - 0.1|, |1 - 0.3|
    rows: list[Row] = [("y", "violates", 0.9), ("n", "violates", 0.8), ("n", "allowed", 0.1), ("y", "allowed", 0.3)]
    found = report_of([*rows, ("u", "violates", 0.9), ("y", "failure", None)]).calibration
    assert found is not None
    assert value(found.error) == pytest.approx((0.1 + 0.8 + 0.1 + 0.7) / 4)
    assert value(found.brier) == pytest.approx((0.01 + 0.64 + 0.01 + 0.49) / 4)
    assert found.error.n == found.brier.n == 4
    assert [(bin_.score, value(bin_.rate)) for bin_ in found.bins] == [(0.1, 0), (0.3, 1), (0.8, 0), (0.9, 1)]
    assert found.parts is not None
    # pooling 0.3 and 0.8: one of two; the base rate is one half
    recalibrated = (0 + 0.25 + 0.25 + 0) / 4
    assert found.parts.uncertainty == pytest.approx(0.25)
    assert found.parts.discrimination == pytest.approx(0.25 - recalibrated)
    assert found.parts.miscalibration == pytest.approx((0.01 + 0.64 + 0.01 + 0.49) / 4 - recalibrated)
    # z = sum (y - p)(1 - 2p) / sqrt(sum (1 - 2p)^2 p (1 - p))
    above = 0.1 * -0.8 + -0.8 * -0.6 + -0.1 * 0.8 + 0.7 * 0.4
    below = (0.64 * 0.09 + 0.36 * 0.16 + 0.64 * 0.09 + 0.16 * 0.21) ** 0.5
    assert found.spiegelhalter == pytest.approx(_two_sided(above / below))


def _two_sided(z: float) -> float:
    from scipy.stats import norm

    return float(2 * norm.sf(abs(z)))


@given(SCORED)
@settings(max_examples=25)
def test_the_brier_score_is_scikit_learns(rows: list[Row]) -> None:
    found = report_of(rows).calibration
    assert found is not None
    expected = oracle.brier_score_loss([votes == "y" for votes, _, _ in rows], [p for _, _, p in rows], pos_label=True)
    assert value(found.brier) == pytest.approx(expected)


@pytest.mark.parametrize(("flags", "calibrated"), [((True, True), True), ((True, False), False), ((False, False), False)])
def test_calibrated_is_what_all_scores_call_themselves(flags: tuple[bool, bool], calibrated: bool) -> None:
    of = suite([item("a", "yes"), item("b", "no"), item("c", "unsure")])
    scores = [{"value": 0.5, "method": "votes", "calibrated": flag} for flag in (*flags, False)]
    outcomes = [verdict(name, "allowed", score=score) for name, score in zip("abc", scores, strict=True)]
    found = scored(of, outcomes).calibration
    assert found is not None
    assert found.calibrated is calibrated


def test_without_probabilities_there_is_no_calibration_no_threshold_and_no_selection() -> None:
    report = report_of([("y", "violates", None), ("n", "allowed", None), ("n", "failure", None)])
    assert report.calibration is None
    assert report.thresholds == ()
    assert report.selective.curve == ()
    assert (value(report.selective.aurc), value(report.selective.augrc)) == (None, None)
    assert set(report.selective.at_risk.values()) == {None}
    assert value(report.metrics["auroc"]) is None


def test_selection_by_hand() -> None:
    rows: list[Row] = [
        ("y", "violates", 0.95),  # right, confidence 0.95
        ("n", "allowed", 0.1),  # right, 0.9
        ("n", "violates", 0.8),  # wrong, 0.8
        ("y", "needs_review", 0.5),  # can only be withheld
        ("y", "failure", None),  # the same
        ("u", "violates", 0.99),  # unknown
    ]
    found = report_of(rows).selective
    assert [point.coverage for point in found.curve] == pytest.approx([0.2, 0.4, 0.6])
    assert [point.risk for point in found.curve] == pytest.approx([0, 0, 1 / 3])
    # of the first 1 ... 5 accepted: 0, 0, 1, 2, 3 lost
    assert value(found.aurc) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4 + 3 / 5) / 5)
    assert value(found.augrc) == pytest.approx((0 + 0 + 1 + 2 + 3 - 3 / 2) / 25)
    assert {risk: point and point.n for risk, point in found.at_risk.items()} == {"0.01": 2, "0.02": 2, "0.05": 2, "0.1": 2}
    assert found.at_risk["0.01"] is not None
    assert found.at_risk["0.01"].threshold == pytest.approx(0.9)
    assert found.aurc.n == 5


@given(SCORED)
@settings(max_examples=25)
def test_thresholds_are_scikit_learns_confusion(rows: list[Row]) -> None:
    found = report_of(rows).thresholds
    positive, scores = np.array([votes == "y" for votes, _, _ in rows]), np.array([p for _, _, p in rows], dtype=float)
    assert [point.threshold for point in found[:-1]] == sorted(set(scores))
    assert found[-1].threshold > scores.max()
    for point in found:
        (tn, fp), (fn, tp) = oracle.confusion_matrix(positive, scores >= point.threshold, labels=[False, True])
        counts = point.true_positives, point.false_positives, point.false_negatives, point.true_negatives
        assert counts == (tp, fp, fn, tn)
    assert (found[0].false_negatives, found[0].true_negatives) == (0, 0)
    assert (found[-1].true_positives, found[-1].false_positives) == (0, 0)


def test_curves_are_thinned_to_what_a_chart_can_show_and_keep_their_ends() -> None:
    rows: list[Row] = [("yn"[n % 3 > 0], ("allowed", "violates")[n >= 500], n / 1000) for n in range(1000)]
    report = report_of(rows)
    assert len(report.thresholds) == 201
    assert len(report.selective.curve) == 200
    assert (report.thresholds[0].threshold, report.thresholds[-2].threshold) == (0, 0.999)
    assert report.selective.curve[-1].coverage == 1
    assert [point.threshold for point in report.thresholds] == sorted({point.threshold for point in report.thresholds})


def test_what_is_resampled_has_intervals() -> None:
    generator = np.random.default_rng(0)
    rows: list[Row] = []
    for _ in range(120):
        p = round(float(generator.random()), 3)
        rows.append(("y" if generator.random() < p else "n", "violates" if p >= 0.5 else "allowed", p))
    report = report_of(rows, FEW_RESAMPLES)
    assert report.calibration is not None
    for estimate in (report.calibration.error, report.calibration.brier, report.selective.aurc, report.selective.augrc):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.high
        assert estimate.method == "bootstrap"


def test_groups_are_resampled_together_in_every_number() -> None:
    items = [item(f"{n:02}", "yes" if n % 3 else "no", group=f"g{n // 4}") for n in range(40)]
    report = scored(suite(items), [verdict(f"{n:02}", "violates", 0.5 + n % 2 / 4) for n in range(40)], FEW_RESAMPLES)
    assert report.calibration is not None
    of_bins = [bin_.rate for bin_ in report.calibration.bins]
    assert len(of_bins) == 2
    for estimate in (report.calibration.error, report.calibration.brier, report.selective.aurc, *of_bins):
        assert (estimate.n, estimate.method) == (10, "cluster_bootstrap")


def test_the_record_names_who_made_the_outcomes() -> None:
    assert report_of([("y", "violates", 0.9)]).judged.provenance == MADE_BY.model_dump(mode="json")
