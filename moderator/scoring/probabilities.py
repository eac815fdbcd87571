"""What is read off the probabilities: calibration, risk at coverage, and what other thresholds would have done."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import numpy as np

from moderator.metrics import (
    Resampling,
    area_estimates,
    brier,
    brier_parts,
    calibration_error_estimate,
    coverage_at_risk,
    reliability,
    risk_coverage,
    spiegelhalter,
)
from moderator.scoring.labels import Pair
from moderator.scoring.model import Calibration, Selective, ThresholdPoint
from moderator.verdict import Verdict

T = TypeVar("T")
RISKS: Final = ("0.01", "0.02", "0.05", "0.1")
_POINTS: Final = 200


def calibration(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Calibration | None:
    """Over the items with a known label and a probability; None when there are none."""
    places = [place for place, pair in enumerate(pairs) if pair.gold and pair.probability is not None]
    if not places:
        return None
    labels = np.array([pairs[place].gold == "yes" for place in places], dtype=np.float64)
    scores = np.array([pairs[place].probability for place in places], dtype=np.float64)
    kept = None if groups is None else [groups[place] for place in places]
    scored = (pairs[place].outcome for place in places)
    return Calibration(
        error=calibration_error_estimate(labels, scores, groups=kept, how=how),
        brier=brier(labels, scores, kept, how),
        parts=brier_parts(labels, scores),
        spiegelhalter=spiegelhalter(labels, scores),
        bins=reliability(labels, scores, groups=kept, how=how),
        calibrated=all(isinstance(outcome, Verdict) and outcome.score.calibrated for outcome in scored),
    )


def selective(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Selective:
    """Over the items with a known label; one without a decision or a probability can only be withheld.

    Undefined where all are such: without confidences there is no order in which to withhold.
    """
    places = [place for place, pair in enumerate(pairs) if pair.gold]
    if all(pairs[place].confidence is None for place in places):
        places = []
    known = [pairs[place] for place in places]
    losses = np.array([pair.confidence is None or pair.decision != pair.gold for pair in known], dtype=np.float64)
    confidences = np.array([-np.inf if pair.confidence is None else pair.confidence for pair in known], dtype=np.float64)
    kept = None if groups is None else [groups[place] for place in places]
    of_risk, of_joint_risk = area_estimates(losses, confidences, kept, how)
    return Selective(
        aurc=of_risk,
        augrc=of_joint_risk,
        curve=tuple(_thinned(risk_coverage(losses, confidences))),
        at_risk={risk: coverage_at_risk(losses, confidences, float(risk)) for risk in RISKS},
    )


def thresholds(pairs: Sequence[Pair]) -> tuple[ThresholdPoint, ...]:
    """Over the items with a known label and a probability: from the lowest, which flags them all, to above the highest."""
    known = [(pair.probability, pair.gold == "yes") for pair in pairs if pair.gold and pair.probability is not None]
    if not known:
        return ()
    scores = np.array([score for score, _ in known])
    positive = np.array([label for _, label in known])
    values = [*_thinned(np.unique(scores).tolist()), float(np.nextafter(scores.max(), 2))]
    points = []
    for value in values:
        flagged = scores >= value
        hits, alarms = int((flagged & positive).sum()), int((flagged & ~positive).sum())
        points.append(ThresholdPoint(float(value), hits, alarms, int(positive.sum()) - hits, int((~positive).sum()) - alarms))
    return tuple(points)


def _thinned(values: Sequence[T]) -> list[T]:
    """As many as a chart can show, evenly, the first and the last among them."""
    if len(values) <= _POINTS:
        return list(values)
    return [values[place] for place in np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int))]
