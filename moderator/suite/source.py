"""The YAML files of suites, read so that every fault can name its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from moderator.errors import Problem, SuiteError

At = tuple[str | int, ...]
"""The keys and indices that lead to a value of the file."""


def compose(path: Path, *, empty: str, hint: str, unreadable: str = "") -> yaml.MappingNode:
    """The nodes of a file that holds keys.

    Raises `SuiteError`: `empty` and `hint` say what is wrong with one that holds none, `unreadable` what to do about one that
    cannot be read.
    """
    name = str(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise SuiteError([Problem(name, 0, f"cannot be read: {error.strerror or error}", unreadable)]) from None
    except UnicodeDecodeError:
        raise SuiteError([Problem(name, 0, "not UTF-8", "convert the file to UTF-8")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        raise SuiteError([Problem(name, mark.line + 1 if mark else 0, f"not YAML: {what or 'nested too deeply'}")]) from None
    if not isinstance(root, yaml.MappingNode):
        raise SuiteError([Problem(name, 1, empty, hint)])
    return root


def plain(root: yaml.MappingNode, name: str) -> tuple[dict[str, Any], dict[At, int], list[Problem]]:
    """The value with every scalar as text, the line of each part, and the keys that are given twice: the first counts.

    Scalars stay text so that a value named ``no`` or ``1.0`` is made no boolean and no number. Raises `SuiteError`.
    """
    lines: dict[At, int] = {(): 1}
    problems: list[Problem] = []
    try:
        value = _plain(root, (), lines, name, problems)
    except RecursionError:
        raise SuiteError([Problem(name, 0, "nested too deeply, or an alias holds itself")]) from None
    assert isinstance(value, dict)
    return value, lines, problems


def _plain(node: yaml.Node, at: At, lines: dict[At, int], name: str, problems: list[Problem]) -> Any:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*at, index), lines, name, problems) for index, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return str(node.value)
    value: dict[str, Any] = {}
    for key, child in node.value:
        word, line = str(key.value), key.start_mark.line + 1
        if word in value:
            problems.append(Problem(name, line, f"`{word}` is given twice", f"first given in line {lines[(*at, word)]}"))
            continue
        lines[(*at, word)] = line
        value[word] = _plain(child, (*at, word), lines, name, problems)
    return value
