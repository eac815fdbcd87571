"""Text of a policy document to its value; all that is wrong with the document is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from moderator.policy.document import Block, Document, Reading, nearest, prose, scan
from moderator.policy.entries import Read, heading_id, read_entries
from moderator.policy.frontmatter import (
    OVERLAY_KEYS,
    POLICY_KEYS,
    compose,
    fields_of,
    is_overlay,
    read_overlay_front,
    read_policy_front,
)
from moderator.policy.model import Amendment, Escalation, Kind, Overlay, Policy, PolicyException, Rule
from moderator.policy.references import Ids, report_dangling
from moderator.policy.sections import read_changelog, read_definitions, read_notices, read_precedence

SECTIONS = (
    "Rationale",
    "Scope",
    "Definitions",
    "Rules",
    "Exceptions",
    "Escalation",
    "Precedence",
    "Notices",
    "Reviewer notes",
    "Changelog",
)
OVERLAY_SECTIONS = ("Definitions", "Rules", "Exceptions", "Escalation", "Notices", "Reviewer notes", "Changelog")

_ENTRIES: dict[str, Kind] = {"Rules": "rule", "Exceptions": "exception", "Escalation": "escalation"}
_PROSE = {"Rationale": "rationale", "Scope": "scope", "Reviewer notes": "reviewer_notes"}


def parse_policy(text: str, file: str = "policy.md") -> Policy:
    """The policy that a document states. Raises `PolicyError` with every problem of the document."""
    reading = Reading(file)
    document = scan(text, reading)
    front, overlay = _read_front(document, reading)
    if overlay:
        reading.report(1, "is an overlay, not a policy", "load the policy that it extends, with a context")
        reading.raise_problems()
    body = _read_body(document, reading, SECTIONS, overlay=False)
    rules = [rule for rule in body.entries if isinstance(rule, Rule)]
    _check_prefix(front.get("prefix"), body.ids, reading)
    report_dangling(reading, Ids({kind: frozenset(ids) for kind, ids in body.ids.items()}))
    if document.front is not None and not body.ids["rule"]:
        reading.report(0, "policy has no rules", "add `## Rules` and under it `### H1 Title`")
    reading.raise_problems()
    prefix = front.pop("prefix", "") or rules[0].id.rstrip("0123456789")
    return Policy(prefix=prefix, **front, **body.values, **_by_kind(body.entries))


def parse_overlay(text: str, file: str) -> Overlay:
    """The overlay that a document states. Raises `PolicyError` with every problem of the document.

    Ids are checked against the base later, when the overlay is applied; its name comes from the file's, `slug.name.md`.
    """
    reading = Reading(file)
    document = scan(text, reading)
    front, overlay = _read_front(document, reading)
    if not overlay and document.front is not None:
        reading.report(
            1, "is a policy, not an overlay: it has no `extends`", "write `extends: hate@^1`, or load it as a policy"
        )
    body = _read_body(document, reading, OVERLAY_SECTIONS, overlay=True)
    name = _overlay_name(file, reading)
    reading.raise_problems()
    amendments = tuple(entry for entry in body.entries if isinstance(entry, Amendment))
    references = tuple(reading.references)
    return Overlay(
        name=name, file=file, references=references, amendments=amendments, **front, **body.values, **_by_kind(body.entries)
    )


def parse_document(text: str, file: str) -> Policy | Overlay:
    """A policy, or an overlay where the front matter has `extends`. Raises `PolicyError`."""
    reading = Reading(file)
    _, overlay = _read_front(scan(text, reading), reading)
    return parse_overlay(text, file) if overlay else parse_policy(text, file)


@dataclass(frozen=True, slots=True)
class _Body:
    values: Mapping[str, Any]
    entries: tuple[Read, ...]
    ids: Mapping[Kind, Mapping[str, int]]
    """Ids and lines of all entries, also of those that could not be read: a fault in a rule makes no reference to it dangle."""


def _read_front(document: Document, reading: Reading) -> tuple[dict[str, Any], bool]:
    node = compose(document.front, reading) if document.front is not None else None
    if node is None:
        return {}, False
    if is_overlay(node):
        return read_overlay_front(fields_of(node, OVERLAY_KEYS, reading)), True
    return read_policy_front(fields_of(node, POLICY_KEYS, reading)), False


def _read_body(document: Document, reading: Reading, known: Sequence[str], *, overlay: bool) -> _Body:
    values: dict[str, Any] = {}
    entries: list[Read] = []
    ids: dict[Kind, dict[str, int]] = {kind: {} for kind in _ENTRIES.values()}
    for block in _sections(document, reading, known):
        kind = _ENTRIES.get(block.title)
        if kind is None:
            values |= _read_section(block, reading)
        else:
            _note_ids(block, kind, ids, reading)
            entries += read_entries(block, kind, reading, overlay=overlay)
    return _Body(values, tuple(entries), ids)


def _sections(document: Document, reading: Reading, known: Sequence[str]) -> list[Block]:
    """The `##` blocks that have a place in the document, in their order; the rest is reported."""
    blocks = list(_under_title(document, reading))
    first: dict[str, Block] = {}
    for block in blocks:
        if block.level != 2 or block.title not in known:
            listed = ", ".join(f"`## {name}`" for name in known)
            what = f"unknown heading `{'#' * block.level} {block.title}`{nearest(block.title, known)}"
            reading.report(block.line, what, f"headings are {listed}")
        elif block.title in first:
            line = first[block.title].line
            reading.report(block.line, f"`## {block.title}` is given twice", f"first given in line {line}; join the two")
        else:
            if first and known.index(block.title) < known.index(last := next(reversed(first))):
                hint = "the order is " + ", ".join(known)
                reading.report(block.line, f"`## {block.title}` comes after `## {last}`", hint)
            first[block.title] = block
    return list(first.values())


def _under_title(document: Document, reading: Reading) -> Iterable[Block]:
    """The blocks below `# Title`, wherever that stands."""
    titles = [block for block in document.blocks if block.level == 1]
    for line in (line for line in document.preamble if line.text.strip()):
        reading.report(line.number, "text before the title", "begin with `# Title`, put prose under `## Rationale`")
        break
    if document.front is not None and (not titles or document.blocks[0].level != 1):
        line_number = document.blocks[0].line if document.blocks else 0
        reading.report(line_number, "no `# Title` before the sections", "write `# Title` after the front matter")
    for title in titles[1:]:
        reading.report(title.line, f"second title `# {title.title}`", "sections begin with `##`, rules with `###`")
    for title in titles[:1]:
        text = [line for line in title.body if line.text.strip()]
        if text:
            reading.report(text[0].number, "text outside a section", "put it under `## Rationale` or `## Scope`")
    for block in document.blocks:
        yield from block.blocks if block.level == 1 else (block,)


def _read_section(block: Block, reading: Reading) -> dict[str, Any]:
    for inner in block.blocks:
        what = f"unknown heading `{'#' * inner.level} {inner.title}` in `## {block.title}`"
        reading.report(inner.line, what, "only rules, exceptions and escalations have headings of their own; use bold text")
    if block.title in _PROSE:
        return {_PROSE[block.title]: prose(block.body)}
    readers = {
        "Definitions": read_definitions,
        "Precedence": read_precedence,
        "Notices": read_notices,
        "Changelog": read_changelog,
    }
    return {block.title.lower(): readers[block.title](block, reading)}


def _note_ids(block: Block, kind: Kind, ids: dict[Kind, dict[str, int]], reading: Reading) -> None:
    for entry in block.blocks:
        part_id = heading_id(entry)
        if part_id is None:
            continue
        first = next((lines[part_id] for lines in ids.values() if part_id in lines), None)
        if first is not None:
            hint = f"first defined in line {first}; rename one of them"
            reading.report(entry.line, f"{kind} `{part_id}` is defined twice", hint)
        else:
            ids[kind][part_id] = entry.line


def _check_prefix(prefix: str | None, ids: Mapping[Kind, Mapping[str, int]], reading: Reading) -> None:
    """Ids of exceptions begin with X, of escalations with E, of rules with one prefix of their own."""
    letters: dict[Kind, str | None] = {"rule": prefix, "exception": "X", "escalation": "E"}
    for kind, lines in ids.items():
        for part_id, line in lines.items():
            own = part_id.rstrip("0123456789abcdefghijklmnopqrstuvwxyz")
            expected = letters[kind] = letters[kind] or own
            if own != expected:
                hint = f"write `### {expected}{part_id[len(own) :]} Title`"
                reading.report(line, f"id of {kind} `{part_id}` does not begin with `{expected}`", hint)
            elif kind == "rule" and own in ("X", "E"):
                reading.report(line, f"rule `{part_id}` has the letter of an exception or escalation", "write `### H1 Title`")


def _overlay_name(file: str, reading: Reading) -> str:
    slug, _, name = PurePath(file).stem.partition(".")
    if not slug or not name or "." in name:
        reading.report(0, "file name of an overlay is not `slug.name.md`", "rename it, for example `hate.teen.md`")
    return name


def _by_kind(entries: Sequence[Read]) -> dict[str, Any]:
    return {
        "rules": tuple(entry for entry in entries if isinstance(entry, Rule)),
        "exceptions": tuple(entry for entry in entries if isinstance(entry, PolicyException)),
        "escalations": tuple(entry for entry in entries if isinstance(entry, Escalation)),
    }
