"""Statistics of weights: taking an item twice is having it twice, for every one of them, and so is a resample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moderator.metrics import (
    Resampling,
    Statistic,
    area_estimates,
    augrc,
    aurc,
    auroc,
    auroc_of,
    average_precision,
    average_precision_of,
    calibration_error_estimate,
    estimate_weighted,
    expected_calibration_error,
)
from moderator.metrics.calibration import _calibration_error
from moderator.metrics.selective import _mean_joint_risk, _mean_risk

Floats = NDArray[np.float64]
Of = Callable[[Floats, Floats], Statistic]
Plain = Callable[[Floats, Floats], float | None]

ITEMS = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)
ALL: dict[str, tuple[Of, Plain]] = {
    "auroc": (auroc_of, auroc),
    "average_precision": (average_precision_of, average_precision),
    "calibration": (lambda labels, scores: _calibration_error(labels, scores, 15), expected_calibration_error),
    "aurc": (_mean_risk, aurc),
    "augrc": (_mean_joint_risk, augrc),
}


@pytest.mark.parametrize("name", ALL)
@given(ITEMS)
def test_an_item_that_is_taken_twice_counts_twice(name: str, items: list[tuple[float, float, int]]) -> None:
    of, plain = ALL[name]
    labels, scores, times = (np.array(column, dtype=np.float64) for column in zip(*items, strict=True))
    if not times.any():
        return
    taken = np.repeat(np.arange(len(items)), times.astype(int))
    expected = plain(labels[taken], scores[taken])
    statistic = of(labels, scores)
    found = statistic.value(times)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))
    # many resamples at once are each by itself
    batch = np.stack([times, np.ones(len(items)), times[::-1]])
    assert np.allclose(statistic(batch), [statistic(row) for row in batch], equal_nan=True, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_the_interval_is_that_of_items_drawn_by_index(name: str, grouped: bool) -> None:
    of, plain = ALL[name]
    generator = np.random.default_rng(1)
    scores = generator.random(150).round(2)
    labels = (generator.random(150) < scores).astype(np.float64)
    groups = [f"g{place // 4}" if place % 3 else None for place in range(150)] if grouped else None
    (found,) = estimate_weighted([of(labels, scores)], 150, groups, Resampling(index_resamples=80))
    # the units in order of first appearance: a group, or an item that stands alone
    units: dict[object, list[int]] = {}
    for place in range(150):
        units.setdefault(groups[place] or place if groups else place, []).append(place)
    members = list(units.values())
    draws = np.random.default_rng(0)
    values = []
    for _ in range(80):
        drawn = draws.integers(len(members), size=len(members))
        taken = np.concatenate([members[unit] for unit in drawn])
        values.append(plain(labels[taken], scores[taken]))
    expected = np.quantile(np.array(values, dtype=np.float64), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    assert found.value == pytest.approx(plain(labels, scores), abs=1e-12)
    assert (found.n, found.method) == (len(members), "cluster_bootstrap" if grouped else "bootstrap")


def test_scipys_bootstrap_of_the_mean_says_the_same() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).exponential(size=200)
    mean = Statistic("mean", lambda weights: weights @ values / weights.sum(-1))
    (found,) = estimate_weighted([mean], 200, how=Resampling(index_resamples=1500))
    scipys = bootstrap((values,), np.mean, n_resamples=1500, method="percentile", rng=np.random.default_rng(0))
    low, high = scipys.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_statistics_of_the_same_items_share_their_resamples() -> None:
    generator = np.random.default_rng(0)
    positive, scores = generator.random(100) < 0.5, generator.random(100)
    one, other = auroc_of(positive, scores), auroc_of(~positive, scores)
    first, second = estimate_weighted([one, other], 100, how=Resampling(index_resamples=200))
    assert first.low is not None
    assert second.high is not None
    assert first.low == pytest.approx(1 - second.high)


def test_nothing_is_undefined_and_without_resamples_there_is_no_interval() -> None:
    for found in (*estimate_weighted([auroc_of([], [])], 0), calibration_error_estimate([], []), *area_estimates([], [])):
        assert (found.value, found.low, found.high, found.n, found.method) == (None, None, None, 0, "none")
    (found,) = estimate_weighted([auroc_of([True, False], [1, 0])], 2, how=Resampling(index_resamples=0))
    assert (found.value, found.low, found.method) == (1, None, "none")


def test_resamples_that_are_undefined_too_often_leave_no_interval() -> None:
    # one positive in ten is in no resample one time in three
    (found,) = estimate_weighted([auroc_of([True] + [False] * 9, range(10))], 10)
    assert found.value == 0
    assert found.low is None
