"""Small sets in the exact formats of the public ones, with harmless texts written for the tests."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from moderator.suite import Annotation, Item, Suite
from moderator.suite.prepare import Prepared, Wanted, prepare_set

Write = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Writes a CSV file into the set's folder, gzipped where its name ends so; returns the folder."""

    def table(name: str, header: Sequence[str], *rows: Sequence[Any]) -> Path:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = io.StringIO()
        csv.writer(written).writerows([header, *rows])
        raw = written.getvalue().encode()
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
        return path.parent

    return table


@pytest.fixture
def lines(tmp_path: Path) -> Write:
    """Writes lines, or objects as JSON Lines; returns the folder."""

    def lines(name: str, *rows: Any) -> Path:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        return path.parent

    return lines


def prepared(name: str, folder: Path, split: Wanted = "all", **options: Any) -> Prepared:
    (only,) = prepare_set(name, folder, split=split, **options)
    return only


def by_id(suite: Suite) -> dict[str, Item]:
    return {item.id: item for item in suite.items}


def label(item: Item) -> Annotation:
    (only,) = item.labels
    return only
