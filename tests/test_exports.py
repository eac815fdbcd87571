"""What ``from moderator import ...`` offers is what `__all__` says."""

from __future__ import annotations

import types

import pytest

import moderator
import moderator.cli
import moderator.policy
import moderator.records


@pytest.mark.parametrize("module", [moderator, moderator.policy, moderator.records, moderator.cli])
def test_all_names_every_public_member(module: types.ModuleType) -> None:
    """Submodules that happen to be loaded are no members of the interface."""
    members = {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(module.__all__) == members
    assert len(module.__all__) == len(members)


def test_the_promised_names_are_there() -> None:
    for name in (
        "Moderator",
        "Content",
        "Verdict",
        "Failure",
        "load_policy",
        "open_engine",
        "ScriptedEngine",
        "ModeratorError",
    ):
        assert name in moderator.__all__


def test_errors_have_one_base() -> None:
    errors = [value for name, value in vars(moderator).items() if name.endswith("Error")]
    assert all(issubclass(error, moderator.ModeratorError) for error in errors)
