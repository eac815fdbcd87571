"""Suites and moderators for the tests of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moderator.engines import Completion
from moderator.judge import Moderator
from moderator.policy import Policy, parse_policy
from moderator.prompt import Prompt
from moderator.suite import Annotation, Item, Scale, Suite
from tests.small import DOCUMENT, StepEngine, house, leaning, rest

MARKET = parse_policy(DOCUMENT.replace("policy: house", "policy: market").replace("title: House rules", "title: Market rules"))


def items(*ids: str, text: str = "text of {}", **fields: Any) -> tuple[Item, ...]:
    labels = (Annotation(by="ann", value="fine"),)
    return tuple(Item(id=name, text=text.format(name), labels=labels, **fields) for name in ids)


def suite(slug: str = "own", *given: Item, count: int = 4, **fields: Any) -> Suite:
    """A suite for the house policy: these items, or so many of its own."""
    scale = Scale(values=("bad", "fine"), violates=("bad",))
    own = given or items(*(f"{slug}-{number}" for number in range(count)))
    return Suite(**{"slug": slug, "title": "Own", "policy": "house", "scale": scale, "items": own, **fields})


def read(prompt: Prompt) -> dict[str, float] | Completion:
    """A sale where a wheel is named; no answer to what is broken."""
    if "broken" in prompt.user:
        return Completion(problem="timeout", detail="no answer")
    return leaning("yes" if "wheel" in prompt.user else "no")


def selling(reading: Callable[[Prompt], Any] = read, batch: int = 3) -> StepEngine:
    return StepEngine(reading, lambda prompt: rest(("H2", "wheel"), exceptions=(), escalations=()), batch=batch)


def moderator(*policies: Policy, engine: Any = None, **options: Any) -> Moderator:
    return Moderator(policies or (house(),), engine or selling(), **options)
