"""What a chat endpoint replied, checked: any JSON object comes in, and only what has the promised types goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from moderator.engines.endpoint import Trouble
from moderator.engines.whole import WrittenToken

_ROUNDING: Final = 1e-3
"""How far above 0 a log probability may be."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of a chat completion, how it ended, the tokens it was written in (none: not told), and what it took."""

    text: str
    finish: str
    tokens: tuple[WrittenToken, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def read_reply(body: Mapping[str, Any]) -> Reply | Trouble:
    """The first choice of a chat completion, or why there is none."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = _object(choice).get("message")
    if not isinstance(message, dict):
        return Trouble("unreadable", "a reply without choices")
    finish = _object(choice).get("finish_reason")
    if finish == "content_filter" or message.get("refusal"):
        return Trouble("refused", "the endpoint refused to answer")
    text = message.get("content")
    if not isinstance(text, str | None):
        return Trouble("unreadable", f"`content` is a {type(text).__name__}, not a text")
    usage = _object(body.get("usage"))
    return Reply(
        text=text or "",
        finish=str(finish),
        tokens=_tokens(_object(_object(choice).get("logprobs")).get("content")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _tokens(entries: Any) -> tuple[WrittenToken, ...]:
    """The tokens of the answer; none at all when one of them is not what it should be."""
    if not isinstance(entries, list):
        return ()
    tokens: list[WrittenToken] = []
    for entry in map(_object, entries):
        others = entry.get("top_logprobs")
        token = WrittenToken(str(entry.get("token")), _probabilities([*(others if isinstance(others, list) else []), entry]))
        if not isinstance(entry.get("token"), str):
            return ()
        tokens.append(token)
    return tuple(tokens)


def _probabilities(entries: Sequence[Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entry in map(_object, entries):
        token, logarithm = entry.get("token"), entry.get("logprob")
        # false for what is not a number, too
        if isinstance(token, str) and isinstance(logarithm, int | float) and logarithm <= _ROUNDING:
            found[token] = min(1.0, math.exp(logarithm))
    return found


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
