"""What is known about a content under a policy, out of suites, decisions and runs. What nobody said stays unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from moderator.case import Decision
from moderator.content import Content
from moderator.errors import DataError
from moderator.policy import Policy
from moderator.quoting import locate, quotable
from moderator.runs import Run
from moderator.scoring.labels import Known, Pair, decision, gold, rule_gold
from moderator.suite import Item, Suite
from moderator.verdict import Verdict


@dataclass(frozen=True)
class Gold:
    """What people say about a content under a policy, as far as they said it."""

    policy: str
    """Its slug."""
    content: Content
    violates: Known
    rules: Mapping[str, Known] = field(default_factory=dict)
    """Of single rules; one that is not there is unknown. One that holds in a content that does not violate is waived."""
    quotes: Mapping[str, str] = field(default_factory=dict)
    """The words of the content that break a rule, for those rules for which they are known."""
    exceptions: tuple[str, ...] | None = None
    """Those that apply; None: nobody said."""
    escalations: tuple[str, ...] | None = None
    reason: str = ""
    """Why, in somebody's words."""
    source: str = ""
    """Where it comes from: a suite, a run, a file of decisions."""
    group: str = ""
    """What must stay on one side of a split: an author, a thread; empty: the content stands alone."""

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that hold, waived ones among them."""
        return tuple(rule for rule, known in self.rules.items() if known == "yes")

    def settles(self, policy: Policy) -> bool:
        """Whether it is known of every rule of the policy whether it holds."""
        return all(rule.id in self.rules for rule in policy.rules)


def from_suite(suite: Suite, items: Iterable[Item], policy: Policy) -> Iterator[Gold]:
    """By the majority of annotators; items about which they tie, or of which nobody knows, are left out."""
    for item in items:
        violates = gold(suite, item)
        if violates is None:
            continue
        known = {rule.id: answer for rule in policy.rules if (answer := rule_gold(item, rule.id))}
        yield Gold(
            policy.slug,
            item.content(),
            violates,
            known,
            quotes=_marked(item, [rule for rule, answer in known.items() if answer == "yes"]),
            source=suite.slug,
            group=item.group,
        )


def _marked(item: Item, broken: Sequence[str]) -> dict[str, str]:
    """For each broken rule the first passage that an annotator marked for it; one for no rule is for the only one broken."""
    quotes: dict[str, str] = {}
    for span in (span for label in item.labels for span in label.spans):
        rule = span.rule or (broken[0] if len(broken) == 1 else None)
        if rule in broken and rule not in quotes and (quote := quotable(item.text, span.start, span.end)):
            quotes[str(rule)] = quote
    return quotes


def _verbatim(text: str, quotes: Mapping[str, str]) -> dict[str, str]:
    """The quotes as they stand in the text, in pieces that an answer can quote; one that is not there teaches nothing."""
    found: dict[str, str] = {}
    for rule, quote in quotes.items():
        span = locate(quote, text)
        if span.start is not None and span.end is not None and (there := quotable(text, span.start, span.end)):
            found[rule] = there
    return found


def from_decisions(decisions: Iterable[Decision], policy: Policy, source: str) -> Iterator[Gold]:
    """Of decisions about the policy: each settles every rule; what a reviewer did not name does not hold.

    Raises `DataError` for one that names what the policy does not have.
    """
    known = {part.id for part in (*policy.rules, *policy.exceptions)}
    for decided in decisions:
        broken = {rule.id for rule in decided.rules}
        if strange := sorted({*broken, *decided.exceptions} - known):
            raise DataError(f"{source}: content {decided.content.id}: policy {policy.name} has no {strange[0]!r}")
        yield Gold(
            policy.slug,
            decided.content,
            "yes" if decided.outcome == "violates" else "no",
            {rule.id: "yes" if rule.id in broken else "no" for rule in policy.rules},
            quotes=_verbatim(decided.content.text, {rule.id: rule.quote for rule in decided.rules}),
            exceptions=decided.exceptions,
            reason=decided.reason,
            source=source,
        )


def from_run(run: Run, slug: str, policy: Policy) -> Iterator[Gold]:
    """What a model said, where people's labels agree with it: whole answers to learn from (rejection sampling).

    A verdict is taken if it decides as people do, cites no rule that they say does not hold, and quotes what stands there. The
    rules that it does not cite are taken as not broken where people do not say otherwise.
    """
    suite, outcomes = run.suite(slug), run.outcomes(slug)
    for item in run.judged(slug):
        verdict = outcomes.get(item.id)
        if not isinstance(verdict, Verdict):
            continue
        pair = Pair(suite, item, verdict)
        said = {rule.id: rule for rule in verdict.rules}
        known = {rule.id: rule_gold(item, rule.id) for rule in policy.rules}
        agreed = all(answer is None or (answer == "yes") == (rule in said) for rule, answer in known.items())
        verbatim = all(quote.match == "exact" for rule in verdict.rules for quote in rule.evidence)
        if pair.gold is None or decision(verdict) != pair.gold or not agreed or not verbatim:
            continue
        yield Gold(
            policy.slug,
            item.content(),
            pair.gold,
            {rule: "yes" if rule in said else "no" for rule in known},
            quotes=_verbatim(item.text, {rule.id: rule.evidence[0].quote for rule in verdict.rules if rule.evidence}),
            exceptions=verdict.exceptions,
            escalations=verdict.escalations,
            reason=verdict.rationale,
            source=f"{run.path.name}/{slug}",
            group=item.group,
        )
