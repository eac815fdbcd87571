"""Confusion tables and what is read off them: precision, recall, F1, MCC and their kin; AUROC and AUPRC for scores.

A table has a row for each label and a column for each label, in the same order; answers that are no label (a failure, an
abstention) have columns of their own behind them. So they are counted: a violation that got no answer was not found, an
allowed item that got none was not cleared, and neither is in the denominator of precision.

A statistic of one class looks at a table of two labels, whose second is the positive one: `Confusion.one_vs_rest`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moderator.metrics.intervals import (
    DEFAULT,
    Estimate,
    Floats,
    Ints,
    Label,
    Resampling,
    Statistic,
    Units,
    divide,
    estimate,
    proportion,
)
from moderator.metrics.weighted import Steps, estimate_weighted, value_of

REST = "(rest)"
"""The label of all classes but one."""


@dataclass(frozen=True, eq=False, slots=True)
class Confusion:
    """Known labels against answers; `units` hold tables (labels, labels + non-answers)."""

    labels: tuple[Label, ...]
    non_answers: tuple[Label, ...]
    units: Units
    unknown: int = 0
    """Items without a known label: counted here, in no statistic."""

    @classmethod
    def of(
        cls,
        gold: Sequence[Label | None],
        judged: Sequence[Label],
        labels: Sequence[Label],
        non_answers: Sequence[Label] = (),
        groups: Sequence[Hashable] | None = None,
    ) -> Confusion:
        """From a known label (None: unknown) and an answer for each item. Raises ValueError for one that is not named."""
        rows, columns = indices(gold, labels, unknown=True), indices(judged, (*labels, *non_answers))
        if len(rows) != len(columns):
            raise ValueError(f"{len(rows)} labels and {len(columns)} answers")
        known = rows >= 0
        shape = len(labels), len(labels) + len(non_answers)
        cells = rows[known] * shape[1] + columns[known]
        kept = None if groups is None else [group for group, keep in zip(groups, known, strict=True) if keep]
        return cls(tuple(labels), tuple(non_answers), cell_units(cells, one_hot(shape), kept), int((~known).sum()))

    @property
    def counts(self) -> Floats:
        """(labels, labels + non-answers)"""
        return self.units.total

    def one_vs_rest(self, label: Label) -> Confusion:
        """With two labels: all others, and this one."""
        place = self.labels.index(label)
        return Confusion(
            (REST, label), self.non_answers, self.units.mapped(lambda table: one_vs_rest(table, place)), self.unknown
        )

    def value(self, statistic: Statistic, label: Label | None = None) -> float | None:
        """Of the whole table, or of one label against the rest; None where it is undefined."""
        return statistic.value((self if label is None else self.one_vs_rest(label)).counts)

    def estimate(self, statistic: Statistic, label: Label | None = None, how: Resampling = DEFAULT) -> Estimate:
        """The same with an interval."""
        return estimate(statistic, (self if label is None else self.one_vs_rest(label)).units, how)


def indices(values: Iterable[Label | None], labels: Sequence[Label], *, unknown: bool = False) -> Ints:
    """The place of each value among the labels; -1 for None where unknown values may be. Raises ValueError."""
    place: dict[Label | None, int] = {label: number for number, label in enumerate(labels)}
    if len(place) != len(labels):
        raise ValueError(f"labels: {tuple(labels)} names one twice")
    if unknown:
        place[None] = -1
    try:
        return np.array([place[value] for value in values], dtype=np.intp)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is none of {tuple(labels)}") from None


def one_hot(shape: tuple[int, ...]) -> Floats:
    """A table for each cell of this shape, with a 1 in it: (cells, *shape)."""
    cells = int(np.prod(shape))
    return np.eye(cells).reshape(cells, *shape)


def cell_units(cells: Ints, tables: Floats, groups: Sequence[Hashable] | None) -> Units:
    """Units from the cell of each item and what an item of that cell adds to the table."""
    if groups is not None:
        return Units.of(tables[cells], groups)
    return Units(tables, np.bincount(cells, minlength=len(tables)), closed=True)


def one_vs_rest(table: Floats, place: int) -> Floats:
    """Tables (..., k, c) as tables (..., 2, 2 + c - k), the class in second place."""
    k = table.shape[-2]
    answers = table[..., :k]
    columns = np.concatenate(
        [(answers.sum(-1) - answers[..., place])[..., None], answers[..., place, None], table[..., k:]], axis=-1
    )
    this = columns[..., place, :]
    return np.stack([columns.sum(-2) - this, this], axis=-2)


def _of_two(table: Floats) -> Floats:
    if table.shape[-2] != 2:
        raise ValueError(f"a statistic of one class, and {table.shape[-2]} labels: look at one against the rest")
    return table


def _right(table: Floats) -> Floats:
    right: Floats = np.trace(table, axis1=-2, axis2=-1)
    return right


def _all(table: Floats) -> Floats:
    everything: Floats = table.sum((-2, -1))
    return everything


def _recalls(table: Floats) -> Floats:
    return divide(np.diagonal(table, axis1=-2, axis2=-1), table.sum(-1))


def _f1s(table: Floats) -> Floats:
    k = table.shape[-2]
    return divide(2 * np.diagonal(table, axis1=-2, axis2=-1), table.sum(-1) + table[..., :k].sum(-2))


def _mean_of_defined(values: Floats, at_least: int) -> Floats:
    known = ~np.isnan(values)
    return np.where(known.sum(-1) >= at_least, divide(np.where(known, values, 0).sum(-1), known.sum(-1)), np.nan)


def _mcc(table: Floats) -> Floats:
    gold, judged = marginals(table)
    n = _all(table)
    above = _right(table) * n - (gold * judged).sum(-1)
    below = (n**2 - (gold**2).sum(-1)) * (n**2 - (judged**2).sum(-1))
    return divide(above, np.sqrt(below))


def marginals(table: Floats) -> tuple[Floats, Floats]:
    """How often each label is known and is answered, both (..., labels + non-answers)."""
    gold = table.sum(-1)
    judged = table.sum(-2)
    missing = judged.shape[-1] - gold.shape[-1]
    return np.concatenate([gold, np.zeros((*gold.shape[:-1], missing))], axis=-1), judged


accuracy = proportion("accuracy", lambda table: (_right(table), _all(table)))
"""The share of items that were answered with their label."""
answered = proportion("answered", lambda table: (table[..., : table.shape[-2]].sum((-2, -1)), _all(table)))
"""The share of items that were answered with a label at all."""
precision = proportion("precision", lambda table: (_of_two(table)[..., 1, 1], table[..., :, 1].sum(-1)))
"""The share of positives among what was answered positive."""
recall = proportion("recall", lambda table: (_of_two(table)[..., 1, 1], table[..., 1, :].sum(-1)))
"""The share of positives that was answered so."""
specificity = proportion("specificity", lambda table: (_of_two(table)[..., 0, 0], table[..., 0, :].sum(-1)))
"""The share of negatives that was answered so."""
false_positive_rate = proportion("false_positive_rate", lambda table: (_of_two(table)[..., 0, 1], table[..., 0, :].sum(-1)))
"""The share of negatives that was answered positive."""
base_rate = proportion("base_rate", lambda table: (_of_two(table)[..., 1, :].sum(-1), _all(table)))
"""The share of positives among the known labels."""
flagged = proportion("flagged", lambda table: (_of_two(table)[..., :, 1].sum(-1), _all(table)))
"""The share of items that was answered positive."""
f1 = proportion(
    "f1",
    lambda table: (_of_two(table)[..., 1, 1], table[..., 1, :].sum(-1) + table[..., 0, 1]),
    link=lambda jaccard: 2 * jaccard / (1 + jaccard),
)
"""The harmonic mean of precision and recall: an increasing function of the Jaccard index, which is a proportion of the items
that are positive on either side; so it has a Wilson interval."""
macro_f1 = Statistic("macro_f1", lambda table: _mean_of_defined(_f1s(table), 1))
"""The mean F1 of the labels that occur, as a label or as an answer."""
balanced_accuracy = Statistic("balanced_accuracy", lambda table: _mean_of_defined(_recalls(table), 2))
"""The mean recall of the labels that occur; undefined with fewer than two."""
mcc = Statistic("mcc", _mcc)
"""Matthews' correlation coefficient, for several classes after Gorodkin (2004); a non-answer is a class that no item has."""


