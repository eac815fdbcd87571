"""Versions and ranges."""

from __future__ import annotations

import pytest

from moderator.policy.version import bump_between, is_range, is_version, number, satisfies


@pytest.mark.parametrize("text", ["1.0", "1.0.0-rc1", "01.0.0", "v1.0.0", "", "1.0.0\n", "٣.0.0", "9" * 5000 + ".0.0"])
def test_other_texts_are_no_versions(text: str) -> None:
    assert not is_version(text)
    with pytest.raises(ValueError, match="not a version"):
        number(text)


@pytest.mark.parametrize(
    ("version", "caret", "fits"),
    [
        ("1.0.0", "^1", True),
        ("1.9.9", "^1", True),
        ("2.0.0", "^1", False),
        ("1.1.9", "^1.2", False),
        ("1.2.0", "^1.2", True),
        ("1.3.0", "^1.2.3", True),
        ("1.2.2", "^1.2.3", False),
        ("0.3.5", "^0.3", True),
        ("0.4.0", "^0.3", False),
        ("0.9.0", "^0", True),
        ("1.0.0", "^0", False),
        ("0.0.3", "^0.0.3", True),
        ("0.0.4", "^0.0.3", False),
    ],
)
def test_caret_ranges(version: str, caret: str, fits: bool) -> None:
    assert satisfies(version, caret) is fits


@pytest.mark.parametrize("text", ["1", ">=1", "^", "^1.", "^1.2.3.4", "~1"])
def test_other_ranges_are_refused(text: str) -> None:
    assert not is_range(text)
    with pytest.raises(ValueError, match="not a caret range"):
        satisfies("1.0.0", text)


def test_bumps() -> None:
    assert bump_between("1.2.3", "2.0.0") == "major"
    assert bump_between("1.2.3", "1.3.0") == "minor"
    assert bump_between("1.2.3", "1.2.4") == "patch"
    assert bump_between("1.2.3", "1.2.3") == "none"
    assert bump_between("1.2.3", "1.2.2") is None
