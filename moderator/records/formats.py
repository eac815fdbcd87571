"""Records out of files: JSON Lines, CSV, TSV, Parquet and plain text (a record a line), gzipped or not, and out of stdin.

Lazy: one record at a time. What is wrong with a file is a `DataError` that says ``file:line: what``.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from moderator.content import well_formed
from moderator.errors import DataError

SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")

_LONGEST_FIELD: Final = 2**31 - 1

Record = tuple[str, Mapping[str, Any]]
"""Where a record stands (``file:line``) and its fields."""


@dataclass(slots=True)
class Progress:
    """How far the reading has come, in bytes of the files as they lie on disk (compressed ones too)."""

    total: int | None
    """None: a stream, whose end is not known."""
    finished: int = 0
    """Bytes of the files that were read to the end."""
    current: Callable[[], int] = lambda: 0
    """Bytes of the file that is being read."""

    def done(self) -> int:
        return self.finished + self.current()


def kind_of(path: Path) -> str:
    """The suffix that says what a file holds, without ``.gz``."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def read_records(
    path: Path | None, progress: Progress, *, required: Collection[str] = (), optional: Collection[str] = ()
) -> Iterator[Record]:
    """The records of a file, or of stdin (None). Of a Parquet file that has what is required, no other columns are read."""
    if path is None:
        yield from _stdin_records()
        return
    with _file_errors(path):
        size = path.stat().st_size
        if kind_of(path) == ".parquet":
            yield from _parquet_records(path, size, progress, required, optional)
        else:
            with path.open("rb") as raw:
                progress.current = raw.tell
                zipped = path.suffix.lower() == ".gz"
                yield from _line_records(str(path), kind_of(path), gzip.GzipFile(fileobj=raw) if zipped else raw)
                progress.current = lambda: 0
        progress.finished += size


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError`.

    Half of a surrogate pair (an escape like ``\\ud83d`` on its own) is no character, and no UTF-8 file can hold it: it becomes
    U+FFFD, one character for one, so that offsets stay as they are.
    """
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            value = json.loads(well_formed(json.dumps(value, ensure_ascii=False)))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _line_records(name: str, kind: str, stream: Iterable[bytes]) -> Iterator[Record]:
    lines = _lines(name, stream)
    if kind in (".jsonl", ".ndjson"):
        return _json_records(lines)
    if kind == ".txt":
        return ((where, {"text": line.rstrip("\r\n")}) for where, line in lines if line.strip())
    return _table_records(name, "\t" if kind == ".tsv" else ",", (line for _, line in lines))


def _lines(name: str, stream: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The lines with where they stand; only line feeds end one. Raises `DataError` at the first that is not UTF-8."""
    for number, raw in enumerate(stream, start=1):
        try:
            yield f"{name}:{number}", raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            what = f"not UTF-8 at byte {error.start + 1} of the line"
            raise DataError(f"{name}:{number}: {what}\n  convert the file to UTF-8") from None


def _json_records(lines: Iterable[tuple[str, str]]) -> Iterator[Record]:
    for where, line in lines:
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{where}: an object was expected, not {type(record).__name__}")
        yield where, record


def _table_records(name: str, delimiter: str, lines: Iterable[str]) -> Iterator[Record]:
    # the module's own limit is 131,072 characters
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        where = f"{name}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: not CSV: {error}") from None
        if row is None:
            return
        if not row:
            continue
        if not header:
            header = [column.strip() for column in row]
            if twice := [column for column in header if header.count(column) > 1]:
                raise DataError(f"{where}: two columns are named {twice[0]!r}")
        elif len(row) != len(header):
            raise DataError(f"{where}: {len(row)} fields where the header has {len(header)}")
        else:
            yield where, dict(zip(header, row, strict=True))


def _parquet_records(
    path: Path, size: int, progress: Progress, required: Collection[str], optional: Collection[str]
) -> Iterator[Record]:
    import pyarrow.lib
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows = max(file.metadata.num_rows, 1)
            progress.current = lambda: size * number // rows
            names = file.schema_arrow.names
            wanted = [name for name in names if name in required or name in optional] if set(required) <= set(names) else None
            for batch in file.iter_batches(batch_size=256, columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", record
    except (pyarrow.lib.ArrowException, ValueError) as error:
        raise DataError(f"{path}: not a Parquet file: {' '.join(str(error).split())}") from None
    progress.current = lambda: 0


def _stdin_records() -> Iterator[Record]:
    """JSON Lines if the first line that is not empty begins an object, else a content a line."""
    if sys.stdin is None:
        raise DataError("stdin: is closed")
    stream = sys.stdin.buffer
    blank: list[bytes] = []
    for line in stream:
        blank.append(line)
        if line.strip(b"\xef\xbb\xbf \t\r\n"):
            break
    begins = blank[-1].lstrip(b"\xef\xbb\xbf \t\r\n") if blank else b""
    yield from _line_records("stdin", ".jsonl" if begins.startswith(b"{") else ".txt", chain(blank, stream))
