"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# a machine that is busy with something else is no failure
settings.register_profile("moderator", deadline=None)
settings.load_profile("moderator")
