"""A suite out of its files, with all that is wrong with them told at once: ``file:line: what``, and a form that is right."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, cast

from pydantic import ValidationError

from moderator.errors import Problem, SuiteError
from moderator.policy import list_policies, load_source
from moderator.policy.document import nearest
from moderator.records.formats import parse_json
from moderator.suite.model import Item, Suite
from moderator.suite.source import compose, plain

_HINTS: Final[Mapping[str, str]] = {
    "suite": "write `suite: my-suite`: small letters, digits and hyphens",
    "version": "write `version: 1.0.0`",
    "title": "write `title: What is in it`",
    "policy": "write `policy: hate`, or the path of a `.md` file",
    "contents": "write `contents: my-suite.jsonl`, a file beside this one",
    "scale": "write `scale: {values: [toxic, fine], violates: [toxic]}`",
    "source": "write `source: {name: Own posts, licence: internal}`",
    "targets": "write `targets: {f1: 0.75, rules: {H3: {recall: 0.8}}}`",
    "id": 'write `"id": "post-1"`',
    "text": 'write `"text": "..."`',
    "labels": 'write `"labels": [{"by": "ann", "value": "toxic"}]`',
    "value": "a label's value is a string, one of the scale's values",
    "violates": "one of `yes`, `no`, `unknown`",
    "spans": '`{"start": 0, "end": 4}`: characters from 0, end exclusive',
    "split": "`train` or `test`",
    "count": "a count is for votes without `by`",
}


@dataclass
class _Checks:
    """What items are held against, beyond their own form."""

    suite: Suite
    rules: frozenset[str] | None
    """None: the policy cannot be had here."""
    seen: dict[str, int] = field(default_factory=dict)
    """The lines of the ids."""

    def __call__(self, item: Item, line: int) -> Iterator[tuple[str, str]]:
        """What is wrong with an item, and a hint."""
        if item.id in self.seen:
            yield f"id {item.id!r} is used twice", f"first used in line {self.seen[item.id]}; ids are unique within a suite"
        self.seen.setdefault(item.id, line)
        for value in dict.fromkeys(label.value for label in item.labels):
            if value not in self.suite.scale.values:
                what = f"value {value!r} is not on the scale{nearest(value, self.suite.scale.values)}"
                yield what, f"values are {', '.join(self.suite.scale.values)}"
        spans = (span.rule for label in item.labels for span in label.spans if span.rule is not None)
        for rule in dict.fromkeys([*(rule for label in item.labels for rule in label.rules), *spans]):
            yield from self.rule(rule)

    def rule(self, rule: str) -> Iterator[tuple[str, str]]:
        if self.rules is not None and rule not in self.rules:
            known = sorted(self.rules)
            yield f"policy `{self.suite.policy}` has no rule {rule!r}{nearest(rule, known)}", f"rules are {', '.join(known)}"


def load_suite(path: Path, *, against_policy: bool = True) -> Suite:
    """The suite in a YAML file, with its items in memory.

    Raises `SuiteError` with every problem of both files: unknown keys, values off the scale, ids used twice, spans outside the
    text, and, where the policy can be had, rules that it does not have. Raises `PolicyError` when the policy does not parse.
    Not `against_policy`: the policy is not looked for, as for a copy that a run keeps.
    """
    suite, contents, problems = _header(path)
    items: list[Item] = []
    if suite and contents:
        checks = _Checks(suite, known_rules(suite, path) if against_policy else None)
        problems += _target_problems(path, checks)
        for found in _items(contents, checks):
            problems.append(found) if isinstance(found, Problem) else items.append(found)
        if not problems:
            problems += _slice_problems(path, suite, items)
    if problems or not suite:
        raise SuiteError(problems)
    return suite.model_copy(update={"items": tuple(items)})


def stream_suite(path: Path) -> tuple[Suite, Iterator[Item]]:
    """The suite without its items, and the items one at a time: memory grows by their ids only.

    Raises `SuiteError` for the YAML file; the iterator raises it at the first line that is no item.
    """
    suite, contents, problems = _header(path)
    if not suite or not contents:
        raise SuiteError(problems)
    checks = _Checks(suite, known_rules(suite, path))
    problems += _target_problems(path, checks)
    if problems:
        raise SuiteError(problems)
    return suite, _streamed(contents, checks)


def policy_of(suite: Suite, path: Path) -> str | Path:
    """What `load_policy` takes to have the policy of a suite that stands in this file: a slug, or a path."""
    by_path = suite.policy.endswith(".md") or "/" in suite.policy
    return path.parent / suite.policy if by_path else suite.policy


def known_rules(suite: Suite, path: Path) -> frozenset[str] | None:
    """The rules of the suite's policy, its overlays' included; None where there is no such policy here."""
    policy = policy_of(suite, path)
    if not (policy.is_file() if isinstance(policy, Path) else policy in list_policies()):
        return None
    return frozenset(rule.id for rule in load_source(policy).rules())


def _header(path: Path) -> tuple[Suite | None, Path | None, list[Problem]]:
    """The YAML file's suite, where its items are, and what is wrong with it. Raises `SuiteError` for what is no such file."""
    name = str(path)
    root = compose(
        path, empty="not a suite: it has no keys", hint=_HINTS["suite"], unreadable="give the `.yaml` file of a suite"
    )
    value, lines, problems = plain(root, name)
    given = value.pop("contents", None)
    contents = path.parent / given if isinstance(given, str) and given else None
    if contents is None:
        problems.append(Problem(name, lines.get(("contents",), 1), "no `contents`", _HINTS["contents"]))
    if "items" in value:
        del value["items"]
        problems.append(Problem(name, lines[("items",)], "unknown key `items`", _HINTS["contents"]))
    try:
        suite = Suite.model_validate(value)
    except ValidationError as error:
        problems += _invalid(name, error, lines, tuple(Suite.model_json_schema(by_alias=True)["properties"]))
        suite = None
    return suite, contents, sorted(problems)


