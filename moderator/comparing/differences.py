"""Metrics of two sides over the same labelled items, and the paired differences."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan, log2, nan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moderator.comparing.joining import Booleans, Joined, Outcome, balance
from moderator.comparing.model import MetricDifference, SliceDifference
from moderator.metrics import (
    Conclusion,
    Estimate,
    Pairing,
    Resampling,
    Statistic,
    auroc_difference,
    conclude,
    estimate_all,
    mcnemar,
    proportion,
)
from moderator.metrics.intervals import Floats, Ints, Units, divide
from moderator.scoring.classes import LABELS, OF_DECISIONS
from moderator.scoring.labels import Known, decision_on, rule_gold
from moderator.scoring.model import NON_ANSWERS, Decision
from moderator.suite import Suite
from moderator.verdict import Failure, Verdict

STATISTICS: Final[Mapping[str, Statistic]] = {
    statistic.name: statistic for statistic in OF_DECISIONS if statistic.name not in ("base_rate", "flagged", "answered")
}
"""What can be compared on decisions, by name; ``auroc`` comes from scores."""

_Words = NDArray[np.object_]

LOWER_IS_BETTER: Final = ("missed", "failures")

_ONLY: Final[Mapping[str, tuple[Known, ...]]] = {
    "accuracy": ("yes", "no"), "recall": ("yes",), "specificity": ("no",), "false_positive_rate": ("no",),
}  # fmt: skip
"""Metrics that are a share of the same items on both sides, and the labels of those items."""


@dataclass(frozen=True)
class Paired:
    """Known labels and both sides' decisions about the same items: of the policy, or of one rule."""

    labels: Sequence[Known]
    first: Sequence[Decision]
    second: Sequence[Decision]
    groups: Sequence[Hashable] | None
    clusters: Ints | None

    def differences(self, metrics: Sequence[str], how: Resampling) -> list[MetricDifference]:
        """Of some of `STATISTICS`, in order."""
        pairing = Pairing.of(self.labels, self.first, self.second, LABELS, NON_ANSWERS, self.groups)
        found = pairing.comparisons([STATISTICS[metric] for metric in metrics], how)
        gold, before, after = (np.array(column, dtype=object) for column in (self.labels, self.first, self.second))
        return [
            MetricDifference(metric, *of_metric, *self._tested(metric, of_metric[-1], gold, before, after))
            for metric, of_metric in zip(metrics, found, strict=True)
        ]

    def _tested(
        self, metric: str, difference: Estimate, gold: _Words, before: _Words, after: _Words
    ) -> tuple[float | None, Conclusion]:
        counted = np.isin(gold, _ONLY[metric]) if metric in _ONLY else np.ones(len(gold), dtype=bool)
        changed = _units((before != after) & counted, self.clusters)
        if metric not in _ONLY:
            return None, _conclusion(metric, difference, None, changed)
        was, is_now = before == gold, after == gold
        p_value = mcnemar(*balance(was & ~is_now & counted, ~was & is_now & counted, self.clusters))
        return p_value, _conclusion(metric, difference, p_value, changed)


def of_decisions(joined: Joined) -> Paired:
    """The policy's: whether an item violates. Only of items with a known label."""
    known = joined.labelled
    return Paired([label for label in known.labels if label], *known.decisions, known.groups, known.clusters)


def of_rule(joined: Joined, rule: str) -> Paired:
    """A rule's: whether it is cited, over the items for which it is known whether it holds."""
    labels = [rule_gold(item, rule) if item else None for item in joined.items]
    known = joined.part([place for place, label in enumerate(labels) if label is not None])

    first, second = ([decision_on(rule, outcome) for outcome in side] for side in (known.first, known.second))
    return Paired([label for label in labels if label], first, second, known.groups, known.clusters)


def metric_differences(joined: Joined, how: Resampling) -> tuple[MetricDifference, ...]:
    """All metrics over the items with a known label; none without any."""
    if not joined.labelled.ids:
        return ()
    found = of_decisions(joined).differences(list(STATISTICS), how)
    scores = auroc(joined, how)
    return (*found, scores) if scores else tuple(found)


