"""Answering only where one is confident: what risk is left at which coverage.

`losses` say how wrong each answer was (0 right, 1 wrong), `confidences` in what order answers are withheld. An item that got no
answer is a loss of 1 held with confidence minus infinity: it counts as one that can only be withheld. Items of equal confidence
are accepted together; areas take the mean over all orders among them, so nothing depends on the order of the items.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moderator.metrics.intervals import DEFAULT, Estimate, Floats, Ints, Resampling, estimate_by_index


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
    lost = _cumulative_loss(*_checked(losses, confidences))
    return float((lost / np.arange(1, len(lost) + 1)).mean()) if len(lost) else None


def augrc(losses: ArrayLike, confidences: ArrayLike) -> float | None:
    """The mean over all coverages of the probability that an answer is accepted and wrong (Traub et al. 2024).

    For losses of 0 and 1: ``(1 - AUROC) * accuracy * (1 - accuracy) + (1 - accuracy)**2 / 2``, with the AUROC of confidence for
    being right. Between 0 and a half.
    """
    lost = _cumulative_loss(*_checked(losses, confidences))
    return float((lost.sum() - lost[-1] / 2) / len(lost) ** 2) if len(lost) else None


def area_estimate(
    area: Callable[[ArrayLike, ArrayLike], float | None],
    losses: ArrayLike,
    confidences: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> Estimate:
    """`aurc` or `augrc` with a bootstrap interval over items or groups."""
    loss, confidence = _checked(losses, confidences)
    return estimate_by_index(lambda items: area(loss[items], confidence[items]), len(loss), groups, how)


def _steps(loss: Floats, confidence: Floats) -> tuple[Floats, Ints, Floats]:
    """Distinct confidences from high to low; how many items are accepted at each, and their loss."""
    thresholds, place, times = np.unique(-confidence, return_inverse=True, return_counts=True)
    return -thresholds, np.cumsum(times), np.cumsum(np.bincount(place, weights=loss, minlength=len(times)))


def _cumulative_loss(loss: Floats, confidence: Floats) -> Floats:
    """The loss of the first 1, 2, ... accepted items, in the mean over the orders of items of equal confidence."""
    _, accepted, lost = _steps(loss, confidence)
    cumulative: Floats = np.interp(np.arange(1, len(loss) + 1), np.append(0, accepted), np.append(0, lost))
    return cumulative


def _checked(losses: ArrayLike, confidences: ArrayLike) -> tuple[Floats, Floats]:
    loss, confidence = np.asarray(losses, dtype=np.float64), np.asarray(confidences, dtype=np.float64)
    if loss.shape != confidence.shape or loss.ndim != 1 or np.isnan(confidence).any() or np.isnan(loss).any():
        raise ValueError("a confidence is wanted for each loss, and nan is none")
    return loss, confidence
