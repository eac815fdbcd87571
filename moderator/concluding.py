"""From what the model reported to a verdict: once when it was asked, and again, without it, under another policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from moderator.calibration import uncalibrated
from moderator.content import Content
from moderator.errors import DataError
from moderator.policy.model import Policy
from moderator.resolution import MACHINE_ACTS_NOT, Reported, resolve, unexcused
from moderator.verdict import Failure, Provenance, ReportedFinding, Score, Usage, Verdict


def conclude(
    policy: Policy,
    content: Content,
    findings: Sequence[ReportedFinding],
    *,
    label_mass: float | None,
    rationale: str,
    provenance: Provenance,
    usage: Usage,
) -> Verdict:
    """The verdict that the findings about one content come to; one finding for each call of the plan."""
    reports = [Reported(reported.finding(), reported.certain) for reported in findings]
    conclusion = resolve(policy, reports, content)
    excused = any(reported.label == "exception" for reported in findings)
    return Verdict(
        content_id=content.id,
        policy=policy.slug,
        outcome=conclusion.outcome,
        rules=conclusion.rules,
        exceptions=conclusion.exceptions,
        escalations=conclusion.escalations,
        severity=conclusion.severity,
        action=conclusion.action,
        score=_score(policy, findings, label_mass),
        rationale=rationale,
        notice=conclusion.notice,
        missing=conclusion.missing,
        findings=tuple(findings if excused else (found.model_copy(update={"probabilities": {}}) for found in findings)),
        provenance=provenance,
        usage=usage,
        metadata=content.metadata,
    )


def vote(runs: Sequence[Verdict | Failure]) -> Verdict | Failure:
    """The majority's first verdict, scored by votes; without a majority of half the samples a person decides.

    A sample that failed counts for nothing; if all failed, their first failure stands.
    """
    verdicts = {sample: run for sample, run in enumerate(runs) if isinstance(run, Verdict)}
    return _majority(verdicts, len(runs)) if verdicts else runs[0]


def _majority(verdicts: Mapping[int, Verdict], samples: int) -> Verdict:
    outcome, votes = Counter(verdict.outcome for verdict in verdicts.values()).most_common(1)[0]
    majority = next(verdict for verdict in verdicts.values() if verdict.outcome == outcome)
    share = sum(verdict.violates for verdict in verdicts.values()) / len(verdicts)
    usages = [verdict.usage for verdict in verdicts.values()]
    changed: dict[str, object] = {
        "score": Score(value=share, method="votes"),
        "usage": Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in Usage.model_fields}),
        "findings": tuple(
            reported.model_copy(update={"sample": sample, "rationale": "" if call else verdict.rationale, "probabilities": {}})
            for sample, verdict in verdicts.items()
            for call, reported in enumerate(verdict.findings)
        ),
    }
    if votes * 2 <= samples:
        changed |= {"outcome": "needs_review", "action": MACHINE_ACTS_NOT, "notice": ""}
    return majority.model_copy(update=changed)


def conclude_again(verdict: Verdict, policy: Policy, content: Content) -> Verdict:
    """The verdict that the judge would give under this policy, had the model reported what it reported: no model is asked.

    For a policy whose prompt is the same (see `moderator.judge.asks_the_same`) and whose severities, actions, precedence,
    notices or exceptions differ. A calibration is of one policy: the score is the model's own, and nothing is withheld.
    `content` is the one that was judged: quotes are looked up in it. The provenance names the new policy; the usage is that of
    the calls whose findings these are.

    Raises `DataError` for another content, for a verdict that records no findings, and for findings that cite what the policy
    does not have.
    """
    if content.id != verdict.content_id:
        raise DataError(f"content {content.id}: the verdict is about content {verdict.content_id}")
    if not verdict.findings:
        raise DataError(f"content {content.id}: the verdict records no findings\n  judge the content again")
    _check_ids(verdict, policy)
    if verdict.score.method != "votes":
        return _again(verdict, policy, content, verdict.findings, verdict.rationale)
    taken = {number: list(group) for number, group in groupby(verdict.findings, key=lambda reported: reported.sample)}
    verdicts = {number: _again(verdict, policy, content, found, found[0].rationale) for number, found in taken.items()}
    samples = int(verdict.provenance.parameters.get("samples", len(taken)))
    return _majority(verdicts, samples).model_copy(update={"usage": verdict.usage})


def _again(verdict: Verdict, policy: Policy, content: Content, findings: Sequence[ReportedFinding], rationale: str) -> Verdict:
    again = conclude(
        policy,
        content,
        findings,
        label_mass=verdict.score.label_mass,
        rationale=rationale,
        provenance=verdict.provenance.model_copy(update={"policy": policy.name, "policy_digest": policy.digest}),
        usage=verdict.usage,
    )
    kept = {"metadata": verdict.metadata}
    # without probabilities no finding is an exception's: then the score does not depend on the policy
    known = all(found.probabilities for found in findings)
    return again.model_copy(update=kept if known else {**kept, "score": uncalibrated(verdict).score})


def _check_ids(verdict: Verdict, policy: Policy) -> None:
    rules = {rule.id for rule in policy.rules}
    exceptions = {exception.id for exception in policy.exceptions}
    for reported in verdict.findings:
        strange = [rule.id for rule in reported.rules if rule.id not in rules]
        strange += [exception for exception in reported.exceptions if exception not in exceptions]
        if strange:
            where = f"content {verdict.content_id}: the verdict cites {strange[0]!r}, which policy {policy.name} does not have"
            raise DataError(f"{where}\n  judge the content again")


def _score(policy: Policy, findings: Sequence[ReportedFinding], label_mass: float | None) -> Score:
    """The probability that the content violates; over several calls that of the likeliest."""
    values = [_violation(policy, reported) for reported in findings if reported.probabilities]
    if len(values) < len(findings) or label_mass is None:
        return Score(value=None, method="none")
    return Score(value=min(1.0, max(values)), method="label_probability", label_mass=min(1.0, label_mass))


def _violation(policy: Policy, reported: ReportedFinding) -> float:
    """The probability of the label ``yes``; of ``exception`` too, when the exceptions that were named leave a rule standing."""
    chances = reported.probabilities
    excused_nothing = reported.label == "exception" and unexcused(policy, reported.finding())
    return chances["yes"] + (chances["exception"] if excused_nothing else 0.0)
