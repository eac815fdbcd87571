"""What a policy is, once it has been read: frozen values, no file, no text format.

The words follow DESIGN: a `Policy` has `Rule`s, `PolicyException`s and `Escalation`s; the severity scale is ROOST's
(model-community, `harm_taxonomy.yaml`), with ``none`` for ``info``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["none", "low", "medium", "high", "critical"]
Action = Literal[
    "none", "label", "warn", "age_restrict", "limit_interaction", "demote", "hide", "remove", "escalate", "provide_resources"
]
Status = Literal["draft", "shadow", "active", "retired"]
Kind = Literal["rule", "exception", "escalation"]
ExampleLabel = Literal["violates", "allowed", "escalate"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ACTIONS: tuple[Action, ...] = get_args(Action)

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]


class Part(BaseModel):
    """A piece of a policy: frozen, closed, and aware of the line it was read from (which is not part of its value)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: int = Field(default=0, exclude=True, repr=False)

    def replace(self, **changes: Any) -> Self:
        """The same value with other fields; unlike `model_copy` it carries no cached property over."""
        # not dict(self): that also holds what `cached_property` has stored
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


class Definition(Part):
    id: str
    term: str
    text: str


class Example(Part):
    """An example inside a rule. `exception` or `escalation` names what decides it, when that is not the rule alone."""

    label: ExampleLabel
    text: str
    note: str = ""
    decided_by: str | None = None
    """An exception id (``allowed``) or an escalation id (``escalate``)."""


class Entry(Part):
    """A piece with an id of its own, under a heading of its own."""

    id: str
    title: str


class Rule(Entry):
    severity: Severity
    action: Action
    applies_to: tuple[str, ...] = ()
    """Surfaces; empty: all of the policy's."""
    review: Literal["human"] | None = None
    """``human``: found by a machine, decided by a person (outcome ``needs_review``)."""
    text: str
    violates: tuple[str, ...] = ()
    does_not_violate: tuple[str, ...] = ()
    borderline: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def summary(self) -> str:
        """The first paragraph, on one line: all that a short prompt says of the rule."""
        return first_paragraph(self.text)


class PolicyException(Entry):
    covers: tuple[str, ...]
    never_for: tuple[str, ...] = ()
    requires: str = ""
    outcome: Action = "none"
    """The action that remains when the exception applies; ``none`` is written ``allow`` in the document."""
    review: Literal["human"] | None = None
    text: str = ""

    def waives(self, rule_id: str) -> bool:
        """Whether a rule that was found is set aside by this exception."""
        return rule_id in self.covers and rule_id not in self.never_for

    @property
    def summary(self) -> str:
        return first_paragraph(self.text) or self.requires


class Escalation(Entry):
    when: str
    triggers: tuple[str, ...] = ()
    """Rule ids of the machine form (``H1 or H3 is found``): executed in code. Empty: the model is asked about `when`."""
    to: str
    within: str = ""
    automation: Literal["none", "hold"] = "hold"
    text: str = ""


class AppliesTo(Part):
    surfaces: tuple[str, ...] = ()
    content: tuple[str, ...] = ("text",)
    audience: tuple[str, ...] = ("everyone",)
    jurisdictions: tuple[str, ...] = ("*",)


class Taxonomy(Part):
    """Names of the same harm in other vocabularies; for export only."""

    dsa: str | None = None
    ailuminate: str | None = None
    openai: tuple[str, ...] = ()
    llama_guard: str | None = None
    roost: str | None = None


