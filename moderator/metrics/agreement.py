"""Agreement beyond chance: Cohen's kappa between two, Krippendorff's alpha and Gwet's AC1 between any number of annotators.

Print percent agreement, alpha, AC1 and the base rate side by side: where one label is rare, alpha can be near 0 and AC1 near 1
for the same annotations. All are resampled by item (Zapf et al. 2016), and computed from counts: how many annotators gave which
label to which item. Annotators who did not rate an item are simply not in its counts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from moderator.metrics.classification import REST, indices, marginals
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

Weights = Literal["linear", "quadratic"]
Scale = Literal["nominal", "ordinal", "interval"]


def _kappa(table: Floats, weights: Weights | None) -> Floats:
    gold, judged = marginals(table)
    k, size = table.shape[-2], judged.shape[-1]
    distance = np.ones((size, size)) - np.eye(size)
    if weights is not None and k > 1:
        apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1)
        distance[:k, :k] = apart if weights == "linear" else apart**2
    observed = (table * distance[:k]).sum((-2, -1))
    expected = (gold * (judged @ distance)).sum(-1) / np.where(gold.any(-1), gold.sum(-1), np.nan)
    return 1 - divide(observed, expected)


cohen_kappa = Statistic("cohen_kappa", lambda table: _kappa(table, None))
"""Agreement of two beyond chance (Cohen 1960); a non-answer is a class that no item has."""
linear_kappa = Statistic("linear_kappa", lambda table: _kappa(table, "linear"))
"""Cohen's kappa for ordered labels, weighted by their distance; a non-answer is as far from any label as the scale is long."""
quadratic_kappa = Statistic("quadratic_kappa", lambda table: _kappa(table, "quadratic"))
"""The same, weighted by the square of the distance."""


@dataclass(frozen=True, eq=False, slots=True)
class Votes:
    """How many annotators gave which label: `counts` (items, labels)."""

    labels: tuple[Label, ...]
    counts: Ints
    groups: tuple[Hashable, ...] | None = None

    def __post_init__(self) -> None:
        if self.counts.shape[1:] != (len(self.labels),) or (self.counts < 0).any():
            raise ValueError("votes: a count, 0 or more, for each item and label")

    @classmethod
    def of(
        cls, items: Iterable[Iterable[Label | None]], labels: Sequence[Label], groups: Sequence[Hashable] | None = None
    ) -> Votes:
        """From the labels that each item got (None: not rated). Raises ValueError for one that is not named."""
        counts = [np.bincount(_rated(item, labels), minlength=len(labels)) for item in items]
        return cls._made(counts, labels, groups)

    @classmethod
    def of_counts(
        cls, items: Iterable[Mapping[Any, int]], labels: Sequence[Label], groups: Sequence[Hashable] | None = None
    ) -> Votes:
        """From how often each item got which label. Raises ValueError for one that is not named."""
        counts = []
        for item in items:
            row = np.zeros(len(labels), dtype=np.intp)
            row[indices(item, labels)] = list(item.values())
            counts.append(row)
        return cls._made(counts, labels, groups)

    @classmethod
    def _made(cls, counts: Sequence[Ints], labels: Sequence[Label], groups: Sequence[Hashable] | None) -> Votes:
        array = np.array(counts, dtype=np.intp).reshape(len(counts), len(labels))
        return cls(tuple(labels), array, None if groups is None else tuple(groups))

    @property
    def raters(self) -> Ints:
        """How many annotators each item had."""
        raters: Ints = self.counts.sum(-1)
        return raters

    def one_vs_rest(self, label: Label) -> Votes:
        """With two labels: all others, and this one."""
        this = self.counts[:, self.labels.index(label)]
        return Votes((REST, label), np.stack([self.raters - this, this], axis=-1), self.groups)

    def base_rate(self, label: Label, how: Resampling = DEFAULT) -> Estimate:
        """The share of the annotations that give this label."""
        this = self.counts[:, self.labels.index(label)]
        rows = np.stack([this, self.raters], axis=-1)
        return estimate(proportion("base_rate", lambda row: (row[..., 0], row[..., 1])), Units.of(rows, self.groups), how)


