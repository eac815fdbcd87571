"""A small suite with every kind of item, and its run under an engine that plays back what the texts ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.content import Turn
from moderator.judge import Moderator
from moderator.runs import Run, execute
from moderator.suite import Annotation, Item, Scale, Span, Suite
from tests.cli.playback.engines import Flags

ENGINE = "tests.cli.playback.engines:Flags"
SCALE = Scale(values=("fine", "spam"), violates=("spam",))


def said(*words: str, **fields: object) -> tuple[Annotation, ...]:
    """A label each of annotators ``r0``, ``r1`` ..."""
    return tuple(Annotation.model_validate({"by": f"r{n}", "value": word, **fields}) for n, word in enumerate(words))


def suite() -> Suite:
    """Found, cited wrongly, missed, flagged wrongly, right, sent to a person, failed, tied, unlabelled."""
    marked = {"rules": {"P1": "yes"}, "spans": (Span(start=7, end=14, rule="P1"),)}
    items = (
        Item(
            id="found",
            text="please buy now! friends",
            thread=(Turn(text="and?", author="ann"),),
            labels=said("spam", "spam", **marked),
        ),
        Item(id="wrong-rule", text="buy it", labels=said("spam", rules={"P2": "yes"})),
        Item(id="missed", text="sell the lot", labels=said("spam", "spam", "fine"), slices={"language": "en"}),
        Item(id="over", text="buy a vowel", labels=said("fine", "fine", rules={"P1": "yes"}), slices={"language": "de"}),
        Item(id="right", text="hello", labels=said("fine"), facts={"surface": "post"}),
        Item(id="person", text="perhaps", labels=said("spam")),
        Item(id="failed", text="broken", labels=said("fine")),
        Item(id="tied", text="good day", labels=said("fine", "spam")),
        Item(id="unlabelled", text="buy tea"),
    )
    return Suite(slug="small", title="Small", policy="spam", scale=SCALE, slices=("language",), minimum=5, items=items)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The suite, judged."""
    with Moderator("spam", Flags()) as moderator:
        return execute([suite()], moderator, tmp_path / "run")
