"""What steering is measured on: contents with what is known about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moderator.content import Content, text_id
from moderator.policy import Policy
from moderator.scoring import gold, rule_gold
from moderator.suite import Answer, Item, Suite

_ANSWERS: Final[Mapping[str, Answer]] = {"violates": "yes", "allowed": "no", "escalate": "unknown"}
"""What the label of a policy's example says about violation."""

_ABOUT_RULES: Final = ("rule", "borderline", "contrast")
"""Kinds of functionality whose harmless cases are about the subject of a rule and owe nothing to an exception."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A content, and what people say about it under the policy at hand."""

    content: Content
    violates: Answer = "unknown"
    rules: frozenset[str] = frozenset()
    """Those that people say hold."""
    on_topic: bool = False
    """Known to be about the subject of a rule, with no exception at work: what an inverted rule would turn on."""
    cluster: str = ""
    """What is resampled together; empty: the content stands alone."""

    @property
    def unit(self) -> str:
        return self.cluster or self.content.id


def examples_of(policy: Policy) -> tuple[Labelled, ...]:
    """The examples of the policy's document, each text once; those to escalate have no known answer."""
    found: dict[str, Labelled] = {}
    for rule in policy.rules:
        for example in rule.examples:
            labelled = Labelled(
                Content.of(example.text),
                violates=_ANSWERS[example.label],
                rules=frozenset((rule.id,)) if example.label == "violates" else frozenset(),
                on_topic=example.decided_by is None and example.label != "escalate",
            )
            found.setdefault(text_id(example.text), labelled)
    return tuple(found.values())


def of_suite(suite: Suite) -> tuple[Labelled, ...]:
    """The items of the suite's test split, with the answer that most of their annotators gave; a tie is unknown.

    Only of functional tests is it known which harmless items are about the subject of a rule.
    """
    return tuple(_of_item(suite, item) for item in suite.split("test"))


def _of_item(suite: Suite, item: Item) -> Labelled:
    named = {rule for label in item.labels for rule in label.rules}
    return Labelled(
        item.content(),
        violates=gold(suite, item) or "unknown",
        rules=frozenset(rule for rule in named if rule_gold(item, rule) == "yes"),
        on_topic="functionality" in item.slices and item.slices.get("kind") in _ABOUT_RULES,
        cluster=item.group,
    )


def sampled(contents: Sequence[Labelled], limit: int | None, seed: int = 0) -> tuple[Labelled, ...]:
    """At most so many of the contents, drawn by a hash of seed and id, in their order."""
    if limit is None or len(contents) <= limit:
        return tuple(contents)
    drawn = sorted(contents, key=lambda one: drawn_by(seed, one.content.id))[:limit]
    kept = {one.content.id for one in drawn}
    return tuple(one for one in contents if one.content.id in kept)


def drawn_by(seed: int, *names: str) -> int:
    """A number that looks drawn at random and is the same on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join((str(seed), *names)).encode("utf-8", "surrogatepass")).digest()[:8], "big")
