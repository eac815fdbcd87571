"""Contents out of records: which column is which field, what each may hold, and ids for those that brought none.

Lazy: one content at a time; what is wrong with a record is reported as ``file:line: what`` and ends the reading.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_jsonable_python

from moderator.content import Content, Turn, text_id, well_formed
from moderator.errors import DataError
from moderator.records.formats import SUFFIXES, Progress, kind_of, parse_json, read_records

FACTS: Final = ("surface", "audience", "jurisdiction", "locale")
"""The facts that may stand in columns of their own; others go into ``facts``."""

_FIELDS: Final = ("id", "text", "thread", "facts", "images", "policies")


@dataclass
class Source:
    """Contents from some files, in the order in which they were named; folders sorted by name.

    `mapping` says which column a field is read from (``{"text": "body"}``). `keep` names columns that are copied to the
    content's metadata; other columns that are no field are left out. A text that is null is an empty one. A record without an
    id gets one made from its text; the second of the same text gets ``-2``.
    """

    paths: Sequence[Path | None]
    """None: standard input."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    keep: Sequence[str] = ()
    progress: Progress = field(default_factory=lambda: Progress(None))

    def __iter__(self) -> Iterator[Content]:
        """The contents. Raises `DataError` at the first record that is none, or whose id was used before."""
        columns = {name: self.mapping.get(name, name) for name in (*_FIELDS, *FACTS)}
        named = {columns["text"], *self.mapping.values(), *self.keep}
        seen: set[int] = set()
        self.progress.finished = 0
        for path in self.paths:
            first = True
            for where, record in read_records(path, self.progress, required=named, optional=columns.values()):
                # a record may lack what others have, but a column that was named on purpose is there at the start
                _check_columns(where, record, named if first else {columns["text"], self.mapping.get("id", columns["text"])})
                first = False
                yield self._content(where, record, columns, seen)

    def _content(self, where: str, record: Mapping[str, Any], columns: Mapping[str, str], seen: set[int]) -> Content:
        value = {name: record.get(column) for name, column in columns.items()}
        text = value["text"]
        if text is None:
            text = ""
        if not isinstance(text, str):
            raise DataError(f"{where}: field {columns['text']!r} is {type(text).__name__}, not text")
        content_id = _id(where, columns["id"], value["id"]) or _fresh_id(text, seen)
        key = id_key(content_id)
        if key in seen:
            raise DataError(f"{where}: id {content_id!r} was used before\n  ids must be unique over all files of a run")
        seen.add(key)
        return Content(
            id=content_id,
            text=text,
            thread=_thread(where, value["thread"]) if value["thread"] else (),
            facts=_facts(where, value),
            images=_listed(where, "images", value["images"]) if value["images"] else (),
            policies=_listed(where, "policies", value["policies"]) if value["policies"] else (),
            metadata=_kept(record, self.keep) if self.keep else {},
        )


def id_key(content_id: str) -> int:
    """Eight bytes that stand for an id in sets of millions (BLAKE2b; two of a million ids collide once in 10^7 runs)."""
    return int.from_bytes(blake2b(well_formed(content_id).encode(), digest_size=8).digest(), "little")


def open_source(
    names: Sequence[str],
    *,
    mapping: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    written: Collection[Path] = (),
) -> Source:
    """A source over files, folders and ``-`` (stdin). Raises `DataError` for what is not there or holds no contents.

    `written` are the files that the run writes: they are left out of folders, and cannot be read by name.
    """
    mapping = dict(mapping or {})
    if unknown := sorted(set(mapping) - {*_FIELDS, *FACTS}):
        raise DataError(f"map: no field {unknown[0]!r}\n  fields are {', '.join((*_FIELDS, *FACTS))}")
    if names.count("-") > 1:
        raise DataError("-: stdin can be read once only")
    own = {path.resolve() for path in written}
    paths: list[Path | None] = []
    total: int | None = 0
    for name in names:
        if name == "-":
            paths.append(None)
            total = None
            continue
        try:
            found = _files(Path(name), own)
            paths.extend(found)
            total = None if total is None else total + sum(path.stat().st_size for path in found)
        except OSError as error:
            raise DataError(f"{name}: {error.strerror or error}") from None
    return Source(paths, mapping, tuple(keep), Progress(total))


