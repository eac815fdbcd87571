"""The covariance of DeLong, against its definition in loops, arithmetic by hand, and the bootstrap."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest

from moderator.metrics import Resampling, auroc, auroc_difference
from moderator.metrics.intervals import Floats


def scores(n: int, seed: int = 0, ties: int = 20) -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.3
    first = np.round((positive + generator.normal(0, 1.0, n)) * ties) / ties
    second = np.round((positive * 0.7 + 0.4 * first + generator.normal(0, 1.0, n)) * ties) / ties
    return positive, first, second


def by_definition(positive: Any, first: Floats, second: Floats) -> tuple[float, float, float]:
    """The variances of both AUROCs and of their difference, as printed in the paper: a double loop over the kernel."""
    above, below = [], []
    for side in (first, second):
        cases, controls = side[positive], side[~positive]
        kernel = np.array([[float(x > y) + 0.5 * float(x == y) for y in controls] for x in cases])
        above.append(kernel.mean(1))
        below.append(kernel.mean(0))
    s = np.cov(np.array(above)) / len(above[0]) + np.cov(np.array(below)) / len(below[0])
    return s[0, 0], s[1, 1], s[0, 0] + s[1, 1] - 2 * s[0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_variances_are_those_of_the_paper(seed: int) -> None:
    positive, first, second = scores(80, seed, ties=5)
    variances = by_definition(positive, first, second)
    for found, variance in zip(auroc_difference(positive, first, second), variances, strict=True):
        assert found.value is not None
        assert found.high is not None
        assert found.method == "delong"
        if found.high < 1:
            assert found.high - found.value == pytest.approx(1.959964 * sqrt(variance), rel=1e-5)


def test_values_are_aurocs() -> None:
    positive, first, second = scores(300)
    a, b, difference = auroc_difference(positive, first, second)
    assert a.value == pytest.approx(auroc(positive, first))
    assert b.value == pytest.approx(auroc(positive, second))
    assert difference.value == pytest.approx((b.value or 0) - (a.value or 0))


def test_by_hand() -> None:
    # cases 3, 1; controls 2, 0: three pairs of four in order, 0.75; components (1, 0.5) and (0.5, 1)
    # variances of the components 0.125 each, over two of each: 0.125 / 2 + 0.125 / 2 = 0.125
    a, _, _ = auroc_difference([True, True, False, False], [3, 1, 2, 0], [1, 1, 1, 1], how=Resampling(level=0.5))
    assert a.value == 0.75
    assert a.low == pytest.approx(0.75 - 0.6744898 * sqrt(0.125))


def test_groups_of_one_are_items() -> None:
    positive, first, second = scores(200)
    assert auroc_difference(positive, first, second, groups=[None] * 200) == auroc_difference(positive, first, second)


def test_copies_in_a_cluster_say_nothing_new() -> None:
    """Every item five times, in clusters of copies: the interval is that of the items alone."""
    positive, first, second = scores(200)
    alone = auroc_difference(positive, first, second)[2]
    labels, a, b = (np.repeat(x, 5) for x in (positive, first, second))
    copied = auroc_difference(labels, a, b, groups=list(np.repeat(range(200), 5)))[2]
    ignored = auroc_difference(labels, a, b)[2]
    assert copied.n == 200
    assert copied.low == pytest.approx(alone.low)
    assert copied.high == pytest.approx(alone.high)
    assert (ignored.high or 0) - (ignored.low or 0) < 0.5 * ((copied.high or 0) - (copied.low or 0))


@pytest.mark.parametrize("mixed", [False, True])
def test_intervals_are_as_wide_as_those_of_the_bootstrap(mixed: bool) -> None:
    """Also over clusters that hold both classes, which is what the cross term is for."""
    generator = np.random.default_rng(3)
    mood = np.repeat(generator.normal(0, 1.0, 150), 4)
    positive = (np.arange(600) % 4 < 2) if mixed else np.repeat(np.arange(150) % 2 == 0, 4)
    first, second = (positive + mood + generator.normal(0, 1, 600) for _ in range(2))
    groups = np.repeat(np.arange(150), 4)
    for side, found in zip((first, second), auroc_difference(positive, first, second, list(groups))[:2], strict=True):
        values = []
        for _ in range(1500):
            rows = (generator.integers(150, size=150)[:, None] * 4 + np.arange(4)).ravel()
            values.append(auroc(positive[rows], side[rows]))
        low, high = np.quantile([value for value in values if value is not None], [0.025, 0.975])
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.low == pytest.approx(high - low, rel=0.12)


def test_undefined_without_both_classes() -> None:
    for found in auroc_difference([True, True], [0.1, 0.2], [0.3, 0.4]):
        assert (found.value, found.low) == (None, None)


def test_no_interval_from_one_positive() -> None:
    a, _, difference = auroc_difference([True, False, False], [0.9, 0.2, 0.3], [0.3, 0.2, 0.1])
    assert (a.value, a.low, difference.low) == (1, None, None)


def test_scores_must_be_there() -> None:
    with pytest.raises(ValueError, match="two scores"):
        auroc_difference([True, False], [0.1, float("nan")], [0.1, 0.2])
    with pytest.raises(ValueError, match="two scores"):
        auroc_difference([True], [0.1, 0.2], [0.1, 0.2])