class Policy(Part):
    """A versioned policy, resolved: what is compiled, and what findings are resolved against."""

    slug: Slug
    version: Version
    title: str
    status: Status = "draft"
    owner: str = ""
    effective: str | None = None
    review_by: str | None = None
    locale: str = "en"
    applies_to: AppliesTo = AppliesTo()
    prefix: str = ""
    ground: Literal["terms", "illegal"] = "terms"
    taxonomy: Taxonomy = Taxonomy()
    variant: tuple[str, ...] = ()
    """Names of the overlays that were applied, in order."""

    rationale: str = ""
    scope: str = ""
    definitions: tuple[Definition, ...] = ()
    rules: tuple[Rule, ...]
    exceptions: tuple[PolicyException, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    precedence: tuple[tuple[str, ...], ...] = ()
    """Chains of rule ids, the leading one first."""
    notices: Mapping[str, str] = {}
    reviewer_notes: str = ""
    changelog: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``hate@2.1.0``, and ``hate@2.1.0+teen`` for a variant."""
        return "+".join((f"{self.slug}@{self.version}", *self.variant))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the policy's value (not over its file): the same on every machine, deaf to layout."""
        value = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(value.encode()).hexdigest()

    def rule(self, rule_id: str) -> Rule:
        """The rule with this id. Raises `KeyError`."""
        return self._rules[rule_id]

    def exception(self, exception_id: str) -> PolicyException:
        """The exception with this id. Raises `KeyError`."""
        return self._exceptions[exception_id]

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def _exceptions(self) -> dict[str, PolicyException]:
        return {exception.id: exception for exception in self.exceptions}

    def slice(self, rule_ids: Iterable[str]) -> Policy:
        """The same policy with these rules only; no exception, escalation, precedence or notice names another."""
        keep = set(rule_ids)
        exceptions = _concerning(self.exceptions, "covers", keep)
        escalations = _concerning(self.escalations, "triggers", keep, needed=False)
        known = {part.id for part in (*exceptions, *escalations)}
        return self.replace(
            rules=tuple(_without_other_examples(rule, known) for rule in self.rules if rule.id in keep),
            exceptions=tuple(x.replace(never_for=_only(x.never_for, keep)) for x in exceptions),
            escalations=escalations,
            precedence=tuple(short for chain in self.precedence if len(short := _only(chain, keep)) > 1),
            notices={rule_id: text for rule_id, text in self.notices.items() if rule_id in keep},
        )


EntryT = TypeVar("EntryT", bound=Entry)


def _only(ids: Iterable[str], keep: Set[str]) -> tuple[str, ...]:
    return tuple(rule_id for rule_id in ids if rule_id in keep)


def _concerning(parts: Iterable[EntryT], field: str, keep: Set[str], *, needed: bool = True) -> tuple[EntryT, ...]:
    """The parts that name a kept rule in this field, narrowed to the kept ones; where not `needed`, an empty field stays."""
    narrowed = ((part, _only(getattr(part, field), keep)) for part in parts)
    return tuple(part.replace(**{field: ids}) for part, ids in narrowed if ids or (not needed and not getattr(part, field)))


def _without_other_examples(rule: Rule, known: Set[str]) -> Rule:
    """The rule less the examples that an absent exception or escalation decides."""
    return rule.replace(examples=tuple(e for e in rule.examples if e.decided_by is None or e.decided_by in known))


class Reference(Part):
    """An id that some line names."""

    id: str
    kind: Kind
    where: str
    """What names it, for a message: "`Covers`", "an example"."""


class Amendment(Part):
    """What an overlay changes in an entry of its base: some keyed values, or the whole entry is disabled."""

    id: str
    title: str = ""
    """Repeated from the base, or left out."""
    disabled: bool = False
    changes: Mapping[str, Any] = {}
    """New values by field of the entry."""


class Overlay(Part):
    """A change to a policy for one context: entries to add, entries to change."""

    name: str
    """``teen`` in ``hate.teen.md``."""
    base: Slug
    compatible: str
    """The versions of the base it applies to, a caret range such as ``^1``."""
    when: Mapping[str, tuple[str, ...]]
    """Context keys and the values that each may have; all keys must match."""
    version: Version = "1.0.0"
    title: str = ""
    status: Status = "draft"
    owner: str = ""
    effective: str | None = None
    review_by: str | None = None
    locale: str | None = None
    applies_to: AppliesTo | None = None
    """Replaces the base's."""
    file: str = Field(default="", exclude=True)
    references: tuple[Reference, ...] = Field(default=(), exclude=True, repr=False)
    """Ids that it names, of its own entries or of the base's: checked when it is applied."""

    definitions: tuple[Definition, ...] = ()
    rules: tuple[Rule, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    notices: Mapping[str, str] = {}
    reviewer_notes: str = ""
    changelog: tuple[str, ...] = ()

    def matches(self, context: Mapping[str, str]) -> bool:
        """Whether the context has, for every key of `when`, one of its values."""
        return all(context.get(key) in values for key, values in self.when.items())


def first_paragraph(text: str) -> str:
    """The first paragraph of a prose, its line breaks made spaces."""
    return " ".join(text.strip().split("\n\n", 1)[0].split())
