"""How a content is shown to a model, and how what the model quotes is found again in the content.

A text is shown as a JSON string literal: it cannot close its slot, and a quote in a JSON answer is the same characters as in
the prompt. Two things are changed on the way, and `locate` finds quotes in spite of both:

- `<` and `[` that could begin a control token (``<|im_end|>``, ``</s>``, ``[INST]``) are written as ``\\u003c``, ``\\u005b``;
- characters that a reader of the platform cannot see are shown as the text they hide or left out: tag characters
  (U+E0020..7E, a hidden copy of ASCII) as what they spell; zero-width and bidirectional controls not at all; joiners and
  variation selectors only where they shape what is seen, in emoji and in the scripts that use them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Match = Literal["exact", "normalised", "absent"]

LONGEST_CHUNK: Final = 64
"""Characters: a quote that may be this long can always be made of something."""

_WORD: Final = 32
_TAGS: Final = "\U000e0020-\U000e007e"
_HIDDEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e007f-\U000e00ff\U000e01f0-\U000e0fff"
)
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
# after these a joiner can be seen, and a selector: Arabic to Myanmar, Khmer, Mongolian; emoji
_JOINED: Final = (
    "\u0600-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff"
    "\U0001f000-\U0001faff\u20e3"
)
# after these only a selector can: signs, Han and kana
_SELECTED: Final = (
    "©®\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2100-\u214f\u2200-\u22ff\u2460-\u24ff\u25a0-\u25ff\u2900-\u297f"
    "\u3001-\u9fff\ua840-\ua87f\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNWRITABLE: Final = "\x7f-\x9f\u2028\u2029\ud800-\udfff"

_TAG: Final = re.compile(f"[{_TAGS}]")
_UNSEEN: Final = re.compile(f"[{_HIDDEN}]+")
_MARKS: Final = re.compile(
    "(?<=[0-9#*])(\ufe0f)(?=\u20e3)"
    f"|(?<=[{_JOINED}])(?=[{_SELECTORS}{_JOINERS}])([{_SELECTORS}]?[{_JOINERS}]?)[{_SELECTORS}{_JOINERS}]*"
    f"|(?<=[{_SELECTED}])([{_SELECTORS}])[{_SELECTORS}{_JOINERS}]*"
    f"|[{_SELECTORS}{_JOINERS}]+"
)
_CONTROL_TOKEN: Final = re.compile(
    # <|im_end|> </s> <s> <!-- <用户> <｜User｜> <0x0A>, and in the full-width forms that some tokenizers fold
    r"[<＜﹤](?=[^\W\d]|[|｜￨/／!！▁＿]|0x[0-9A-Fa-f]{2}>)"
    # [INST] [/INST] [TOOL_CALLS] [gMASK] [control_8] [unused1] [|user|] [@BOS@]; not [link], [1], [Name]
    r"|[\[［](?=/?[|｜@]|/?(?=\w{2,40}[\]］])\w*?(?:[A-ZＡ-Ｚ]{2}|_|unused\d))"
    # ]~b] ]~!b[ ]!p~[ [e~[
    r"|\](?=~!?b|![pd]~)|\[(?=e~)"
)
_ESCAPED: Final = re.compile(f"[{_UNWRITABLE}]")
_MAY_CHANGE: Final = re.compile(rf"[<＜﹤\[［\]{_UNWRITABLE}{_HIDDEN}{_JOINERS}{_SELECTORS}{_TAGS}]")
# scripts that do not part words by spaces: a character a piece, or a sentence could only be quoted whole
_UNSPACED: Final = "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
# an escape of `_CONTROL_TOKEN` keeps what it was escaped for, a letter its marks: each piece is written alone as in its place
_CHUNK: Final = re.compile(
    r"(?:\\u(?:003c|ff1c|fe64)(?:\w{1,40}>?|[^\s\\\w])"
    r"|\\u(?:005b|ff3b)(?:/?[|｜@]|e~|/?\w{1,40}(?:[\]］]|\\u005d(?:~!?b|![pd]~)))"
    r"|\\u005d(?:~!?b|![pd]~)"
    rf"|\\u[0-9a-f]{{4}}|\\.|\s|[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w){{1,{_WORD}}}|[^\s\\\w])"
    rf"[\u0300-\u036f\U0001f3fb-\U0001f3ff]{{0,8}}(?:\ufe0f\u20e3)?[{_SELECTORS}{_JOINERS}]{{0,2}}"
)
_DROPPED: Final = re.compile(f"[{_HIDDEN}{_JOINERS}{_SELECTORS}]")


def visible(text: str) -> str:
    """The text as a reader sees it: hidden ASCII spelled out, zero-width characters gone."""
    if not _MAY_CHANGE.search(text):
        return text
    spelled = _TAG.sub(lambda tag: _spelled(tag[0]), text)
    return _MARKS.sub(r"\1\2\3", _UNSEEN.sub("", spelled))


def literal(text: str) -> str:
    """The JSON string literal that stands for the text in a prompt, quotation marks included."""
    if not _MAY_CHANGE.search(text):
        return json.dumps(text, ensure_ascii=False)
    quoted = json.dumps(visible(text), ensure_ascii=False)
    return _ESCAPED.sub(_escape, _CONTROL_TOKEN.sub(_escape, quoted))


def chunks(shown: str) -> list[str]:
    """A shown text (without its quotation marks) in the pieces a quote may be made of: words, spaces, signs, whole escapes.

    None is longer than `LONGEST_CHUNK`.
    """
    return _CHUNK.findall(shown)


def quotable(text: str, start: int, end: int) -> str:
    """A passage of a text (character offsets, end exclusive), grown to pieces that a quote may be made of, as a quote of it.

    Empty where nothing of it can be quoted.
    """
    before, upto = (len(literal(text[:offset])) - 2 for offset in (start, end))
    at, found = 0, []
    for piece in chunks(literal(text)[1:-1]):
        if at < upto and at + len(piece) > before:
            found.append(piece)
        at += len(piece)
    words = [place for place, piece in enumerate(found) if not _said(piece).isspace()]
    shown = "".join(found[words[0] : words[-1] + 1]) if words else ""
    quote = _said(shown)
    return quote if literal(quote)[1:-1] == shown else ""


def _said(shown: str) -> str:
    """The text that a shown one stands for."""
    said: str = json.loads(f'"{shown}"')
    return said


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _spelled(tag: str) -> str:
    return chr(ord(tag) - 0xE0000)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a quote stands in the original text: `start` and `end` count characters (code points), end exclusive."""

    match: Match
    start: int | None = None
    end: int | None = None


