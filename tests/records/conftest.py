"""Files of contents, written as users write them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moderator.content import Content
from moderator.records import open_source

Write = Callable[[str, bytes | str], Path]
Read = Callable[..., list[Content]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def read() -> Read:
    """All contents of some files."""

    def read(*paths: Path | str, **options: Any) -> list[Content]:
        return list(open_source([str(path) for path in paths], **options))

    return read


@pytest.fixture
def read_records(write: Write, read: Read) -> Read:
    """The contents that these JSON objects make."""

    def read_records(*records: object, **options: Any) -> list[Content]:
        return read(write("records.jsonl", "".join(json.dumps(record) + "\n" for record in records)), **options)

    return read_records


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """File permissions count: root is somebody else for the while of a test."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
