"""The entries of a document that have an id: rules, exceptions, escalations, and an overlay's changes to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moderator.policy.bullets import ID, Value, read_bullets, read_ids, split_keys
from moderator.policy.document import Block, Reading, nearest, prose
from moderator.policy.examples import EXAMPLE_FORM, read_example
from moderator.policy.model import ACTIONS, SEVERITIES, Amendment, Escalation, Kind, PolicyException, Rule

_TITLED = re.compile(r"([A-Za-z]{1,4}[0-9]+[a-z]?)(?:\s+(.*))?")
_WITHIN = re.compile(r"[1-9][0-9]{0,3}[mhd]")
_TRIGGER = re.compile(r"(?P<ids>[A-Z]{1,4}[0-9]+(?:(?:,| or|, or) [A-Z]{1,4}[0-9]+)*) (?:is|are) found\.?")
_LISTS = {
    "Violates": "violates",
    "Does not violate": "does_not_violate",
    "Borderline": "borderline",
}
_LIST_FORM = "- one kind of content, in a sentence"
_RULE_SEVERITIES = tuple(severity for severity in SEVERITIES if severity != "none")
_RULE_ACTIONS = tuple(action for action in ACTIONS if action != "none")
_OUTCOMES = ("allow", *_RULE_ACTIONS)

Reader = Callable[[Value, Reading], tuple[str, Any] | None]
"""Reads the value of a key: the field of the model and its value, or None after a report."""
Read = Rule | PolicyException | Escalation | Amendment
"""What an entry can be read as."""


def read_entries(block: Block, kind: Kind, reading: Reading, *, overlay: bool) -> tuple[Read, ...]:
    """All entries of a `##` section that could be read; faults are reported."""
    if text := prose(block.body):
        line = next(line.number for line in block.body if line.text.strip())
        what = f"text under `## {block.title}`, before the first {kind}: `{text.splitlines()[0][:40]}`"
        reading.report(line, what, f"put it under a heading `### {_FIRST[kind]} Title`, or into `## Scope`")
    entries = (_read_entry(entry, kind, reading, overlay) for entry in block.blocks)
    return tuple(entry for entry in entries if entry is not None)


def heading_id(block: Block) -> str | None:
    """The id in an entry's heading, if there is one."""
    match = _TITLED.fullmatch(block.title)
    return match[1] if match else None


def _read_entry(block: Block, kind: Kind, reading: Reading, overlay: bool) -> Read | None:
    part_id, title = _read_heading(block, kind, reading)
    where = f"{kind} `{part_id or block.title}`"
    readers = dict(_KEYS[kind])
    if overlay:
        readers["Disabled"] = _disabled
    values, rest = split_keys(block.body, tuple(readers), reading, where)
    fields = dict(field for key, value in values.items() if (field := readers[key](value, reading)) is not None)
    text = prose(rest)
    lists = _read_lists(block, kind, reading, where)
    keys_only = not text and not lists
    if "Disabled" in values or (overlay and keys_only and (kind == "rule" or not title)):
        if part_id is None or not _is_amendment(block, part_id, values, keys_only, reading):
            return None
        disabled = fields.pop("disabled", False)
        return Amendment(line=block.line, id=part_id, title=title, disabled=disabled, changes=fields)
    complete = _require(block, kind, values, text, reading, where) and bool(title)
    if not title and part_id:
        reading.report(block.line, f"{where} has no title", f"write `### {part_id} Title`")
    if part_id is None or not complete or len(fields) < len(values):
        return None
    return _MODELS[kind](line=block.line, id=part_id, title=title, text=text, **fields, **lists)


def _is_amendment(block: Block, part_id: str, values: Mapping[str, Value], keys_only: bool, reading: Reading) -> bool:
    if "Disabled" in values and (len(values) > 1 or not keys_only):
        reading.report(block.line, f"`{part_id}` is disabled and changed at once", "leave `- Disabled: yes` as its only line")
    elif not values:
        reading.report(block.line, f"`{part_id}` changes nothing", "write `- Severity: high` or `- Disabled: yes`")
    else:
        return True
    return False


def _read_heading(block: Block, kind: Kind, reading: Reading) -> tuple[str | None, str]:
    form = f"write `### {_FIRST[kind]} Title`"
    match = _TITLED.fullmatch(block.title)
    if block.level != 3:
        reading.report(block.line, f"heading of level {block.level} where a {kind} begins", form)
        return None, block.title
    if match is None:
        reading.report(block.line, f"{kind} heading without an id: `{block.title}`", form)
        return None, block.title
    if not ID.fullmatch(match[1]):
        reading.report(block.line, f"`{match[1]}` is not an id", "capital letters, then a number without leading zero: `H1`")
        return None, match[2] or ""
    return match[1], match[2] or ""