def locate(quote: str, text: str) -> Span:
    """Finds a quote in the original text.

    ``exact``: the characters are there. ``normalised``: they are there but for case, compatibility forms (NFKC), white space
    and unseen characters; the offsets are those of the original, on whole characters. ``absent``: they are not.
    """
    if not quote:
        return Span("absent")
    start = text.find(quote)
    if start >= 0:
        return Span("exact", start, start + len(quote))
    wanted, _ = _fold(quote)
    if not wanted:
        return Span("absent")
    folded, origin = _fold(text)
    start = folded.find(wanted)
    while start >= 0:
        last = start + len(wanted) - 1
        # one character may fold to several ("ﬁ"): half of one is no match
        begins = not start or origin[start - 1] != origin[start]
        if begins and (last + 1 == len(folded) or origin[last + 1] != origin[last]):
            return Span("normalised", origin[start], origin[last] + 1)
        start = folded.find(wanted, start + 1)
    return Span("absent")


def _fold(text: str) -> tuple[str, list[int]]:
    """The text folded for comparison, and for each of its characters the index of the original character it came from.

    White space is one space between words; what comes of a character does not depend on its neighbours otherwise.
    """
    table = {character: _folded(character) for character in set(text)}
    characters: list[str] = []
    origin: list[int] = []
    space: int | None = None
    for index, character in enumerate(text):
        folded = table[character]
        if folded == " ":
            space = index if space is None else space
        elif folded:
            if space is not None and characters:
                characters.append(" ")
                origin.append(space)
            space = None
            characters.append(folded)
            origin.extend([index] * len(folded))
    return "".join(characters), origin


@lru_cache(maxsize=1 << 12)
def _folded(character: str) -> str:
    """What one character is compared as: nothing if it is not seen, a space for any white space."""
    if character.isspace():
        return " "
    if _DROPPED.match(character):
        return ""
    character = _spelled(character) if _TAG.match(character) else character
    if character == " ":
        return " "
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
