"""A content with everything a reviewer needs, what the machine has to say about it, and what a person decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from moderator.content import Content, Turn
from moderator.policy.model import Severity, Slug
from moderator.verdict import Verdict

Advice = Literal["uphold", "overturn", "enforce", "allow", "ask_for_context", "person_decides"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Report(_Value):
    """What a user reported, in that user's words."""

    reason: str
    policy: str = ""
    """The policy that the reporter picked."""
    reliability: float | None = None
    """The share of this reporter's earlier reports that led to action."""


class Appeal(_Value):
    """A complaint against a decision, in the words of who makes it."""

    statement: str
    appellant: Literal["author", "reporter"] = "author"
    new_evidence: str = ""


class Case(_Value):
    """What is put before `Moderator.review`. The thread is the content's own."""

    id: str
    content: Content
    author: Mapping[str, str] = {}
    """Facts of the platform about the author (``account_age``, ``strikes`` ...); no names."""
    reports: tuple[Report, ...] = ()
    earlier: tuple[Verdict, ...] = ()
    appeal: Appeal | None = None

    def as_content(self) -> Content:
        """The content as it is shown for review: reports and appeal join the thread as what they are, words of users;
        facts about the author and earlier outcomes join the facts of the platform."""
        said = [
            Turn(author=f"report ({report.policy})" if report.policy else "report", text=report.reason)
            for report in self.reports
        ]
        if self.appeal:
            said.append(Turn(author=f"appeal by the {self.appeal.appellant}", text=self.appeal.statement))
            if self.appeal.new_evidence:
                said.append(Turn(author="appeal: new evidence", text=self.appeal.new_evidence))
        facts = dict(self.content.facts) | {f"author {name}": value for name, value in self.author.items()}
        for index, verdict in enumerate(self.earlier, start=1):
            rules = " ".join(rule.id for rule in verdict.rules)
            facts[f"earlier outcome {index}"] = f"{verdict.outcome} {rules} ({verdict.provenance.policy})".replace("  ", " ")
        return self.content.model_copy(update={"thread": (*self.content.thread, *said), "facts": facts})


class DecidedRule(_Value):
    """A rule that a person found broken, and the words of the content that break it (empty: none were picked)."""

    id: str
    quote: str = ""


class Decision(_Value):
    """What a person decided about a content: a line of a decisions file (schema ``decision/1``).

    It is about the whole policy: a rule that is not named was not found broken. Under ``allowed_by_exception`` the rules are
    those that were waived.
    """

    schema_: Literal["decision/1"] = Field(default="decision/1", alias="schema")
    content: Content
    policy: Slug
    outcome: Literal["violates", "allowed", "allowed_by_exception"]
    rules: tuple[DecidedRule, ...] = ()
    exceptions: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""
    """Who decided, as a pseudonym or a role."""
    at: AwareDatetime | None = None
    case_id: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.outcome != "allowed") != bool(self.rules):
            raise ValueError(f"`{self.outcome}` with {len(self.rules)} rules")
        if (self.outcome == "allowed_by_exception") and not self.exceptions:
            raise ValueError("`allowed_by_exception` without an exception")
        return self


class RuleAtIssue(_Value):
    """A rule that some sample found, with its text from the policy and the share of samples that found it."""

    id: str
    title: str
    text: str
    severity: Severity
    share: float


class Recommendation(_Value):
    """What several deliberate samples come to. `final` is always false: a person decides, above all on appeals."""

    case_id: str
    policy: str
    advice: Advice
    agreement: float
    """The share of samples that came to the majority's outcome."""
    verdict: Verdict
    """The sample that stands for the majority."""
    rules_at_issue: tuple[RuleAtIssue, ...]
    rationales: tuple[str, ...]
    """One for each sample, in order."""
    missing: tuple[str, ...]
    failed_samples: int = 0
    final: Literal[False] = False
