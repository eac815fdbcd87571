"""``eval score``: the numbers of a run for people and for machines, and no texts unless they are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moderator.suite import Annotation, Item, Scale, Suite, write_suite
from tests.cli.conftest import Command

ENGINE = ("--engine", "playback.engines:Flags")
SECRET = "zebra"


def suite(path: Path, **fields: Any) -> Path:
    """Forty posts of spam's policy, three annotators each: the engine flags those with ``buy``. Ten are spam: it finds eight,
    and flags one more."""
    items = []
    for number in range(40):
        flagged, spam = number < 9, number in range(1, 11)
        text = f"please buy {SECRET} {number}" if flagged else f"hello {SECRET} {number}"
        said = "spam" if spam else "ok"
        labels = tuple(Annotation(by=f"ann-{by}", value=said if by or number % 4 else "ok") for by in range(3))
        items.append(Item(id=f"p{number}", text=text, labels=labels, slices={"half": str(number // 20)}))
    for number in range(30):
        text, value = (f"buy cheap pills {number}", "spam") if number % 2 else (f"good morning all {number}", "ok")
        items.append(Item(id=f"t{number}", text=text, split="train", labels=(Annotation(value=value),)))
    scale = Scale(values=("ok", "spam"), violates=("spam",))
    made = {
        "slug": path.stem,
        "title": "Posts",
        "policy": "spam",
        "scale": scale,
        "items": tuple(items),
        "slices": ("half",),
        "minimum": 5,
    }
    write_suite(Suite(**{**made, **fields}), path)
    return path


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Path:
    done = command("eval", "run", suite(tmp_path / "posts.yaml"), *ENGINE, "--out", "run")
    assert done.code == 0, done.err
    return tmp_path / "run"


def table(out: str, title: str) -> dict[str, str]:
    """The rows of the table with this title, by their first cell."""
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(title))
    rows: dict[str, str] = {}
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        name, _, rest = line.strip().partition("  ")
        rows[name] = rest.strip()
    return rows


def test_the_numbers_stand_in_tables(command: Command, run: Path) -> None:
    """8 of 10 found, 1 of 30 flagged in vain: precision 8/9, recall 0.8, F1 16/19; people and anchors beside it."""
    done = command("eval", "score", run)
    assert done.code == 0
    assert "40 judged: 31 allowed, 9 violates" in done.out
    numbers = table(done.out, "Against the labels")
    assert numbers["precision"].split()[0] == "0.889"
    assert numbers["recall"].split()[0] == "0.800"
    assert numbers["F1"].split()[0] == "0.842"
    anchors = table(done.out, "Anchors, against the labels")
    assert list(anchors)[1:7] == ["Constant", "Linear model", "model less this", "Held-out person", "Model", "Oracle"]
    assert "character n-grams, fitted on 30 items" in done.out
    assert "People among themselves on: whether it violates (40 items, 3.00 annotators each)" in done.out
    assert "alternative annotator test" in done.out
    assert table(done.out, "By half")["0"].split()[:2] == ["20", "10"]
    assert SECRET not in done.out


def test_json_is_everything_but_texts(command: Command, run: Path) -> None:
    done = command("eval", "score", run, "--json")
    value = json.loads(done.out)
    assert value["schema"] == "report/1"
    (report,) = value["reports"]
    assert report["metrics"]["recall"]["value"] == 0.8
    assert [one["id"] for one in report["disagreements"]] == ["p10", "p9", "p0"]
    assert SECRET not in done.out
    with_texts = json.loads(command("eval", "score", run, "--json", "--texts").out)["reports"][0]
    assert SECRET in with_texts["disagreements"][0]["text"]


def test_the_linear_model_is_fitted_once(command: Command, run: Path) -> None:
    """The second time its answers come from the run's folder; a folder that cannot be written to changes nothing."""
    first = command("eval", "score", run, "--json").out
    (kept,) = (run / "floors").iterdir()
    floor = json.loads(kept.read_text(encoding="utf-8"))
    floor["decisions"] = dict.fromkeys(floor["decisions"], "no")
    kept.write_text(json.dumps(floor), encoding="utf-8")
    assert command("eval", "score", run, "--json").out != first
    kept.write_text("torn", encoding="utf-8")
    assert command("eval", "score", run, "--json").out == first
    linear = json.loads(command("eval", "score", run, "--json", "--no-linear").out)["reports"][0]["anchors"][1]
    assert (linear["metrics"], linear["note"]) == ({}, "not asked")


def test_several_runs_have_a_row_each(command: Command, run: Path, tmp_path: Path) -> None:
    command("eval", "run", suite(tmp_path / "more.yaml", targets={"recall": 0.9}), *ENGINE, "--out", "other")
    done = command("eval", "score", run, "other")
    assert list(table(done.out, "All suites, beside the linear model")) == ["suite", "posts", "more"]
    assert "Falls short on 1 of 1 target" in done.out
    assert "posts" not in command("eval", "score", run, "other", "--suite", "more").out


def test_cost_and_prevalence_on_demand(command: Command, run: Path, tmp_path: Path) -> None:
    assert "\nprice" not in command("eval", "score", run).out
    assert "\nprice" in command("eval", "score", run, "--price", "prompt=1,completion=2").out
    done = command("eval", "score", run, "--stream", run / "outcomes.jsonl")
    assert "violations among the others, corrected" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "error: nowhere: no such folder"),
        (("run", "--suite", "post"), "error: --suite: no run has a suite 'post'\n  they have posts"),
        (("run", "--stream", "nothing.jsonl"), "error: nothing.jsonl: No such file"),
    ],
)
def test_mistakes_are_told_in_one_line(command: Command, run: Path, arguments: tuple[str, ...], said: str) -> None:
    done = command("eval", "score", *arguments)
    assert done.code == 1
    assert done.err.startswith(said)


def test_prices_are_numbers_of_known_kinds(command: Command, run: Path) -> None:
    assert command("eval", "score", run, "--price", "prompt=cheap").code == 2
    assert command("eval", "score", run, "--price", "tokens=1").code == 2


def test_a_run_that_is_not_finished_is_scored_on_demand(command: Command, run: Path) -> None:
    """Without its manifest a run is not finished; what is missing is said, and is in no number."""
    lines = (run / "outcomes.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (run / "manifest.json").unlink()
    (run / "outcomes.jsonl").write_text("".join(lines[:35]), encoding="utf-8")
    (run / "manifest.partial.json").write_text(json.dumps(manifest | {"finished": None}), encoding="utf-8")
    done = command("eval", "score", run)
    assert (done.code, "incomplete" in done.err) == (1, True)
    assert "35 judged, 5 not judged" in command("eval", "score", run, "--partial").out


def test_the_linear_model_can_come_from_another_suite(command: Command, run: Path, tmp_path: Path) -> None:
    """For suites without training items: fitted on another's, but for texts that are judged."""
    other = suite(tmp_path / "other.yaml", title="Other")
    done = command("eval", "score", run, "--linear-from", other)
    assert "character n-grams, fitted on 30 items of other" in done.out
    assert command("eval", "score", run, "--linear-from", "nowhere.yaml").code == 1
