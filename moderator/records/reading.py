"""Reads contents from JSON Lines, CSV, Parquet and plain text (a content a line), gzipped or not, from folders and from stdin.

A record is lazily read, one at a time; what is wrong with one is reported as ``file:line: what`` and ends the reading.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from moderator.content import Content, text_id
from moderator.errors import DataError

_FACTS: Final = ("surface", "audience", "jurisdiction", "locale")
_FIELDS: Final = ("id", "text", "thread", "facts", "images", "policies")
_SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")

Record = tuple[str, Mapping[str, Any]]
"""Where a record stands (``file:line``) and its fields."""


@dataclass(slots=True)
class Progress:
    """How far the reading has come, in bytes of the files as they lie on disk (compressed ones too)."""

    total: int | None
    """None: a stream, whose end is not known."""
    done: Callable[[], int] = lambda: 0


@dataclass
class Source:
    """Contents from some files, in the order in which they were named; folders sorted by name.

    `mapping` says which column a field is read from (``{"text": "body"}``). Columns that are no field stay in the content's
    metadata if `keep` names them. A record without an id gets one made from its text; the second of the same text gets ``-2``.
    """

    paths: Sequence[Path | None]
    """None: standard input."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    keep: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: Progress(None))

    def __iter__(self) -> Iterator[Content]:
        """The contents. Raises `DataError` at the first record that is none, or whose id was used before."""
        seen: set[int] = set()
        repeats: dict[str, int] = {}
        for path in self.paths:
            for where, record in _records(path, self.progress):
                content = self._content(where, record)
                if content.id == "":
                    content = content.model_copy(update={"id": _fresh_id(content.text, seen, repeats)})
                key = id_key(content.id)
                if key in seen:
                    raise DataError(f"{where}: id {content.id!r} was used before\n  ids must be unique over all files of a run")
                seen.add(key)
                yield content

    def _content(self, where: str, record: Mapping[str, Any]) -> Content:
        value = {name: record.get(self.mapping.get(name, name)) for name in _FIELDS}
        text_column = self.mapping.get("text", "text")
        if text_column not in record:
            columns = ", ".join(map(str, record)) or "none"
            raise DataError(f"{where}: no field {text_column!r}; fields are {columns}\n  say which one it is: --map text=FIELD")
        if not isinstance(value["text"], str):
            raise DataError(f"{where}: field {text_column!r} is {type(value['text']).__name__}, not text")
        facts = dict(_object(where, "facts", value["facts"]))
        for name in _FACTS:
            given = record.get(self.mapping.get(name, name))
            if given not in (None, ""):
                facts.setdefault(name, given)
        try:
            return Content(
                id="" if value["id"] in (None, "") else str(value["id"]),
                text=value["text"],
                thread=_thread(where, value["thread"]),
                facts={name: str(fact) for name, fact in facts.items()},
                images=tuple(_listed(where, "images", value["images"])),
                policies=tuple(_listed(where, "policies", value["policies"])),
                metadata={name: record[name] for name in self.keep if name in record},
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def id_key(content_id: str) -> int:
    """Eight bytes that stand for an id in sets of millions (BLAKE2b; two of a million ids collide once in 10^7 runs)."""
    return int.from_bytes(blake2b(content_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def open_source(names: Sequence[str], *, mapping: Mapping[str, str] | None = None, keep: Sequence[str] = ()) -> Source:
    """A source over files, folders and ``-`` (stdin). Raises `DataError` for what is not there or holds no contents."""
    mapping = dict(mapping or {})
    if unknown := sorted(set(mapping) - {*_FIELDS, *_FACTS}):
        raise DataError(f"map: no field {unknown[0]!r}\n  fields are {', '.join((*_FIELDS, *_FACTS))}")
    paths: list[Path | None] = []
    for name in names:
        if name == "-":
            paths.append(None)
        elif Path(name).is_dir():
            found = sorted(path for path in Path(name).rglob("*") if path.is_file() and _kind(path) in _SUFFIXES)
            if not found:
                raise DataError(f"{name}: no contents in this folder\n  looked for {', '.join(_SUFFIXES)}, and the same with .gz")
            paths.extend(found)
        elif not Path(name).exists():
            raise DataError(f"{name}: no such file or folder")
        elif _kind(Path(name)) not in _SUFFIXES:
            raise DataError(f"{name}: not a kind of file that holds contents\n  one of {', '.join(_SUFFIXES)}, and the same with .gz")
        else:
            paths.append(Path(name))
    total = None if None in paths else sum(path.stat().st_size for path in paths if path)
    return Source(paths, mapping, tuple(keep), Progress(total))


def _kind(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _records(path: Path | None, progress: Progress) -> Iterator[Record]:
    if path is None:
        yield from _stdin_records()
        return
    kind = _kind(path)
    if kind == ".parquet":
        yield from _parquet_records(path)
        return
    with _reading(path), path.open("rb") as raw:
        before = progress.done()
        progress.done = lambda: before + (path.stat().st_size if raw.closed else raw.tell())
        stream: IO[bytes] = gzip.open(raw) if path.suffix.lower() == ".gz" else raw  # type: ignore[assignment]
        lines = _lines(str(path), stream)
        yield from (_json_records(lines) if kind in (".jsonl", ".ndjson") else _other_records(str(path), kind, lines))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _lines(name: str, stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    """The lines with where they stand; only line feeds end one. Raises `DataError` at the first that is not UTF-8."""
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}: not UTF-8 at byte {error.start} of the line\n  convert the file to UTF-8") from None
        yield f"{name}:{number}", line


def _json_records(lines: Iterator[tuple[str, str]]) -> Iterator[Record]:
    for where, line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{where}: an object was expected, not {type(record).__name__}")
        yield where, record


def _other_records(name: str, kind: str, lines: Iterator[tuple[str, str]]) -> Iterator[Record]:
    if kind == ".txt":
        yield from ((where, {"text": line.rstrip("\r\n")}) for where, line in lines if line.strip())
        return
    reader = csv.DictReader((line for _, line in lines), delimiter="\t" if kind == ".tsv" else ",", strict=True)
    try:
        for record in reader:
            where = f"{name}:{reader.line_num}"
            if None in record:
                raise DataError(f"{where}: more fields than the header has")
            yield where, {column: value for column, value in record.items() if value is not None}
    except csv.Error as error:
        raise DataError(f"{name}:{reader.line_num}: not CSV: {error}") from None


def _parquet_records(path: Path) -> Iterator[Record]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", {name: value for name, value in record.items() if value is not None}
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from None


def _stdin_records() -> Iterator[Record]:
    """JSON Lines if the first line begins an object, else a content a line."""
    stream: IO[bytes] = sys.stdin.buffer
    first = stream.readline()
    lines = _lines("stdin", io.BufferedReader(_Rejoined(first, stream)))  # type: ignore[arg-type]
    yield from (_json_records(lines) if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else _other_records("stdin", ".txt", lines))


class _Rejoined(io.RawIOBase):
    """A stream whose first line was already taken."""

    def __init__(self, first: bytes, rest: IO[bytes]):
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._first[: len(buffer)] or self._rest.read1(len(buffer))  # type: ignore[attr-defined]
        self._first = self._first[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _fresh_id(text: str, seen: set[int], repeats: dict[str, int]) -> str:
    made = text_id(text)
    while id_key(made) in seen:
        stem = made.split("-")[0]
        repeats[stem] = repeats.get(stem, 1) + 1
        made = f"{stem}-{repeats[stem]}"
    return made


def _object(where: str, name: str, value: Any) -> Mapping[str, Any]:
    value = _parsed(where, name, value) if isinstance(value, str) and value else value or {}
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: {name}: an object was expected")
    return value


def _listed(where: str, name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        value = _parsed(where, name, value) if value.startswith("[") else [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value or [], list) or not all(isinstance(item, str) for item in value or []):
        raise DataError(f"{where}: {name}: a list of strings was expected")
    return list(value or [])


def _thread(where: str, value: Any) -> tuple[dict[str, str], ...]:
    value = _parsed(where, "thread", value) if isinstance(value, str) and value else value or []
    if not isinstance(value, list):
        raise DataError(f"{where}: thread: a list of messages was expected")
    return tuple({"text": turn} if isinstance(turn, str) else turn for turn in value)


def _parsed(where: str, name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise DataError(f"{where}: {name}: not JSON: {error}") from None
