"""Lists in a document: prose bullets, `- Key: value` bullets, and lists of ids."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from moderator.policy.document import Line, Reading, nearest
from moderator.policy.model import Kind

_BULLET = re.compile(r"[-*]\s+(.*)")
_NUMBERED = re.compile(r"[0-9]+[.)]\s+(.*)")
_NESTED = re.compile(r"\s+(?:[-*]|[0-9]+[.)])\s")
_KEY = re.compile(r"[-*]\s+([A-Za-z][A-Za-z ]*?)\s*:(?:\s+(.*))?")
ID = re.compile(r"[A-Z]{1,4}[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a `- Key: value` bullet, and its line."""

    line: int
    text: str


def read_bullets(lines: Sequence[Line], reading: Reading, where: str, form: str, *, numbered: bool = False) -> list[Line]:
    """The items of a list, wrapped lines joined; anything that is no bullet is reported with the right `form`."""
    pattern = _NUMBERED if numbered else _BULLET
    items: list[Line] = []
    blank = False
    for line in lines:
        if not line.text.strip():
            blank = True
        elif match := pattern.fullmatch(line.text.rstrip()):
            items.append(Line(line.number, match[1]))
            blank = False
        elif items and (line.text[0].isspace() or not blank):
            items[-1] = Line(items[-1].number, _joined(items[-1].text, line.text))
        else:
            kind = "a numbered line" if numbered else "a bullet"
            reading.report(line.number, f"not {kind} in `{where}`", f"write `{form}`")
    return items


def split_keys(
    lines: Sequence[Line], known: Collection[str], reading: Reading, where: str
) -> tuple[dict[str, Value], tuple[Line, ...]]:
    """The `- Key: value` bullets right under a heading, and the lines after them."""
    values: dict[str, Value] = {}
    last = ""
    end = 0
    for index, line in enumerate(lines):
        if not line.text.strip():
            continue
        if line.text[0].isspace() and last and end == index:
            values[last] = Value(values[last].line, f"{values[last].text} {line.text.strip()}".strip())
        elif _BULLET.match(line.text) and (end == index or not last or _is_known(line, known)):
            last = _read_key(line, values, known, reading, where) or last
        else:
            break
        end = index + 1
    for key in [key for key, value in values.items() if not value.text]:
        reading.report(values.pop(key).line, f"`{key}` of {where} has no value", f"write `- {key}: value`")
    rest = tuple(lines[end:])
    _report_late_keys(rest, known, reading, where)
    return {key: value for key, value in values.items() if key in known}, rest


def read_ids(value: Value, kind: Kind, reading: Reading, where: str) -> tuple[str, ...]:
    """A list of ids, `H1, H2`; every id is noted as a reference."""
    ids = []
    for word in (part.strip() for part in value.text.split(",")):
        if not ID.fullmatch(word):
            reading.report(value.line, f"`{word}` in `{where}` is not an id", f"write `- {where}: H1, H2`")
        elif word in ids:
            reading.report(value.line, f"`{word}` stands twice in `{where}`", "name each id once")
        else:
            ids.append(word)
            reading.refer(value.line, word, kind, f"`{where}`")
    return tuple(ids)


def _joined(item: str, text: str) -> str:
    """A nested bullet keeps its line; a wrapped line does not."""
    return f"{item}\n  {text.strip()}" if _NESTED.match(text) else f"{item} {text.strip()}".strip()


def _is_known(line: Line, known: Collection[str]) -> bool:
    match = _KEY.fullmatch(line.text.rstrip())
    return match is not None and match[1] in known


def _read_key(line: Line, values: dict[str, Value], known: Collection[str], reading: Reading, where: str) -> str | None:
    match = _KEY.fullmatch(line.text.rstrip())
    keys = ", ".join(f"`{key}`" for key in known)
    if match is None:
        reading.report(
            line.number, f"bullet under {where} is not `- Key: value`", f"keys are {keys}; prose begins without a bullet"
        )
        return None
    key = match[1]
    if key not in known:
        what = f"unknown key `{key}` of {where}{nearest(key, tuple(known))}"
        reading.report(line.number, what, f"keys are {keys}")
    elif key in values:
        reading.report(line.number, f"`{key}` of {where} is given twice", f"first given in line {values[key].line}; keep one")
        return key
    values[key] = Value(line.number, (match[2] or "").strip())
    return key


def _report_late_keys(rest: Sequence[Line], known: Collection[str], reading: Reading, where: str) -> None:
    for line in rest:
        if _is_known(line, known):
            key = line.text.split(":")[0].lstrip("-* ").rstrip()
            reading.report(line.number, f"`{key}` of {where} stands after prose", "put it right under the heading")
