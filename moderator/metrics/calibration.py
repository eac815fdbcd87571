"""Whether a probability means what it says: reliability, expected calibration error, Brier score, Spiegelhalter's test.

`scores` are probabilities of the positive answer; `labels` say whether it was right: 0 or 1, or, for the Brier score, a share
of annotators. Items of equal score are never parted, so nothing depends on the order of the items.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moderator.metrics.intervals import (
    DEFAULT,
    Estimate,
    Floats,
    Ints,
    Resampling,
    Statistic,
    divide,
    mean,
)
from moderator.metrics.weighted import Steps, estimate_weighted, value_of

BINS = 15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The items of one bin: their mean score, and how many of them are positive."""

    score: float
    rate: Estimate
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class BrierParts:
    """The Brier score as ``miscalibration - discrimination + uncertainty`` (CORP, Dimitriadis, Gneiting & Jordan 2021).

    The comparison is with the best non-decreasing recalibration (isotonic regression) and with the base rate.
    """

    miscalibration: float
    discrimination: float
    uncertainty: float


def reliability(
    labels: ArrayLike,
    scores: ArrayLike,
    bins: int = BINS,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> tuple[ReliabilityBin, ...]:
    """The reliability curve over bins of as equal a number of items as ties allow; empty bins are left out."""
    y, p = _checked(labels, scores, binary=True)
    place = equal_mass_bins(p, bins)
    found = []
    for here in (np.flatnonzero(place == number) for number in np.unique(place)):
        kept = None if groups is None else [groups[item] for item in here.tolist()]
        score, lowest, highest = (float(of(p[here])) for of in (np.mean, np.min, np.max))
        found.append(ReliabilityBin(score, mean(y[here].tolist(), kept, how), lowest, highest))
    return tuple(found)


def expected_calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = BINS) -> float | None:
    """The mean distance between score and rate over equal-mass bins, weighted by their items; None without items.

    Biased upwards in small samples: a perfectly calibrated score has an error above 0.
    """
    return value_of(_calibration_error(*_checked(labels, scores, binary=True), bins), np.size(scores))


def calibration_error_estimate(
    labels: ArrayLike,
    scores: ArrayLike,
    bins: int = BINS,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> Estimate:
    """The same with a bootstrap interval, which inherits the bias: it may lie above the value."""
    y, p = _checked(labels, scores, binary=True)
    return estimate_weighted([_calibration_error(y, p, bins)], len(y), groups, how)[0]


def _calibration_error(y: Floats, p: Floats, bins: int) -> Statistic:
    """The expected calibration error as a statistic of the items' weights."""
    steps = Steps.of(p)

    def compute(weights: Floats) -> Floats:
        times, gaps = steps.sums(weights, y - p)
        bin_of = _bins(times, bins)
        rows = bin_of.reshape(-1, bin_of.shape[-1])
        cells = rows + bins * np.arange(len(rows))[:, None]
        of_bin = np.bincount(cells.ravel(), weights=gaps.ravel(), minlength=bins * len(rows))
        return divide(np.abs(of_bin).reshape(*weights.shape[:-1], bins).sum(-1), weights.sum(-1))

    return Statistic("expected_calibration_error", compute)


def equal_mass_bins(scores: Floats, bins: int) -> Ints:
    """The bin of each item, from low to high; items of equal score go together, where their middle lies."""
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    return _bins(times, bins)[place]


def _bins(times: NDArray[np.number[Any]], bins: int) -> Ints:
    """The bin of each distinct score, from low to high, by how many items have it: (..., scores)."""
    upto = np.cumsum(times, axis=-1)
    of_score: Ints = ((upto - times / 2) * bins / np.maximum(upto[..., -1:], 1)).astype(np.intp)
    return np.minimum(of_score, bins - 1)  # scores that no item has lie at the end of a bin


def brier(
    labels: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> Estimate:
    """The mean squared distance between score and label (Brier 1950), or between score and share of annotators."""
    y, p = _checked(labels, scores, binary=False)
    return mean(list((y - p) ** 2), groups, how)


def brier_parts(labels: ArrayLike, scores: ArrayLike) -> BrierParts | None:
    """The decomposition, exact and without bins; None without items."""
    y, p = _checked(labels, scores, binary=False)
    if not len(y):
        return None
    recalibrated, base = isotonic(y, p), y.mean()
    of_recalibrated = float(((y - recalibrated) ** 2).mean())
    uncertainty = float(((y - base) ** 2).mean())
    return BrierParts(float(((y - p) ** 2).mean()) - of_recalibrated, uncertainty - of_recalibrated, uncertainty)


def isotonic(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """The non-decreasing function of the score that is nearest to the labels, for each item (pool adjacent violators)."""
    y, p = _checked(labels, scores, binary=False)
    _, place, times = np.unique(p, return_inverse=True, return_counts=True)
    blocks: list[tuple[float, int, int]] = []  # sum of the labels, items, distinct scores
    for total, n in zip(np.bincount(place, weights=y), times, strict=True):
        block = (float(total), int(n), 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    of_score = np.repeat([total / n for total, n, _ in blocks], [distinct for _, _, distinct in blocks])
    fitted: Floats = of_score[place]
    return fitted


def spiegelhalter(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Two-sided p-value that the scores are calibrated (Spiegelhalter 1986); None when all of them are 0, 1/2 or 1."""
    y, p = _checked(labels, scores, binary=True)
    variance = float(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
    if variance == 0:
        return None
    return 2 * NormalDist().cdf(-abs(float(((y - p) * (1 - 2 * p)).sum())) / sqrt(variance))


def _checked(labels: ArrayLike, scores: ArrayLike, *, binary: bool) -> tuple[Floats, Floats]:
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError("a score is wanted for each label")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("scores are probabilities")
    if not (np.isin(y, (0, 1)) if binary else (y >= 0) & (y <= 1)).all():
        raise ValueError("labels are 0 or 1" if binary else "labels lie between 0 and 1")
    return y, p
