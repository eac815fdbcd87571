"""One line of a rule's `#### Examples`."""

from __future__ import annotations

import re
from typing import get_args

from moderator.policy.bullets import ID
from moderator.policy.document import Line, Reading, nearest
from moderator.policy.model import Example, ExampleLabel, Kind

EXAMPLE_FORM = '- violates: "text" – why'

_LABELS: tuple[ExampleLabel, ...] = get_args(ExampleLabel)
_DECIDES: dict[ExampleLabel, Kind] = {"allowed": "exception", "escalate": "escalation"}
_LINE = re.compile(r"(?P<label>[A-Za-z_]+)\s*(?:\((?P<id>[^)]*)\))?\s*:\s*(?P<rest>.*)", re.DOTALL)
_SPLIT = re.compile(r'(?<!\\)["”](?:\s+[–—-]+\s+|$)')
"""Where the text may end: a quotation mark before a dash or at the end."""


def read_example(line: Line, reading: Reading) -> Example | None:
    """The example of a bullet, or None after a report. In the text, `\\"` is a quotation mark that ends nothing."""
    match = _LINE.fullmatch(line.text)
    if match is None:
        reading.report(line.number, f"malformed example: `{line.text[:40]}`", f"write `{EXAMPLE_FORM}`")
        return None
    label = _read_label(match["label"], line, reading)
    decided_by = _read_decider(match["id"], label, line, reading)
    quoted = _read_quoted(match["rest"], line, reading)
    if label is None or quoted is None or (match["id"] is not None and decided_by is None):
        return None
    text, note = quoted
    return Example(line=line.number, label=label, text=text, note=note, decided_by=decided_by)


def _read_label(word: str, line: Line, reading: Reading) -> ExampleLabel | None:
    label = next((label for label in _LABELS if label == word), None)
    if label is None:
        listed = ", ".join(f"`{label}`" for label in _LABELS)
        reading.report(line.number, f"unknown example label `{word}`{nearest(word, _LABELS)}", f"labels are {listed}")
    return label


def _read_decider(part_id: str | None, label: ExampleLabel | None, line: Line, reading: Reading) -> str | None:
    """The id in brackets after the label: of an exception after `allowed`, of an escalation after `escalate`."""
    if part_id is None or label is None:
        return None
    if label not in _DECIDES:
        what = f"example label `{label}` takes no id, here `{part_id}`"
        reading.report(line.number, what, 'write `allowed (X1): "text"`, `escalate (E1): "text"`, or no id')
    elif not ID.fullmatch(part_id):
        reading.report(line.number, f"`{part_id}` in an example is not an id", 'write `allowed (X1): "text"`')
    else:
        reading.refer(line.number, part_id, _DECIDES[label], "an example")
        return part_id
    return None


def _read_quoted(rest: str, line: Line, reading: Reading) -> tuple[str, str] | None:
    """The text and the note. Where the text may end in several places, quotation marks must be paired on both sides."""
    splits = [(rest[1 : match.start()], rest[match.end() :].strip()) for match in _SPLIT.finditer(rest)]
    paired = [parts for parts in splits if all(_marks(part) % 2 == 0 for part in parts)]
    text, note = next(iter(paired or splits), ("", ""))
    if rest[:1] not in ('"', "“") or not text.strip():
        what = f"malformed example: text is not in quotation marks, or no ` – ` before its note: `{rest[:40]}`"
        reading.report(line.number, what, f"write `{EXAMPLE_FORM}`")
        return None
    if len(splits) > 1 and not paired:
        what = f"where the text of the example ends is unclear: `{rest[:40]}`"
        reading.report(line.number, what, 'write `\\"` for a quotation mark inside the text or the note')
        return None
    return text.replace('\\"', '"'), note.replace('\\"', '"')


def _marks(part: str) -> int:
    return part.replace('\\"', "").count('"')