def _read_lists(block: Block, kind: Kind, reading: Reading, where: str) -> dict[str, Any]:
    """The `####` lists of a rule, by field."""
    lists: dict[str, Any] = {}
    names = (*_LISTS, "Examples") if kind == "rule" else ()
    for part in block.blocks:
        field = _LISTS.get(part.title, part.title.lower())
        if part.level != 4 or part.title not in names or part.blocks:
            wrong = part.blocks[0] if part.blocks and part.title in names else part
            listed = ", ".join(f"`#### {name}`" for name in names) or f"for rules alone; {kind}s have keys and prose"
            what = f"unknown heading `{'#' * wrong.level} {wrong.title}` in {where}{nearest(wrong.title, names)}"
            reading.report(wrong.line, what, f"headings are {listed}")
        elif field in lists:
            reading.report(part.line, f"`#### {part.title}` of {where} is given twice", "join the two lists")
        elif part.title == "Examples":
            lines = read_bullets(part.body, reading, f"#### {part.title}", EXAMPLE_FORM)
            read = (read_example(line, reading) for line in lines)
            lists[field] = tuple(example for example in read if example is not None)
        else:
            lists[field] = tuple(line.text for line in read_bullets(part.body, reading, f"#### {part.title}", _LIST_FORM))
    return lists


def _require(block: Block, kind: Kind, values: Mapping[str, Value], text: str, reading: Reading, where: str) -> bool:
    missing = [key for key in _NEEDED[kind] if key not in values]
    for key, form in ((key, _NEEDED[kind][key]) for key in missing):
        reading.report(block.line, f"{where} has no `{key}`", f"write `- {key}: {form}` right under the heading")
    if kind == "rule" and not text:
        reading.report(block.line, f"{where} has no text", "state the rule in one or two plain sentences under its keys")
        return False
    if kind == "exception" and not text and "Requires" not in values:
        reading.report(block.line, f"{where} says nothing", "write `- Requires: what must be seen`, or prose under its keys")
        return False
    return not missing


def _choice(key: str, field: str, options: Sequence[str], renamed: Mapping[str, str] | None = None) -> Reader:
    def read(value: Value, reading: Reading) -> tuple[str, Any] | None:
        if value.text not in options:
            listed = ", ".join(f"`{option}`" for option in options)
            reading.report(value.line, f"`{key}` is `{value.text}`{nearest(value.text, options)}", f"one of {listed}")
            return None
        return field, (renamed or {}).get(value.text, value.text)

    return read


def _ids(key: str, field: str) -> Reader:
    def read(value: Value, reading: Reading) -> tuple[str, Any] | None:
        ids = read_ids(value, "rule", reading, key)
        return (field, ids) if ids else None

    return read


def _surfaces(value: Value, reading: Reading) -> tuple[str, Any] | None:
    words = tuple(word.strip() for word in value.text.split(","))
    if all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", word) for word in words):
        return "applies_to", tuple(dict.fromkeys(words))
    reading.report(value.line, f"`Applies to` is `{value.text}`", "write `- Applies to: post, comment`")
    return None


def _plain(field: str) -> Reader:
    return lambda value, reading: (field, value.text)


def _when(value: Value, reading: Reading) -> tuple[str, Any] | None:
    for rule_id in triggers_of(value.text):
        reading.refer(value.line, rule_id, "rule", "`When`")
    return "when", value.text


def triggers_of(when: str) -> tuple[str, ...]:
    """The rule ids of a `When` in machine form (`H1 or H3 is found`); none for prose."""
    match = _TRIGGER.fullmatch(when)
    return tuple(dict.fromkeys(re.findall(r"[A-Z]+[0-9]+", match["ids"]))) if match else ()


def _within(value: Value, reading: Reading) -> tuple[str, Any] | None:
    if _WITHIN.fullmatch(value.text):
        return "within", value.text
    reading.report(value.line, f"`Within` is `{value.text}`", "write `- Within: 1h`: a number and m, h or d")
    return None


def _disabled(value: Value, reading: Reading) -> tuple[str, Any] | None:
    if value.text == "yes":
        return "disabled", True
    reading.report(value.line, f"`Disabled` is `{value.text}`", "write `- Disabled: yes`, or leave the entry out")
    return None


def _escalation(**fields: Any) -> Escalation:
    return Escalation(triggers=triggers_of(fields["when"]), **fields)


_FIRST: dict[Kind, str] = {"rule": "H1", "exception": "X1", "escalation": "E1"}
_MODELS: dict[Kind, Callable[..., Read]] = {"rule": Rule, "exception": PolicyException, "escalation": _escalation}
_REVIEW = _choice("Review", "review", ("human",))
_KEYS: dict[Kind, dict[str, Reader]] = {
    "rule": {
        "Severity": _choice("Severity", "severity", _RULE_SEVERITIES),
        "Action": _choice("Action", "action", _RULE_ACTIONS),
        "Applies to": _surfaces,
        "Review": _REVIEW,
    },
    "exception": {
        "Covers": _ids("Covers", "covers"),
        "Never for": _ids("Never for", "never_for"),
        "Requires": _plain("requires"),
        "Outcome": _choice("Outcome", "outcome", _OUTCOMES, {"allow": "none"}),
        "Review": _REVIEW,
    },
    "escalation": {
        "When": _when,
        "To": _plain("to"),
        "Within": _within,
        "Automation": _choice("Automation", "automation", ("none", "hold")),
    },
}
_NEEDED: dict[Kind, dict[str, str]] = {
    "rule": {"Severity": "high", "Action": "remove"},
    "exception": {"Covers": "H1, H2"},
    "escalation": {"When": "H1 is found", "To": "name-of-a-team"},
}
