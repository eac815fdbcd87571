"""Recalibrations fitted on labelled items, and chosen by what they lose on others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from moderator.metrics.calibration import isotonic
from moderator.metrics.intervals import Floats, Ints
from moderator.recalibration import Identity, Isotonic, Platt, Recalibration, logit


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The recalibration that was chosen, fitted on all items."""

    recalibration: Recalibration
    losses: Mapping[str, float]
    """Of each method, the mean log loss (nats) over items of the folds left out."""
    held_out: Floats
    """Each item's probability by the chosen method, fitted without the item's fold: what calibration may be measured on."""


def recalibrated(recalibration: Recalibration, scores: ArrayLike) -> Floats:
    """The probabilities that scores are given."""
    return np.array([recalibration(score) for score in np.asarray(scores, dtype=np.float64).tolist()])


def fit_temperature(labels: ArrayLike, scores: ArrayLike) -> Platt:
    """The scale of the logits with the least log loss."""
    return Platt(_fit_logits(labels, scores, [1.0])[0], method="temperature")


def fit_platt(labels: ArrayLike, scores: ArrayLike) -> Platt:
    """The scale and the offset of the logits with the least log loss."""
    scale, offset = _fit_logits(labels, scores, [1.0, 0.0])
    return Platt(scale, offset)


def fit_isotonic(labels: ArrayLike, scores: ArrayLike) -> Isotonic:
    """The non-decreasing function of the score that is nearest to the labels.

    No rate is nearer to 0 or 1 than one label in two more than there are (Laplace): all of a few says little of the next.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    at, first = np.unique(p, return_index=True)
    rates = np.clip(isotonic(y, p)[first], 1 / (len(y) + 2), 1 - 1 / (len(y) + 2))
    # inside a flat stretch nothing bends
    bends = np.flatnonzero(np.diff(rates, prepend=-1) + np.diff(rates, append=2) > 0)
    bends = np.unique(np.concatenate(([0], bends, [len(at) - 1])))
    return Isotonic(tuple(at[bends].tolist()), tuple(rates[bends].tolist()))


METHODS: Final[Mapping[str, Callable[[ArrayLike, ArrayLike], Recalibration]]] = {
    "identity": lambda labels, scores: Identity(),
    "temperature": fit_temperature,
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}
"""The simplest first."""


def choose(
    labels: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None, folds: int = 5, seed: int = 0
) -> Choice:
    """The simplest method that loses no more, by one standard error, than the one that loses least where it was not fitted
    (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3). Items of one group are in one fold, and count as one for the error.

    Raises ValueError with fewer groups than folds, or fewer of either label than two.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or not np.isin(y, (0, 1)).all() or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a score between 0 and 1 is wanted for each label, which is 0 or 1")
    if min(y.sum(), (1 - y).sum()) < 2:
        raise ValueError("two items of either label at least are wanted")
    fold = _folds(len(y), groups, folds, seed)
    found = {}
    for name, fit in METHODS.items():
        held = np.empty(len(y))
        for number in range(folds):
            out = fold == number
            held[out] = recalibrated(fit(y[~out], p[~out]), p[out])
        found[name] = held
    lost = {name: _lost(y, held) for name, held in found.items()}
    losses = {name: float(each.mean()) for name, each in lost.items()}
    least = lost[min(losses, key=losses.__getitem__)]
    chosen = next(name for name, each in lost.items() if each.mean() - least.mean() <= _error(each - least, groups))
    return Choice(METHODS[chosen](y, p), losses, found[chosen])


def _lost(labels: Floats, chances: Floats) -> Floats:
    """The log loss (nats) of each item."""
    logits = _logits(chances)
    lost: Floats = np.logaddexp(0, logits) - labels * logits
    return lost


def _error(differences: Floats, groups: Sequence[Hashable] | None) -> float:
    """The standard error of the mean of differences, of which those of a group are one."""
    sums = np.bincount(_numbered(len(differences), groups), weights=differences - differences.mean())
    return float(np.sqrt((sums**2).sum())) / len(differences)


def _numbered(n: int, groups: Sequence[Hashable] | None) -> Ints:
    """The number of each item's group, in the order in which they come."""
    numbers: dict[Hashable, int] = {}
    return np.array(
        [numbers.setdefault(name, len(numbers)) for name in (range(n) if groups is None else groups)], dtype=np.intp
    )


def _folds(n: int, groups: Sequence[Hashable] | None, folds: int, seed: int) -> Ints:
    """The fold of each item: groups dealt out in a random order."""
    number = _numbered(n, groups)
    distinct = int(number.max()) + 1
    if distinct < folds:
        raise ValueError(f"{distinct} independent items are too few for {folds} folds")
    dealt: Ints = (np.random.default_rng(seed).permutation(distinct) % folds)[number]
    return dealt


def _logits(scores: ArrayLike) -> Floats:
    return np.array([logit(score) for score in np.asarray(scores, dtype=np.float64).tolist()])


def _fit_logits(labels: ArrayLike, scores: ArrayLike, begin: Sequence[float]) -> list[float]:
    """A scale, not below 0, and with two numbers to begin from an offset.

    The labels are drawn in a little, as Platt (1999) does, so that scores that part them without error do not end at infinity.
    """
    y, logits = np.asarray(labels, dtype=np.float64), _logits(scores)
    positive, negative = y.sum(), (1 - y).sum()
    wanted = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    inputs = np.stack((logits, np.ones_like(logits)))[: len(begin)]

    def loss(weights: Floats) -> tuple[float, Floats]:
        moved = weights @ inputs
        return float((np.logaddexp(0, moved) - wanted * moved).mean()), inputs @ (expit(moved) - wanted) / len(y)

    bounds = [(0.0, None), (None, None)][: len(begin)]
    found = minimize(loss, np.array(begin), jac=True, method="L-BFGS-B", bounds=bounds)
    weights: list[float] = found.x.tolist()
    return weights
