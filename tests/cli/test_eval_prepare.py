"""``eval prepare``: a suite on disk, its licence and citation told, and what was not taken over counted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from moderator.suite import load_suite
from tests.cli.conftest import Command

EDOS = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")


@pytest.fixture
def edos(tmp_path: Path) -> Path:
    rows = [
        EDOS,
        ("s-1", "Same text!", "not sexist", "none", "none", "train"),
        ("s-2", "same text", "not sexist", "none", "none", "test"),
        ("s-3", "one", "two"),
        ("s-4", "other", "not sexist", "none", "none", "train"),
    ]
    (tmp_path / "edos").mkdir()
    with (tmp_path / "edos" / "edos_labelled_aggregated.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "edos"


def test_prepare_writes_a_suite_and_prints_licence_and_citation(command: Command, edos: Path, tmp_path: Path) -> None:
    done = command("eval", "prepare", "edos", edos, "--out", "suites/edos.yaml")
    assert done.code == 0, done.err
    suite = load_suite(tmp_path / "suites" / "edos.yaml")
    assert [item.id for item in suite.items] == ["s-2"]
    first, licence, citation = done.out.splitlines()
    assert "edos-test, policy hate, 1 test" in first
    assert suite.digest in first
    assert licence == "licence: CC0-1.0"
    assert citation.startswith("citation: Kirk et al.")


def test_prepare_counts_what_it_did_not_take_over_on_stderr(command: Command, edos: Path) -> None:
    done = command("eval", "prepare", "edos", edos, "--out", "edos.yaml", "--split", "all")
    assert "1 train, 1 test" in done.out
    assert "edos_labelled_aggregated.csv:4: 3 fields where the header has 6" in done.err
    assert "1 rows or parts of rows could not be read" in done.err
    assert "1 training items dropped: the test has their text" in done.err


def test_prepare_does_not_write_over_a_suite_unless_told(command: Command, edos: Path, tmp_path: Path) -> None:
    (tmp_path / "edos.yaml").write_text("mine")
    done = command("eval", "prepare", "edos", edos, "--out", "edos.yaml")
    assert (done.code, (tmp_path / "edos.yaml").read_text()) == (1, "mine")
    assert "--force" in done.err
    assert command("eval", "prepare", "edos", edos, "--out", "edos.yaml", "--force").code == 0


def test_prepare_takes_a_table_by_its_columns(command: Command, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("post,who,body,mark\n1,ann,hello,0\n1,bob,hello,1\n2,ann,bye,\n")
    arguments = ("eval", "prepare", "custom", "own.csv", "--out", "Own posts.yaml", "--split", "all")
    mapping = ("--map", "text=body,id=post,label=mark,by=who", "--values", "0,1", "--violates", "1", "--policy", "hate")
    done = command(*arguments, *mapping, "--licence", "internal")
    assert done.code == 0, done.err
    suite = load_suite(tmp_path / "Own posts.yaml")
    assert (suite.slug, suite.policy) == ("own-posts", "hate")
    assert [[suite.answer(label) for label in item.labels] for item in suite.items] == [["no", "yes"], []]
    assert "licence: internal" in done.out


def test_prepare_writes_a_suite_for_each_policy_of_a_pack(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    for name, code in (("dangerous-content", "DC1"), ("harmful-body-ideals", "HBI0")):
        (folder / f"{name}.csv").write_text(f"Synthetic.,,,\nexample,classification\nText,{code}\n")
    done = command("eval", "prepare", "roost-teen-safety", folder, "--out", "pack.yaml")
    assert done.code == 0, done.err
    names = sorted(path.name for path in tmp_path.glob("*.yaml"))
    assert names == ["pack-teen-dangerous-content.yaml", "pack-teen-harmful-body-ideals.yaml"]
    assert "own policy" in done.err


def test_prepare_says_what_is_wrong_in_one_line(command: Command, edos: Path) -> None:
    for arguments in (("edso", edos, "--out", "a.yaml"), ("edos", "nowhere", "--out", "a.yaml")):
        done = command("eval", "prepare", *arguments)
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err
    assert "did you mean `edos`" in command("eval", "prepare", "edso", edos, "--out", "a.yaml").err
    assert command("eval", "prepare", "edos", edos, "--out", "a.json").code == 2
    assert command("eval", "prepare", "custom", edos, "--out", "a.yaml").code == 2
