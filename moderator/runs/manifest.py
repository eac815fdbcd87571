"""What a run was: suites, policies, provenances, counts, surroundings; ``manifest.json`` of its folder (schema ``run/1``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from moderator.policy.model import Action, Severity
from moderator.runs.environment import Environment
from moderator.suite import Split
from moderator.verdict import Outcome, Provenance, Reason

Count = Annotated[int, Field(ge=0)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Selection(_Value):
    """Which items of a suite are judged."""

    split: Split | Literal["all"] = "test"
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most so many items of each suite: those whose hashed ids come first, so that a sample is no matter of order, and a
    smaller one is part of every larger one. Drawn before copies are made."""
    perturb: tuple[str, ...] = ()
    """The perturbations of which each item gets a copy."""
    seed: int = 0
    """For the sample and for what perturbations draw."""


class SuiteRecord(_Value):
    """One suite of a run; its items stand in ``suites/SLUG.yaml`` and ``.jsonl`` beside the manifest."""

    slug: str
    version: str
    digest: str
    """Of the suite as it was judged: the copy in the run's folder."""
    selected_from: str
    """The digest of the suite as it was given, before items were selected."""
    policy: str
    """The slug of the policy that it was judged under."""
    items: Count
    outcomes: Mapping[Outcome, Count] = {}
    failures: Mapping[Reason, Count] = {}

    @property
    def judged(self) -> int:
        """Items that have an outcome, failures included."""
        return sum(self.outcomes.values()) + sum(self.failures.values())


class RuleRecord(_Value):
    """A rule as reports need it."""

    id: str
    title: str
    severity: Severity
    action: Action


class PolicyRecord(_Value):
    """A policy that suites were judged under, in the context that held for all items."""

    name: str
    digest: str
    rules: tuple[RuleRecord, ...]
    """Then those that only variants of it have."""


class Manifest(_Value):
    """A run, described. Written last: a folder without it holds a run that is not finished."""

    schema_: Literal["run/1"] = Field(default="run/1", alias="schema")
    started: AwareDatetime
    finished: AwareDatetime | None = None
    """None: the run is not finished."""
    passes: Annotated[int, Field(ge=1)] = 1
    """How often it was begun or taken up; one whose process was killed counts."""
    wall_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Over all passes. What a killed process did after its last note, a second at most before its last batch, is left out."""
    selection: Selection = Selection()
    suites: tuple[SuiteRecord, ...]
    policies: Mapping[str, PolicyRecord]
    """By slug."""
    provenances: Mapping[str, Provenance]
    """By the slug of the policy; of the variant that the common context selects. Each outcome has its own."""
    cache_hits: Count | None = None
    """Answers that came from a cache and not from the engine; they cost no tokens. None: there was no cache."""
    arguments: tuple[str, ...] = ()
    """As they were given on the command line, without secrets and home folders; of the first pass."""
    environments: tuple[Environment, ...] = ()
    """Where the passes ran, in order; one that is like the one before is not repeated."""

    @model_validator(mode="after")
    def _closed(self) -> Self:
        for suite in self.suites:
            if suite.policy not in self.policies or suite.policy not in self.provenances:
                raise ValueError(f"suite {suite.slug!r} is for policy {suite.policy!r}, which is not described")
        if self.finished and (short := [suite.slug for suite in self.suites if suite.judged != suite.items]):
            raise ValueError(f"finished, and suite {short[0]!r} is not judged whole")
        return self

    def suite(self, slug: str) -> SuiteRecord:
        """The record of a suite. Raises `KeyError`."""
        found = next((suite for suite in self.suites if suite.slug == slug), None)
        if found is None:
            raise KeyError(slug)
        return found