def _files(path: Path, own: Collection[Path]) -> list[Path]:
    """The file itself, or the files in a folder that hold contents; hidden ones are left out."""
    looked_for = f"{', '.join(SUFFIXES)}, and the same with .gz"
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if kind_of(file) in SUFFIXES and file.is_file())
        shown = (file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts))
        found = [file for file in shown if file.resolve() not in own]
        if not found:
            raise DataError(f"{path}: no contents in this folder\n  looked for {looked_for}")
        return found
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if kind_of(path) not in SUFFIXES:
        raise DataError(f"{path}: not a kind of file that holds contents\n  one of {looked_for}")
    if path.resolve() in own:
        raise DataError(f"{path}: is to be read and to be written\n  write to another file")
    return [path]


def _check_columns(where: str, record: Mapping[str, Any], named: Collection[str]) -> None:
    for column in named:
        if column not in record:
            columns = ", ".join(map(str, record)) or "none"
            hint = "say which one it is: --map text=FIELD" if column == "text" else "look at --map and --keep"
            raise DataError(f"{where}: no field {column!r}; fields are {columns}\n  {hint}")


def _id(where: str, column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{where}: field {column!r} is {type(value).__name__}: an id is text or a whole number")


def _fresh_id(text: str, seen: set[int]) -> str:
    """An id made from the text; for a text that was there before, with the first number behind it that is free."""
    made = text_id(text)
    if id_key(made) not in seen:
        return made

    def free(number: int) -> bool:
        return id_key(f"{made}-{number}") not in seen

    # the numbers in use are 2, 3, ... without a gap
    high = 2
    while not free(high):
        high *= 2
    return f"{made}-{bisect_left(range(high), True, lo=max(2, high // 2), key=free)}"


def _facts(where: str, value: Mapping[str, Any]) -> dict[str, str]:
    given = value["facts"]
    if isinstance(given, str) and given:
        given = _parsed(where, "facts", given)
    if given and not isinstance(given, Mapping):
        raise DataError(f"{where}: facts: an object was expected, not {type(given).__name__}")
    facts = {name: _fact(where, name, fact) for name, fact in given.items() if fact is not None} if given else {}
    for name in FACTS:
        if value[name] is not None and value[name] != "":
            facts.setdefault(name, _fact(where, name, value[name]))
    return facts


def _fact(where: str, name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | Mapping | bytes):
        raise DataError(f"{where}: {name}: a single value was expected, not {type(value).__name__}")
    return str(value)


def _listed(where: str, name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        value = _parsed(where, name, value) if value.startswith("[") else [part for part in parts if part]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where}: {name}: a list of strings was expected")
    return tuple(dict.fromkeys(value))


def _thread(where: str, value: Any) -> tuple[Turn, ...]:
    value = _parsed(where, "thread", value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise DataError(f"{where}: thread: a list of messages was expected, not {type(value).__name__}")
    return tuple(_turn(where, message) for message in value)


def _turn(where: str, message: Any) -> Turn:
    turn = {"text": message} if isinstance(message, str) else message
    if not isinstance(turn, Mapping) or not isinstance(turn.get("text"), str):
        raise DataError(f'{where}: thread: a message is a string or {{"text": ..., "author": ...}}')
    return Turn(text=turn["text"], author=str(turn.get("author") or ""))


def _kept(record: Mapping[str, Any], keep: Sequence[str]) -> dict[str, Any]:
    """The columns that go into the outcome, as JSON can hold them."""
    kept = {name: record[name] for name in keep if name in record}
    jsonable: dict[str, Any] = to_jsonable_python(kept, bytes_mode="base64", serialize_unknown=True)
    return jsonable


def _parsed(where: str, name: str, value: str) -> Any:
    try:
        return parse_json(value)
    except ValueError as error:
        raise DataError(f"{where}: {name}: not JSON: {error}") from None
