"""Whole answers, from models and endpoints that cannot continue a given beginning or cannot be held to a grammar of ours.

They are asked for the answer from its first character, by its JSON Schema where they take one. What comes back is read as an
answer like any other: nothing here repairs a wrong one, only the wrapping that chat models put around a right one is taken off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from moderator.answer import AnswerFormat, Label
from moderator.prompt import Prompt, Write

HARMONY_ANSWER: Final = "<|channel|>final <|constrain|>json<|message|>"
"""What stands between the assistant's name and an answer that is JSON, in OpenAI's harmony format."""
_HARMONY_FINAL: Final = re.compile(
    r"<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)(?:<\|return\|>|<\|end\|>|$)", re.DOTALL
)
_THOUGHT: Final = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCED: Final = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_LABEL_BEGINS: Final = re.compile(r'"violates"\s*:\s*"')
_FIELD_TOKENS: Final = 128
_ENTRY_CHARACTERS: Final = 48


@dataclass(frozen=True, slots=True)
class WrittenToken:
    """One token of an answer, and the probabilities of the most probable tokens in its place (itself included)."""

    text: str
    probabilities: Mapping[str, float]


def schema(form: AnswerFormat) -> dict[str, Any]:
    """The answer's JSON Schema without the lengths of strings: xgrammar forbids every escape in a string that has one."""
    stripped: dict[str, Any] = _without(form.schema(), "maxLength")
    return stripped


def _without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _without(entry, name) for key, entry in value.items() if key != name}
    if isinstance(value, list):
        return [_without(entry, name) for entry in value]
    return value


def tokens_for(form: AnswerFormat) -> int:
    """Tokens enough for any answer of this form, at a character a token."""
    return form.rationale_chars + 4 * (form.quote_chars + _ENTRY_CHARACTERS) + _FIELD_TOKENS


def sampling(prompt: Prompt) -> tuple[float, int]:
    """The temperature and the seed that the prompt asks for; a label read is greedy."""
    return (prompt.task.temperature, prompt.task.seed) if isinstance(prompt.task, Write) else (0.0, 0)


def unwrapped(text: str) -> str:
    """The answer without what surrounds it: a thought before it, harmony channels, a Markdown fence."""
    if "<|channel|>" in text:
        finals = _HARMONY_FINAL.findall(text)
        text = finals[-1] if finals else ""
    if thought := _THOUGHT.match(text):
        text = text[thought.end() :]
    fenced = _FENCED.fullmatch(text)
    return (fenced[1] if fenced else text).strip()


def label_probabilities(tokens: Sequence[WrittenToken], labels: Sequence[Label]) -> tuple[dict[str, float], bool] | None:
    """The probability of each label at the place where the answer gives it, and whether the most probable token was one.

    None when that place is not at the beginning of a token, or nothing is known of it. A label whose token is not among those
    that were returned gets 0, so the sum is a lower bound of the labels' mass.
    """
    begins = _LABEL_BEGINS.search("".join(token.text for token in tokens))
    position = 0
    for token in tokens:
        if begins is None or position > begins.end():
            return None
        if position == begins.end() and token.text:
            break
        position += len(token.text)
    else:
        return None
    if not token.probabilities:
        return None
    found = dict.fromkeys(map(str, labels), 0.0)
    leading = max(token.probabilities, key=lambda text: token.probabilities[text])
    for text, probability in token.probabilities.items():
        label = _label_of(text, labels)
        if label is not None:
            found[label] += probability
    if not all(math.isfinite(probability) for probability in found.values()):
        return None
    return found, _label_of(leading, labels) is not None


def _label_of(text: str, labels: Sequence[Label]) -> Label | None:
    """The one label that a token at the label's place stands for: all of it, with what closes it or not, or its beginning."""
    word, quote, _ = text.partition('"')
    if quote or word in labels:
        return next((label for label in labels if label == word), None)
    begun = [label for label in labels if word and label.startswith(word)]
    return begun[0] if len(begun) == 1 else None