def auroc(positive: ArrayLike, scores: ArrayLike) -> float | None:
    """The probability that a positive item scores higher than a negative one, ties counting half (Mann-Whitney)."""
    return value_of(auroc_of(positive, scores), np.size(scores))


def average_precision(positive: ArrayLike, scores: ArrayLike) -> float | None:
    """AUPRC as the mean precision at each step of recall, without interpolation; None without positives."""
    return value_of(average_precision_of(positive, scores), np.size(scores))


def auroc_of(positive: ArrayLike, scores: ArrayLike) -> Statistic:
    """`auroc` as a statistic of the items' weights: see `estimate_weighted`."""
    labels, steps = _by_score(positive, scores)

    def compute(weights: Floats) -> Floats:
        all_of, positives = steps.sums(weights, labels)
        negatives = all_of - positives
        below = np.cumsum(negatives, axis=-1) - negatives / 2
        return divide((positives * below).sum(-1), positives.sum(-1) * negatives.sum(-1))

    return Statistic("auroc", compute)


def average_precision_of(positive: ArrayLike, scores: ArrayLike) -> Statistic:
    """`average_precision` as a statistic of the items' weights: see `estimate_weighted`."""
    labels, steps = _by_score(positive, scores)

    def compute(weights: Floats) -> Floats:
        all_of, positives = (counts[..., ::-1] for counts in steps.sums(weights, labels))
        flagged, found = np.cumsum(all_of, axis=-1), np.cumsum(positives, axis=-1)
        at = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
        return divide((positives * at).sum(-1), positives.sum(-1))

    return Statistic("average_precision", compute)


def auroc_estimate(
    positive: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> Estimate:
    """AUROC with a bootstrap interval over items or groups."""
    return estimate_weighted([auroc_of(positive, scores)], np.size(scores), groups, how)[0]


def average_precision_estimate(
    positive: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> Estimate:
    """AUPRC with a bootstrap interval over items or groups."""
    return estimate_weighted([average_precision_of(positive, scores)], np.size(scores), groups, how)[0]


def _by_score(positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Steps]:
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.shape != values.shape or np.isnan(values).any():
        raise ValueError("a score is wanted for each label, and nan is none")
    return labels.astype(np.float64), Steps.of(values)
