"""The parts of a page: a suite's report, or a comparison, with everything that is worked out for it before it is laid out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from moderator.comparing.model import Comparison
from moderator.metrics import (
    Confusion,
    Estimate,
    Resampling,
    Units,
    f1,
    false_positive_rate,
    flagged,
    precision,
    recall,
)
from moderator.report import charts, words
from moderator.scoring.model import Anchor, Check, Report, ThresholdPoint

_SECTIONS: Final = {
    "summary": "Summary",
    "anchors": "Anchors",
    "rules": "Rules",
    "errors": "Right and wrong",
    "people": "People",
    "threshold": "Threshold",
    "scores": "Scores",
    "slices": "Slices",
    "changes": "Changes",
    "clusters": "Kinds of errors",
    "disagreements": "Disagreements",
    "evidence": "Evidence",
    "cost": "Cost and prevalence",
    "provenance": "Provenance",
}
_TOLD_ELSEWHERE: Final = ("schema", "suites", "policies", "provenances")
"""What of a run's manifest the page says in other places."""
_AT_FIRST: Final = 0.5
_LIVE: Final = (precision, recall, f1, false_positive_rate, flagged)


@dataclass(frozen=True)
class Threshold:
    """What the slider works on."""

    points: tuple[ThresholdPoint, ...]
    how: Resampling

    @property
    def z(self) -> float:
        return self.how.z

    @cached_property
    def start(self) -> int:
        """Where it stands at first: at the lowest threshold of a half or more."""
        halves = (place for place, point in enumerate(self.points) if point.threshold >= _AT_FIRST)
        return next(halves, len(self.points) - 1)

    @property
    def at(self) -> ThresholdPoint:
        return self.points[self.start]

    @property
    def n(self) -> int:
        return int(_counts(self.at).sum())

    @property
    def json(self) -> Markup:
        """The points, and where the chart's frame is: for the page's script."""
        at = self.at
        return script_json(
            {
                "threshold": [round(point.threshold, 6) for point in self.points],
                "hits": [point.true_positives for point in self.points],
                "alarms": [point.false_positives for point in self.points],
                "positive": at.true_positives + at.false_negatives,
                "negative": at.false_positives + at.true_negatives,
                "frame": {"left": charts.LEFT, "top": charts.TOP, "width": charts.WIDTH, "height": charts.HEIGHT},
            }
        )

    @property
    def estimates(self) -> tuple[tuple[str, Estimate], ...]:
        """At the start, by the names of the statistics: Wilson intervals over items."""
        units = Units(np.eye(4).reshape(4, 2, 2), _counts(self.at), closed=True)
        table = Confusion(("no", "yes"), (), units)
        return tuple((statistic.name, table.estimate(statistic, how=self.how)) for statistic in _LIVE)


def _counts(point: ThresholdPoint) -> Any:
    """By label and answer: no and no, no and yes, yes and no, yes and yes."""
    return np.array([point.true_negatives, point.false_positives, point.false_negatives, point.true_positives], dtype=np.intp)


