"""One sound policy and one overlay, small and with every part in them; tests break them by replacing a piece."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCUMENTS = Path(__file__).parent / "documents"


@pytest.fixture
def folder() -> Path:
    return DOCUMENTS


@pytest.fixture
def document() -> str:
    return (DOCUMENTS / "hate.md").read_text(encoding="utf-8")


@pytest.fixture
def overlay_document() -> str:
    return (DOCUMENTS / "hate.teen.md").read_text(encoding="utf-8")
