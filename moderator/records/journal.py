"""Outcomes on disk: a journal of JSON lines that survives a killed process and is taken up again by content id.

A line is complete when its line break is written; lines reach the operating system after every batch. A torn last line (the
process was killed while writing) is cut off when the journal is opened again, and its content judged anew.
CSV and Parquet are made from the journal when it is complete.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from moderator.errors import DataError
from moderator.records.reading import id_key
from moderator.verdict import OUTCOME, Failure, Provenance, Verdict, to_line

_CONVERTED: Final = (".csv", ".parquet")
_COLUMNS: Final = (
    "content_id", "policy", "kind", "outcome", "severity", "action", "score", "score_method", "rules", "exceptions", "escalations",
    "evidence", "missing", "rationale", "notice", "reason", "detail", "provenance", "metadata",
)  # fmt: skip


class Journal:
    """An outcomes file open for appending.

    `resume` goes on with what is there; without it an existing file is an error unless `force` is given. A journal keeps one hash
    of eight bytes for each finished content and policy.
    """

    def __init__(self, path: Path, *, resume: bool = False, force: bool = False, expected: Mapping[str, Provenance] | None = None):
        self.path = path
        self._done: set[int] = set()
        if path.exists() and not resume and not force:
            raise DataError(f"{path}: exists\n  --resume goes on with it, --force starts anew")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resume and path.exists():
                self._take_up(expected or {})
            self._file: IO[str] = path.open("a" if resume else "w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether the outcome of this content id under this policy is already there."""
        return bool(self._done) and _key(*key) in self._done

    def __len__(self) -> int:
        """Outcomes that were there when the journal was taken up."""
        return len(self._done)

    def write(self, outcomes: Iterable[Verdict | Failure]) -> None:
        """Appends outcomes and hands them to the operating system. Raises `DataError`."""
        try:
            self._file.writelines(to_line(outcome) + "\n" for outcome in outcomes)
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from None

    def close(self) -> None:
        """Makes the journal durable and closes it."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def _take_up(self, expected: Mapping[str, Provenance]) -> None:
        whole = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    break
                outcome = _outcome(f"{self.path}:{number}", raw)
                self._compare(number, outcome, expected)
                self._done.add(_key(outcome.content_id, outcome.policy))
                whole += len(raw)
        os.truncate(self.path, whole)

    def _compare(self, number: int, outcome: Verdict | Failure, expected: Mapping[str, Provenance]) -> None:
        """One file, one way of judging: what was finished must have been made the way the rest will be."""
        wanted = expected.get(outcome.policy)
        found = outcome.provenance
        if wanted is None or found == wanted:
            return
        for name in ("policy_digest", "prompt_digest", "engine", "model", "adapter_digest", "parameters"):
            # a content's own facts select variants, which change the policy and the prompt but not its version
            if name in ("policy_digest", "prompt_digest") and found.policy != wanted.policy and found.policy.startswith(wanted.policy):
                continue
            if getattr(found, name) != getattr(wanted, name):
                raise DataError(
                    f"{self.path}:{number}: made with another {name.replace('_', ' ')}: {getattr(found, name)!r}, now"
                    f" {getattr(wanted, name)!r}\n  write to another file, or start anew with --force"
                )


def read_outcomes(path: Path) -> Iterator[Verdict | Failure]:
    """The outcomes of a journal. Raises `DataError` at the first line that is none."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield _outcome(f"{path}:{number}", raw)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def journal_path(out: Path) -> Path:
    """Where the outcomes for this output are kept while the run goes on. Raises `DataError` for an unknown kind of file."""
    if out.suffix in _CONVERTED:
        return out.with_name(out.name + ".journal.jsonl")
    if out.suffix in (".jsonl", ".ndjson"):
        return out
    raise DataError(f"{out}: outcomes are written as .jsonl, .csv or .parquet")


def convert(journal: Path, out: Path) -> None:
    """Makes a CSV or Parquet file of a complete journal and removes the journal."""
    if out == journal:
        return
    rows = (_row(outcome) for outcome in read_outcomes(journal))
    partial = out.with_name(out.name + ".partial")
    try:
        if out.suffix == ".csv":
            with partial.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, _COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
        else:
            _write_parquet(partial, rows)
        partial.replace(out)
        journal.unlink()
    except OSError as error:
        raise DataError(f"{out}: {error.strerror or error}") from None


def _key(content_id: str, policy: str) -> int:
    return id_key(f"{policy}\0{content_id}")


def _outcome(where: str, raw: bytes) -> Verdict | Failure:
    try:
        return OUTCOME.validate_json(raw)
    except ValidationError as error:
        raise DataError(f"{where}: not an outcome: {error.errors()[0]['msg'].lower()}") from None


def _row(outcome: Verdict | Failure) -> dict[str, Any]:
    """The outcome flat: lists joined by spaces where they are ids, as JSON where they are more."""
    value = outcome.model_dump(mode="json")
    row = {name: value.get(name) for name in _COLUMNS}
    if isinstance(outcome, Verdict):
        row["score"], row["score_method"] = outcome.score.value, outcome.score.method
        row["rules"] = " ".join(rule.id for rule in outcome.rules)
        row["evidence"] = json.dumps([rule for rule in value["rules"] if rule["evidence"]], ensure_ascii=False)
        for name in ("exceptions", "escalations", "missing"):
            row[name] = " ".join(value[name])
    for name in ("provenance", "metadata"):
        row[name] = json.dumps(value[name], ensure_ascii=False, sort_keys=True)
    return row


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = [(name, pyarrow.float64() if name == "score" else pyarrow.string()) for name in _COLUMNS]
    schema = pyarrow.schema(kinds)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == 4096:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
