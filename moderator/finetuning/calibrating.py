"""A calibration out of a run: scores against people's labels, and how far decisions may go by themselves.

Where a limit of error is guaranteed, the golden set is parted by a hash of its contents: one half is what the recalibration is
fitted on, the other what the guarantee and every number after it rest on. A doubt that had been fitted to the very items whose
errors are counted would promise too much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from moderator.calibration import Calibration, Limits, Subject, uncalibrated
from moderator.errors import DataError
from moderator.finetuning.rows import text_digest
from moderator.metrics import (
    Estimate,
    ReliabilityBin,
    Resampling,
    brier,
    calibration_error_estimate,
    reliability,
    spiegelhalter,
)
from moderator.metrics.abstention import Costs, Guarantee, Inconclusive, guarantee_error
from moderator.metrics.intervals import DEFAULT, Floats, proportion_estimate
from moderator.metrics.recalibration import Choice, choose, recalibrated
from moderator.runs import Run
from moderator.scoring.labels import Pair, paired
from moderator.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Target:
    """At most so many of the automatic decisions wrong, with this confidence."""

    error: float
    confidence: float = 0.95

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads ``error<=0.02@0.95``. Raises `ValueError`."""
        error, at, confidence = text.replace(" ", "").removeprefix("error<=").partition("@")
        target = cls(float(error), float(confidence) if at else 0.95)
        if not text.strip().startswith("error") or not 0 < target.error < 1 or not 0 < target.confidence < 1:
            raise ValueError(text)
        return target


