"""Labelled contents for a policy: a suite, its items, and what people said about each.

A label keeps the words of whoever gave it (`value`, on the suite's `Scale`); whether that means a violation follows through the
scale, unless the label says so itself. What nobody labelled is unknown, never negative.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from moderator.content import Content, Turn
from moderator.policy.model import Slug, Version

Answer = Literal["yes", "no", "unknown"]
Split = Literal["train", "test"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Span(_Value):
    """A passage that an annotator marked as evidence: character offsets into the item's text, end exclusive."""

    start: Annotated[int, Field(ge=0)]
    end: int
    rule: str | None = None
    """The rule that it is evidence for; None: the set does not say."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"span {self.start}-{self.end} is empty")
        return self


class Annotation(_Value):
    """What one annotator said about an item; without `by`, a published majority or votes whose givers are not known."""

    by: Text | None = None
    value: str
    """The native label: one of the scale's values."""
    violates: Answer | None = None
    """Where it does not follow from the value; see `Suite.answer`."""
    rules: Mapping[str, Answer] = {}
    """What was said about single rules; a rule that is not named is unknown."""
    spans: tuple[Span, ...] = ()
    count: Annotated[int, Field(ge=1)] = 1
    """How many annotators without ids gave this label."""

    @model_validator(mode="after")
    def _one_vote_each(self) -> Self:
        if self.by is not None and self.count > 1:
            raise ValueError(f"`count` is {self.count} for one annotator")
        return self


class Item(_Value):
    """A content with its labels; without any it is unlabelled, which is not a "no"."""

    id: Text
    text: str
    thread: tuple[Turn, ...] = ()
    facts: Mapping[str, str] = {}
    split: Split = "test"
    group: str = ""
    """What is resampled together (an author, a thread, a template); empty: the item stands alone."""
    slices: Mapping[str, str] = {}
    labels: tuple[Annotation, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for span in (span for label in self.labels for span in label.spans):
            if span.end > len(self.text):
                raise ValueError(f"span {span.start}-{span.end} is outside the text of {len(self.text)} characters")
        named = [label.by for label in self.labels if label.by is not None]
        if twice := next((by for by in named if named.count(by) > 1), None):
            raise ValueError(f"annotator {twice!r} labels the item twice")
        return self

    @property
    def cluster(self) -> str:
        """The name of what is resampled together; an item of no group is its own."""
        return self.group or self.id

    def content(self) -> Content:
        """What is judged: the item without its labels."""
        return Content(id=self.id, text=self.text, thread=self.thread, facts=self.facts)


class Scale(_Value):
    """The native labels of a set, and what they say about the policy: `violates`, `unknown`, and "no" for all others."""

    kind: Literal["nominal", "ordinal"] = "nominal"
    values: Annotated[tuple[Text, ...], Field(min_length=1)]
    """An ordinal scale's in order."""
    violates: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("a value is named twice")
        for value in (*self.violates, *self.unknown):
            if value not in self.values:
                raise ValueError(f"{value!r} is not among the values")
        if both := sorted(set(self.violates) & set(self.unknown)):
            raise ValueError(f"{both[0]!r} violates and is unknown")
        return self

    def answer(self, value: str) -> Answer:
        """Whether a label of this value says that the policy is violated. Raises `ValueError` for what is no value."""
        self.rank(value)
        return "yes" if value in self.violates else "unknown" if value in self.unknown else "no"

    def rank(self, value: str) -> int:
        """Where the value stands on the scale, from 0. Raises `ValueError`."""
        if value not in self.values:
            raise ValueError(f"{value!r} is not on the scale: {', '.join(self.values)}")
        return self.values.index(value)


class Source(_Value):
    """Where the labels come from, and what may be done with them."""

    name: str
    url: str = ""
    licence: str
    citation: str = ""


class Targets(_Value):
    """The least values of metrics that a run must reach, by the names that scores have: over all, and for single rules.

    Written flat: ``{f1: 0.75, rules: {H3: {recall: 0.8}}}``.
    """

    metrics: Mapping[str, Number] = {}
    rules: Mapping[str, Mapping[str, Number]] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "metrics" in value:
            return value
        metrics = {name: least for name, least in value.items() if name != "rules"}
        return {"metrics": metrics, "rules": value.get("rules", {})}

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        rules = {rule: dict(least) for rule, least in self.rules.items()}
        return {**self.metrics, **({"rules": rules} if rules else {})}


class Suite(_Value):
    """Labelled contents for a policy, with the numbers that a moderator must reach on them."""

    slug: Slug = Field(alias="suite")
    version: Version = "1.0.0"
    title: str
    policy: Text
    """The slug of a shipped policy, or the path of a document relative to the suite's file."""
    source: Source | None = None
    scale: Scale
    slices: tuple[str, ...] = ()
    """The keys of `Item.slices` that reports break down by."""
    minimum: Annotated[int, Field(ge=1)] = 30
    """Items with a known label below which a number is inconclusive."""
    targets: Targets = Targets()
    items: tuple[Item, ...] = ()

    def answer(self, label: Annotation) -> Answer:
        """Whether the label says that the policy is violated: its own word, else what the scale makes of its value."""
        return label.violates or self.scale.answer(label.value)

    def split(self, split: Split) -> tuple[Item, ...]:
        """The items of one split, in order."""
        return tuple(item for item in self.items if item.split == split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the suite's value: the same on every machine, deaf to layout, file names and the order of items."""
        whole = hashlib.sha256(_canonical(self.model_dump(mode="json", exclude={"items"}, exclude_defaults=True)))
        lines = (_canonical(item.model_dump(mode="json", exclude_defaults=True)) for item in self.items)
        for line in sorted(hashlib.sha256(line).digest() for line in lines):
            whole.update(line)
        return "sha256:" + whole.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
