"""``finetune``: from labelled contents to a calibrated adapter, and what it says when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moderator.policy import write_policy
from moderator.suite import load_suite, write_suite
from tests.cli.conftest import Command
from tests.finetuning.conftest import swearing, tiny
from tests.small import house

__all__ = ["tiny"]

TRAINING = """\
base: {base}
rows: rows.jsonl
out: adapter
lora: {{rank: 4, alpha: 8}}
learning: {{epochs: 4, rate: 0.02, tokens: 900, rows: 8}}
watching: {{every: 6}}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A suite of sixty contents about a policy beside it."""
    (tmp_path / "house.md").write_text(write_policy(house()), encoding="utf-8")
    path = tmp_path / "own.yaml"
    write_suite(swearing(range(60)).model_copy(update={"policy": "house.md"}), path)
    return path


def test_from_labelled_contents_to_a_calibrated_adapter(command: Command, own: Path, tmp_path: Path, tiny: Path) -> None:
    made = command("finetune", "rows", own, "--out", "rows.jsonl", "--family", "nano", "--split", "all", "--test", "0.4")
    assert (made.code, made.out) == (0, "rows.jsonl\n")
    assert "house H3:" in made.err
    report = json.loads((tmp_path / "rows.report.json").read_text())
    assert sum(report["contents"].values()) + sum(report["left_out"].values()) == 60
    test = load_suite(tmp_path / "rows.test" / "swearing.yaml")
    learned = {json.loads(line)["id"].partition("/")[0] for line in (tmp_path / "rows.jsonl").read_text().splitlines()}
    assert not learned & {item.id for item in test.items}

    (tmp_path / "train.yaml").write_text(TRAINING.format(base=tiny))
    planned = command("finetune", "train", "train.yaml", "--dry-run")
    assert planned.code == 0
    assert "tokens/s: about" in planned.out
    assert not (tmp_path / "adapter").exists()
    trained = command("finetune", "train", "train.yaml")
    assert (trained.code, trained.out) == (0, "adapter\n"), trained.err
    assert "step 0: macro F1" in trained.err
    again = command("finetune", "train", "train.yaml")
    assert again.code == 1
    assert "--resume goes on with it, --force starts anew" in again.err

    merged = command("finetune", "merge", f"{tiny}+adapter", "--out", "merged")
    assert (merged.code, merged.out) == (0, "merged\n"), merged.err
    runs = {"local": f"local:{tiny}+adapter", "nano": "nano:merged"}
    for name, engine in runs.items():
        done = command("eval", "run", "rows.test/swearing.yaml", "--engine", engine, "--out", name)
        assert done.code == 0, done.err
    scores = {name: _scores(tmp_path / name) for name in runs}
    assert scores["local"] == pytest.approx(scores["nano"], abs=1e-4), "an adapter and its merged weights say the same"

    fitted = command("finetune", "calibrate", "local", "--out", "adapter", "--plot", "curve.svg")
    assert (fitted.code, fitted.out.splitlines()[-1]) == (0, "adapter/calibration.json"), fitted.err
    assert "expected calibration error" in fitted.out
    assert (tmp_path / "curve.svg").read_text().startswith("<svg")
    judged = command("check", "my bicycle", "--policy", "house.md", "--engine", runs["local"], "--json")
    assert judged.lines[0]["score"]["calibrated"] is True
    plain = command("check", "my bicycle", "--policy", "house.md", "--engine", runs["local"], "--calibration", "none", "--json")
    assert plain.lines[0]["score"]["calibrated"] is False
    other = command("check", "my bicycle", "--policy", "hate", "--engine", runs["local"], "--json")
    assert other.lines[0]["score"]["calibrated"] is False
    assert "hate: no calibration is valid here (none is for policy hate)" in other.err

    wrong = command("finetune", "calibrate", "nano", "--out", "adapter")
    assert wrong.code == 1
    assert "adapter: holds weights" in wrong.err
    few = command("finetune", "calibrate", "local", "--target", "error<=0.01@0.95", "--out", "few.json")
    assert few.code in (1, 100), "so few contents guarantee nothing"
    assert not (tmp_path / "few.json").exists()


def _scores(run: Path) -> list[float]:
    return [json.loads(line)["score"]["value"] for line in (run / "outcomes.jsonl").read_text().splitlines()]


def test_nothing_to_learn_says_why(command: Command, own: Path, tmp_path: Path) -> None:
    suite = load_suite(own)
    write_suite(suite.model_copy(update={"items": tuple(suite.split("test"))}), tmp_path / "test.yaml")
    done = command("finetune", "rows", "test.yaml", "--out", "rows.jsonl")
    assert done.code == 1
    assert "there are no training items with a known label" in done.err
    assert "--split all --test 0.3" in done.err
    held = command("finetune", "rows", own, "--out", "rows.jsonl", "--split", "all", "--against", own)
    assert held.code == 0
    assert "nearly evaluated" in held.err or "evaluated" in held.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rows", "own.yaml", "--out", "rows.csv"), "rows are written as .jsonl"),
        (("rows", "own.yaml", "--out", "rows.jsonl", "--variants", "other"), "'other' is not one of"),
        (("train", "train.yaml", "--resume", "--force"), "exclude each other"),
        (("merge", "nano", "--out", "merged"), "MODEL+ADAPTER is wanted"),
        (("calibrate", "run", "--target", "2%"), "is not like error<=0.02@0.95"),
        (("calibrate", "run", "--cost", "miss=1"), "write miss=10,alarm=3,review=1"),
        (("calibrate", "run", "--target", "error<=0.1", "--cost", "miss=10,alarm=3,review=1"), "exclude each other"),
    ],
)
def test_wrong_usage(command: Command, own: Path, arguments: tuple[str, ...], message: str) -> None:
    done = command("finetune", *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "missing.yaml"), "missing.yaml: No such file"),
        (("merge", "nano+missing", "--out", "merged"), "missing: no adapter here"),
        (("merge", "missing+adapter", "--out", "merged"), "missing: no model here"),
        (("calibrate", "missing"), "missing: no such folder"),
    ],
)
def test_what_is_not_there(command: Command, arguments: tuple[str, ...], message: str) -> None:
    done = command("finetune", *arguments)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
