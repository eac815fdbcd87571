"""Outcomes as CSV or Parquet, made from a journal when it is complete."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from moderator.errors import DataError
from moderator.records.journal import read_outcomes
from moderator.verdict import Failure, Verdict

_COLUMNS: Final = (
    *("content_id", "policy", "kind", "outcome", "severity", "action", "score", "score_method"),
    *("rules", "exceptions", "escalations", "evidence", "missing", "rationale", "notice"),
    *("reason", "detail", "provenance", "metadata"),
)
_BATCH: Final = 4096


def journal_path(out: Path) -> Path:
    """Where the outcomes for this output are kept while the run goes on. Raises `DataError` for an unknown kind of file."""
    if out.suffix in (".csv", ".parquet"):
        return out.with_name(out.name + ".journal.jsonl")
    if out.suffix in (".jsonl", ".ndjson"):
        return out
    raise DataError(f"{out}: outcomes are written as .jsonl, .csv or .parquet")


def check_output(out: Path, *, resume: bool = False, force: bool = False) -> Path:
    """The journal for this output. Raises `DataError` where going on would lose or mix up what is there."""
    journal = journal_path(out)
    try:
        there = [path for path in (out, journal) if path.exists()]
    except OSError as error:
        raise DataError(f"{out}: {error.strerror or error}") from None
    if there and not resume and not force:
        raise DataError(f"{there[0]}: exists\n  --resume goes on with it, --force starts anew")
    if resume and out in there and journal not in there:
        raise DataError(f"{out}: is complete, and only a .jsonl file can be gone on with\n  --force starts anew")
    return journal


def convert(journal: Path, out: Path) -> None:
    """Makes a CSV or Parquet file of a complete journal and removes the journal."""
    if out == journal:
        return
    rows = (_row(outcome) for outcome in read_outcomes(journal))
    partial = out.with_name(out.name + ".partial")
    try:
        _write_csv(partial, rows) if out.suffix == ".csv" else _write_parquet(partial, rows)
        partial.replace(out)
        journal.unlink()
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{out}: {error.strerror or error}\n  the outcomes are in {journal}") from None


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


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.float64() if name == "score" else pyarrow.string()) for name in _COLUMNS])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
