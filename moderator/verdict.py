"""What is said about a content: a `Verdict`, or a `Failure` when none could be had.

These are the lines of an outcomes file (schema ``outcome/1``). A finding is what a model wrote; a verdict is what the code
concludes from it; a failure is never turned into either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from moderator.answer import Finding, Label, Missing, RuleFinding
from moderator.content import well_formed
from moderator.policy.model import Action, Severity
from moderator.quoting import Match

Outcome = Literal["allowed", "violates", "allowed_by_exception", "needs_review", "not_covered"]
Reason = Literal["cut", "unreadable", "refused", "too_long", "timeout", "engine"]
Method = Literal["label_probability", "votes", "reported", "none"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Evidence(_Value):
    """A quote, verified: `start` and `end` are character offsets into the content's text (end exclusive), null when absent."""

    quote: str
    start: int | None
    end: int | None
    match: Match


class FoundRule(_Value):
    """A rule that holds against the content: found by the model, and not waived by an exception."""

    id: str
    severity: Severity
    evidence: tuple[Evidence, ...] = ()


def _left_out(value: object) -> bool:
    return not value


def _absent(value: object) -> bool:
    return value is None


class ReportedRule(_Value):
    """A rule that the model reported, and the words it quoted for it, as it wrote them."""

    id: str
    quote: str = Field(default="", exclude_if=_left_out)


class ReportedFinding(_Value):
    """What the model reported in one call, before the policy's exceptions and precedence were applied to it.

    One for each call of the plan, in its order; of several samples those of each that did not fail, one sample after another.
    In a line, what has its default value is left out.
    """

    label: Label
    certain: bool = Field(default=True, exclude_if=bool)
    """Whether the label read was certain."""
    rules: tuple[ReportedRule, ...] = Field(default=(), exclude_if=_left_out)
    exceptions: tuple[str, ...] = Field(default=(), exclude_if=_left_out)
    escalations: tuple[str, ...] = Field(default=(), exclude_if=_left_out)
    missing: tuple[Missing, ...] = Field(default=(), exclude_if=_left_out)
    probabilities: Mapping[Label, float] = Field(default={}, exclude_if=_left_out)
    """Of the labels, renormalised over them. Kept for all calls of a content when one's label is ``exception``: only then
    does the score depend on what the policy's exceptions cover."""
    sample: int = Field(default=0, exclude_if=_left_out)
    """The number of the sample, from 0."""
    rationale: str = Field(default="", exclude_if=_left_out)
    """The sample's, at its first call, where several samples were taken; else the verdict has it."""

    @classmethod
    def of(cls, finding: Finding, *, certain: bool, probabilities: Mapping[str, float] | None) -> ReportedFinding:
        """The record of a finding and of the label read behind it."""
        return cls(
            label=finding.label,
            certain=certain,
            rules=tuple(ReportedRule(id=rule.id, quote=rule.quote) for rule in finding.rules),
            exceptions=finding.exceptions,
            escalations=finding.escalations,
            missing=finding.missing,
            probabilities=probabilities or {},
        )

    def finding(self) -> Finding:
        """The finding, but for its rationale."""
        rules = tuple(RuleFinding(rule.id, rule.quote) for rule in self.rules)
        return Finding(self.label, rules, self.exceptions, self.escalations, self.missing)


class Score(_Value):
    """How probable it is that the content violates the policy, how that was measured, and whether it was calibrated.

    ``label_probability``: from the probabilities of the label tokens, taken from the full vocabulary and renormalised over the
    labels. ``votes``: the share of samples that say so. ``reported``: by another tool, whose outcome was imported. ``none``: no
    number could be had.
    """

    value: Annotated[float, Field(ge=0, le=1)] | None
    method: Method
    calibrated: bool = False
    uncalibrated: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None, exclude_if=_absent)
    """What the value was before it was calibrated; left out where it was not."""
    label_mass: float | None = None
    """The probability of all labels together in the full vocabulary; low: the model did not want to answer in this form."""


class Provenance(_Value):
    """What made the outcome: enough to make it again, and to say honestly that two outcomes are comparable."""

    policy: str
    policy_digest: str
    prompt_digest: str
    engine: str
    model: str
    adapter_digest: str | None = None
    parameters: Mapping[str, Any] = {}


class Usage(_Value):
    """Tokens over all calls for this content, and its share of the wall-clock time of its batch."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0


class _OutcomeLine(_Value):
    schema_: Literal["outcome/1"] = Field(default="outcome/1", alias="schema")


class Verdict(_OutcomeLine):
    """What the code concludes about one content under one policy."""

    kind: Literal["verdict"] = "verdict"
    content_id: str
    policy: str
    outcome: Outcome
    rules: tuple[FoundRule, ...] = ()
    """The rules that hold, the leading one first. Under ``allowed_by_exception``: those that were waived."""
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    severity: Severity = "none"
    action: Action = "none"
    """What the policy recommends. The machine takes none of these."""
    withheld: Outcome | None = Field(default=None, exclude_if=_absent)
    """The outcome that was too doubtful to be decided by a machine, under ``needs_review``; left out where none was."""
    score: Score
    rationale: str = ""
    """The model's, for reviewers. A justification, not a cause; never shown to the author of the content."""
    notice: str = ""
    """The policy's words for the author of the content."""
    missing: tuple[str, ...] = ()
    """Kinds of context without which this cannot be decided."""
    findings: tuple[ReportedFinding, ...] = ()
    """What the model reported: enough to conclude again under a policy that asks the same and decides otherwise."""
    provenance: Provenance
    usage: Usage = Usage()
    metadata: Mapping[str, Any] = {}

    @property
    def violates(self) -> bool:
        return self.outcome == "violates"


class Failure(_OutcomeLine):
    """No verdict could be had for this content, and why. What that means is the caller's decision."""

    kind: Literal["failure"] = "failure"
    content_id: str
    policy: str
    reason: Reason
    detail: str
    provenance: Provenance
    metadata: Mapping[str, Any] = {}


AnyOutcome = Annotated[Verdict | Failure, Field(discriminator="kind")]
OUTCOME: TypeAdapter[Verdict | Failure] = TypeAdapter(AnyOutcome)
"""Reads and describes an outcome line: ``OUTCOME.validate_json(line)``, ``OUTCOME.json_schema(by_alias=True)``."""


def to_line(outcome: Verdict | Failure) -> str:
    """The outcome as one JSON line, without the line break."""
    try:
        return outcome.model_dump_json(by_alias=True)
    except PydanticSerializationError:
        # half of a surrogate pair, in the id or the text of a content or in what a model wrote
        return well_formed(json.dumps(outcome.model_dump(by_alias=True), ensure_ascii=False, separators=(",", ":")))
