"""Answering only where one is confident: what risk is left at which coverage.

`losses` say how wrong each answer was (0 right, 1 wrong), `confidences` in what order answers are withheld. An item that got no
answer is a loss of 1 held with confidence minus infinity: it counts as one that can only be withheld. Items of equal confidence
are accepted together; areas take the mean over all orders among them, so nothing depends on the order of the items.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moderator.metrics.intervals import DEFAULT, Estimate, Floats, Ints, Resampling, Statistic, divide
from moderator.metrics.weighted import Steps, estimate_weighted, value_of


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What happens when answers of at least this confidence are accepted."""

    threshold: float
    coverage: float
    """The share of all items that are accepted."""
    risk: float
    """The mean loss of those."""
    n: int


def risk_coverage(losses: ArrayLike, confidences: ArrayLike) -> tuple[RiskPoint, ...]:
    """The curve, from the most confident answers to all; a point for each distinct confidence of an answer."""
    loss, confidence = _checked(losses, confidences)
    thresholds, accepted, lost = _steps(loss, confidence)
    return tuple(
        RiskPoint(float(threshold), float(n / len(loss)), float(total / n), int(n))
        for threshold, n, total in zip(thresholds, accepted, lost, strict=True)
        if threshold > -np.inf
    )


def coverage_at_risk(losses: ArrayLike, confidences: ArrayLike, risk: float) -> RiskPoint | None:
    """The point of greatest coverage whose risk, in this sample, is no more than `risk`; None when there is none.

    No guarantee for other items: the threshold was chosen on these.
    """
    return max(
        (point for point in risk_coverage(losses, confidences) if point.risk <= risk), key=lambda point: point.n, default=None
    )


def aurc(losses: ArrayLike, confidences: ArrayLike) -> float | None:
    """The mean risk over all coverages (Geifman & El-Yaniv 2017); None without items.

    Dominated by the few most confident answers; `augrc` is not.
    """
    return value_of(_mean_risk(*_checked(losses, confidences)), np.size(losses))


def augrc(losses: ArrayLike, confidences: ArrayLike) -> float | None:
    """The mean over all coverages of the probability that an answer is accepted and wrong (Traub et al. 2024).

    For losses of 0 and 1: ``(1 - AUROC) * accuracy * (1 - accuracy) + (1 - accuracy)**2 / 2``, with the AUROC of confidence for
    being right. Between 0 and a half.
    """
    return value_of(_mean_joint_risk(*_checked(losses, confidences)), np.size(losses))


def area_estimates(
    losses: ArrayLike, confidences: ArrayLike, groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> tuple[Estimate, Estimate]:
    """`aurc` and `augrc` with bootstrap intervals over items or groups."""
    loss, confidence = _checked(losses, confidences)
    areas = [_mean_risk(loss, confidence), _mean_joint_risk(loss, confidence)]
    first, second = estimate_weighted(areas, len(loss), groups, how)
    return first, second


def _mean_risk(loss: Floats, confidence: Floats) -> Statistic:
    """`aurc` as a statistic of the items' weights, which are how often each is there."""
    steps = Steps.of(-confidence)

    def of_one(times: Floats, lost: Floats) -> float:
        # the loss of the first 1, 2, ... accepted, in the mean over the orders of items of equal confidence
        cumulative = np.cumsum(np.repeat(divide(lost, times), times.astype(np.intp)))
        return float((cumulative / np.arange(1, len(cumulative) + 1)).mean())

    def compute(weights: Floats) -> Floats:
        times, lost = steps.sums(weights, loss)
        pairs = zip(times.reshape(-1, times.shape[-1]), lost.reshape(-1, times.shape[-1]), strict=True)
        return np.array([of_one(*pair) for pair in pairs]).reshape(weights.shape[:-1])

    return Statistic("aurc", compute)


def _mean_joint_risk(loss: Floats, confidence: Floats) -> Statistic:
    """`augrc` as a statistic of the items' weights."""
    steps = Steps.of(-confidence)

    def compute(weights: Floats) -> Floats:
        times, lost = steps.sums(weights, loss)
        upto = np.cumsum(lost, axis=-1)
        # of each step: its items, with the losses before them and, in the mean over their orders, their own up to there
        under = (times * (upto - lost) + lost * (times + 1) / 2).sum(-1)
        return divide(under - upto[..., -1] / 2, weights.sum(-1) ** 2)

    return Statistic("augrc", compute)


def _steps(loss: Floats, confidence: Floats) -> tuple[Floats, Ints, Floats]:
    """Distinct confidences from high to low; how many items are accepted at each, and their loss."""
    thresholds, place, times = np.unique(-confidence, return_inverse=True, return_counts=True)
    return -thresholds, np.cumsum(times), np.cumsum(np.bincount(place, weights=loss, minlength=len(times)))


def _checked(losses: ArrayLike, confidences: ArrayLike) -> tuple[Floats, Floats]:
    loss, confidence = np.asarray(losses, dtype=np.float64), np.asarray(confidences, dtype=np.float64)
    if loss.shape != confidence.shape or loss.ndim != 1 or np.isnan(confidence).any() or np.isnan(loss).any():
        raise ValueError("a confidence is wanted for each loss, and nan is none")
    return loss, confidence