def _items(contents: Path, checks: _Checks) -> Iterator[Item | Problem]:
    """Each line's item, or what is wrong with it."""
    name = str(contents)
    try:
        with _opened(contents) as file:
            for number, raw in enumerate(file, start=1):
                yield from _read_line(name, number, raw, checks)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        yield Problem(name, 0, f"not a whole gzip file: {error}")
    except OSError as error:
        yield Problem(name, 0, f"cannot be read: {error.strerror or error}", _HINTS["contents"])


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _read_line(name: str, number: int, raw: bytes, checks: _Checks) -> Iterator[Item | Problem]:
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        if not line.strip():
            return
        item = Item.model_validate(parse_json(line))
    except UnicodeDecodeError:
        yield Problem(name, number, "not UTF-8", "convert the file to UTF-8")
        return
    except ValidationError as error:
        yield from _invalid(name, error, {(): number}, tuple(Item.model_fields))
        return
    except ValueError as error:
        yield Problem(name, number, f"not JSON: {error}")
        return
    problems = [Problem(name, number, what, hint) for what, hint in checks(item, number)]
    if problems:
        yield from problems
    else:
        yield item


def _streamed(contents: Path, checks: _Checks) -> Iterator[Item]:
    found = _items(contents, checks)
    for one in found:
        if isinstance(one, Problem):
            rest = (other for other in islice(found, 20) if isinstance(other, Problem) and other.line == one.line)
            raise SuiteError([one, *rest])
        yield one


def _invalid(
    name: str, error: ValidationError, lines: Mapping[tuple[str | int, ...], int], keys: Sequence[str]
) -> Iterator[Problem]:
    for fault in error.errors():
        at = tuple(fault["loc"])
        while at not in lines:
            at = at[:-1]
        where = ".".join(map(str, fault["loc"]))
        known = next((part for part in reversed(fault["loc"]) if part in _HINTS), "")
        hint = _HINTS.get(str(known), "")
        match fault["type"]:
            case "missing":
                what = f"no `{where}`"
            case "extra_forbidden":
                close = nearest(str(fault["loc"][-1]), keys) if len(fault["loc"]) == 1 else ""
                what, hint = f"unknown key `{where}`{close}", f"keys are {', '.join(keys)}" if len(fault["loc"]) == 1 else ""
            case "value_error":
                what = f"`{where}`: {fault['ctx']['error']}" if where else str(fault["ctx"]["error"])
            case _:
                what = f"`{where}`: {fault['msg'][0].lower()}{fault['msg'][1:]}" if where else fault["msg"].lower()
        yield Problem(name, lines[at], what, hint)


def _target_problems(path: Path, checks: _Checks) -> list[Problem]:
    return [
        Problem(str(path), 0, f"targets: {what}", hint)
        for rule in checks.suite.targets.rules
        for what, hint in checks.rule(rule)
    ]


def _slice_problems(path: Path, suite: Suite, items: Sequence[Item]) -> list[Problem]:
    """Names of slices that no item has: a report by them would be empty."""
    there = sorted({key for item in items for key in item.slices})
    hint = f"items have {', '.join(there)}" if there else 'items have none: write `"slices": {"language": "en"}`'
    missing = [key for key in suite.slices if key not in there] if items else []
    return [Problem(str(path), 0, f"slices: no item has {key!r}{nearest(key, there)}", hint) for key in missing]