def script_json(value: object) -> Markup:
    """JSON that cannot end the element it stands in, nor the line."""
    said = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Markup(said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@dataclass(frozen=True)
class Part:
    """A suite's report with its comparison, or a comparison that stands alone."""

    id: str
    report: Report | None
    comparison: Comparison | None = None

    @property
    def title(self) -> str:
        if self.report:
            return self.report.judged.title or self.report.judged.suite
        assert self.comparison
        return (
            f"{self.comparison.suite or self.comparison.policy}: {self.comparison.first.name} and {self.comparison.second.name}"
        )

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The line under the title."""
        if self.report is None:
            assert self.comparison
            return [("policy", self.comparison.policy), ("suite", self.comparison.suite or "none")]
        judged, made = self.report.judged, self.report.judged.provenance
        known = {
            "policy": made.get("policy") or judged.policy,
            "model": made.get("model"),
            "engine": made.get("engine"),
            "suite": f"{judged.suite} {judged.version}",
            "items": f"{self.report.counts.judged:,}",
            "finished": judged.run.get("finished"),
        }
        return [(name, str(value)) for name, value in known.items() if value]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """What the list of contents names: ids without the part's own, and titles."""
        if self.report is None:
            return [("difference", "Verdict")]
        quoted = self.report.evidence is not None or self.report.quotes.value is not None
        left_out = () if quoted else ("evidence",)
        return [(id, title) for id, title in _SECTIONS.items() if id not in left_out]

    @property
    def panel(self) -> bool:
        """Whether the anchors stand against the other annotators of each item."""
        return self.report is not None and words.people(self.report) is not None

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return words.anchors(self.report) if self.report else ()

    @property
    def anchor_note(self) -> str:
        if self.panel:
            return (
                "All measured alike, against the majority of the other annotators of each item. "
                "The oracle knows all votes and is no person. "
                "Above the constant and the linear model is the least; no person here is an upper bound."
            )
        return (
            "Measured against the labels. Above the constant and the linear model is the least. "
            "A human level takes three annotators or more an item."
        )

    @property
    def targets(self) -> Mapping[str, float]:
        """Those of the whole policy, by metric."""
        return {check.metric: check.least for check in self._checks if check.rule is None}

    @property
    def rule_targets(self) -> Mapping[tuple[str, str], float]:
        return {(check.rule, check.metric): check.least for check in self._checks if check.rule is not None}

    @property
    def _checks(self) -> Sequence[Check]:
        return self.report.checks if self.report else ()

    @property
    def sentences(self) -> list[str]:
        return words.sentences(self.report) if self.report else []

    @property
    def cautions(self) -> list[str]:
        return words.cautions(self.report) if self.report else []

    @cached_property
    def threshold(self) -> Threshold | None:
        if self.report is None or not self.report.thresholds:
            return None
        return Threshold(self.report.thresholds, Resampling(level=level(self.report), minimum=self.report.judged.minimum))

    @cached_property
    def charts(self) -> Mapping[str, Markup]:
        if self.report is None:
            return {}
        target = None if self.panel else self.targets.get("f1")
        drawn = {"anchors": charts.anchors(self.anchors, words.ANCHORS, "f1", "F1", target)}
        if self.report.calibration:
            drawn["reliability"] = charts.reliability(self.report.calibration.bins)
        if self.report.selective.curve:
            drawn["risk"] = charts.risk(self.report.selective.curve)
        if self.report.thresholds:
            drawn["thresholds"] = charts.thresholds(self.report.thresholds)
        return drawn

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What was judged and by what, flat."""
        if self.report is None:
            return []
        judged = self.report.judged
        known: dict[str, object] = {
            "suite": f"{judged.suite} {judged.version}",
            "suite digest": judged.digest,
            "labels": ", ".join(judged.scale.values) + f" ({judged.scale.kind}); violating: {', '.join(judged.scale.violates)}",
        }
        if judged.source:
            known |= {name: value for name, value in judged.source.model_dump().items() if value}
        known["resampled"] = "items" if self.report.counts.clusters is None else f"{self.report.counts.clusters:,} groups"
        run = {name: value for name, value in judged.run.items() if name not in _TOLD_ELSEWHERE}
        return [*((name, str(value)) for name, value in known.items()), *_flat(judged.provenance), *_flat(run)]


def level(report: Report) -> float:
    """Of the report's intervals."""
    return next((estimate.level for estimate in report.metrics.values()), Resampling().level)


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines ``outer inner``."""
    for key, value in values.items():
        name = f"{within} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            yield from _flat({f"{name} {place}" if len(value) > 1 else name: one for place, one in enumerate(value, 1)})
        elif isinstance(value, list | tuple):
            yield name, " ".join(map(str, value)) or "none"
        else:
            yield name, words.MISSING if value is None else str(value)


def parts(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> tuple[Part, ...]:
    """A part for each suite, with the comparison of that suite; then the comparisons that have none."""
    left = list(comparisons)
    found = []
    for report in reports:
        of_suite = next((one for one in left if one.suite == report.judged.suite and one.policy == report.judged.policy), None)
        if of_suite is not None:
            left.remove(of_suite)
        found.append((report, of_suite))
    whole = [*found, *((None, one) for one in left)]
    return tuple(Part(f"s{number}", report, comparison) for number, (report, comparison) in enumerate(whole, 1))
