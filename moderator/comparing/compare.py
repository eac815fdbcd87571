"""Two sets of outcomes on the same contents become one `Comparison`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from moderator.comparing.differences import STATISTICS, failure_difference, metric_differences, slice_differences
from moderator.comparing.flips import flips, transitions
from moderator.comparing.joining import Joined, Outcome, Outcomes, differences_between, join, provenances, spent
from moderator.comparing.model import Comparison, Coverage, MetricDifference, Shift, Side
from moderator.comparing.shifts import shifts
from moderator.errors import DataError
from moderator.metrics import Conclusion, Estimate, Resampling
from moderator.scoring import PolicyRule
from moderator.suite import Suite
from moderator.verdict import Failure

METRICS = (*STATISTICS, "auroc")
"""The names of the metrics that a verdict can rest on."""


def compare(
    suite: Suite | None,
    first: Outcomes,
    second: Outcomes,
    *,
    names: tuple[str, str] = ("A", "B"),
    rules: Sequence[PolicyRule] = (),
    metric: str = "f1",
    how: Resampling | None = None,
    texts: Mapping[str, str] | None = None,
    changed: Collection[str] = (),
    differs: tuple[str, ...] = (),
    allow_shift: bool = False,
) -> Comparison:
    """What the second outcomes say otherwise than the first, and whether that is shown to be better or worse.

    Outcomes are by item id, under one policy. Items are joined by id; those of `changed` are left out, because the id stands
    for different contents. Labels, groups and slices come from the suite; without one nothing can be better or worse. `rules`
    names the policy's rules, so that those that nobody cited are listed too. `texts` are put beside the flips. `differs` is
    said before what the provenances tell. Intervals are made as `how` says; its minimum is the suite's unless it is given.
    Raises `DataError` for an unknown metric, and for outcomes of several policies.
    """
    if metric not in METRICS:
        raise DataError(f"metric {metric!r}: cannot be compared\n  one of {', '.join(METRICS)}")
    how = how or (Resampling(minimum=suite.minimum) if suite else Resampling())
    joined = join(suite, first, second, changed=changed)
    a, b = _side(names[0], first, joined.first), _side(names[1], second, joined.second)
    found = flips(joined, texts or {})
    enforcement, of_rules = shifts(joined, found, rules, how)
    metrics = metric_differences(joined, how)
    failures = failure_difference(joined, how)
    comparison = Comparison(
        first=a,
        second=b,
        policy=_policy(first, second),
        suite=suite.slug if suite else None,
        suite_digest=suite.digest if suite else None,
        differs=(*differs, *differences_between(a.provenances, b.provenances)),
        coverage=_coverage(joined, first, second, changed),
        transitions=transitions(joined),
        flips=found,
        enforcement=enforcement,
        rules=of_rules,
        metrics=metrics,
        slices=slice_differences(suite, joined, metric, how),
        failures=failures,
        metric=metric,
        verdict="inconclusive",
        because="",
        allow_shift=allow_shift,
    )
    verdict, because = _verdict(comparison, how)
    return replace(comparison, verdict=verdict, because=because)


def _side(name: str, outcomes: Outcomes, compared: Sequence[Outcome]) -> Side:
    return Side(
        name=name,
        provenances=provenances(outcomes.values()),
        outcomes=len(outcomes),
        failures=sum(isinstance(outcome, Failure) for outcome in compared),
        usage=spent(compared),
    )


def _policy(first: Outcomes, second: Outcomes) -> str:
    slugs = [sorted({outcome.policy for outcome in side.values()}) for side in (first, second)]
    if several := next((found for found in slugs if len(found) > 1), None):
        raise DataError(f"outcomes: of several policies, {', '.join(several)}\n  compare those of one policy at a time")
    return next((found[0] for found in reversed(slugs) if found), "")


def _coverage(joined: Joined, first: Outcomes, second: Outcomes, changed: Collection[str]) -> Coverage:
    return Coverage(
        joined=len(joined.ids),
        labelled=len(joined.labelled.ids),
        clusters=None if joined.clusters is None else len(set(joined.clusters.tolist())),
        missing=tuple(id for id in first if id not in second),
        new=tuple(id for id in second if id not in first),
        changed=tuple(id for id in changed if id in first and id in second),
    )


def _verdict(comparison: Comparison, how: Resampling) -> tuple[Conclusion, str]:
    """What the comparison comes to, and why."""
    joined, labelled = comparison.coverage.joined, comparison.coverage.labelled
    if not joined:
        return "inconclusive", "no item was judged by both"
    if comparison.identical:
        return "no difference shown", f"identical outcomes on {joined:,} items"
    measured = next((one for one in comparison.metrics if one.metric == comparison.metric), None)
    if comparison.failures.conclusion == "worse":
        too = f"; {said(measured)}" if measured and measured.conclusion == "worse" else ""
        return "worse", f"more failures: {said(comparison.failures)}{too}"
    if labelled:
        if measured is None:
            return "inconclusive", "no scores on both sides"
        few = f"; {measured.difference.n:,} of {how.minimum:,} units" if measured.difference.n < how.minimum else ""
        return measured.conclusion, f"{said(measured)}{few}"
    return _without_labels(comparison, joined, how)


def _without_labels(comparison: Comparison, joined: int, how: Resampling) -> tuple[Conclusion, str]:
    if shifted := comparison.shifted:
        moved = ", ".join(f"{shift_name(shift)}: {shift.conclusion}" for shift in shifted)
        return "inconclusive", f"enforcement shifted ({moved}), and without labels neither is the better one"
    if joined < how.minimum:
        return "inconclusive", f"{joined:,} items, of {how.minimum:,} that are needed"
    return "no difference shown", f"no shift of enforcement over {joined:,} items without labels"


def shift_name(shift: Shift) -> str:
    """The rule, or ``policy``."""
    return shift.rule or "policy"


def said(difference: MetricDifference) -> str:
    """A difference in words: ``f1 0.712 -> 0.655, -0.057 [-0.081, -0.034]``."""
    change = difference.difference
    values = f"{number(difference.first)} -> {number(difference.second)}"
    return f"{difference.metric} {values}, {signed(change.value)} {interval(change)}".rstrip()


def number(estimate: Estimate) -> str:
    """Its value with three decimals; ``n/a`` where it is undefined."""
    return "n/a" if estimate.value is None else f"{estimate.value:.3f}"


def signed(value: float | None) -> str:
    """A difference with three decimals and its sign; a difference of nothing has none."""
    if value is None:
        return "n/a"
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}"


def interval(estimate: Estimate) -> str:
    """The ends of the interval of a difference; empty where there is none."""
    return "" if estimate.low is None else f"[{signed(estimate.low)}, {signed(estimate.high)}]"
