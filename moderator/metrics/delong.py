"""AUROC of two scores of the same items, and the paired difference, without resampling (DeLong, DeLong & Clarke-Pearson 1988).

Items that belong together are taken as one unit each (Obuchowski 1997): the components of a cluster add up before their
covariance is taken.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from moderator.metrics.intervals import DEFAULT, Estimate, Floats, Ints, Resampling, group_indices


def auroc_difference(
    positive: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> tuple[Estimate, Estimate, Estimate]:
    """AUROC of the first scores, of the second, and the second less the first; None in all without both classes.

    Intervals are normal ones, those of a single AUROC cut off at 0 and 1; none where a class has fewer than two units.
    """
    positives = np.asarray(positive, dtype=bool)
    scores = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    if scores.shape[1:] != positives.shape or np.isnan(scores).any():
        raise ValueError("two scores are wanted for each label, and nan is none")
    units = np.arange(len(positives)) if groups is None else group_indices(groups, len(positives))
    n = len(np.unique(units))
    if positives.all() or not positives.any():
        undefined = Estimate(None, None, None, n, "none", how.level, how.minimum)
        return undefined, undefined, undefined
    above = np.stack([_placements(side[positives], side[~positives]) for side in scores])
    below = np.stack([1 - _placements(side[~positives], side[positives]) for side in scores])
    values = above.mean(axis=1)
    covariance = _covariance(above, below, units[positives], units[~positives], values)

    def made(value: float, variance: float, low: float, high: float) -> Estimate:
        if np.isnan(variance):
            return Estimate(value, None, None, n, "none", how.level, how.minimum)
        half = how.z * float(np.sqrt(max(variance, 0.0)))
        return Estimate(value, max(low, value - half), min(high, value + half), n, "delong", how.level, how.minimum)

    a, b = (made(float(values[side]), float(covariance[side, side]), 0.0, 1.0) for side in (0, 1))
    spread = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return a, b, made(float(values[1] - values[0]), spread, -1.0, 1.0)


def _placements(these: Floats, those: Floats) -> Floats:
    """For each of these, the share of those that lie below it, ties counting half."""
    ordered = np.sort(those)
    below, up_to = (np.searchsorted(ordered, these, side=side) for side in ("left", "right"))
    placed: Floats = (below + up_to) / (2 * len(those))
    return placed


def _covariance(above: Floats, below: Floats, of_above: Ints, of_below: Ints, values: Floats) -> Floats:
    """Of both AUROCs (2, 2); nan where a class has fewer than two units."""
    everywhere = int(max(of_above.max(), of_below.max())) + 1
    sums, corrections = [], []
    for components, owners in ((above, of_above), (below, of_below)):
        units = len(np.unique(owners))
        if units < 2:
            return np.full((2, 2), np.nan)
        summed = [np.bincount(owners, side - value, everywhere) for side, value in zip(components, values, strict=True)]
        sums.append(np.stack(summed) / components.shape[1])
        corrections.append(units / (units - 1))
    positives, negatives = sums
    crossed = positives @ negatives.T * (everywhere / (everywhere - 1))
    total: Floats = positives @ positives.T * corrections[0] + negatives @ negatives.T * corrections[1] + crossed + crossed.T
    return total
