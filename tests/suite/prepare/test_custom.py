"""Data of one's own: columns are named, rows of several annotators come together, nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from moderator.errors import DataError
from moderator.suite import load_suite, write_suite
from moderator.suite.prepare import Mapped, Prepared, prepare_custom
from tests.suite.prepare.conftest import Write

MAPPED = Mapped(columns={"text": "body", "label": "verdict"}, violates=("bad",), policy="hate")
RATED = replace(MAPPED, columns={**MAPPED.columns, "id": "post", "by": "rater"})


def prepared(path: Path, mapped: Mapped = MAPPED, split: Any = "all") -> Prepared:
    return prepare_custom(path, mapped, slug="own", split=split)


def test_a_table_becomes_a_suite_that_can_be_written_and_read(table: Write, tmp_path: Path) -> None:
    header = ("body", "verdict", "lang", "slur", "where")
    rows = [("hello @some_name", "good", "en", "no", "comment"), ("bye", "bad", "fr", "1", ""), ("hm", "", "en", "", "post")]
    path = table("own.csv", header, *rows) / "own.csv"
    columns = {**MAPPED.columns, "surface": "where"}
    result = prepared(path, replace(MAPPED, columns=columns, slices=("lang",), rules={"H3": "slur"}))
    first, second, third = result.suite.items
    assert first.text == "hello @user"
    assert (first.facts, second.facts) == ({"surface": "comment"}, {})
    assert [dict(item.labels[0].rules) for item in (first, second)] == [{"H3": "no"}, {"H3": "yes"}]
    assert third.labels == (), "a blank label is unknown"
    assert result.suite.scale.values == ("bad", "good")
    assert result.suite.slices == ("lang",)
    write_suite(result.suite, tmp_path / "own.yaml")
    assert load_suite(tmp_path / "own.yaml") == result.suite


def test_rows_of_one_id_are_several_annotators_of_one_item(table: Write) -> None:
    rows = [("7", "ann", "text", "bad"), ("8", "ann", "other", "good"), ("7", "bob", "text", "good")]
    path = table("own.csv", ("post", "rater", "body", "verdict"), *rows) / "own.csv"
    first, second = prepared(path, RATED).suite.items
    assert [(label.by, label.value) for label in first.labels] == [("ann", "bad"), ("bob", "good")]
    assert (second.id, len(second.labels)) == ("8", 1)


def test_rows_that_contradict_each_other_are_reported(table: Write) -> None:
    rows = [
        ("7", "ann", "text", "bad"),
        ("7", "bob", "another text", "good"),
        ("8", "ann", "other", "good"),
        ("8", "ann", "other", "bad"),
        ("9", "ann", "third", "god"),
    ]
    path = table("own.csv", ("post", "rater", "body", "verdict"), *rows) / "own.csv"
    result = prepared(path, replace(RATED, values=("good", "bad")))
    assert [item.id for item in result.suite.items] == ["7"]
    assert [(problem.line, problem.what) for problem in result.problems] == [
        (3, "id '7' has another text than in line 2"),
        (4, "annotator 'ann' labels the item twice"),
        (6, "'god' is not on the scale: good, bad"),
    ]


def test_an_id_is_used_once_where_annotators_are_not_mapped(table: Write) -> None:
    path = table("own.csv", ("post", "body", "verdict"), ("7", "a", "bad"), ("7", "b", "bad")) / "own.csv"
    columns = {"id": "post", "text": "body", "label": "verdict"}
    result = prepared(path, replace(MAPPED, columns=columns))
    assert len(result.suite.items) == 1
    assert "id '7' is used twice" in result.problems[0].what
    assert "by=COLUMN" in result.problems[0].hint


def test_the_same_text_twice_without_ids_is_two_items(table: Write) -> None:
    path = table("own.csv", ("body", "verdict"), ("same", "bad"), ("same", "good")) / "own.csv"
    first, second = prepared(path).suite.items
    assert second.id == f"{first.id}-2"


def test_ragged_rows_and_bytes_that_are_not_utf8_are_reported_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b'body,verdict\n"two\nlines",good\none, two,bad\nshort\nna\xefve,good\nfine,bad\n')
    result = prepared(path)
    assert [item.text for item in result.suite.items] == ["two\nlines", "fine"]
    assert [(problem.line, problem.what) for problem in result.problems] == [
        (4, "3 fields where the header has 2"),
        (5, "1 fields where the header has 2"),
        (6, "not UTF-8"),
    ]


def test_json_lines_and_parquet_give_the_same_suite(lines: Write, tmp_path: Path) -> None:
    rows = [
        {"post": 7, "rater": "ann", "body": "text", "verdict": 1.0},
        {"post": 8, "rater": "ann", "body": "other", "verdict": 0.0},
    ]
    path = lines("own.jsonl", *rows) / "own.jsonl"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
    mapped = replace(RATED, violates=("1",))
    first, second = prepared(path, mapped).suite, prepared(tmp_path / "own.parquet", mapped).suite
    assert first == second
    assert [(item.id, item.labels[0].value) for item in first.items] == [("7", "1"), ("8", "0")]


def test_split_group_and_thread_may_have_columns(lines: Write) -> None:
    row = {"body": "b", "verdict": "bad", "part": "dev", "user": 5, "before": [{"text": "call 555-123-4567 now"}, "and"]}
    other = {"body": "c", "verdict": "good", "part": "test", "user": 5, "before": "one message"}
    path = lines("own.jsonl", row, other, {**row, "body": "d", "part": "third"}) / "own.jsonl"
    columns = {**MAPPED.columns, "split": "part", "group": "user", "thread": "before"}
    result = prepared(path, replace(MAPPED, columns=columns))
    assert [(item.split, item.group) for item in result.suite.items] == [("train", "5"), ("test", "5")]
    assert [[turn.text for turn in item.thread] for item in result.suite.items] == [
        ["call [number] now", "and"],
        ["one message"],
    ]
    assert [(problem.line, problem.what) for problem in result.problems] == [(3, "split is 'third': train or test is expected")]


def test_votes_may_be_counted_and_grades_are_in_order(table: Write) -> None:
    rows = [("t", "mild", "3", "x"), ("t", "none", "1", "x")]
    path = table("own.csv", ("body", "verdict", "votes", "rater"), *rows) / "own.csv"
    columns = {**MAPPED.columns, "count": "votes"}
    mapped = replace(MAPPED, columns=columns, values=("none", "mild", "strong"), violates=("mild", "strong"), ordinal=True)
    suite = prepared(path, mapped).suite
    assert [item.labels[0].count for item in suite.items] == [3, 1]
    assert (suite.scale.kind, suite.scale.values) == ("ordinal", ("none", "mild", "strong"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"columns": {"text": "body"}}, "which column is the label"),
        ({"columns": {**MAPPED.columns, "lable": "x"}}, "no field 'lable' (did you mean `label`?)"),
        ({"columns": {**MAPPED.columns, "id": "Body"}}, "no column 'Body' (did you mean `body`?)"),
        ({"violates": ()}, "which labels violate"),
        ({"violates": ("worse",)}, "'worse' is not among the values"),
        ({"rules": {"H3": "slur"}}, "no column 'slur'"),
    ],
)
def test_a_wrong_mapping_is_one_message(table: Write, changes: dict[str, Any], told: str) -> None:
    path = table("own.csv", ("body", "verdict"), ("text", "bad"), ("other", "good")) / "own.csv"
    with pytest.raises(DataError) as raised:
        prepared(path, replace(MAPPED, **changes))
    assert told in str(raised.value)


def test_an_empty_table_a_missing_one_and_another_kind_are_errors(tmp_path: Path, table: Write) -> None:
    for path in (tmp_path / "none.csv", table("own.csv", ("body", "verdict")) / "own.csv", Path(__file__)):
        with pytest.raises(DataError):
            prepared(path)


def test_a_golden_set_is_all_test_unless_training_items_are_asked_for(table: Write) -> None:
    """Without a column for the split; its name is then the one that was given."""
    path = (
        table("own.csv", ("body", "verdict"), *((f"post number {n}", "good" if n % 2 else "bad") for n in range(40)))
        / "own.csv"
    )
    golden = prepared(path, split="test").suite
    assert (golden.slug, len(golden.split("test")), len(golden.items)) == ("own", 40, 40)
    parted = prepared(path, split="all").suite
    assert 0 < len(parted.split("test")) < 20
    assert len(parted.items) == 40
    assert prepared(path, split="train").suite.slug == "own-train"
