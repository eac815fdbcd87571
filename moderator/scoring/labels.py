"""What people said about an item and what the model said, in the same words: yes, no, or no answer.

Several annotators are taken together by majority; where they tie, or nobody knows, the item is unknown and in no number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from moderator.metrics import Span
from moderator.policy.model import SEVERITIES, Severity
from moderator.scoring.model import Decision, Mark
from moderator.suite import Answer, Item, Suite
from moderator.verdict import Failure, Outcome, Verdict

Known = Literal["yes", "no"]

_DECISIONS: Final[Mapping[Outcome, Decision]] = {
    "violates": "yes",
    "allowed": "no",
    "allowed_by_exception": "no",
    "not_covered": "no",
    "needs_review": "review",
}


def decision(outcome: Verdict | Failure) -> Decision:
    """What an outcome says about violation. What no rule covers violates none; who goes to a person got no answer."""
    return "failure" if isinstance(outcome, Failure) else _DECISIONS[outcome.outcome]


def cited(outcome: Verdict | Failure) -> tuple[str, ...]:
    """The rules that stand against the content: those of a verdict that violates or that a person must decide."""
    if isinstance(outcome, Failure) or decision(outcome) == "no":
        return ()
    return tuple(rule.id for rule in outcome.rules)


def decision_on(rule: str, outcome: Verdict | Failure) -> Decision:
    """What an outcome says about one rule: cited or not; a person's to decide, or a failure, where it does not cite it."""
    if rule in cited(outcome):
        return "yes"
    said = decision(outcome)
    return "no" if said == "yes" else said


def votes(suite: Suite, item: Item) -> dict[Known, int]:
    """How many annotators say that the item violates the policy, and how many that it does not."""
    said: dict[Answer, int] = {"yes": 0, "no": 0, "unknown": 0}
    for label in item.labels:
        said[suite.answer(label)] += label.count
    return {"yes": said["yes"], "no": said["no"]}


def gold(suite: Suite, item: Item) -> Known | None:
    """Whether the item violates, by the majority of those who know; None: they tie, or nobody does."""
    said = votes(suite, item)
    return _majority(said["yes"], said["no"])


def rule_gold(item: Item, rule: str) -> Known | None:
    """Whether a rule holds, by the majority of those who say so; None: they tie, or nobody does."""
    said: Counter[str] = Counter()
    for label in item.labels:
        said[label.rules.get(rule, "unknown")] += label.count
    return _majority(said["yes"], said["no"])


def native_gold(item: Item) -> str | None:
    """The native label with the most votes; None where several tie or there is none."""
    said: Counter[str] = Counter()
    for label in item.labels:
        said[label.value] += label.count
    first = said.most_common(2)
    if not first or (len(first) == 2 and first[0][1] == first[1][1]):
        return None
    return first[0][0]


def _majority(yes: int, no: int) -> Known | None:
    return None if yes == no else "yes" if yes > no else "no"


@dataclass(frozen=True)
class Pair:
    """An item and what became of it."""

    suite: Suite
    item: Item
    outcome: Verdict | Failure

    @cached_property
    def gold(self) -> Known | None:
        return gold(self.suite, self.item)

    @property
    def decision(self) -> Decision:
        return decision(self.outcome)

    @property
    def probability(self) -> float | None:
        """Of a violation; None where the engine gave none."""
        return self.outcome.score.value if isinstance(self.outcome, Verdict) else None

    @property
    def confidence(self) -> float | None:
        """In the decision that was taken; None where none was, or no probability was given."""
        if self.probability is None or self.decision not in ("yes", "no"):
            return None
        return self.probability if self.decision == "yes" else 1 - self.probability

    @property
    def cited(self) -> tuple[str, ...]:
        return cited(self.outcome)

    @cached_property
    def rules_held(self) -> frozenset[str]:
        """The rules that hold, by the labels."""
        named = {rule for label in self.item.labels for rule in label.rules}
        return frozenset(rule for rule in named if rule_gold(self.item, rule) == "yes")

    @property
    def evidence(self) -> tuple[Mark, ...]:
        """The quotes for those rules that stand in the text."""
        if isinstance(self.outcome, Failure) or self.decision == "no":
            return ()
        found = ((rule.id, quote) for rule in self.outcome.rules for quote in rule.evidence)
        return tuple(
            Mark(quote.start, quote.end, rule) for rule, quote in found if quote.start is not None and quote.end is not None
        )

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple((mark.start, mark.end) for mark in self.evidence)

    @property
    def marked(self) -> tuple[tuple[Span, ...], ...]:
        """What each annotator marked as evidence; empty for one who marked nothing."""
        of_each = [tuple((span.start, span.end) for span in label.spans) for label in self.item.labels]
        return tuple(spans for spans, label in zip(of_each, self.item.labels, strict=True) for _ in range(label.count))

    def severity(self, severities: Mapping[str, Severity]) -> Severity | None:
        """By the labels: that of the gravest rule that holds; ``none`` where nothing is violated; None where it is unknown."""
        if self.gold == "no":
            return "none"
        held = [severities[rule] for rule in self.rules_held if rule in severities]
        return max(held, key=SEVERITIES.index) if held and self.gold == "yes" else None


def paired(suite: Suite, outcomes: Mapping[str, Verdict | Failure], items: Sequence[Item]) -> list[Pair]:
    """The items that have an outcome, in order."""
    return [Pair(suite, item, outcomes[item.id]) for item in items if item.id in outcomes]