def _rated(item: Iterable[Label | None], labels: Sequence[Label]) -> Ints:
    places = indices(item, labels, unknown=True)
    return places[places >= 0]


def percent_agreement(votes: Votes, how: Resampling = DEFAULT) -> Estimate:
    """The mean share of agreeing pairs of annotators, over the items that have two or more."""
    share, paired = _agreeing(votes)
    statistic = proportion("percent_agreement", lambda row: (row[..., 0], row[..., 1]))
    return estimate(statistic, Units.of(np.stack([share, paired], axis=-1), votes.groups), how)


def krippendorff_alpha(votes: Votes, scale: Scale = "nominal", how: Resampling = DEFAULT) -> Estimate:
    """Krippendorff's alpha (2011) over the items that have two or more annotators.

    Labels are in order for an ordinal scale, and numbers for an interval scale. Undefined when only one label was given.
    """
    counts = votes.counts[votes.raters > 1].astype(np.float64)
    pairs = np.einsum("ij,ik->ijk", counts, counts) - np.einsum("ij,jk->ijk", counts, np.eye(len(votes.labels)))
    coincidences = pairs / (counts.sum(-1) - 1)[:, None, None]
    groups = None if votes.groups is None else [votes.groups[item] for item in np.flatnonzero(votes.raters > 1)]
    statistic = Statistic("krippendorff_alpha", lambda table: _alpha(table, _distance(votes.labels, scale)))
    return estimate(statistic, Units.of(coincidences, groups), how)


def gwet_ac1(votes: Votes, how: Resampling = DEFAULT) -> Estimate:
    """Gwet's AC1 (2008); chance agreement is that over all labels of the scale, whether they were given or not."""
    raters = votes.raters[:, None]
    share, paired = _agreeing(votes)
    rows = np.column_stack([share, paired, divide(votes.counts, np.maximum(raters, 1)), raters > 0])
    return estimate(Statistic("gwet_ac1", _ac1), Units.of(rows, votes.groups), how)


def _agreeing(votes: Votes) -> tuple[Floats, Floats]:
    """For each item the share of its pairs that agree, and whether it has any."""
    raters = votes.raters
    agreeing = (votes.counts * (votes.counts - 1)).sum(-1)
    paired = (raters > 1).astype(np.float64)
    return agreeing / np.maximum(raters * (raters - 1), 1), paired


def _ac1(rows: Floats) -> Floats:
    agreement = divide(rows[..., 0], rows[..., 1])
    shares = divide(rows[..., 2:-1], rows[..., -1:])
    k = shares.shape[-1]
    if k < 2:
        return np.full(agreement.shape, np.nan)
    chance = (shares * (1 - shares)).sum(-1) / (k - 1)
    return divide(agreement - chance, 1 - chance)


def _distance(labels: Sequence[Any], scale: Scale) -> Callable[[Floats], Floats]:
    """The squared distances of the labels (..., k, k) from how often each occurs (..., k)."""
    if scale == "ordinal":
        return lambda totals: _squares(np.cumsum(totals, axis=-1) - totals / 2)
    if scale == "interval":
        values = np.array(labels, dtype=np.float64)
        return lambda totals: _squares(values)
    return lambda totals: 1 - np.eye(len(labels))


def _squares(places: Floats) -> Floats:
    squares: Floats = (places[..., :, None] - places[..., None, :]) ** 2
    return squares


def _alpha(coincidences: Floats, distance: Callable[[Floats], Floats]) -> Floats:
    totals = coincidences.sum(-1)
    n = totals.sum(-1)
    squares = distance(totals)
    observed = (coincidences * squares).sum((-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * squares).sum((-2, -1))
    return 1 - divide(observed * (n - 1), expected)
