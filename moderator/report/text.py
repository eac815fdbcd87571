"""Texts that strangers wrote, as a page may have them: every character can be seen, and passages can be marked."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from moderator.scoring.model import Mark

_JOINERS: Final = "\u200c\u200d"
"""They spell emoji and several scripts."""
_KEPT: Final = f"\n\t{_JOINERS}"
_UNSEEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """The text with a stand-in such as ⟨U+202E⟩ for each character that acts without being seen.

    Controls, bidirectional overrides, zero-width characters, tag characters, line separators and halves of surrogate pairs;
    line breaks, tabs and joiners stay. What is left neither turns a line around nor fails to encode.
    """
    if text.isprintable():
        return text
    return "".join(_stand_in(character) for character in text)


def _stand_in(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _UNSEEN:
        return character
    return f"⟨U+{ord(character):04X}⟩"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters that are marked alike."""

    text: str
    quoted: tuple[str, ...]
    """What quotes it, by rule: the model's evidence."""
    marked: tuple[str, ...]
    """The rules, or ``marked`` where none was named, for which people marked it."""


def pieces(text: str, evidence: Sequence[Mark] = (), marked: Sequence[Mark] = ()) -> tuple[Piece, ...]:
    """The text, cut wherever a mark begins or ends; marks may overlap, and what of them lies outside the text is ignored."""
    ends = {place for mark in (*evidence, *marked) for place in (mark.start, mark.end) if 0 < place < len(text)}
    cuts = sorted({0, *ends, len(text)})
    return tuple(
        Piece(text[start:end], _over(evidence, start, end), _over(marked, start, end)) for start, end in pairwise(cuts)
    )


def _over(marks: Sequence[Mark], start: int, end: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark.rule or "marked" for mark in marks if mark.start <= start and end <= mark.end))
