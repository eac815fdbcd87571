"""Data of one's own: any table whose columns are named becomes a suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moderator.content import Turn, text_id
from moderator.errors import DataError
from moderator.policy.document import nearest
from moderator.records import FACTS
from moderator.records.formats import parse_json
from moderator.suite.model import Annotation, Answer, Item, Scale, Source, Split
from moderator.suite.prepare.assemble import Prepared, Wanted, assemble
from moderator.suite.prepare.recipe import Fields, Files, Recipe, Row
from moderator.suite.prepare.texts import fifth, strip

COLUMNS: Final = ("text", "id", "label", "by", "count", "split", "group", "thread", *FACTS)
"""What a column may be mapped to."""

_ANSWERS: Final[Mapping[str, Answer]] = {
    **dict.fromkeys(("yes", "y", "true", "1", "1.0"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0", "0.0"), "no"),
    **dict.fromkeys(("", "unknown", "unsure", "?", "n/a", "na", "nan"), "unknown"),
}


@dataclass(frozen=True)
class Mapped:
    """How the columns of a table are read."""

    columns: Mapping[str, str]
    """A field of `COLUMNS`, and the column that holds it; ``text`` and ``label`` are needed."""
    violates: Sequence[str]
    """The labels that say that the policy is violated."""
    policy: str
    values: Sequence[str] = ()
    """All labels, an ordinal scale's in order; empty: those that the data has, sorted."""
    unknown: Sequence[str] = ()
    """Labels that say nothing about the policy."""
    ordinal: bool = False
    slices: Sequence[str] = ()
    """Columns that reports break down by."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """A rule, and the column that says whether it holds: yes or no, true or false, 1 or 0; blank is unknown."""

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (*self.columns.values(), *self.slices, *self.rules.values())


def prepare_custom(
    source: Path, mapped: Mapped, *, slug: str, title: str = "", licence: str = "not stated", split: Wanted = "test"
) -> Prepared:
    """A suite out of a table: a row is an item, or one annotator's label of it where `by` is mapped and rows share an id.

    Without a column for the split every item is the test, unless training items are asked for too: then a fifth is the test,
    by a hash of the text. Handles, links and phone numbers are stripped. Raises `DataError`.
    """
    _check(source, mapped)
    values = tuple(mapped.values) or _seen(source, mapped)
    try:
        kind = "ordinal" if mapped.ordinal else "nominal"
        scale = Scale.model_validate(
            {"kind": kind, "values": values, "violates": tuple(mapped.violates), "unknown": tuple(mapped.unknown)}
        )
    except ValueError as error:
        raise DataError(f"--values, --violates: {_reason(error)}\n  labels are {', '.join(values) or 'none'}") from None
    recipe = Recipe(
        slug=slug,
        title=title or slug,
        policy=mapped.policy,
        source=Source(name=slug, licence=licence),
        scale=scale,
        files={source.name: None},
        item=lambda row: _item(row, mapped, all_test=split == "test"),
        read=lambda _, files: _grouped(files, mapped),
        slices=tuple(mapped.slices),
        columns=mapped.named,
        test="test" if "split" in mapped.columns else "",
    )
    return assemble(recipe, {source.name: source}, split)


def _check(source: Path, mapped: Mapped) -> None:
    if not source.is_file():
        raise DataError(f"{source}: no such file")
    for name in mapped.columns:
        if name not in COLUMNS:
            raise DataError(f"--map: no field {name!r}{nearest(name, COLUMNS)}\n  fields are {', '.join(COLUMNS)}")
    for name in ("text", "label"):
        if name not in mapped.columns:
            raise DataError(f"--map: which column is the {name}?\n  write --map text=COLUMN,label=COLUMN")
    if not mapped.violates:
        raise DataError("--violates: which labels violate the policy?\n  write --violates toxic,hate")
    first = next((row.fields for row in Files({source.name: source}, mapped.named).rows(source.name)), None)
    if first is None:
        raise DataError(f"{source}: no rows")
    for column in mapped.named:
        if column not in first:
            known = [str(name) for name in first]
            raise DataError(f"{source}: no column {column!r}{nearest(column, known)}\n  columns are {', '.join(known)}")


def _seen(source: Path, mapped: Mapped) -> tuple[str, ...]:
    rows = Files({source.name: source}, mapped.named).rows(source.name)
    return tuple(sorted({_word(row.fields.get(mapped.columns["label"])) for row in rows} - {""}))


def _grouped(files: Files, mapped: Mapped) -> Iterator[Row]:
    """One row an item: with annotators, the rows of one id (without ids, of one text) together under ``rows``."""
    groups: dict[str, list[Row]] = {}
    text, own = mapped.columns["text"], mapped.columns.get("id")
    for name in files.paths:
        for row in files.rows(name):
            raw = row.fields.get(text)
            if not isinstance(raw, str):
                files.report(row.file, row.line, f"{text!r} is not text")
                continue
            item_id = _word(row.fields.get(own)) if own else ""
            key = item_id or text_id(raw)
            before = groups.setdefault(key, [])
            if before and "by" not in mapped.columns and item_id:
                hint = f"first used in line {before[0].line}; for several annotators of one item, map their column: by=COLUMN"
                files.report(row.file, row.line, f"id {item_id!r} is used twice", hint)
            elif before and "by" in mapped.columns and raw != before[0].fields[text]:
                files.report(row.file, row.line, f"id {item_id!r} has another text than in line {before[0].line}")
            elif before and "by" not in mapped.columns:
                groups[f"{key}-line-{row.line}"] = [row]
            else:
                before.append(row)
    for key, rows in groups.items():
        fields = {"rows": [row.fields for row in rows], "id": key.partition("-line-")[0] if not own else key}
        yield rows[0]._replace(fields={**rows[0].fields, **fields, "rows": fields["rows"], "id of item": fields["id"]})


def _item(row: Fields, mapped: Mapped, *, all_test: bool) -> Item | None:
    def value(name: str) -> Any:
        return row.get(mapped.columns[name]) if name in mapped.columns else None

    raw = str(value("text"))
    given = _word(value("split")).lower()
    if given not in ("", "train", "test", "dev", "val", "valid", "validation"):
        raise ValueError(f"split is {given!r}: train or test is expected")
    part: Split = "test" if given == "test" else "train"
    if "split" not in mapped.columns:
        part = "test" if all_test else fifth(raw)
    labels = (_label(one, mapped) for one in row["rows"])
    return Item(
        id=row["id of item"],
        text=strip(raw).text,
        thread=_thread(value("thread")),
        facts={name: word for name in FACTS if (word := _word(value(name)))},
        split=part,
        group=_word(value("group")),
        slices={name: word for name in mapped.slices if (word := _word(row.get(name)))},
        labels=tuple(label for label in labels if label),
    )


def _label(row: Fields, mapped: Mapped) -> Annotation | None:
    value = _word(row.get(mapped.columns["label"]))
    if not value:
        return None
    by = _word(row.get(mapped.columns.get("by", ""))) or None
    count = _word(row.get(mapped.columns.get("count", ""))) or "1"
    rules = {rule: _answer(column, row.get(column)) for rule, column in mapped.rules.items()}
    known = {rule: answer for rule, answer in rules.items() if answer != "unknown"}
    return Annotation(by=by, value=value, count=int(float(count)), rules=known)


def _answer(column: str, value: Any) -> Answer:
    word = _word(value).lower()
    if word not in _ANSWERS:
        raise ValueError(f"{column!r} is {word!r}: yes, no or nothing is expected")
    return _ANSWERS[word]


def _word(value: Any) -> str:
    """A cell as a word: whole numbers without a point, as different formats hold the same thing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _thread(value: Any) -> tuple[Turn, ...]:
    """A list of messages (as JSON, in a table), or one message that is being answered."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value)
    turns = value if isinstance(value, list) else [value] if value else []
    texts = (turn.get("text", "") if isinstance(turn, Mapping) else turn for turn in turns)
    return tuple(Turn(text=text) for text in (strip(str(text)).text for text in texts) if text)


def _reason(error: ValueError) -> str:
    return str(error).split("Value error, ")[-1].split(" [type=")[0]
