"""Statistics of items by how often each is taken: the bootstrap of what is no sum over items, such as an area under a curve.

Such a `Statistic` is a function of weights (..., items) -> (...), nan where it is undefined: 1 for each item gives its value, a
resample is how often each item was drawn. What depends on the order of the scores sorts them once, not once for every resample.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moderator.metrics.intervals import (
    DEFAULT,
    Estimate,
    Floats,
    Ints,
    Method,
    Resampling,
    Statistic,
    group_indices,
    percentiles,
)

_NUMBERS_AT_ONCE = 100_000
"""That fit the caches of a core."""


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """The distinct scores of items, from low to high, each with the items that have it."""

    order: Ints
    """The places of the items, those of the lowest score first."""
    starts: Ints
    """Where each score begins in that order."""

    @classmethod
    def of(cls, scores: ArrayLike) -> Steps:
        values = np.asarray(scores, dtype=np.float64)
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.ones(len(values), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        return cls(order, np.flatnonzero(first))

    def sums(self, weights: Floats, numbers: Floats) -> tuple[Floats, Floats]:
        """For each score, what its items weigh, and what their numbers come to: (..., items) -> twice (..., scores)."""
        ordered = weights[..., self.order]
        return self._joined(ordered), self._joined(ordered * numbers[self.order])

    def _joined(self, ordered: Floats) -> Floats:
        if len(self.starts) == ordered.shape[-1]:
            return ordered
        joined: Floats = np.add.reduceat(ordered, self.starts, axis=-1)
        return joined


def value_of(statistic: Statistic, n: int) -> float | None:
    """Of n items, each taken once; None where it is undefined."""
    return statistic.value(np.ones(n)) if n else None


def estimate_weighted(
    statistics: Sequence[Statistic], n: int, groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> list[Estimate]:
    """Statistics of the weights of n items, from the same `how.index_resamples` resamples of items or of groups."""
    of_group = None if groups is None else group_indices(groups, n)
    units = n if of_group is None else int(of_group.max(initial=-1)) + 1
    values = [value_of(statistic, n) for statistic in statistics]
    found: list[list[Floats]] = [[] for _ in statistics]
    if any(value is not None for value in values):
        for weights in _drawn(units, of_group, how):
            for statistic, resamples in zip(statistics, found, strict=True):
                resamples.append(statistic(weights))
    method: Method = "bootstrap" if groups is None else "cluster_bootstrap"
    return [
        Estimate(None if value is None else value, None, None, units, "none", how.level, how.minimum)
        if value is None or not resamples
        else Estimate(value, *percentiles(np.concatenate(resamples), how), units, method, how.level, how.minimum)
        for value, resamples in zip(values, found, strict=True)
    ]


def _drawn(units: int, of_group: Ints | None, how: Resampling) -> Iterator[Floats]:
    """How often each item is in each resample, in batches (resamples, items)."""
    generator = np.random.default_rng(how.seed)
    at_once = max(1, _NUMBERS_AT_ONCE // max(units, 1))
    for start in range(0, how.index_resamples, at_once):
        size = min(at_once, how.index_resamples - start)
        times = np.array([np.bincount(generator.integers(units, size=units), minlength=units) for _ in range(size)])
        yield (times if of_group is None else times[:, of_group]).astype(np.float64)