@dataclass(frozen=True, slots=True)
class Golden:
    """A verdict that people have an answer to: its own score and decision, before any calibration."""

    pair: Pair
    verdict: Verdict
    score: float

    @property
    def violates(self) -> bool:
        return self.pair.gold == "yes"

    @property
    def decided(self) -> bool:
        return self.pair.decision in ("yes", "no")

    @property
    def wrong(self) -> bool:
        return self.pair.decision != self.pair.gold

    def doubt(self, chance: float) -> float:
        """Of the decision, at a calibrated probability of a violation; infinite where there is none."""
        return float("inf") if not self.decided else 1 - chance if self.pair.decision == "yes" else chance


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores against labels, before a calibration or behind it."""

    error: Estimate
    """Expected calibration error."""
    brier: Estimate
    spiegelhalter: float | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class Calibrating:
    """A calibration, and what it came to on items that it was not fitted on."""

    calibration: Calibration | None
    """None: what was asked to be guaranteed cannot be."""
    choice: Choice
    fitted: int
    """Items that the recalibration was fitted on."""
    measured: int
    """Items that the numbers rest on: others, or the same ones, each fitted without its fold."""
    before: Measured
    after: Measured
    promise: Guarantee | Inconclusive | None
    decided: Estimate | None
    """The share of these items that are still decided without a person; None: all that were."""


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """What a run has to calibrate on."""

    items: tuple[Golden, ...]
    learned: int
    """Contents left out because an adapter has learned their text."""
    unscored: int
    """Labelled contents of which the run has no score, failures among them: a person decides about such ones, whatever the
    limits."""


def golden_of(run: Run, policy: str, *, learned: Set[str] = frozenset()) -> GoldenSet:
    """The run's verdicts under a policy that have a score and an answer by people, each content once.

    `learned`: digests of the texts that the adapter has learned, as they lie beside it. Raises `DataError` for a run that has
    none.
    """
    found, seen, left_out, unscored = [], set(), 0, 0
    for record in run.manifest.suites:
        if record.policy != policy:
            continue
        for pair in paired(run.suite(record.slug), run.outcomes(record.slug), run.judged(record.slug)):
            if pair.gold is None or pair.item.id in seen:
                continue
            seen.add(pair.item.id)
            if text_digest(pair.item.text) in learned:
                left_out += 1
                continue
            verdict = uncalibrated(pair.outcome) if isinstance(pair.outcome, Verdict) else None
            if verdict is None or verdict.score.value is None:
                unscored += 1
            else:
                found.append(Golden(Pair(pair.suite, pair.item, verdict), verdict, verdict.score.value))
    if not found:
        what = "every text was learned by the adapter" if left_out else f"no verdicts under {policy} with a score and a label"
        raise DataError(f"{run.path}: {what}\n  calibrate on a run over other labelled contents")
    return GoldenSet(tuple(found), left_out, unscored)


def calibrate(
    golden: Sequence[Golden], *, target: Target | None = None, costs: Costs | None = None, how: Resampling = DEFAULT
) -> Calibrating:
    """A calibration from verdicts with people's answers (see `golden_of`).

    Temperature, Platt and isotonic are fitted and the scores as they are beside them; the choice is by cross-validated log
    loss. `target` limits the error of what is decided automatically, `costs` decide where a person's look is worth it.
    Raises `DataError` where there are too few items of either label.
    """
    fitted, held = _parted(golden) if target else (list(golden), list(golden))
    # what is counted for a guarantee has to be independent
    held = list({one.pair.item.cluster: one for one in held}.values()) if target else held
    try:
        labels, scores, groups = _columns(fitted)
        choice = choose(labels, scores, groups)
    except ValueError as error:
        raise DataError(f"calibration: {error}\n  label more contents: some hundred are usual") from None
    of_held, raw, clusters = _columns(held)
    chances = recalibrated(choice.recalibration, raw) if target else choice.held_out
    promise: Guarantee | Inconclusive | None = None
    limits, promised = None, dict[str, float]()
    if target:
        doubts = [one.doubt(chance) for one, chance in zip(held, chances.tolist(), strict=True)]
        promise = guarantee_error([one.wrong for one in held], doubts, target.error, target.confidence)
        promised = {"error": target.error, "confidence": target.confidence}
        limits = Limits(passed=promise.threshold, flagged=promise.threshold) if isinstance(promise, Guarantee) else None
    elif costs:
        limits = Limits(passed=costs.limits.passed, flagged=costs.limits.flagged)
        promised = {"miss": costs.miss, "alarm": costs.alarm, "review": costs.review}
    before, after = _measured(of_held, raw, clusters, how), _measured(of_held, chances, clusters, how)
    calibration = Calibration(
        subject=Subject.of(golden[0].verdict.provenance),
        method=golden[0].verdict.score.method,
        recalibration=choice.recalibration,
        limits=limits,
        promise=promised,
        golden={one.pair.suite.slug: one.pair.suite.digest for one in golden},
        measured={
            "items": len(held),
            "ece_before": before.error.value,
            "ece_after": after.error.value,
            "brier_before": before.brier.value,
            "brier_after": after.brier.value,
        },
    )
    return Calibrating(
        calibration if not isinstance(promise, Inconclusive) else None,
        choice,
        len(fitted),
        len(held),
        before,
        after,
        promise,
        _still_decided(held, chances, limits),
    )


def _parted(golden: Sequence[Golden]) -> tuple[list[Golden], list[Golden]]:
    """Two halves by a hash of the cluster; a cluster is never parted."""
    halves: tuple[list[Golden], list[Golden]] = ([], [])
    for one in golden:
        hashed = hashlib.sha256(f"calibration/{one.pair.item.cluster}".encode("utf-8", "surrogatepass")).digest()
        halves[hashed[0] & 1].append(one)
    return halves


def _columns(golden: Sequence[Golden]) -> tuple[Floats, Floats, list[str]]:
    """Labels, scores and clusters."""
    return (
        np.array([one.violates for one in golden], dtype=np.float64),
        np.array([one.score for one in golden], dtype=np.float64),
        [one.pair.item.cluster for one in golden],
    )


def _measured(labels: Floats, chances: Floats, clusters: list[str], how: Resampling) -> Measured:
    groups = clusters if len(set(clusters)) < len(clusters) else None
    return Measured(
        calibration_error_estimate(labels, chances, groups=groups, how=how),
        brier(labels, chances, groups, how),
        spiegelhalter(labels, chances),
        reliability(labels, chances, groups=groups, how=how),
    )


def _still_decided(golden: Sequence[Golden], chances: Floats, limits: Limits | None) -> Estimate | None:
    if limits is None:
        return None
    decided = 0
    for one, chance in zip(golden, chances.tolist(), strict=True):
        limit = limits.flagged if one.pair.decision == "yes" else limits.passed
        decided += one.doubt(chance) < limit
    return proportion_estimate(decided, len(golden))
