"""Small suites and runs, written in one line an item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moderator.metrics import Estimate, Resampling
from moderator.policy.model import Severity
from moderator.quoting import Match
from moderator.scoring import Report, Scoring, score
from moderator.suite import Annotation, Item, Scale, Suite
from moderator.verdict import Evidence, Failure, FoundRule, Provenance, Usage, Verdict
from moderator.verdict import Score as Probability

NO_INTERVALS = Resampling(resamples=0, index_resamples=0)
FEW_RESAMPLES = Resampling(resamples=300, index_resamples=60)
MADE_BY = Provenance(policy="house@1.0.0", policy_digest="d", prompt_digest="p", engine="scripted", model="none")
YES_NO = Scale(values=("no", "unsure", "yes"), violates=("yes",), unknown=("unsure",))


@dataclass(frozen=True)
class Rule:
    id: str
    title: str
    severity: Severity


RULES = (Rule("H1", "Threat", "critical"), Rule("H2", "Insult", "medium"), Rule("H3", "Sale", "low"))


def said(value: str = "yes", **fields: Any) -> Annotation:
    return Annotation(value=value, **fields)


def item(item_id: str, *labels: str | Annotation, **fields: Any) -> Item:
    """An item with its labels, or with their values."""
    of_each = [said(label) if isinstance(label, str) else label for label in labels]
    return Item(id=item_id, text=fields.pop("text", f"text of {item_id}"), labels=tuple(of_each), **fields)


def suite(items: Iterable[Item], **fields: Any) -> Suite:
    made = {"suite": "own", "title": "Own", "policy": "house", "scale": YES_NO, "minimum": 1, "items": tuple(items)}
    return Suite.model_validate(made | fields)


def verdict(
    item_id: str,
    outcome: str,
    probability: float | None = None,
    rules: Sequence[str] = (),
    quotes: Sequence[tuple[Match, int | None, int | None]] = (),
    **fields: Any,
) -> Verdict | Failure:
    """A verdict that cites these rules; the quotes (how they match, from, to) are the first one's."""
    evidence = tuple(Evidence(quote="q", match=match, start=start, end=end) for match, start, end in quotes)
    of_rule = {rule.id: rule.severity for rule in RULES}
    return Verdict.model_validate(
        {
            "content_id": item_id,
            "policy": "house",
            "outcome": outcome,
            "rules": [
                FoundRule(id=rule, severity=of_rule.get(rule, "low"), evidence=() if place else evidence)
                for place, rule in enumerate(rules)
            ],
            "score": Probability(value=probability, method="none" if probability is None else "label_probability"),
            "provenance": MADE_BY,
        }
        | fields
    )


def failure(item_id: str, reason: str = "timeout") -> Verdict | Failure:
    fields = {"content_id": item_id, "policy": "house", "reason": reason, "detail": "", "provenance": MADE_BY}
    return Failure.model_validate(fields)


def outcome_of(item_id: str, name: str, probability: float | None = None) -> Verdict | Failure:
    """By the name of an outcome; a violation cites H1."""
    if name == "failure":
        return failure(item_id)
    return verdict(item_id, name, probability, ("H1",) if name == "violates" else ())


def used(prompt: int, cached: int, completion: int, latency_ms: float) -> Usage:
    return Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, latency_ms=latency_ms)


def scored(of: Suite, outcomes: Iterable[Verdict | Failure], how: Resampling = NO_INTERVALS, **fields: Any) -> Report:
    """The report on outcomes, by their ids; fields are those of `Scoring`."""
    by_id = {outcome.content_id: outcome for outcome in outcomes}
    return score(of, by_id, RULES, Scoring(how=how, **fields))


Row = tuple[str, str, float | None]
"""Votes as the first letters of values, the name of an outcome, a probability: ("yyn", "violates", 0.9)."""


def report_of(rows: Sequence[Row], how: Resampling = NO_INTERVALS, **fields: Any) -> Report:
    """The report on a suite and a run of one row an item; fields are the suite's."""
    values = {"y": "yes", "n": "no", "u": "unsure"}
    items = [item(f"{place:03}", *(values[vote] for vote in votes)) for place, (votes, _, _) in enumerate(rows)]
    outcomes = [outcome_of(f"{place:03}", name, p) for place, (_, name, p) in enumerate(rows)]
    return scored(suite(items, **fields), outcomes, how)


def value(estimate: Estimate | None) -> float | None:
    """The number alone."""
    assert estimate is not None
    return estimate.value