def auroc(joined: Joined, how: Resampling) -> MetricDifference | None:
    """Over the labelled items that have a score on both sides; None without any."""
    known = joined.labelled
    before, after = ([_score(outcome) for outcome in side] for side in (known.first, known.second))
    places = [place for place, (a, b) in enumerate(zip(before, after, strict=True)) if not isnan(a) and not isnan(b)]
    if not places:
        return None
    positive = np.array([label == "yes" for label in known.labels])[places]
    groups = None if known.groups is None else [known.groups[place] for place in places]
    a, b, difference = auroc_difference(positive, np.array(before)[places], np.array(after)[places], groups, how)
    return MetricDifference("auroc", a, b, difference, None, conclude(difference))


def _score(outcome: Outcome) -> float:
    """nan where there is none."""
    value = outcome.score.value if isinstance(outcome, Verdict) else None
    return nan if value is None else value


def failure_difference(joined: Joined, how: Resampling) -> MetricDifference:
    """Of the share of items that failed."""
    first, second = (np.array([isinstance(one, Failure) for one in side], dtype=bool) for side in (joined.first, joined.second))
    rows = np.array([(a, b, 1) for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))], dtype=float)
    cells = (2 * first + second).astype(np.intp)
    if joined.groups is None:
        units = Units(rows, np.bincount(cells, minlength=len(rows)), closed=True)
    else:
        units = Units.of(rows[cells], joined.groups)
    wanted = [_failures(0), _failures(1), Statistic("failures_difference", _rise)]
    of_first, of_second, difference = estimate_all(wanted, units, how)
    p_value = mcnemar(*balance(first & ~second, ~first & second, joined.clusters))
    conclusion = _conclusion("failures", difference, p_value, _units(first != second, joined.clusters))
    return MetricDifference("failures", of_first, of_second, difference, p_value, conclusion)


def _failures(side: int) -> Statistic:
    return proportion("failures", lambda table: (table[..., side], table[..., 2]))


def _rise(table: Floats) -> Floats:
    return divide(table[..., 1] - table[..., 0], table[..., 2])


def slice_differences(suite: Suite | None, joined: Joined, metric: str, how: Resampling) -> tuple[SliceDifference, ...]:
    """One metric for every value of the suite's slices, with intervals at a level corrected for their number (Bonferroni)."""
    if suite is None:
        return ()
    places: dict[tuple[str, str], list[int]] = {}
    known = joined.labelled
    for place, item in enumerate(known.items):
        for key in suite.slices:
            if item is not None and (value := item.slices.get(key)) is not None:
                places.setdefault((key, value), []).append(place)
    stricter = replace(how, level=1 - (1 - how.level) / max(1, len(places)))
    found = []
    for (key, value), of_slice in sorted(places.items(), key=lambda entry: (suite.slices.index(entry[0][0]), entry[0][1])):
        part = known.part(of_slice)
        difference = auroc(part, stricter) if metric == "auroc" else of_decisions(part).differences([metric], stricter)[0]
        if difference:
            found.append(SliceDifference(key, value, len(of_slice), difference))
    return tuple(found)


def _units(changed: Booleans, clusters: Ints | None) -> int:
    """How many units changed."""
    return int(changed.sum()) if clusters is None else len(np.unique(clusters[changed]))


def _conclusion(metric: str, difference: Estimate, p_value: float | None, changed: int) -> Conclusion:
    """What the interval shows, unless the exact test does not; nor do fewer changes than such a test could tell from chance.

    The bootstrap alone takes four changes of one direction, which chance brings one time in eight, for a difference.
    """
    concluded = conclude(difference, higher_is_better=metric not in LOWER_IS_BETTER)
    if concluded in ("better", "worse"):
        risk = 1 - difference.level
        fewest = ceil(1 - log2(risk))  # all in one direction: 2 * 0.5 ** n < risk
        if changed < fewest or (p_value is not None and p_value >= risk):
            return "no difference shown"
    return concluded
