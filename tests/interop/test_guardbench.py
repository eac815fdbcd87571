"""GuardBench's contract: a number for each conversation, in order, and never one for a failure."""

from __future__ import annotations

import math
from typing import Any

import pytest

from moderator.content import Turn
from moderator.errors import DataError, NoVerdictError
from moderator.interop.conversations import content_of
from moderator.interop.guardbench import moderate
from moderator.interop.opening import open_once
from moderator.judge import Moderator
from tests.cli.playback.engines import Flags
from tests.interop.conftest import ENGINE


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]


def test_each_conversation_has_its_probability_in_order() -> None:
    found = moderate([said("hello"), said("buy now"), said("perhaps")], policy="spam", engine=ENGINE)
    assert found[1] > 0.8
    assert found[0] < 0.1
    # what a person must decide keeps the number that the engine gave, which is no decision
    assert found[2] < 0.1


def test_the_last_turn_is_judged_and_those_before_are_its_thread() -> None:
    asked: list[str] = []

    class Asked(Flags):
        def complete(self, prompts: Any) -> Any:
            asked.extend(prompt.user for prompt in prompts)
            return super().complete(prompts)

    moderator = Moderator("spam", Asked())
    flagged, clean = moderate([said("hello", "what else?", "buy now"), said("buy now", "no", "hello")], moderator=moderator)
    assert flagged > 0.8 > 0.1 > clean
    first = next(prompt for prompt in asked if "what else?" in prompt)
    assert "assistant" in first
    assert first.count("buy now") == 1
    assert content_of(said("hello", "what else?", "buy now")).thread == (
        Turn(text="hello", author="user"),
        Turn(text="what else?", author="assistant"),
    )


def test_a_failure_raises_or_is_nan_and_never_a_number() -> None:
    conversations = [said("hello"), said("broken")]
    with pytest.raises(NoVerdictError, match="timeout"):
        moderate(conversations, policy="spam", engine=ENGINE)
    found = moderate(conversations, policy="spam", engine=ENGINE, on_failure="nan")
    assert [math.isnan(number) for number in found] == [False, True]


def test_a_text_in_parts_is_read_and_an_image_is_refused() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "buy"}, {"type": "text", "text": "now"}]}]
    assert moderate([parts], policy="spam", engine=ENGINE)[0] > 0.8
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    with pytest.raises(DataError, match="conversation 1: a message has a part of type 'image_url'"):
        moderate([parts, image], policy="spam", engine=ENGINE)


@pytest.mark.parametrize(
    ("conversations", "options", "message"),
    [
        ([[]], {"policy": "spam"}, "conversation 0: the conversation is empty"),
        ([[{"role": "user"}]], {"policy": "spam"}, "a message has no text"),
        ([], {}, "give either a policy"),
        ([], {"policy": "spam", "on_failure": "zero"}, "on_failure: 'zero'"),
        ([], {"policy": "spam", "modes": "fast"}, "modes: no such option"),
        ([], {"policy": "spam", "context": {"audience": {1}}}, "open a `Moderator` yourself"),
        ([], {"policy": ["spam", "hate"]}, "2 were given"),
    ],
)
def test_what_is_wrong_is_said(conversations: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        moderate(conversations, engine=ENGINE, **options)


def test_the_moderator_is_opened_once_for_the_same_settings() -> None:
    assert open_once("spam", ENGINE) is open_once("spam", ENGINE)
    assert open_once("spam", ENGINE) is not open_once("spam", ENGINE, plan="rule")
