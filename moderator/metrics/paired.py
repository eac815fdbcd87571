"""Two answers to the same items: paired differences, exact McNemar, corrections for many tests, and a verdict.

Differences are of the second to the first: a candidate to its baseline, a model to a person.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from moderator.metrics.classification import Confusion, cell_units, indices, one_hot, one_vs_rest
from moderator.metrics.intervals import (
    DEFAULT,
    Estimate,
    Floats,
    Ints,
    Label,
    Resampling,
    Statistic,
    Units,
    estimate,
    estimate_all,
)

Conclusion = Literal["better", "worse", "no difference shown", "inconclusive"]


@dataclass(frozen=True, eq=False, slots=True)
class Pairing:
    """Known labels against the answers of two; `units` hold a table for each of them: (2, labels, labels + non-answers)."""

    labels: tuple[Label, ...]
    non_answers: tuple[Label, ...]
    units: Units
    unknown: int = 0
    """Items without a known label: counted here, in no statistic."""

    @classmethod
    def of(
        cls,
        gold: Sequence[Label | None],
        first: Sequence[Label],
        second: Sequence[Label],
        labels: Sequence[Label],
        non_answers: Sequence[Label] = (),
        groups: Sequence[Hashable] | None = None,
    ) -> Pairing:
        """From a known label (None: unknown) and both answers for each item. Raises ValueError for one that is not named."""
        rows = indices(gold, labels, unknown=True)
        a, b = (indices(answers, (*labels, *non_answers)) for answers in (first, second))
        if not len(rows) == len(a) == len(b):
            raise ValueError(f"{len(rows)} labels, {len(a)} and {len(b)} answers")
        known = rows >= 0
        shape = len(labels), len(labels) + len(non_answers)
        cells = ((rows * shape[1] + a) * shape[1] + b)[known]
        kept = None if groups is None else [group for group, keep in zip(groups, known, strict=True) if keep]
        joint = one_hot((*shape, shape[1]))
        tables = np.stack([joint.sum(-1), joint.sum(-2)], axis=1)
        return cls(tuple(labels), tuple(non_answers), cell_units(cells, tables, kept), int((~known).sum()))

    @property
    def first(self) -> Confusion:
        return self._side(0)

    @property
    def second(self) -> Confusion:
        return self._side(1)

    def difference(self, statistic: Statistic, label: Label | None = None, how: Resampling = DEFAULT) -> Estimate:
        """The statistic of the second less that of the first; of one label against the rest when it is named."""
        place = None if label is None else self.labels.index(label)
        return estimate(_rise(statistic, place), self.units, how)

    def comparisons(
        self, statistics: Sequence[Statistic], how: Resampling = DEFAULT
    ) -> list[tuple[Estimate, Estimate, Estimate]]:
        """For each statistic: of the first, of the second, and `difference`; over resamples that are drawn once for all."""
        wanted = [one for statistic in statistics for one in (_of_side(statistic, 0), _of_side(statistic, 1), _rise(statistic))]
        made = estimate_all(wanted, self.units, how)
        return [(made[place], made[place + 1], made[place + 2]) for place in range(0, len(made), 3)]

    def discordant(self, label: Label | None = None) -> tuple[int, int]:
        """How many items the first alone, and the second alone, answered rightly; of one label against the rest when named.

        Only for items that were counted whole: not for shared credit or clusters.
        """
        rows = self.units.rows if label is None else one_vs_rest(self.units.rows, self.labels.index(label))
        right = np.trace(rows, axis1=-2, axis2=-1)
        if self.units.clustered or not np.isin(right, (0, 1)).all():
            raise ValueError("items were joined or share credit: which of them differ cannot be told")
        alone = [int(self.units.times[right[:, side] > right[:, 1 - side]].sum()) for side in (0, 1)]
        return alone[0], alone[1]

    def mcnemar(self, label: Label | None = None) -> float:
        """The p-value of the discordant items: `mcnemar`."""
        return mcnemar(*self.discordant(label))

    def _side(self, side: int) -> Confusion:
        units = Units(self.units.rows[:, side], self.units.times, self.units.clustered, self.units.closed)
        return Confusion(self.labels, self.non_answers, units, self.unknown)


def _rise(statistic: Statistic, place: int | None = None) -> Statistic:
    """The second side's less the first's; of the label in one place against the rest."""

    def compute(tables: Floats) -> Floats:
        of_each = statistic(tables if place is None else one_vs_rest(tables, place))
        return of_each[..., 1] - of_each[..., 0]

    return Statistic(f"{statistic.name}_difference", compute)


def _of_side(statistic: Statistic, side: int) -> Statistic:
    """The statistic of one side's tables."""
    parts = statistic.parts
    return replace(
        statistic,
        compute=lambda tables: statistic(tables[..., side, :, :]),
        parts=None if parts is None else lambda tables: parts(tables[..., side, :, :]),
    )


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Exact two-sided p-value that both are right alone equally often (McNemar 1947); 1 when they never differ."""
    from scipy.special import bdtr

    n = first_alone + second_alone
    return 1.0 if n == 0 else min(1.0, 2 * float(bdtr(min(first_alone, second_alone), n, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the probability of any false rejection (Holm 1979)."""
    p, order = _sorted(p_values)
    return _restored(np.maximum.accumulate(p * np.arange(len(p), 0, -1)), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the share of false rejections among independent tests (Benjamini & Hochberg 1995)."""
    p, order = _sorted(p_values)
    return _restored(_smallest_from_here(p * len(p) / np.arange(1, len(p) + 1)), order)


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """The same under any dependence of the tests (Benjamini & Yekutieli 2001)."""
    p, order = _sorted(p_values)
    ranks = np.arange(1, len(p) + 1)
    return _restored(_smallest_from_here(p * len(p) * (1 / ranks).sum() / ranks), order)


def conclude(difference: Estimate, *, higher_is_better: bool = True) -> Conclusion:
    """What a paired difference shows: its interval lies on one side of zero, or not, or it rests on too little."""
    if difference.inconclusive or difference.low is None or difference.high is None:
        return "inconclusive"
    if difference.low > 0:
        return "better" if higher_is_better else "worse"
    if difference.high < 0:
        return "worse" if higher_is_better else "better"
    return "no difference shown"


def non_inferior(difference: Estimate, margin: float, *, higher_is_better: bool = True) -> bool | None:
    """Whether the second is shown to be worse by less than the margin; None when nothing can be concluded.

    The interval's end lies inside the margin: at a level of 0.95 a one-sided test at 0.025.
    """
    if margin < 0:
        raise ValueError(f"margin: 0 or more, not {margin}")
    if difference.inconclusive or difference.low is None or difference.high is None:
        return None
    return difference.low > -margin if higher_is_better else difference.high < margin


def _sorted(p_values: Sequence[float]) -> tuple[Floats, Ints]:
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _smallest_from_here(p: Floats) -> Floats:
    smallest: Floats = np.minimum.accumulate(p[::-1])[::-1]
    return smallest


def _restored(adjusted: Floats, order: Ints) -> list[float]:
    result = np.empty(len(adjusted))
    result[order] = np.minimum(adjusted, 1)
    return [float(p) for p in result]
