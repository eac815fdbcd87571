"""Estimates with intervals: Wilson for proportions, the bootstrap over independent units for everything else.

What is resampled are `Units`: items, or clusters of items that belong together (an author, a thread, a template). Each unit
adds a table of numbers to a sum, and a `Statistic` is a function of that sum. Units that look alike are counted, not kept:
ten thousand resamples of a confusion table draw ten thousand multinomials over its cells, whatever the number of items.

What is no function of such a sum (AUROC, calibration error) is one of the items' weights: `moderator.metrics.weighted`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Label = Hashable

Method = Literal["none", "wilson", "bootstrap", "cluster_bootstrap", "posterior", "lang_reiczigel", "delong"]

_UNDEFINED_AT_MOST = 0.05
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made, and from how many units on a number says something."""

    level: float = 0.95
    resamples: int = 10_000
    """Of units; 0: no intervals, except where none need be drawn."""
    index_resamples: int = 1_000
    """Of statistics that are computed anew for every resample."""
    seed: int = 0
    minimum: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"level: between 0 and 1, not {self.level}")

    @property
    def z(self) -> float:
        """The two-sided normal quantile of the level."""
        return NormalDist().inv_cdf((1 + self.level) / 2)

    @property
    def tails(self) -> tuple[float, float]:
        return (1 - self.level) / 2, (1 + self.level) / 2


DEFAULT = Resampling()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval; `value` is None where it is undefined, `low` and `high` where no interval could be had.

    Methods: ``wilson`` (score interval of a proportion, Wilson 1927), ``bootstrap`` and ``cluster_bootstrap`` (percentiles),
    ``posterior`` (percentiles under a Dirichlet prior worth one unit, where every resample was alike), ``lang_reiczigel``,
    ``delong`` (normal, DeLong et al. 1988).
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    """The independent units that it rests on; of a proportion: those in its denominator."""
    method: Method
    level: float = DEFAULT.level
    minimum: int = DEFAULT.minimum

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None) or (self.value is None and self.low is not None):
            raise ValueError("an interval has two ends, and a value")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"an interval from {self.low} to {self.high}")

    @property
    def inconclusive(self) -> bool:
        """Nothing should be concluded from it: it is undefined, or rests on fewer units than the minimum."""
        return self.value is None or self.n < self.minimum

    @property
    def degenerate(self) -> bool:
        """The interval has no width: every resample was alike, which is no proof of certainty."""
        return self.low is not None and self.low == self.high


@dataclass(frozen=True, slots=True)
class Statistic:
    """A named function of tables that add up: (..., *shape) -> (...), nan where it is undefined.

    A proportion brings `parts`, its successes and trials; `link` is an increasing function of the proportion, for statistics
    that are one in disguise.
    """

    name: str
    compute: Callable[[Floats], Floats]
    parts: Callable[[Floats], tuple[Floats, Floats]] | None = None
    link: Callable[[Floats], Floats] | None = None

    def __call__(self, table: ArrayLike) -> Floats:
        return self.compute(np.asarray(table, dtype=np.float64))

    def value(self, table: ArrayLike) -> float | None:
        """Of one table; None where it is undefined."""
        return defined(float(self(table)))


def proportion(
    name: str, parts: Callable[[Floats], tuple[Floats, Floats]], link: Callable[[Floats], Floats] | None = None
) -> Statistic:
    """The statistic ``link(successes / trials)``."""

    def compute(table: Floats) -> Floats:
        share = divide(*parts(table))
        return share if link is None else link(share)

    return Statistic(name, compute, parts, link)


def divide(above: ArrayLike, below: ArrayLike) -> Floats:
    """The quotient; nan where the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient


def defined(number: float) -> float | None:
    """The number; None for nan."""
    return None if np.isnan(number) else number


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """Independent units by what each adds to a sum: `rows` (kinds, *shape), and how many are of each kind."""

    rows: Floats
    times: Ints
    clustered: bool = False
    closed: bool = False
    """No other rows are possible: those that were not seen are there, zero times."""

    @classmethod
    def of(cls, rows: ArrayLike, groups: Sequence[Hashable] | None = None) -> Units:
        """From a row for each item; those of one group make one unit, and an item without a group is its own."""
        rows = np.asarray(rows, dtype=np.float64)
        if groups is not None:
            of_group = group_indices(groups, len(rows))
            summed = np.zeros((of_group.max(initial=-1) + 1, *rows.shape[1:]))
            np.add.at(summed, of_group, rows)
            rows = summed
        if not len(rows):
            return cls(rows, np.zeros(0, dtype=np.intp), groups is not None)
        flat, times = np.unique(rows.reshape(len(rows), -1), axis=0, return_counts=True)
        return cls(flat.reshape(-1, *rows.shape[1:]), times, groups is not None)

    @property
    def n(self) -> int:
        return int(self.times.sum())

    @property
    def total(self) -> Floats:
        return np.tensordot(self.times.astype(np.float64), self.rows, axes=1)

    def mapped(self, change: Callable[[Floats], Floats]) -> Units:
        """With every row changed by a linear function of rows (..., *shape)."""
        return Units(change(self.rows), self.times, self.clustered, self.closed)


def group_indices(groups: Sequence[Hashable], n: int) -> Ints:
    """The number of each item's group, in the order of first appearance; None stands alone."""
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} items")
    seen: dict[Hashable, int] = {}
    return np.array(
        [seen.setdefault((place,) if group is None else (group, None), len(seen)) for place, group in enumerate(groups)],
        dtype=np.intp,
    )


