"""The YAML front matter of a document, read as nodes so that every fault names its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

import yaml

from moderator.policy.document import Line, Reading, nearest
from moderator.policy.model import Status
from moderator.policy.version import is_range, is_version

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*|\*")
_LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_PREFIX = re.compile(r"(?![XE]$)[A-Z]{1,4}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ANY = re.compile(r"(?s:.+)")

COMMON = ("policy", "version", "title", "status", "owner", "effective", "review_by", "locale", "applies_to")
POLICY_KEYS = (*COMMON, "prefix", "ground", "taxonomy")
OVERLAY_KEYS = (*COMMON, "extends", "when")
_APPLIES_TO = {"surfaces": "[post, comment]", "content": "[text]", "audience": "[everyone]", "jurisdictions": '["*"]'}
TAXONOMY_KEYS = ("dsa", "ailuminate", "openai", "llama_guard", "roost")
CONTEXT_KEYS = ("audience", "surface", "jurisdiction", "locale")
"""What an overlay's `when` may ask for."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The keys of one YAML mapping, each with its node; every getter reports what it cannot use and returns None."""

    nodes: dict[str, yaml.Node]
    lines: dict[str, int]
    reading: Reading
    prefix: str = ""

    def __contains__(self, key: str) -> bool:
        return key in self.nodes

    def text(self, key: str, pattern: re.Pattern[str] = _ANY, form: str = "some text") -> str | None:
        """A single value that matches the pattern whole."""
        node = self.nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(key, "is not a single value", form)
            return None
        value = str(node.value).strip()
        if not value:
            self._wrong(key, "has no value", form)
            return None
        if not pattern.fullmatch(value):
            self._wrong(key, f"is `{value}`", form)
            return None
        return value

    def choice(self, key: str, options: Sequence[str]) -> str | None:
        value = self.text(key, form=options[0])
        if value is None or value in options:
            return value
        listed = ", ".join(f"`{option}`" for option in options)
        self.reading.report(self.lines[key], f"`{self.prefix}{key}` is `{value}`{nearest(value, options)}", f"one of {listed}")
        return None

    def day(self, key: str) -> str | None:
        value = self.text(key, _DATE, "2027-05-31")
        if value is None:
            return None
        try:
            date.fromisoformat(value)
        except ValueError:
            self._wrong(key, f"is `{value}`, which is no day", "2027-05-31")
            return None
        return value

    def words(self, key: str, pattern: re.Pattern[str] = _WORD, form: str = "[post, comment]") -> tuple[str, ...] | None:
        """A list of values that each match the pattern."""
        node = self.nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(key, "is not a list", form)
            return None
        values = [child.value.strip() if isinstance(child, yaml.ScalarNode) else "" for child in node.value]
        for value in values:
            if not pattern.fullmatch(value):
                self._wrong(key, f"holds `{value}`" if value else "holds what is not a word", form)
                return None
        return tuple(dict.fromkeys(values))

    def mapping(self, key: str, known: Collection[str], form: str) -> Fields | None:
        """The keys of a nested mapping."""
        node = self.nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            self._wrong(key, "is not a set of keys", form)
            return None
        return fields_of(node, known, self.reading, f"{self.prefix}{key}.")

    def _wrong(self, key: str, what: str, form: str) -> None:
        self.reading.report(self.lines[key], f"`{self.prefix}{key}` {what}", f"write `{key}: {form}`")


def fields_of(node: yaml.MappingNode, known: Collection[str], reading: Reading, prefix: str = "") -> Fields:
    """The known keys of a YAML mapping; unknown and repeated ones are reported."""
    nodes: dict[str, yaml.Node] = {}
    lines: dict[str, int] = {}
    for line, key, value in _pairs(node):
        if key not in known:
            listed = ", ".join(f"`{name}`" for name in known)
            what = f"unknown key `{prefix}{key}` in the front matter{nearest(key, tuple(known))}"
            reading.report(line, what, f"keys are {listed}")
        elif key in nodes:
            reading.report(line, f"`{prefix}{key}` is given twice", f"first given in line {lines[key]}; keep one")
        else:
            nodes[key], lines[key] = value, line
    return Fields(nodes, lines, reading, prefix)


