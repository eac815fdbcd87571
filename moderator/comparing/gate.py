"""Whether a run is good enough: targets, a margin to a baseline, failures and missing items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from moderator.comparing.compare import METRICS, interval, number, signed
from moderator.comparing.differences import LOWER_IS_BETTER, auroc, of_decisions, of_rule
from moderator.comparing.joining import Joined, changed_contents, join
from moderator.comparing.model import Gate, GateCheck
from moderator.errors import DataError
from moderator.metrics import Estimate, Resampling, non_inferior, proportion_estimate
from moderator.policy.document import nearest
from moderator.runs import Run
from moderator.scoring import Scoring, check_targets, score_run
from moderator.scoring.model import Status
from moderator.suite import Suite, Targets
from moderator.verdict import Failure

_HINT = "write `targets: {f1: 0.7}` into the suite's file, or give --least f1=0.7 or --baseline RUN"


@dataclass(frozen=True)
class Terms:
    """What a run must be."""

    least: Targets = field(default_factory=Targets)
    """In addition to the suite's own targets; of the same metric these count."""
    metrics: Sequence[tuple[str | None, str]] = ((None, "f1"),)
    """What must not fall behind the baseline: a rule, or None for the policy, and a metric."""
    margin: float = 0.02
    """By how much it may fall behind at most."""
    failures: float = 0.01
    """The share of items that may fail at most."""
    minimum: int | None = None
    """Units that a number must rest on; None: as the suite says."""
    confident: bool = False
    """Whether a target must be reached by the whole interval, and not by the value alone."""
    allow_inconclusive: bool = False


def gate(run: Run, baseline: Run | None = None, terms: Terms | None = None, how: Resampling | None = None) -> tuple[Gate, ...]:
    """A gate for each suite of the run. Targets are the suite's, with those of `terms` over them.

    Raises `DataError` when no suite has a target and there is no baseline; for a target or a metric that there is not; and for
    a baseline without any of the run's suites.
    """
    terms, how = terms or Terms(), how or Resampling()
    for rule, metric in terms.metrics:
        if metric not in METRICS or (rule and metric == "auroc"):
            raise DataError(f"metric {metric!r}: cannot be compared{nearest(metric, METRICS)}\n  one of {', '.join(METRICS)}")
    wanted = {suite.slug: _targets(suite, terms.least) for suite in run.suites}
    if baseline is None and not any(targets.metrics or targets.rules for targets in wanted.values()):
        raise DataError(f"{run.path}: no targets and no baseline\n  {_HINT}")
    shared = [suite.slug for suite in baseline.suites if suite.slug in wanted] if baseline else []
    if baseline and not shared:
        raise DataError(f"{baseline.path}: has none of the run's suites, {', '.join(wanted)}\n  judge them for the baseline")
    gates = []
    for suite in run.suites:
        checks = [
            *_target_checks(run, suite, wanted[suite.slug], terms, how),
            *(_margin_checks(run, baseline, suite, terms, how) if baseline and suite.slug in shared else ()),
            _failures(run, suite, terms),
            _coverage(run, baseline if suite.slug in shared else None, suite),
        ]
        against = str(baseline.path) if baseline and suite.slug in shared else None
        gates.append(Gate(str(run.path), against, suite.slug, tuple(checks), terms.allow_inconclusive))
    return (*gates, *_lost_suites(run, baseline, terms))


def _targets(suite: Suite, over: Targets) -> Targets:
    rules: dict[str, Mapping[str, float]] = dict(suite.targets.rules)
    for rule, metrics in over.rules.items():
        rules[rule] = {**rules.get(rule, {}), **metrics}
    return Targets(metrics={**suite.targets.metrics, **over.metrics}, rules=rules)


def _target_checks(run: Run, suite: Suite, targets: Targets, terms: Terms, how: Resampling) -> list[GateCheck]:
    if not (targets.metrics or targets.rules):
        return []
    (report,) = score_run(run, Scoring(how=how), suites=[suite.slug], linear=False)
    return [
        _target(check.metric, check.rule, check.least, _resting(check.estimate, terms), terms)
        for check in check_targets(targets, report.metrics, report.rules)
    ]


def _resting(estimate: Estimate, terms: Terms) -> Estimate:
    return estimate if terms.minimum is None else replace(estimate, minimum=terms.minimum)


