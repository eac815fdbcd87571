"""A policy document as lines under headings: every line keeps its number, prose is not touched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from moderator.errors import PolicyError, Problem
from moderator.policy.model import Kind, Reference

_NEWLINE = re.compile(r"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_DROPPED = "\x00"
"""Marks where a comment stood, so that a line that held nothing else goes too. No other NUL is left in the text by then."""
_HEADING = re.compile(r"(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*")
_NEAR_HEADING = re.compile(r"#{2,6}[^\s#]")
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")


@dataclass(slots=True)
class Reading:
    """The reading of one document: gathers what is wrong with it, so that all of it is told at once."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)

    def report(self, line: int, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, line, what, hint))

    def refer(self, line: int, part_id: str, kind: Kind, where: str) -> None:
        self.references.append(Reference(line=line, id=part_id, kind=kind, where=where))

    def raise_problems(self) -> None:
        """Raises `PolicyError` with all that was reported, in the order of the file."""
        if self.problems:
            raise PolicyError(sorted(dict.fromkeys(self.problems)))


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, the lines right under it, and the blocks of the lower headings that follow."""

    level: int
    line: int
    title: str
    body: tuple[Line, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    front: tuple[Line, ...] | None
    """The lines between the two `---`; `None` when there is no front matter."""
    preamble: tuple[Line, ...]
    """What stands before the first heading."""
    blocks: tuple[Block, ...]


def decode(raw: bytes, file: str) -> str:
    """The text of a file. Raises `PolicyError` with the line of the first byte that is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(_NEWLINE.findall(raw[: error.start].decode("utf-8", "replace"))) + 1
        what = f"not UTF-8 (byte 0x{raw[error.start]:02x})"
        raise PolicyError([Problem(file, line, what, "save the file with the encoding UTF-8")]) from error


def scan(text: str, reading: Reading) -> Document:
    """Take the text apart; what is wrong with its headings, comments and fences is reported."""
    lines = _numbered(text.removeprefix("\ufeff"), reading)
    front, rest = _split_front(lines, reading)
    preamble, flat = _split_headings(_without_comments(rest, reading), reading)
    return Document(front, preamble, _nest(flat))


def prose(lines: Sequence[Line]) -> str:
    """The lines as one text: verbatim, without blank lines around it and without blanks at line ends."""
    return "\n".join(line.text.rstrip() for line in lines).strip("\n")


def nearest(word: str, options: Sequence[str]) -> str:
    """` (did you mean `x`?)`, or nothing where no option is close."""
    lowered = {option.lower(): option for option in options}
    match = get_close_matches(word.lower(), list(lowered), n=1)
    return f" (did you mean `{lowered[match[0]]}`?)" if match else ""


def _numbered(text: str, reading: Reading) -> list[Line]:
    lines = []
    for number, raw in enumerate(_NEWLINE.split(text), start=1):
        for found in sorted(set(_CONTROL.findall(raw))):
            reading.report(number, f"control character U+{ord(found):04X}", "delete it; it is not visible in most editors")
        lines.append(Line(number, _CONTROL.sub(" ", raw)))
    return lines


def _split_front(lines: list[Line], reading: Reading) -> tuple[tuple[Line, ...] | None, list[Line]]:
    form = "begin the file with `---`, then `policy: name`, `version: 1.0.0`, `title: Title`, then `---`"
    if lines[0].text.rstrip() != "---":
        reading.report(1, "no front matter", form)
        return None, lines
    for index, line in enumerate(lines[1:], start=1):
        if line.text.rstrip() == "---":
            return tuple(lines[1:index]), lines[index + 1 :]
    reading.report(1, "front matter is not closed", "end it with a line `---`")
    return None, []


def _without_comments(lines: list[Line], reading: Reading) -> list[Line]:
    text = "\n".join(line.text for line in lines)
    text = _COMMENT.sub(_dropped, text)
    kept = []
    for line, rest in zip(lines, text.split("\n") if lines else (), strict=True):
        if "<!--" in rest:
            reading.report(line.number, "comment is not closed", "end it with `-->`")
        shown = rest.replace(_DROPPED, "")
        if shown.strip() or _DROPPED not in rest:
            kept.append(Line(line.number, shown))
    return kept


def _dropped(comment: re.Match[str]) -> str:
    """Marks in the place of a closed comment, one a line."""
    return _DROPPED + ("\n" + _DROPPED) * comment[0].count("\n") if comment[1] else comment[0]


def _split_headings(lines: list[Line], reading: Reading) -> tuple[tuple[Line, ...], list[Block]]:
    """The lines before the first heading, and every heading with the lines up to the next, whatever its level."""
    starts: list[tuple[int, Line, re.Match[str]]] = []
    fence: Line | None = None
    for index, line in enumerate(lines):
        if _FENCE.match(line.text):
            if fence is None:
                fence = line
            elif line.text.strip().startswith(fence.text.strip()[:3]):
                fence = None
        elif fence is None and (heading := _HEADING.fullmatch(line.text)):
            starts.append((index, line, heading))
        elif fence is None and _NEAR_HEADING.match(line.text):
            reading.report(line.number, "heading without a space after `#`", "write `## Rules`, `### H1 Title`")
    if fence is not None:
        reading.report(fence.number, "code fence is not closed", "end it with a line of three backticks")
    ends = [index for index, *_ in starts[1:]] + [len(lines)] * bool(starts)
    flat = [
        Block(len(heading[1]), line.number, (heading[2] or "").strip(), tuple(lines[index + 1 : end]))
        for (index, line, heading), end in zip(starts, ends, strict=True)
    ]
    return tuple(lines[: starts[0][0]] if starts else lines), flat


def _nest(flat: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks with those of a lower heading put inside."""
    groups: list[list[Block]] = []
    for block in flat:
        if groups and block.level > groups[-1][0].level:
            groups[-1].append(block)
        else:
            groups.append([block])
    return tuple(Block(head.level, head.line, head.title, head.body, _nest(inside)) for head, *inside in groups)
