"""From outcomes and labels to a report. Never needs the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from moderator.errors import DataError
from moderator.metrics import (
    Confusion,
    Estimate,
    Resampling,
    corrected_prevalence,
    mean,
    quadratic_kappa,
)
from moderator.policy.document import nearest
from moderator.policy.model import SEVERITIES, Severity
from moderator.records import outcome_name
from moderator.scoring.anchors import anchors
from moderator.scoring.classes import METRICS, OF_DECISIONS, as_table, confusion, decision_metrics, probability_metrics
from moderator.scoring.disagreements import clusters, worst
from moderator.scoring.floor import NO_FLOOR, Floor, native_floor
from moderator.scoring.labels import Pair, decision, decision_on, paired, rule_gold
from moderator.scoring.model import (
    Check,
    Cost,
    Counts,
    Decision,
    Judged,
    Metrics,
    Report,
    RuleScore,
    SeverityScore,
    SliceScore,
)
from moderator.scoring.people import Annotators, agreements
from moderator.scoring.probabilities import calibration, selective, thresholds
from moderator.scoring.quotes import evidence, exactness
from moderator.suite import Item, Suite, Targets
from moderator.verdict import Failure, Verdict

Outcomes = Mapping[str, Verdict | Failure]
"""By the ids of items."""

_RULE_METRICS: Final = tuple(statistic.name for statistic in OF_DECISIONS)
_NO_TARGETS: Final = ("missed", "flagged", "base_rate")
"""Statistics that are not the better the higher they are."""
_TOKENS: Final = ("prompt", "cached", "completion")


class PolicyRule(Protocol):
    """What a score needs to know of a rule."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def severity(self) -> Severity: ...


