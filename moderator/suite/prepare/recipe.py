"""How a data set becomes a suite: what is declared about it, its files, and its rows read without losing any in silence."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from moderator.errors import DataError, Problem
from moderator.records.formats import Progress, kind_of, parse_json, read_records
from moderator.suite.model import Answer, Item, Scale, Source, Split

Fields = Mapping[str, Any]
HATE: Final = ("H1", "H2", "H3", "H4", "H5", "H6")
HARASSMENT: Final = ("A1", "A2", "A3", "A4", "A5", "A6", "A7")
SPAM: Final = ("P1", "P2", "P3", "P4", "P5", "P6")
_LONGEST_FIELD: Final = 2**31 - 1


class Row(NamedTuple):
    """A record and where it stands."""

    file: str
    line: int
    fields: Fields


@dataclass
class Files:
    """The files of a set by the names that its publisher gave them, and what was wrong with their rows."""

    paths: Mapping[str, Path]
    columns: Sequence[str] = ()
    """What is read of a Parquet file that has it; of another one, everything is."""
    problems: list[Problem] = field(default_factory=list)

    def report(self, file: str, line: int, what: str, hint: str = "") -> None:
        self.problems.append(Problem(file, line, what, hint))

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a table, of JSON Lines or of Parquet; one that cannot be read is reported and passed over."""
        path = self.paths[name]
        match kind_of(path):
            case ".jsonl" | ".ndjson":
                return self._json_rows(path)
            case ".parquet":
                return (
                    Row(*_place(where), record)
                    for where, record in read_records(path, Progress(None), required=self.columns or ("",))
                )
            case ".csv" | ".tsv" as kind:
                return self._table_rows(path, "\t" if kind == ".tsv" else ",")
            case kind:
                raise DataError(f"{path}: rows are read from .csv, .tsv, .jsonl or .parquet, gzipped or not, not from {kind!r}")

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a file, without their breaks; one that is not UTF-8 is reported and passed over."""
        path = self.paths[name]
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                if _undecoded(line):
                    self.report(str(path), number, "not UTF-8")
                else:
                    yield number, line.rstrip("\r\n")

    def cells(self, name: str, delimiter: str = ",", *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """The rows of a table as they stand, each with the line on which it begins, however many cells it has."""
        path = self.paths[name]
        csv.field_size_limit(_LONGEST_FIELD)
        with opened(path) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=strict)
            while True:
                line = reader.line_num + 1
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    self.report(str(path), line, f"not CSV: {error}")
                    continue
                if row is None:
                    return
                if any(map(_undecoded, row)):
                    self.report(str(path), line, "not UTF-8")
                elif row:
                    yield line, row

    def _table_rows(self, path: Path, delimiter: str) -> Iterator[Row]:
        name = next(name for name, one in self.paths.items() if one == path)
        header: list[str] = []
        for line, row in self.cells(name, delimiter, strict=True):
            if not header:
                header = [column.strip() for column in row]
                if twice := next((column for column in header if header.count(column) > 1), None):
                    self.report(str(path), line, f"several columns are named {twice!r}; the last one is read")
            elif len(row) != len(header):
                hint = "a text with a comma in it must be quoted" if len(row) > len(header) else ""
                self.report(str(path), line, f"{len(row)} fields where the header has {len(header)}", hint)
            else:
                yield Row(str(path), line, dict(zip(header, row, strict=True)))

    def _json_rows(self, path: Path) -> Iterator[Row]:
        for number, line in self.lines(next(name for name, one in self.paths.items() if one == path)):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
            except ValueError as error:
                self.report(str(path), number, f"not JSON: {error}")
                continue
            if isinstance(record, dict):
                yield Row(str(path), number, record)
            else:
                self.report(str(path), number, f"an object was expected, not {type(record).__name__}")


def as_they_stand(recipe: Recipe, files: Files) -> Iterator[Row]:
    """All rows of all files; where a file is a split, its rows say so."""
    for name in files.paths:
        split = recipe.files[name]
        for row in files.rows(name):
            yield row._replace(fields={**row.fields, "split": split}) if split else row


@dataclass(frozen=True)
class Recipe:
    """What is known about a set: where it comes from, what its labels mean, how its rows are read."""

    slug: str
    title: str
    policy: str
    """The shipped policy that its labels come nearest to, or the path of one's own."""
    source: Source
    scale: Scale
    files: Mapping[str, Split | None]
    """The publisher's names of its files, and the split that a file is."""
    item: Callable[[Fields], Item | None]
    """The item that a row becomes; None for a row that is left out on purpose. Raises `ValueError` or `KeyError`."""
    read: Callable[[Recipe, Files], Iterator[Row]] = as_they_stand
    left_out: str = "without a text"
    """What the rows are that become no item."""
    slices: tuple[str, ...] = ()
    test: str = "test"
    """What the publisher calls the part that is the test; empty: all of it is."""
    whole: bool = False
    """Its rows are joined from several files."""
    columns: tuple[str, ...] = ()
    """What is read of a Parquet file."""
    others: Mapping[str, Recipe] = field(default_factory=dict)
    """The same set under other policies, where its labels say something about them."""
    note: str = ""

    def under(self, policy: str) -> Recipe:
        """The set labelled for another policy. What it says about single rules holds for its own policy only."""
        if policy == self.policy:
            return self
        if policy in self.others:
            return self.others[policy]

        def item(row: Fields) -> Item | None:
            found = self.item(row)
            return found and without_rules(found)

        note = f"its labels were given for `{self.policy}`: rule labels are left out" if not self.note else ""
        return replace(self, policy=policy, item=item, note=note)

    def violating(self, values: Sequence[str]) -> Recipe:
        """The set with another reading of its labels: these say that the policy is violated, and all others do not.

        What it says about single rules is left out. Raises `ValueError` for what is no label of the set.
        """
        unknown = tuple(value for value in self.scale.unknown if value not in values)
        scale = Scale.model_validate({**self.scale.model_dump(), "violates": tuple(values), "unknown": unknown})

        def item(row: Fields) -> Item | None:
            found = self.item(row)
            return found and _without_answers(without_rules(found))

        name = re.sub(r"[^a-z0-9]+", "-", "-".join((self.slug, *values)).lower()).strip("-")
        return replace(self, slug=name, title=f"{self.title} ({', '.join(values)})", scale=scale, item=item)


def _without_answers(item: Item) -> Item:
    """The item with what follows from the labels' values alone."""
    return item.model_copy(update={"labels": tuple(label.model_copy(update={"violates": None}) for label in item.labels)})


def without_rules(item: Item) -> Item:
    """The item without what its labels say about single rules."""
    labels = (
        label.model_copy(update={"rules": {}, "spans": tuple(span.model_copy(update={"rule": None}) for span in label.spans)})
        for label in item.labels
    )
    return item.model_copy(update={"labels": tuple(labels)})


def no(rules: Sequence[str]) -> dict[str, Answer]:
    """None of these rules holds."""
    return dict.fromkeys(rules, "no")


def yes(*rules: str | None) -> dict[str, Answer]:
    """These rules hold; of the others nothing is known."""
    return {rule: "yes" for rule in rules if rule}


def split_of(row: Fields) -> Split:
    """``test`` for the publisher's test part, ``train`` for any other."""
    return "test" if row["split"] == "test" else "train"


def opened(path: Path) -> IO[str]:
    """A text file, gzipped or not; what is not UTF-8 becomes halves of surrogate pairs."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _undecoded(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _place(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line)
