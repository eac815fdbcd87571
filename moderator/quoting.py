"""How a content is shown to a model, and how what the model quotes is found again in the content.

A text is shown as a JSON string literal: it cannot close its slot, and a quote in a JSON answer is the same characters as in
the prompt. Two things are changed on the way, both reversible by `locate`:

- `<` and `[` that could begin a control token (``<|im_end|>``, ``</s>``, ``[INST]``) are written as ``\\u003c``, ``\\u005b``;
- characters that a reader of the platform cannot see are shown as the text they hide or left out: tag characters
  (U+E0020..7E, a hidden copy of ASCII) as what they spell, zero-width and bidirectional controls not at all.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Match = Literal["exact", "normalised", "absent"]

_TAGS = re.compile("[\U000e0020-\U000e007e]")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e001f\U000e007f]"
    # joiners spell emoji and several scripts; between ASCII letters they only hide a word
    "|(?<=[ -~])[\u200c\u200d]+(?=[ -~])"
)
_MAY_CHANGE = re.compile("[<\\[\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_CONTROL_TOKEN = re.compile(r"<(?=[|｜/!<a-zA-Z_▁])|\[(?=/?[A-Z][A-Z_]{2,}\])")
_ESCAPED = re.compile("[\u007f-\u009f\u2028\u2029\ud800-\udfff]")
_CHUNK = re.compile(r"\\u[0-9a-f]{4}|\\.|\s|\w+|[^\s\\\w]")


def visible(text: str) -> str:
    """The text as a reader sees it: hidden ASCII spelled out, zero-width characters gone."""
    if not _MAY_CHANGE.search(text):
        return text
    return _UNSEEN.sub("", _TAGS.sub(lambda tag: chr(ord(tag[0]) - 0xE0000), text))


def literal(text: str) -> str:
    """The JSON string literal that stands for the text in a prompt, quotation marks included."""
    if not _MAY_CHANGE.search(text):
        return json.dumps(text, ensure_ascii=False)
    quoted = json.dumps(visible(text), ensure_ascii=False)
    quoted = _CONTROL_TOKEN.sub(_escape, quoted)
    return _ESCAPED.sub(_escape, quoted)


def chunks(shown: str) -> list[str]:
    """A shown text (without its quotation marks) in the pieces a quote may be made of: words, spaces, signs, whole escapes."""
    return _CHUNK.findall(shown)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a quote stands in the original text: `start` and `end` count characters (code points), end exclusive."""

    match: Match
    start: int | None = None
    end: int | None = None


def locate(quote: str, text: str) -> Span:
    """Finds a quote in the original text.

    ``exact``: the characters are there. ``normalised``: they are there but for case, compatibility forms (NFKC), white space
    and unseen characters; the offsets are those of the original. ``absent``: they are not.
    """
    if not quote:
        return Span("absent")
    start = text.find(quote)
    if start >= 0:
        return Span("exact", start, start + len(quote))
    folded, origin = _fold(text)
    wanted, _ = _fold(quote)
    wanted = wanted.strip()
    start = folded.find(wanted) if wanted else -1
    if start < 0:
        return Span("absent")
    return Span("normalised", origin[start], origin[start + len(wanted) - 1] + 1)


def _fold(text: str) -> tuple[str, list[int]]:
    """The text folded for comparison, and for each of its characters the index of the original character it came from."""
    unseen = {index for match in _UNSEEN.finditer(text) for index in range(match.start(), match.end())}
    characters: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        if index in unseen:
            continue
        if "\U000e0020" <= character <= "\U000e007e":
            character = chr(ord(character) - 0xE0000)
        for folded in unicodedata.normalize("NFKC", character).casefold():
            if folded.isspace():
                if characters and characters[-1] == " ":
                    continue
                folded = " "
            characters.append(folded)
            origin.append(index)
    return "".join(characters), origin
