"""From a finding to a conclusion: what the code decides over what the model found. Pure; no model, no clock.

Exceptions, precedence, severity, action and escalation are executed here and never asked of the model.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from moderator.answer import Finding
from moderator.content import Content
from moderator.policy.model import ACTIONS, SEVERITIES, Action, Policy, PolicyException, Rule, Severity
from moderator.quoting import locate
from moderator.verdict import Evidence, FoundRule, Outcome

MACHINE_ACTS_NOT: Final[Action] = "escalate"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The part of a verdict that follows from policy, finding and content alone."""

    outcome: Outcome
    rules: tuple[FoundRule, ...] = ()
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    severity: Severity = "none"
    action: Action = "none"
    notice: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reported:
    """A finding and whether the label behind it was certain."""

    finding: Finding
    certain: bool


def resolve(policy: Policy, reports: Sequence[Reported], content: Content) -> Conclusion:
    """What follows from the findings about one content (several when the plan asked in several calls).

    A rule holds unless an exception reported beside it waives it; one that waives nothing does not apply. What holds is ordered
    by `lead_order`; the first rule gives severity, action and notice. A person decides (``needs_review``) when no certain
    finding reports a rule that holds and some label was not certain or ``unknown``; when a rule or an applied exception asks
    for a person; when none of the quotes for a violation stands in the content; or when an image was not seen.
    """
    if not content.images and all(_clear(report) for report in reports):
        # most contents: nothing was reported, so nothing follows
        return Conclusion(_outcome(reports, held=False, certain=False, found=False))
    found: dict[str, Rule] = {}
    held: dict[str, Rule] = {}
    applied: dict[str, PolicyException] = {}
    certain = False
    for report in reports:
        for rule in [policy.rule(rule.id) for rule in report.finding.rules]:
            found[rule.id] = rule
            waiving = _waiving(policy, report.finding, rule.id)
            applied |= {exception.id: exception for exception in waiving}
            if not waiving:
                held[rule.id] = rule
                certain = certain or (report.certain and report.finding.label in ("yes", "exception"))
    at_issue = lead_order(policy, list((held or found).values()))
    quoted = {rule.id: _evidence(reports, rule.id, content) for rule in at_issue}

    outcome = _outcome(reports, held=bool(held), certain=certain, found=bool(found))
    unseen_image = bool(content.images) and outcome != "violates"
    if (
        unseen_image
        or any(rule.review for rule in held.values())
        or any(exception.review for exception in applied.values())
        or (outcome == "violates" and not any(e.match != "absent" for rule in held for e in quoted[rule]))
    ):
        outcome = "needs_review"

    escalations = _escalations(policy, reports, held.keys())
    lead = at_issue[0] if at_issue else None
    return Conclusion(
        outcome=outcome,
        rules=tuple(FoundRule(id=rule.id, severity=rule.severity, evidence=quoted[rule.id]) for rule in at_issue),
        exceptions=tuple(dict.fromkeys(exception for report in reports for exception in report.finding.exceptions)),
        escalations=escalations,
        severity=lead.severity if lead and outcome in ("violates", "needs_review") else "none",
        action=_action(policy, outcome, lead, list(applied.values()), escalations),
        notice=policy.notices.get(lead.id, "") if lead and outcome == "violates" else "",
        missing=_missing(reports, unseen_image=unseen_image),
    )


def unexcused(policy: Policy, finding: Finding) -> bool:
    """Whether the finding reports a rule that no exception reported with it waives."""
    return any(not _waiving(policy, finding, rule.id) for rule in finding.rules)


def _waiving(policy: Policy, finding: Finding, rule_id: str) -> list[PolicyException]:
    """The exceptions of the finding that waive the rule."""
    return [exception for exception in map(policy.exception, finding.exceptions) if exception.waives(rule_id)]


def _clear(report: Reported) -> bool:
    finding = report.finding
    return report.certain and finding.label in ("no", "none") and not (finding.rules or finding.escalations or finding.missing)


def lead_order(policy: Policy, rules: Sequence[Rule]) -> list[Rule]:
    """The rules, the leading one first: by the policy's precedence chains, then by severity, then by order of writing."""
    written = {rule.id: index for index, rule in enumerate(policy.rules)}
    waiting = sorted(rules, key=lambda rule: (-SEVERITIES.index(rule.severity), written[rule.id]))
    before = {(chain[i], later) for chain in policy.precedence for i in range(len(chain)) for later in chain[i + 1 :]}
    ordered: list[Rule] = []
    while waiting:
        free = (rule for rule in waiting if not any((other.id, rule.id) in before for other in waiting))
        # a cycle is a lint error; in an unlinted policy the first by severity leads
        lead = next(free, waiting[0])
        waiting.remove(lead)
        ordered.append(lead)
    return ordered


def _outcome(reports: Sequence[Reported], *, held: bool, certain: bool, found: bool) -> Outcome:
    if held and certain:
        return "violates"
    if held or any(not report.certain or report.finding.label == "unknown" for report in reports):
        return "needs_review"
    if found:
        return "allowed_by_exception"
    return "not_covered" if any(report.finding.label == "none" for report in reports) else "allowed"


def _evidence(reports: Sequence[Reported], rule_id: str, content: Content) -> tuple[Evidence, ...]:
    quotes = dict.fromkeys(rule.quote.strip() for report in reports for rule in report.finding.rules if rule.id == rule_id)
    spans = [(quote, locate(quote, content.text)) for quote in quotes if quote]
    return tuple(Evidence(quote=quote, start=span.start, end=span.end, match=span.match) for quote, span in spans)


def _escalations(policy: Policy, reports: Sequence[Reported], held: Set[str]) -> tuple[str, ...]:
    asked = {escalation for report in reports for escalation in report.finding.escalations}
    return tuple(e.id for e in policy.escalations if e.id in asked or held & set(e.triggers))


def _missing(reports: Sequence[Reported], *, unseen_image: bool) -> tuple[str, ...]:
    asked = (item for report in reports for item in report.finding.missing)
    return tuple(dict.fromkeys((*asked, *(("image",) if unseen_image else ()))))


def _action(
    policy: Policy, outcome: Outcome, lead: Rule | None, exceptions: Sequence[PolicyException], escalations: Sequence[str]
) -> Action:
    by_hand = any(e.automation == "none" for e in policy.escalations if e.id in escalations)
    if outcome == "needs_review" or by_hand:
        return MACHINE_ACTS_NOT
    if outcome == "violates" and lead:
        return lead.action
    if outcome == "allowed_by_exception":
        return max((exception.outcome for exception in exceptions), key=ACTIONS.index, default="none")
    return "none"
