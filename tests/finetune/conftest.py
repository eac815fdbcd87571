"""What the tests of the recipe share: the repository's root on the path, and a few examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("numpy")


@pytest.fixture(scope="session")
def known():
    """The shipped policies with their meanings."""
    from finetune.nano import policies

    return policies.shipped()


@pytest.fixture(scope="session")
def hate(known):
    return next(stance for stance in known if stance.policy.slug == "hate")