def wilson(successes: float, trials: float, level: float = DEFAULT.level) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927); everything when there were no trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = Resampling(level=level).z
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def proportion_estimate(successes: int, trials: int, how: Resampling = DEFAULT) -> Estimate:
    """A share of independent trials, with its Wilson interval."""
    if trials == 0:
        return Estimate(None, None, None, 0, "none", how.level, how.minimum)
    return Estimate(successes / trials, *wilson(successes, trials, how.level), trials, "wilson", how.level, how.minimum)


def estimate(statistic: Statistic, units: Units, how: Resampling = DEFAULT) -> Estimate:
    """The statistic of all units, with an interval.

    Wilson for a proportion to which each unit adds one trial at most; otherwise percentiles of resampled units. Where all
    resamples are alike: for a proportion Wilson with a trial for each unit, for tables of counts the posterior under a
    Dirichlet prior that is worth one unit; else the interval is left without width (`Estimate.degenerate`). No interval when
    the statistic is undefined in more than one resample in twenty.
    """
    return estimate_all([statistic], units, how)[0]


def estimate_all(statistics: Iterable[Statistic], units: Units, how: Resampling = DEFAULT) -> list[Estimate]:
    """Several statistics of the same units, from the same resamples: `estimate` of each."""
    sums: list[Floats] = []

    def resamples() -> list[Floats]:
        if not sums:
            sums.extend(resampled(units, how))
        return sums

    return [_estimate(statistic, units, how, resamples) for statistic in statistics]


def _estimate(statistic: Statistic, units: Units, how: Resampling, resamples: Callable[[], list[Floats]]) -> Estimate:
    value = statistic.value(units.total)
    of_parts = _parts(statistic, units)
    n = units.n if of_parts is None else int(units.times[of_parts[1] > 0].sum())
    if value is None:
        return Estimate(None, None, None, n, "none", how.level, how.minimum)
    if of_parts is not None and not units.clustered and all(np.isin(part, (0.0, 1.0)).all() for part in of_parts):
        return Estimate(value, *_wilson(statistic, units, n, how), n, "wilson", how.level, how.minimum)
    if how.resamples == 0:
        return Estimate(value, None, None, n, "none", how.level, how.minimum)
    low, high = percentiles(np.concatenate([statistic(batch) for batch in resamples()]), how)
    method: Method = "cluster_bootstrap" if units.clustered else "bootstrap"
    if low is not None and low == high:
        if of_parts is not None:
            (low, high), method = _wilson(statistic, units, n, how), "wilson"
        elif units.closed and units.n:
            (low, high), method = _posterior(statistic, units, how), "posterior"
    return Estimate(value, low, high, n, method, how.level, how.minimum)


def mean(values: Sequence[float | None], groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT) -> Estimate:
    """The mean over items where there is a value; Wilson when all are 0 or 1 and no groups are given."""
    rows = np.array([(0.0, 0.0) if value is None else (float(value), 1.0) for value in values]).reshape(-1, 2)
    if ((rows[:, 0] >= 0) & (rows[:, 0] <= 1)).all():
        return estimate(RATIO, Units.of(rows, groups), how)
    return estimate(Statistic("mean", RATIO.compute), Units.of(rows, groups), how)


RATIO = proportion("ratio", lambda table: (table[..., 0], table[..., 1]))
"""Successes to trials, of rows (..., 2)."""


def resampled(units: Units, how: Resampling) -> Iterator[Floats]:
    """Sums over resampled units, in batches (resamples, *shape); together `how.resamples` of them."""
    kinds, n = len(units.rows), units.n
    flat = units.rows.reshape(kinds, -1)
    generator = np.random.default_rng(how.seed)
    at_once = max(1, _NUMBERS_AT_ONCE // max(kinds, flat.shape[1]))
    for start in range(0, how.resamples, at_once):
        size = min(at_once, how.resamples - start)
        yield (_weights(generator, units.times, n, size) @ flat).reshape(size, *units.rows.shape[1:])


def _weights(generator: np.random.Generator, times: Ints, n: int, size: int) -> Floats:
    """How often each kind is drawn, for `size` resamples."""
    if len(times) < n // 8 or len(times) < 1_000:
        return generator.multinomial(n, times / n, size=size).astype(np.float64)
    kind_of = np.repeat(np.arange(len(times)), times)  # a draw for each unit costs less than one for each of so many kinds
    drawn = (np.bincount(kind_of[generator.integers(n, size=n)], minlength=len(times)) for _ in range(size))
    return np.array(list(drawn), dtype=np.float64)


def _parts(statistic: Statistic, units: Units) -> tuple[Floats, Floats] | None:
    return None if statistic.parts is None else statistic.parts(units.rows)


def _wilson(statistic: Statistic, units: Units, n: int, how: Resampling) -> tuple[float, float]:
    assert statistic.parts is not None
    share = min(1.0, float(divide(*statistic.parts(units.total))))
    ends = np.array(wilson(share * n, n, how.level))
    low, high = ends if statistic.link is None else statistic.link(ends)
    return float(low), float(high)


def _posterior(statistic: Statistic, units: Units, how: Resampling) -> tuple[float | None, float | None]:
    """Percentiles over tables drawn from a Dirichlet distribution whose prior is worth one unit (Perks 1947)."""
    generator = np.random.default_rng(how.seed)
    shares = generator.dirichlet(units.times + 1 / len(units.times), size=how.resamples)
    return percentiles(statistic(np.tensordot(shares * units.n, units.rows, axes=1)), how)


def percentiles(values: Floats, how: Resampling) -> tuple[float | None, float | None]:
    """The interval that these resamples leave; none when more than one in twenty is undefined."""
    known = values[~np.isnan(values)]
    if len(known) < (1 - _UNDEFINED_AT_MOST) * len(values) or not len(known):
        return None, None
    low, high = np.quantile(known, how.tails)
    return float(low), float(high)
