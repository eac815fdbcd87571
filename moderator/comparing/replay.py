"""A log of outcomes, decided again: under another policy without the model where that can be, else by judging anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from moderator.answering import Thresholds
from moderator.comparing.joining import Outcome
from moderator.comparing.logs import Log
from moderator.concluding import conclude_again
from moderator.content import Content
from moderator.errors import DataError, PolicyError
from moderator.judge import Moderator, asks_the_same
from moderator.policy import Policy, PolicySource
from moderator.verdict import Failure, Provenance, Usage, Verdict

_THRESHOLDS: Final = {"mass": "min_label_mass", "confidence": "min_confidence"}


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a log."""

    log: Log
    """The outcomes now."""
    resolved: int
    """Concluded again from what the model had reported; failures that were kept are among them."""
    judged: int
    """Judged anew."""
    left_out: tuple[str, ...]
    """Ids of outcomes whose contents were not at hand."""
    usage: Usage
    """What judging anew took; what was resolved cost nothing."""


@dataclass
class _Variants:
    """The policy in the contexts of the contents, and whether it asks what was asked."""

    source: PolicySource
    made: dict[str, Policy | str] = field(default_factory=dict)
    same: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def of(self, provenance: Provenance, content: Content) -> Policy | str:
        """The variant for this content, or why it cannot be made."""
        facts = {**provenance.parameters.get("context", {}), **content.facts}
        relevant = {key: facts[key] for key in self.source.context_keys if key in facts}
        key = str(sorted(relevant.items()))
        if key not in self.made:
            try:
                self.made[key] = self.source.resolve(relevant)
            except PolicyError as error:
                self.made[key] = str(error)
        return self.made[key]

    def asks_the_same(self, provenance: Provenance, policy: Policy) -> bool:
        key = (policy.digest, provenance.prompt_digest, str(provenance.parameters))
        if key not in self.same:
            self.same[key] = asks_the_same(provenance, policy)
        return self.same[key]


def replay(
    log: Log,
    source: PolicySource,
    contents: Mapping[str, Content] | None = None,
    moderator: Moderator | None = None,
    *,
    each: Callable[[Outcome], None] = lambda outcome: None,
) -> Replay:
    """The outcomes of the log under a policy.

    An outcome is concluded again from what the model reported, without it, where the policy asks the model the same in the same
    words and no other engine is asked for; a failure then stays what it was. All others are judged by `moderator`, which has
    this policy alone; `each` is called with them as they come. `contents` are needed for a log that is no run's.

    Raises `DataError` where contents must be judged and there is no moderator, saying why; and where no content is at hand.
    """
    known = {**log.contents, **(contents or {})}
    variants = _Variants(source)
    parts, left_out = [], [id for part in log.parts for id in part.outcomes if id not in known]
    made: dict[str, Outcome] = {}
    resolved, usages = 0, list[Usage]()
    for part in log.parts:
        # an item that two suites share is decided once
        waiting = {id: outcome for id, outcome in part.outcomes.items() if id in known and id not in made}
        anew = []
        for id, outcome in waiting.items():
            why_not = _why_not(outcome, known[id], variants, moderator)
            if why_not and moderator is None:
                raise DataError(f"{log.name}: content {id}: {why_not}\n  --engine SPEC judges such contents anew")
            if why_not:
                anew.append(known[id])
            else:
                made[id] = _again(outcome, known[id], variants)
                resolved += 1
        for fresh in _judge(moderator, anew):
            made[fresh.content_id] = fresh
            usages += [fresh.usage] if isinstance(fresh, Verdict) else []
            each(fresh)
        outcomes = {id: made[id] for id in part.outcomes if id in made}
        parts.append(replace(part, policy=source.slug, outcomes=outcomes, rules=source.rules()))
    judged = len(made) - resolved
    if not any(part.outcomes for part in parts):
        raise DataError(f"{log.name}: none of its contents is at hand\n  --contents SOURCE says where they are")
    usage = Usage(**{name: sum(getattr(one, name) for one in usages) for name in Usage.model_fields})
    return Replay(replace(log, name=source.policy.name, parts=tuple(parts)), resolved, judged, tuple(left_out), usage)


def _why_not(outcome: Outcome, content: Content, variants: _Variants, moderator: Moderator | None) -> str:
    """Why an outcome cannot be concluded again; empty if it can."""
    made = outcome.provenance
    policy = variants.of(made, content)
    if isinstance(policy, str):
        return policy
    if moderator and (what := _otherwise_made(made, moderator)):
        return f"was judged with another {what}"
    if not variants.asks_the_same(made, policy):
        return f"policy {policy.name} asks the model otherwise than {made.policy} did"
    if isinstance(outcome, Failure):
        return "failed, and is tried again" if moderator else ""
    return "" if outcome.findings else "does not record what the model reported"


def _otherwise_made(made: Provenance, moderator: Moderator) -> str:
    """What is asked for otherwise than it was; empty: nothing."""
    wanted = next(iter(moderator.provenances().values()))
    for name in ("engine", "model", "adapter_digest"):
        if getattr(made, name) != getattr(wanted, name):
            return name.removesuffix("_digest")
    names = dict.fromkeys((*made.parameters, *wanted.parameters))
    return next((name for name in names if made.parameters.get(name) != wanted.parameters.get(name)), "")


def _again(outcome: Outcome, content: Content, variants: _Variants) -> Outcome:
    policy = variants.of(outcome.provenance, content)
    assert isinstance(policy, Policy)
    if isinstance(outcome, Verdict):
        return conclude_again(outcome, policy, content)
    changed = {"policy": policy.name, "policy_digest": policy.digest}
    made = outcome.provenance.model_copy(update=changed)
    return outcome.model_copy(update={"policy": policy.slug, "provenance": made})


def _judge(moderator: Moderator | None, contents: Iterable[Content]) -> Iterable[Outcome]:
    if moderator is None:
        return ()
    # whatever policies a content named: this one is asked for
    return moderator.judge_all(content.model_copy(update={"policies": ()}) for content in contents)


def moderator_like(made: Provenance) -> dict[str, Any]:
    """The arguments of a `Moderator` that asks as it was asked for outcomes of this provenance, but for policy and engine."""
    asked = {
        name: made.parameters[name] for name in ("family", "mode", "plan", "samples", "context") if name in made.parameters
    }
    thresholds = {short: made.parameters[name] for short, name in _THRESHOLDS.items() if name in made.parameters}
    return {**asked, "thresholds": Thresholds(**thresholds)}


def under(log: Log, source: PolicySource) -> Log:
    """The part of the log that a policy is to be tried on: what was judged under its slug, or else under the only policy.

    Raises `DataError` when it was judged under several others.
    """
    of_slug = tuple(part for part in log.parts if part.policy == source.slug)
    policies = list(dict.fromkeys(part.policy for part in log.parts))
    if not of_slug and len(policies) > 1:
        hint = f"it has {', '.join(policies)}; --suite names the suites of a run"
        raise DataError(f"{log.name}: nothing was judged under {source.slug!r}, and several policies were\n  {hint}")
    return replace(log, parts=of_slug or log.parts)


def made_by(log: Log) -> Provenance:
    """What made the outcomes of a log: of its first."""
    return next(outcome.provenance for part in log.parts for outcome in part.outcomes.values())