@dataclass(frozen=True)
class Scoring:
    """How a score is made."""

    how: Resampling = field(default_factory=Resampling)
    """Its minimum is the suite's."""
    annotators: Annotators = "crowd"
    """What the labels were given by: the alternative annotator test asks more of a model that stands in for a crowd."""
    floor: Floor | None = None
    """What the linear model says, from `fit_floor`; None: it is not asked."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """For a million ``prompt``, ``cached`` and ``completion`` tokens; cached ones cost what others of the prompt do where
    nothing is said of them. Empty: no price is reckoned."""
    stream: Iterable[Verdict | Failure] = ()
    """Outcomes of contents as the platform meets them, of which the share that violates is wanted: read once. Empty: the
    unlabelled items."""

    def __post_init__(self) -> None:
        for kind in sorted(self.prices.keys() - set(_TOKENS)):
            raise DataError(f"prices: no tokens {kind!r}{nearest(kind, _TOKENS)}\n  tokens are {', '.join(_TOKENS)}")


def score(
    suite: Suite,
    outcomes: Outcomes,
    rules: Sequence[PolicyRule],
    scoring: Scoring | None = None,
    *,
    items: Sequence[Item] | None = None,
    run: Mapping[str, Any] | None = None,
    wall_s: float | None = None,
) -> Report:
    """Scores the outcomes of a suite's items (by default the test split's); their order does not matter.

    `rules` are those of the policy that was judged under; `run` is kept as it is, for the record. Raises `DataError` when no
    item has an outcome, or a target names no rule or no metric that can be one.
    """
    scoring = scoring or Scoring()
    how = replace(scoring.how, minimum=suite.minimum)
    wanted = suite.split("test") if items is None else items
    pairs = paired(suite, outcomes, sorted(wanted, key=lambda item: item.id))
    if not wanted:
        raise DataError(f"{suite.slug}: no items to score\n  unless told, those of the test split are, and there are none")
    if not pairs:
        raise DataError(f"{suite.slug}: none of its {len(wanted):,} items has an outcome\n  was this run made with this suite?")
    groups = _groups(pairs)
    floor = scoring.floor or NO_FLOOR
    table = confusion([pair.gold for pair in pairs], [pair.decision for pair in pairs], groups)
    metrics = _metrics(pairs, groups, how)
    of_rules = tuple(_rule(rule, pairs, groups, how) for rule in rules)
    checks = tuple(check_targets(suite.targets, metrics, of_rules))
    return Report(
        judged=_judged(suite, pairs, run or {}),
        counts=_counts(pairs, len(wanted), groups),
        metrics=metrics,
        table=as_table(table),
        rules=of_rules,
        citations=_citations(pairs, groups, how),
        severity=_severity(pairs, rules, groups, how),
        severities=tuple(_severities(pairs, rules, groups, how)),
        slices=tuple(_slices(suite, pairs, groups, how)),
        anchors=anchors(pairs, floor, metrics, groups, how),
        native_floor=native_floor(suite, floor, pairs, groups, how),
        agreement=agreements(suite, pairs, floor, groups, scoring.annotators, how),
        quotes=exactness(pairs, groups, how),
        evidence=evidence(pairs, groups, how),
        calibration=calibration(pairs, groups, how),
        selective=selective(pairs, groups, how),
        thresholds=thresholds(pairs),
        prevalence=_prevalence(pairs, scoring.stream, how),
        cost=_cost(pairs, scoring.prices, wall_s),
        checks=checks,
        clusters=clusters(pairs),
        disagreements=worst(pairs),
    )


def check_targets(targets: Targets, metrics: Metrics, rules: Sequence[RuleScore]) -> list[Check]:
    """Every target held against its number. Raises `DataError` for a metric or a rule that there is none of, and for a metric
    of which more is not better."""
    of_rule = {rule.id: rule.metrics for rule in rules}
    checks = [_check(name, None, least, metrics, METRICS) for name, least in targets.metrics.items()]
    for rule, wanted in targets.rules.items():
        if rule not in of_rule:
            hint = f"rules are {', '.join(of_rule)}"
            raise DataError(f"targets: the policy has no rule {rule!r}{nearest(rule, tuple(of_rule))}\n  {hint}")
        checks += [_check(name, rule, least, of_rule[rule], _RULE_METRICS) for name, least in wanted.items()]
    return checks


def _check(metric: str, rule: str | None, least: float, metrics: Metrics, known: Sequence[str]) -> Check:
    wanted = [name for name in known if name not in _NO_TARGETS]
    if metric in _NO_TARGETS:
        raise DataError(f"targets: {metric!r} is not better the higher it is\n  metrics are {', '.join(wanted)}")
    if metric not in metrics:
        raise DataError(f"targets: no metric {metric!r}{nearest(metric, wanted)}\n  metrics are {', '.join(wanted)}")
    estimate = metrics[metric]
    reached = estimate.value is not None and estimate.value >= least
    return Check(metric, rule, least, estimate, "inconclusive" if estimate.inconclusive else "reached" if reached else "short")


def _groups(pairs: Sequence[Pair]) -> list[Hashable] | None:
    """None for an item that stands alone."""
    return [pair.item.group or None for pair in pairs] if any(pair.item.group for pair in pairs) else None


def _metrics(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> dict[str, Estimate]:
    gold = [pair.gold for pair in pairs]
    of_decisions = decision_metrics(confusion(gold, [pair.decision for pair in pairs], groups), how)
    return of_decisions | dict(probability_metrics(gold, [pair.probability for pair in pairs], groups, how))


def _judged(suite: Suite, pairs: Sequence[Pair], run: Mapping[str, Any]) -> Judged:
    return Judged(
        suite=suite.slug,
        version=suite.version,
        title=suite.title,
        digest=suite.digest,
        policy=suite.policy,
        source=suite.source,
        scale=suite.scale,
        slices=suite.slices,
        minimum=suite.minimum,
        provenance=pairs[0].outcome.provenance.model_dump(mode="json"),
        run=run,
    )


def _counts(pairs: Sequence[Pair], wanted: int, groups: Sequence[Hashable] | None) -> Counts:
    return Counts(
        judged=len(pairs),
        missing=wanted - len(pairs),
        known=sum(pair.gold is not None for pair in pairs),
        violating=sum(pair.gold == "yes" for pair in pairs),
        outcomes=Counter(outcome_name(pair.outcome) for pair in pairs),
        failures=Counter(pair.outcome.reason for pair in pairs if isinstance(pair.outcome, Failure)),
        clusters=None if groups is None else len(set(groups) - {None}) + groups.count(None),
    )


def _rule(rule: PolicyRule, pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> RuleScore:
    gold = [rule_gold(pair.item, rule.id) for pair in pairs]
    judged: list[Decision] = [decision_on(rule.id, pair.outcome) for pair in pairs]
    return RuleScore(
        id=rule.id,
        title=rule.title,
        severity=rule.severity,
        known=sum(label is not None for label in gold),
        positive=sum(label == "yes" for label in gold),
        cited=judged.count("yes"),
        metrics=decision_metrics(confusion(gold, judged, groups), how),
    )


def _citations(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Estimate:
    found = [place for place, pair in enumerate(pairs) if pair.gold == "yes" and pair.cited and pair.rules_held]
    hits = [float(not pairs[place].rules_held.isdisjoint(pairs[place].cited)) for place in found]
    return mean(hits, None if groups is None else [groups[place] for place in found], how)


def _severity(
    pairs: Sequence[Pair], rules: Sequence[PolicyRule], groups: Sequence[Hashable] | None, how: Resampling
) -> Estimate:
    """Of one severity alone there is nothing to agree on."""
    of_rule = {rule.id: rule.severity for rule in rules}
    gold = [pair.severity(of_rule) for pair in pairs]
    judged = [pair.outcome.severity if isinstance(pair.outcome, Verdict) else "failure" for pair in pairs]
    if len(set(gold) - {None}) < 2:
        return Estimate(None, None, None, sum(label is not None for label in gold), "none", how.level, how.minimum)
    return Confusion.of(gold, judged, SEVERITIES, ("failure",), groups).estimate(quadratic_kappa, how=how)


def _severities(
    pairs: Sequence[Pair], rules: Sequence[PolicyRule], groups: Sequence[Hashable] | None, how: Resampling
) -> Iterable[SeverityScore]:
    of_rule = {rule.id: rule.severity for rule in rules}
    labels = [pair.severity(of_rule) for pair in pairs]
    for severity in SEVERITIES[1:]:
        flagged = [
            float(pair.decision == "yes") if label == severity else None for pair, label in zip(pairs, labels, strict=True)
        ]
        if n := len(flagged) - flagged.count(None):
            yield SeverityScore(severity, n, mean(flagged, groups, how))


def _slices(suite: Suite, pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Iterable[SliceScore]:
    for key in suite.slices:
        for value in sorted({pair.item.slices[key] for pair in pairs if key in pair.item.slices}):
            places = [place for place, pair in enumerate(pairs) if pair.item.slices.get(key) == value]
            part = [pairs[place] for place in places]
            kept = None if groups is None else [groups[place] for place in places]
            violating = sum(pair.gold == "yes" for pair in part)
            yield SliceScore(key, value, len(part), violating, _metrics(part, kept, how))


def _prevalence(pairs: Sequence[Pair], stream: Iterable[Verdict | Failure], how: Resampling) -> Estimate | None:
    """From a stream of outcomes, or from the items that nobody labelled; None when there are neither."""
    met = Counter(map(decision, stream)) or Counter(pair.decision for pair in pairs if not pair.item.labels)
    if not met:
        return None
    known = Counter((pair.gold, pair.decision == "yes") for pair in pairs if pair.gold)
    hits, passes = known["yes", True], known["no", False]
    return corrected_prevalence(
        met["yes"], met.total(), hits, hits + known["yes", False], passes, passes + known["no", True], how
    )


def _cost(pairs: Sequence[Pair], prices: Mapping[str, float], wall_s: float | None) -> Cost:
    used = [pair.outcome.usage for pair in pairs if isinstance(pair.outcome, Verdict)]
    prompt, cached = sum(one.prompt_tokens for one in used), sum(one.cached_tokens for one in used)
    completion = sum(one.completion_tokens for one in used)
    per_million = {"cached": prices.get("prompt", 0.0), **prices}
    price = (prompt - cached) * prices.get("prompt", 0.0) + cached * per_million["cached"]
    latencies = np.array([one.latency_ms for one in used])
    spread = dict(zip(("p50", "p95", "p99"), np.percentile(latencies, (50, 95, 99)).tolist(), strict=True)) if used else {}
    return Cost(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        latency_ms={"mean": float(latencies.mean()), **spread} if used else {},
        wall_s=wall_s,
        price=(price + completion * prices.get("completion", 0.0)) / 1e6 if prices else None,
    )
