"""What is read from a run's folder belongs together, or is refused with the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from moderator.errors import DataError
from moderator.runs import Manifest, Run, execute, load_run
from tests.runs.suites import items, moderator, suite

PUBLISHED = Path(__file__).parents[2] / "docs" / "run-1.schema.json"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    given = suite("own", *items("a", "b", "c"), *items("d", text="my wheel"), *items("e", text="broken"))
    return execute([given], moderator(), tmp_path / "run")


def test_published_schema_is_the_one_of_the_code() -> None:
    """Rewrite it with Manifest.model_json_schema(mode="serialization") when the change is meant."""
    assert json.loads(PUBLISHED.read_text()) == Manifest.model_json_schema(mode="serialization")


def test_a_manifest_fits_the_published_schema_and_reads_back(run: Run) -> None:
    text = (run.path / "manifest.json").read_text(encoding="utf-8")
    assert text.startswith('{\n "schema": "run/1",\n "started": "')
    jsonschema.validate(json.loads(text), json.loads(PUBLISHED.read_text()))
    assert Manifest.model_validate_json(text) == run.manifest
    assert run.manifest.finished is not None
    assert run.manifest.started.utcoffset() == run.manifest.finished - run.manifest.finished


def test_a_manifest_that_contradicts_itself_cannot_be_written(run: Run) -> None:
    fields = {name: getattr(run.manifest, name) for name in Manifest.model_fields}
    record = run.manifest.suites[0]
    for wrong in (
        {"suites": (record.model_copy(update={"items": 6}),)},
        {"suites": (record.model_copy(update={"policy": "other"}),)},
        {"passes": 0},
        {"wall_seconds": -1},
        {"cache_hits": -1},
        {"schema_": "run/2"},
    ):
        with pytest.raises(ValidationError):
            Manifest(**{**fields, **wrong})


def _edit(name: str, edit: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        file = path / name
        file.write_text(edit(file.read_text(encoding="utf-8")), encoding="utf-8")

    return apply


def _repeat(text: str) -> str:
    return text + text.splitlines()[0] + "\n"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_edit("outcomes.jsonl", lambda text: text[:-30]), r"outcomes\.jsonl:5: not an outcome"),
        (_edit("outcomes.jsonl", lambda text: "no\n" + text), r"outcomes\.jsonl:1: not an outcome"),
        (_edit("outcomes.jsonl", lambda text: text[text.index("\n") + 1 :]), "1 outcomes of suite own are missing\n  --resume"),
        (_edit("outcomes.jsonl", _repeat), r"outcomes\.jsonl:6: content 'a' is there twice"),
        (_edit("outcomes.jsonl", lambda text: text.replace('"a"', '"z"')), r"jsonl:1: content 'z' .* is no item of this run"),
        (
            _edit("outcomes.jsonl", lambda text: text.replace('"policy":"house"', '"policy":"spam"', 1)),
            "content 'a' under policy 'spam' is no item",
        ),
        (
            _edit("outcomes.jsonl", lambda text: text.replace('"model":"none"', '"model":"big"')),
            r"jsonl:\d: made with another model",
        ),
        (_edit("outcomes.jsonl", lambda text: text.replace('"allowed"', '"not_covered"')), "are not those of the manifest"),
        (_edit("suites/own.jsonl", lambda text: text.replace("fine", "bad", 1)), r"own\.yaml: was changed after it was judged"),
        (_edit("suites/own.yaml", lambda text: text.replace("Own", "Mine")), r"own\.yaml: was changed after it was judged"),
        (_edit("suites/own.yaml", lambda text: "x"), r"own\.yaml:1: not a suite"),
        (_edit("manifest.json", lambda text: text[:200]), r"manifest\.json: not the manifest of a run: invalid JSON"),
        (_edit("manifest.json", lambda text: "{}"), r"manifest\.json: not the manifest of a run: started: field required"),
        (
            _edit("manifest.json", lambda text: text.replace("run/1", "run/2")),
            r"manifest\.json: not the manifest of a run: schema",
        ),
        (lambda path: (path / "outcomes.jsonl").unlink(), r"outcomes\.jsonl: No such file"),
        (lambda path: (path / "suites" / "own.jsonl").unlink(), r"own\.jsonl: cannot be read"),
        (lambda path: (path / "manifest.json").unlink(), r"run: not a run: it has no manifest\.json\n  .*eval run"),
    ],
)
def test_a_folder_that_does_not_hold_together(run: Run, break_it: Callable[[Path], None], says: str) -> None:
    assert load_run(run.path) == run
    break_it(run.path)
    with pytest.raises(DataError, match=says):
        load_run(run.path)


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("nowhere", "file"):
        with pytest.raises(DataError, match=f"{name}: no such folder"):
            load_run(tmp_path / name)
