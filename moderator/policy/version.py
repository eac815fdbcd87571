"""Semantic versions, and the one kind of range that overlays use."""

from __future__ import annotations

import re
from typing import Literal

Bump = Literal["none", "patch", "minor", "major"]
Number = tuple[int, int, int]

_PART = r"(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_PART}\.{_PART}\.{_PART}")
_RANGE = re.compile(rf"\^{_PART}(?:\.{_PART})?(?:\.{_PART})?")


def is_version(text: str) -> bool:
    """Whether the text is `major.minor.patch`."""
    return _VERSION.fullmatch(text) is not None


def is_range(text: str) -> bool:
    """Whether the text is a caret range: `^1`, `^1.2` or `^1.2.3`."""
    return _RANGE.fullmatch(text) is not None


def number(version: str) -> Number:
    """The version as numbers that compare. Raises `ValueError`."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"not a version: {version!r}")
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


def satisfies(version: str, caret: str) -> bool:
    """Whether the version lies in the caret range: nothing left of and including its first number that is not 0 differs.

    Raises `ValueError` when one of them is malformed.
    """
    match = _RANGE.fullmatch(caret)
    if match is None:
        raise ValueError(f"not a caret range: {caret!r}")
    given = [int(part) for part in match.groups() if part is not None]
    fixed = next((i for i, part in enumerate(given) if part), len(given) - 1) + 1
    value = number(version)
    return value[:fixed] == tuple(given[:fixed]) and value >= tuple(given + [0] * (3 - len(given)))


def bump_between(old: str, new: str) -> Bump | None:
    """How far the version moved; `None` when it moved backwards. Raises `ValueError`."""
    before, after = number(old), number(new)
    if after < before:
        return None
    if after == before:
        return "none"
    if after[0] > before[0]:
        return "major"
    return "minor" if after[1] > before[1] else "patch"
