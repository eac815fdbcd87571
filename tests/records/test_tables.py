"""CSV and Parquet files of outcomes, made from a complete journal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from moderator.content import Content
from moderator.engines import Completion
from moderator.engines.scripted import ScriptedEngine
from moderator.errors import DataError
from moderator.judge import Moderator
from moderator.prompt import Prompt
from moderator.records import Journal, check_output, convert, journal_path, read_outcomes
from moderator.verdict import Verdict

TEXTS = {"v": 'buy, "now"\nor\r\nnever\t😀', "n": "hello", "f": "fail", "odd": "=1+1 buy"}


def answer(prompt: Prompt) -> Completion:
    if "fail" in prompt.user:
        return Completion(problem="timeout", detail="after 3 s")
    if "buy" in prompt.user:
        rules = '"rules":[{"id":"P1","quote":"buy"},{"id":"P3","quote":"gone"}]'
        rest = '"exceptions":["X1"],"escalations":["E2"],"rationale":"a \\"line\\"\\nand more"'
        return Completion(text=f'{{"violates":"yes",{rules},{rest}}}', whole=True)
    return Completion(text='{"violates":"no"}', whole=True)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = journal_path(tmp_path / "out.csv")
    journal = Journal(path)
    contents = [Content(id=content_id, text=text, metadata={"n": [1]}) for content_id, text in TEXTS.items()]
    journal.write(Moderator("spam", ScriptedEngine(answer)).judge_all(contents))
    journal.close()
    return path


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_parquet(path: Path) -> list[dict[str, Any]]:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{name: "" if value is None else value for name, value in row.items()} for row in rows]


@pytest.mark.parametrize(("name", "read"), [("out.csv", read_csv), ("out.parquet", read_parquet)])
def test_every_field_comes_back(tmp_path: Path, journal: Path, name: str, read: Callable[[Path], list[dict[str, Any]]]) -> None:
    """Ids joined by spaces, nested fields as JSON, nothing where there is nothing, a row for every outcome in order."""
    outcomes = list(read_outcomes(journal))
    convert(journal, tmp_path / name)
    rows = read(tmp_path / name)
    assert [row["content_id"] for row in rows] == list(TEXTS)
    for outcome, row in zip(outcomes, rows, strict=True):
        assert (row["policy"], row["kind"]) == ("spam", outcome.kind)
        assert json.loads(row["provenance"]) == outcome.provenance.model_dump(mode="json")
        assert json.loads(row["metadata"]) == {"n": [1]}
        if isinstance(outcome, Verdict):
            for field in ("outcome", "severity", "action", "rationale", "notice"):
                assert row[field] == getattr(outcome, field)
            assert (row["score"], row["score_method"]) == ("", "none")
            assert row["rules"].split() == [rule.id for rule in outcome.rules]
            assert row["exceptions"].split() == list(outcome.exceptions)
            assert row["escalations"].split() == list(outcome.escalations)
            assert json.loads(row["evidence"]) == [rule.model_dump(mode="json") for rule in outcome.rules]
            assert row["reason"] == row["detail"] == ""
        else:
            assert (row["reason"], row["detail"], row["outcome"], row["rules"]) == ("timeout", "after 3 s", "", "")


def test_scores_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet.journal.jsonl"
    journal = Journal(path)
    engine = ScriptedEngine(lambda prompt: Completion(labels={"no": 0.75, "yes": 0.25}))
    journal.write(Moderator("spam", engine).judge_all(["a"]))
    journal.close()
    convert(path, tmp_path / "out.parquet")
    assert read_parquet(tmp_path / "out.parquet")[0]["score"] == 0.25


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_the_journal_is_gone_afterwards(tmp_path: Path, journal: Path, name: str) -> None:
    convert(journal, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_no_outcomes_make_a_table_without_rows(tmp_path: Path, name: str) -> None:
    empty = tmp_path / "empty.jsonl"
    Journal(empty).close()
    convert(empty, tmp_path / name)
    assert (read_csv if name.endswith("csv") else read_parquet)(tmp_path / name) == []
    assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_table_that_cannot_be_written_leaves_the_journal(tmp_path: Path, journal: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name}: Is a directory\n  the outcomes are in .*out.csv.journal.jsonl"):
        convert(journal, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({name, "out.csv.journal.jsonl"})


class TestOutput:
    @pytest.mark.parametrize(
        ("name", "journal"),
        [
            ("a.jsonl", "a.jsonl"),
            ("a.ndjson", "a.ndjson"),
            ("a.csv", "a.csv.journal.jsonl"),
            ("a.parquet", "a.parquet.journal.jsonl"),
        ],
    )
    def test_journals(self, name: str, journal: str) -> None:
        assert journal_path(Path("x") / name) == Path("x") / journal

    @pytest.mark.parametrize("name", ["a.txt", "a", "a.json", "a.jsonl.gz"])
    def test_other_kinds_of_files(self, name: str) -> None:
        with pytest.raises(DataError, match=rf"{name}: outcomes are written as .jsonl, .csv or .parquet"):
            journal_path(Path(name))

    @pytest.mark.parametrize("there", ["a.csv", "a.csv.journal.jsonl"])
    def test_a_table_or_its_journal_is_not_overwritten(self, tmp_path: Path, there: str) -> None:
        (tmp_path / there).touch()
        with pytest.raises(DataError, match=rf"{there}: exists\n  --resume goes on with it, --force starts anew"):
            check_output(tmp_path / "a.csv")
        check_output(tmp_path / "a.csv", force=True)

    def test_a_complete_table_cannot_be_gone_on_with(self, tmp_path: Path) -> None:
        """Its journal is gone: resuming would judge everything again and overwrite it."""
        (tmp_path / "a.csv").touch()
        with pytest.raises(DataError, match=r"a.csv: is complete, and only a .jsonl file can be gone on with"):
            check_output(tmp_path / "a.csv", resume=True)
        (tmp_path / "a.csv.journal.jsonl").touch()
        assert check_output(tmp_path / "a.csv", resume=True).name == "a.csv.journal.jsonl"
