"""The two marks of a template: slots ``{name}`` and evidence ``[[RULE|words]]``."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SLOT = re.compile(r"\{([A-Za-z][a-z_]*)\}")
_EVIDENCE = re.compile(r"\[\[(?:([A-Z]+\d+)\|)?(.+?)\]\]", re.DOTALL)


def slots_of(text: str) -> tuple[str, ...]:
    """The slots that a text names, capitals folded, each once."""
    return tuple(dict.fromkeys(name.lower() for name in _SLOT.findall(text)))


def filled(text: str, fillers: Mapping[str, str]) -> str:
    """The text with every slot filled; a slot with a capital has its filler's first letter made one."""

    def filler(match: re.Match[str]) -> str:
        value = fillers[match[1].lower()]
        return value[:1].upper() + value[1:] if match[1][0].isupper() else value

    return _SLOT.sub(filler, text)


def read_marks(text: str) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    """The text without the marks of evidence, and where each evidence stands in it: start, end, rule (or empty)."""
    pieces: list[str] = []
    marks: list[tuple[int, int, str]] = []
    length = done = 0
    for match in _EVIDENCE.finditer(text):
        before, words = text[done : match.start()], match[2]
        length += len(before)
        marks.append((length, length + len(words), match[1] or ""))
        pieces += [before, words]
        length += len(words)
        done = match.end()
    return "".join([*pieces, text[done:]]), tuple(marks)


def leftovers(text: str) -> tuple[str, ...]:
    """What still looks like a mark and is none: braces and double brackets, in the order of the text."""
    bare = _SLOT.sub("", read_marks(text)[0])
    return tuple(re.findall(r"\[\[|\]\]|[{}]", bare))
