"""Every message of the parser, word for word. Rewrite the expected ones with `python tests/policy/test_messages.py`."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from moderator.errors import PolicyError, Problem
from moderator.policy import Overlay, bullets, document, entries, examples, frontmatter, overlay, parse, references, sections
from moderator.policy.document import Reading, decode

BROKEN = Path(__file__).parent / "broken"
BASE = """\
---
policy: hate
version: 1.2.0
title: Hate
---
# Hate
## Definitions
- **Slur** (`slur`): a word
## Rules
### H1 Dehumanisation
- Severity: high
- Action: remove

Text.
### H2 Slurs
- Severity: high
- Action: remove

Text.
## Exceptions
### X1 Condemnation
- Covers: H1
- Requires: text
"""
CASES = sorted(path.name for path in BROKEN.glob("*.md"))
MODULES: tuple[ModuleType, ...] = (bullets, document, entries, examples, frontmatter, overlay, parse, references, sections)


def read(name: str) -> list[Problem]:
    """The problems of a broken document; an overlay that parses is applied to the base."""
    try:
        parsed = parse.parse_document(decode((BROKEN / name).read_bytes(), name), name)
        if isinstance(parsed, Overlay):
            overlay.apply(parse.parse_policy(BASE), parsed)
    except PolicyError as error:
        return list(error.problems)
    return []


def messages(name: str) -> str:
    return "".join(f"{problem}\n" for problem in read(name))


@pytest.mark.parametrize("name", CASES)
def test_messages_are_as_expected(name: str) -> None:
    assert messages(name) == (BROKEN / name).with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_messages_have_the_house_style(name: str) -> None:
    for line in messages(name).splitlines():
        if not line.startswith("  "):
            where, _, what = line.partition(": ")
            assert where.startswith(name)
            assert not what.endswith("."), what
            assert what[0] == what[0].lower() or what.startswith(("`", "YAML")), what


@pytest.mark.parametrize("name", CASES)
def test_every_problem_has_a_hint_and_lies_in_the_file(name: str) -> None:
    lines = (BROKEN / name).read_bytes().count(b"\n") + 1
    problems = read(name)
    assert problems == sorted(problems)
    for problem in problems:
        assert problem.hint
        assert 0 <= problem.line <= lines


def test_every_place_that_reports_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[str, int]] = set()
    report = Reading.report

    def recording(self: Reading, line: int, what: str, hint: str = "") -> None:
        caller = sys._getframe(1)
        reached.add((caller.f_globals["__name__"], caller.f_lineno))
        report(self, line, what, hint)

    monkeypatch.setattr(Reading, "report", recording)
    for name in CASES:
        messages(name)
    with pytest.raises(PolicyError):
        parse.parse_policy((BROKEN / "hate.apply.md").read_text(), "hate.apply.md")
    with pytest.raises(PolicyError):
        parse.parse_overlay(BASE, "hate.teen.md")
    missed = [place for place in _places() if not any(m == place[0] and place[1] <= n <= place[2] for m, n in reached)]
    assert missed == []


def _places() -> list[tuple[str, int, int]]:
    """Module and lines of every call of `.report`."""
    return [
        (module.__name__, node.lineno, node.end_lineno or node.lineno)
        for module in MODULES
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "report"
    ]


if __name__ == "__main__":
    for case in CASES:
        (BROKEN / case).with_suffix(".txt").write_text(messages(case), encoding="utf-8")