def _target(metric: str, rule: str | None, least: float, estimate: Estimate, terms: Terms) -> GateCheck:
    held = estimate.low if terms.confident else estimate.value
    status: Status = "short"
    if estimate.inconclusive or held is None:
        status = "inconclusive"
    elif held >= least:
        status = "reached"
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    what = "whole interval" if terms.confident else "at least"
    message = f"{metric} {number(estimate)}{ends}, {what} {least:g}{_few(estimate)}"
    return GateCheck(metric, rule, "target", least, estimate, status, message)


def _few(estimate: Estimate) -> str:
    return f"; {estimate.n:,} of {estimate.minimum:,} units" if estimate.n < estimate.minimum else ""


def _margin_checks(run: Run, baseline: Run, suite: Suite, terms: Terms, how: Resampling) -> list[GateCheck]:
    rules = [rule.id for rule in run.manifest.policies[run.manifest.suite(suite.slug).policy].rules]
    if unknown := [rule for rule, _ in terms.metrics if rule and rule not in rules]:
        raise DataError(f"metric: the policy has no rule {unknown[0]!r}{nearest(unknown[0], tuple(rules))}")
    changed = changed_contents(baseline.suite(suite.slug), suite)
    joined = join(suite, baseline.outcomes(suite.slug), run.outcomes(suite.slug), changed=changed)
    how = replace(how, minimum=terms.minimum or suite.minimum)
    return [_margin(joined, rule, metric, terms, how) for rule, metric in terms.metrics]


def _margin(joined: Joined, rule: str | None, metric: str, terms: Terms, how: Resampling) -> GateCheck:
    paired = of_rule(joined, rule) if rule else of_decisions(joined)
    if metric == "auroc":
        compared = auroc(joined, how)
        nothing = Estimate(None, None, None, 0, "none", how.level, how.minimum)
        difference, identical = (compared.difference, False) if compared else (nothing, False)
    else:
        difference = paired.differences([metric], how)[0].difference
        identical = bool(paired.labels) and list(paired.first) == list(paired.second)
    higher = metric not in LOWER_IS_BETTER
    shown = True if identical else non_inferior(difference, terms.margin, higher_is_better=higher)
    loss = None if difference.value is None else -difference.value if higher else difference.value
    status: Status = "inconclusive"
    if shown:
        status = "reached"
    elif shown is False and loss is not None and loss > terms.margin:
        status = "short"
    told = f"{metric} {signed(difference.value)} {interval(difference)}".rstrip()
    way = "fall" if higher else "rise"
    message = f"{told} against the baseline, may {way} by {terms.margin:g}{'; identical' if identical else _few(difference)}"
    return GateCheck(metric, rule, "non-inferiority", -terms.margin if higher else terms.margin, difference, status, message)


def _failures(run: Run, suite: Suite, terms: Terms) -> GateCheck:
    """A fact about this run: it needs no least number of items."""
    outcomes = run.outcomes(suite.slug).values()
    failed = sum(isinstance(outcome, Failure) for outcome in outcomes)
    share = proportion_estimate(failed, len(outcomes))
    status: Status = "reached" if outcomes and failed <= terms.failures * len(outcomes) else "short"
    message = f"{failed:,} of {len(outcomes):,} failed, at most {terms.failures:g} of them"
    return GateCheck("failures", None, "failures", terms.failures, share, status, message)


def _coverage(run: Run, baseline: Run | None, suite: Suite) -> GateCheck:
    missing = set(run.missing(suite.slug))
    judged = run.outcomes(suite.slug)
    wanted = len(judged) + len(missing)
    lost = {id for id in baseline.outcomes(suite.slug) if id not in judged} - missing if baseline else set()
    message = f"{len(missing):,} of {wanted:,} were not judged" if missing else f"all {wanted:,} were judged"
    if lost:
        message += f"; {len(lost):,} that the baseline judged are not in the run"
    share = proportion_estimate(len(missing) + len(lost), wanted + len(lost))
    return GateCheck("missing", None, "coverage", 0.0, share, "short" if missing or lost else "reached", message)


def _lost_suites(run: Run, baseline: Run | None, terms: Terms) -> list[Gate]:
    """Suites that only the baseline judged: what is no longer measured is not good enough."""
    here = {suite.slug for suite in run.suites}
    gates = []
    for suite in baseline.suites if baseline else ():
        if baseline and suite.slug not in here:
            n = len(baseline.outcomes(suite.slug))
            message = f"the baseline judged {n:,}, and the run does not have the suite"
            check = GateCheck("missing", None, "coverage", 0.0, proportion_estimate(n, n), "short", message)
            gates.append(Gate(str(run.path), str(baseline.path), suite.slug, (check,), terms.allow_inconclusive))
    return gates
