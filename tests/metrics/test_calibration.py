from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.metrics.calibration import expected_calibration_error as mapies_error
from mapie.metrics.calibration import spiegelhalter_p_value
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from moderator.metrics import (
    Resampling,
    brier,
    brier_parts,
    calibration_error_estimate,
    expected_calibration_error,
    isotonic,
    reliability,
    spiegelhalter,
)

ITEMS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.3000001, 0.6, 0.9, 1.0])), min_size=2, max_size=40)
QUICK = Resampling(resamples=200, index_resamples=100)


def _drawn(n: int, shift: float = 0.0) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(n)
    truth = generator.random(n)
    labels = generator.random(n) < truth
    return labels.astype(float).tolist(), np.clip(truth + shift, 0, 1).tolist()


def test_the_error_is_mapies_over_bins_of_equal_mass() -> None:
    labels, scores = _drawn(600, 0.08)
    order = np.argsort(scores)
    expected = mapies_error(np.array(labels)[order], np.array(scores)[order], num_bins=15, split_strategy="array split")
    assert expected_calibration_error(labels, scores) == pytest.approx(expected, abs=1e-9)


def test_the_error_by_hand() -> None:
    # two bins of two: scores 0.1 0.3 (mean 0.2), rate 1/2; scores 0.8 1.0 (mean 0.9), rate 1/2: (0.3 + 0.4) / 2
    labels, scores = [0, 1, 0, 1], [0.1, 0.3, 0.8, 1.0]
    assert expected_calibration_error(labels, scores, bins=2) == pytest.approx(0.35)
    low, high = reliability(labels, scores, bins=2)
    assert (low.rate.value, low.rate.n, low.lowest, low.highest) == (0.5, 2, 0.1, 0.3)
    assert (low.score, high.score) == pytest.approx((0.2, 0.9))
    assert high.rate.method == "wilson"


def test_items_of_one_score_go_where_the_middle_of_them_lies() -> None:
    # two bins of two would part the three at 0.5; their middle is in the second: (|1 - 0.1| + |1 - 1.5|) / 4
    assert expected_calibration_error([1, 0, 0, 1], [0.1, 0.5, 0.5, 0.5], bins=2) == pytest.approx(0.35)


@given(ITEMS)
@settings(max_examples=20, deadline=None)
def test_items_of_one_score_stay_together_in_any_order(items: list[tuple[bool, float]]) -> None:
    labels, scores = [float(item[0]) for item in items], [item[1] for item in items]
    shuffled = sorted(items, key=lambda item: (item[1], not item[0]))
    error = expected_calibration_error(labels, scores, bins=4)
    assert error == pytest.approx(
        expected_calibration_error([float(item[0]) for item in shuffled], [item[1] for item in shuffled], bins=4)
    )
    assert error is not None
    assert 0 <= error <= 1
    curve = reliability(labels, scores, bins=4)
    assert sum(part.rate.n for part in curve) == len(items)
    assert error == pytest.approx(sum(abs(part.score - (part.rate.value or 0)) * part.rate.n for part in curve) / len(items))


@given(ITEMS)
@settings(max_examples=20, deadline=None)
def test_brier_is_sklearns_and_its_parts_add_up(items: list[tuple[bool, float]]) -> None:
    labels, scores = [int(item[0]) for item in items], [item[1] for item in items]
    value = brier(labels, scores, how=QUICK).value
    assert value == pytest.approx(np.mean((np.array(labels) - scores) ** 2))
    if len(set(labels)) == 2:
        assert value == pytest.approx(brier_score_loss(labels, scores))
    parts = brier_parts(labels, scores)
    assert parts is not None
    assert value == pytest.approx(parts.miscalibration - parts.discrimination + parts.uncertainty)
    assert parts.miscalibration >= -1e-12
    assert parts.discrimination >= -1e-12


@given(ITEMS)
@settings(max_examples=20, deadline=None)
def test_isotonic_is_sklearns(items: list[tuple[bool, float]]) -> None:
    labels, scores = [float(item[0]) for item in items], [item[1] for item in items]
    assert isotonic(labels, scores) == pytest.approx(IsotonicRegression().fit_transform(scores, labels))


def test_spiegelhalter_is_mapies() -> None:
    for shift in (0.0, 0.02, 0.1):
        labels, scores = _drawn(300, shift)
        value = spiegelhalter(labels, scores)
        one_sided = spiegelhalter_p_value(np.array(labels), np.array(scores))
        assert value == pytest.approx(2 * min(one_sided, 1 - one_sided))
    assert spiegelhalter([0, 1], [0.0, 1.0]) is None


def test_soft_labels_have_a_brier_score_and_no_calibration_error() -> None:
    assert brier([0.5, 1.0], [0.5, 0.5], how=QUICK).value == pytest.approx(0.125)
    with pytest.raises(ValueError, match="0 or 1"):
        expected_calibration_error([0.5], [0.5])
    with pytest.raises(ValueError, match="probabilities"):
        brier([1], [1.2])


def test_nothing_has_no_calibration() -> None:
    assert expected_calibration_error([], []) is None
    assert reliability([], []) == ()
    assert brier([], []).value is None
    assert brier_parts([], []) is None


def test_the_error_is_resampled() -> None:
    labels, scores = _drawn(300, 0.2)
    found = calibration_error_estimate(labels, scores, how=QUICK)
    assert found.value == expected_calibration_error(labels, scores)
    assert found.low is not None
    assert 0.05 < found.low < (found.high or 0) < 0.4