def compose(lines: Sequence[Line], reading: Reading) -> yaml.MappingNode | None:
    """The front matter as a YAML mapping, or None after a report."""
    if any(line.text.strip() in ("---", "...") for line in lines):
        reading.report(lines[0].number, "front matter holds more than one YAML document", "keep one `---` at each end")
        return None
    try:
        node = yaml.compose("\n".join(line.text for line in lines), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "nested too deep"
        line = _line(mark) if mark else 1
        reading.report(line, f"front matter is not YAML: {what}", "write `key: value`; quote values that hold `: ` or `#`")
        return None
    if not isinstance(node, yaml.MappingNode):
        reading.report(1, "front matter has no keys", "write `policy: name`, `version: 1.0.0`, `title: Title`")
        return None
    return node


def is_overlay(node: yaml.MappingNode) -> bool:
    """Whether the front matter is an overlay's."""
    return any(key == "extends" for _, key, _ in _pairs(node))


def read_policy_front(fields: Fields) -> dict[str, Any]:
    """The values of a policy's front matter, by the names of `Policy`'s fields; what is missing or wrong is reported."""
    _require(fields, {"policy": "hate", "version": "1.0.0", "title": "Hateful conduct"})
    values = _read_common(fields)
    values["slug"] = fields.text("policy", _SLUG, "hateful-conduct")
    values["prefix"] = fields.text("prefix", _PREFIX, "H")
    values["ground"] = fields.choice("ground", ("terms", "illegal"))
    if taxonomy := fields.mapping("taxonomy", TAXONOMY_KEYS, "{roost: hate_speech}"):
        single = {key: taxonomy.text(key) for key in TAXONOMY_KEYS if key != "openai"}
        values["taxonomy"] = _given({**single, "openai": taxonomy.words("openai", _ANY, "[hate, hate/threatening]")})
    return _given(values)


def read_overlay_front(fields: Fields) -> dict[str, Any]:
    """The values of an overlay's front matter, by the names of `Overlay`'s fields; what is missing or wrong is reported."""
    _require(fields, {"extends": "hate@^1", "when": "{audience: teen}"})
    values = _read_common(fields)
    extends = fields.text("extends", re.compile(r"[^@\s]+@\S+"), "hate@^1")
    if extends:
        base, _, caret = extends.partition("@")
        if not _SLUG.fullmatch(base):
            fields.reading.report(fields.lines["extends"], f"`extends` names `{base}`, which is no policy", _EXTENDS_HINT)
        elif not is_range(caret):
            fields.reading.report(fields.lines["extends"], f"`extends` has the range `{caret}`", _EXTENDS_HINT)
        else:
            values |= {"base": base, "compatible": caret}
    own = fields.text("policy", _SLUG, "hate")
    if own and own != values.get("base", own):
        fields.reading.report(fields.lines["policy"], f"`policy` is `{own}`, `extends` is `{extends}`", _OWN_HINT)
    values["when"] = _read_when(fields)
    return _given(values)


_EXTENDS_HINT = "write `extends: hate@^1`: the slug of a policy (not of an overlay), `@`, a caret range"
_OWN_HINT = "name the policy that the overlay extends, or leave `policy` out"


def _read_common(fields: Fields) -> dict[str, Any]:
    values: dict[str, Any] = {
        "version": fields.text("version"),
        "title": fields.text("title"),
        "status": fields.choice("status", get_args(Status)),
        "owner": fields.text("owner"),
        "effective": fields.day("effective"),
        "review_by": fields.day("review_by"),
        "locale": fields.text("locale", _LOCALE, "en"),
    }
    if values["version"] and not is_version(values["version"]):
        what = f"`version` is `{values.pop('version')}`"
        fields.reading.report(fields.lines["version"], what, "write `version: 1.0.0`: three numbers, major.minor.patch")
    if applies := fields.mapping("applies_to", _APPLIES_TO, "{surfaces: [post, comment]}"):
        values["applies_to"] = _given({key: applies.words(key, form=form) for key, form in _APPLIES_TO.items()})
    return values


def _read_when(fields: Fields) -> dict[str, tuple[str, ...]] | None:
    form = "{audience: teen}"
    when = fields.mapping("when", CONTEXT_KEYS, form)
    if when is None:
        return None
    if not when.nodes:
        fields.reading.report(fields.lines["when"], "`when` is empty", f"write `when: {form}`")
    conditions: dict[str, tuple[str, ...] | None] = {}
    for key, node in when.nodes.items():
        if isinstance(node, yaml.SequenceNode):
            conditions[key] = when.words(key, form="[teen, adult]")
        else:
            value = when.text(key, _WORD, "teen")
            conditions[key] = (value,) if value else None
    return _given(conditions)


def _require(fields: Fields, forms: dict[str, str]) -> None:
    for key, form in forms.items():
        if key not in fields:
            fields.reading.report(1, f"front matter has no `{key}`", f"write `{key}: {form}`")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[int, str, yaml.Node]]:
    for key, value in node.value:
        yield _line(key.start_mark), str(key.value) if isinstance(key, yaml.ScalarNode) else "?", value


def _line(mark: Any) -> int:
    """The front matter's first line is the file's second."""
    return int(mark.line) + 2
