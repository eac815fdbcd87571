"""Items that came out differently, and in which direction."""

from __future__ import annotations

from collections.abc import Mapping

from moderator.comparing.joining import Joined, Outcome
from moderator.comparing.model import CHANGES, Answer, Change, Effect, Flip
from moderator.records import outcome_name
from moderator.scoring.labels import Known, cited, decision
from moderator.scoring.model import Decision, Table
from moderator.verdict import Failure, Verdict

OUTCOMES = ("allowed", "violates", "allowed_by_exception", "needs_review", "not_covered", "failure")

_EFFECTS: tuple[Effect, ...] = ("made wrong", "made right", "still wrong", "still right", "unknown")


def answer(outcome: Outcome) -> Answer:
    """What an outcome says, as far as comparisons go."""
    if isinstance(outcome, Failure):
        return Answer("failure", "failure", reason=outcome.reason)
    return Answer(
        outcome=outcome.outcome,
        decision=decision(outcome),
        rules=cited(outcome),
        exceptions=outcome.exceptions,
        severity=outcome.severity,
        action=outcome.action,
        score=outcome.score.value,
    )


def change_between(before: Answer, after: Answer) -> Change | None:
    """How the second differs from the first; None: not in what is enforced. Failures are alike, whatever their reason."""
    if before.decision != after.decision:
        return _change_of_decision(before.decision, after.decision)
    if before.outcome != after.outcome:
        return "outcome"
    if set(before.rules) != set(after.rules) or set(before.exceptions) != set(after.exceptions):
        return "rules"
    return "action" if (before.severity, before.action) != (after.severity, after.action) else None


def _change_of_decision(before: Decision, after: Decision) -> Change:
    if "failure" in (before, after):
        return "to_failure" if after == "failure" else "from_failure"
    if "review" in (before, after):
        return "to_review" if after == "review" else "from_review"
    return "under" if before == "yes" else "over"


def effect_of(label: Known | None, before: Decision, after: Decision) -> Effect:
    """What a change does to the agreement with the label; who goes to a person, or fails, does not agree."""
    if label is None:
        return "unknown"
    if after == label:
        return "still right" if before == label else "made right"
    return "made wrong" if before == label else "still wrong"


def flips(joined: Joined, texts: Mapping[str, str]) -> tuple[Flip, ...]:
    """All items that changed; with their texts, where those are given."""
    found = []
    for id, first, second, label in zip(joined.ids, joined.first, joined.second, joined.labels, strict=True):
        if _same(first, second):
            continue
        before, after = answer(first), answer(second)
        change = change_between(before, after)
        if change is not None:
            effect = effect_of(label, before.decision, after.decision)
            found.append(Flip(id, change, before, after, label, effect, texts.get(id)))
    return tuple(sorted(found, key=lambda flip: (CHANGES.index(flip.change), _EFFECTS.index(flip.effect), flip.id)))


def _same(first: Outcome, second: Outcome) -> bool:
    """Whether nothing of it can have changed: most items, and worth the while to leave out early."""
    return (
        isinstance(first, Verdict)
        and isinstance(second, Verdict)
        and first.outcome == second.outcome
        and first.action == second.action
        and first.severity == second.severity
        and first.exceptions == second.exceptions
        and [rule.id for rule in first.rules] == [rule.id for rule in second.rules]
    )


def transitions(joined: Joined) -> Table:
    """How many items went from which outcome to which."""
    place = {name: number for number, name in enumerate(OUTCOMES)}
    counts = [[0] * len(OUTCOMES) for _ in OUTCOMES]
    for first, second in zip(joined.first, joined.second, strict=True):
        counts[place[outcome_name(first)]][place[outcome_name(second)]] += 1
    return Table(OUTCOMES, OUTCOMES, tuple(tuple(row) for row in counts))
