"""A training, from rows to an adapter: learned, killed, taken up again, and kept where it agreed best."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import load_peft_weights
from safetensors.torch import load_file, save_file

from moderator.engines import open_engine
from moderator.engines.folder import digest, weight_files
from moderator.errors import DataError, EngineError
from moderator.finetuning.checkpoint import CHECKPOINT
from moderator.finetuning.config import load_config
from moderator.finetuning.training import Entry, Trained, Training
from moderator.finetuning.writing import write_adapter
from tests.finetuning.conftest import QUICK, Make


def run(path: Path, *, resume: bool = False, until: int | None = None) -> tuple[Trained | None, list[Entry]]:
    """A training to its end, or dropped behind a step, as a kill would."""
    training, entries = Training(load_config(path), resume=resume), list[Entry]()

    class Dropped(Exception):
        pass

    def each(progress: object) -> None:
        if getattr(progress, "step", None) == until:
            raise Dropped

    try:
        return training.run(each, entries.append), entries
    except Dropped:
        return None, entries


def test_a_training_learns(make: Make) -> None:
    trained, entries = run(make(learning=QUICK | {"epochs": 6}))
    assert trained is not None
    assert [entry.step for entry in entries] == sorted({entry.step for entry in entries})
    losses = [entry.loss for entry in entries if entry.loss is not None]
    assert losses[-1] < 0.8 * losses[0]
    first, kept = entries[0].agreement, trained.kept.agreement
    assert first
    assert kept
    assert kept.log_loss < first.log_loss
    assert not any(kept_less.agreement.better_than(kept) for kept_less in entries if kept_less.agreement)


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 5, pytest.param(9, marks=pytest.mark.slow)])
def test_a_killed_training_ends_as_one_that_was_left_alone(make: Make, step: int) -> None:
    """Dropout, order of rows, optimiser and averages go on where they were."""
    path = make()
    alone, whole = run(path)
    assert alone is not None
    (path.parent / "adapter" / CHECKPOINT).unlink()
    dropped, before = run(path, until=step)
    assert dropped is None
    again, after = run(path, resume=True)
    assert again is not None
    assert [entry.step for entry in after] == [entry.step for entry in whole if entry.step > before[-1].step]
    for ended, other in zip(again.history, alone.history, strict=True):
        assert ended.loss == (other.loss and pytest.approx(other.loss, rel=1e-5))
        assert ended.agreement == other.agreement
    found, wanted = (trained.base.network.state_dict() for trained in (again, alone))
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_a_checkpoint_is_taken_up_by_its_own_training_only(make: Make) -> None:
    run(make(), until=6)
    with pytest.raises(DataError, match="begun with another configuration"):
        Training(load_config(make(seed=9)), resume=True)
    path = make()
    (path.parent / "rows.jsonl").write_bytes(b"".join((path.parent / "rows.jsonl").read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="begun with another rows"):
        Training(load_config(path), resume=True)
    (path.parent / "adapter" / CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(DataError, match="not a checkpoint"):
        Training(load_config(make()), resume=True)


def test_training_ends_when_nothing_gets_better(make: Make) -> None:
    slow = make(learning=QUICK | {"rate": 1e-9, "epochs": 30, "average": 0.0}, watching={"every": 2, "patience": 2})
    trained, entries = run(slow)
    assert trained is not None
    assert len(entries) < 12
    assert trained.kept.step <= entries[-1].step - 4


def test_a_loss_that_is_no_number_ends_the_training(make: Make, tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    training = Training(load_config(make(base=str(broken))))
    with pytest.raises(EngineError, match="the loss is not a number at step 1"):
        training.run(lambda progress: None, lambda entry: None)


def test_without_suites_the_last_adapter_is_kept(make: Make) -> None:
    path = make()
    for file in (path.parent / "rows.dev").iterdir():
        file.unlink()
    trained, entries = run(path)
    assert trained is not None
    assert trained.kept.step == entries[-1].step
    assert trained.kept.agreement is None


def test_an_adapter_says_what_it_is(make: Make, tiny: Path) -> None:
    trained, _ = run(make())
    assert trained is not None
    weights, folder = write_adapter(trained), trained.config.out
    assert weights == digest(weight_files(folder))
    manifest = json.loads((folder / "moderator.json").read_text())
    assert manifest["base"].startswith("tiny@")
    assert manifest["family"] == "nano"
    record = json.loads((folder / "training.json").read_text())
    assert record["adapter_digest"] == weights
    assert record["kept"]["step"] == trained.kept.step
    learned = (folder / "trained_on.txt").read_text().split()
    assert len(learned) == len({row.text_digest for row in trained.rows})
    assert not (folder / CHECKPOINT).exists()
    written = "".join(path.read_text(errors="replace") for path in folder.iterdir())
    assert str(tiny.parent) not in written, "where the base lies is nobody's business"
    assert set(load_peft_weights(str(folder), device="cpu"))


def test_an_adapter_of_another_base_is_an_error_that_names_both(make: Make, tiny: Path, tmp_path: Path) -> None:
    trained, _ = run(make())
    assert trained is not None
    write_adapter(trained)
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"was trained on tiny@\w{12}, and does not fit other@\w{12}"):
        open_engine(f"local:{other}+{trained.config.out}")


def test_a_training_begins_at_an_adapter(make: Make) -> None:
    """With what that one had learned, and without forgetting on which texts."""
    first, _ = run(make())
    assert first is not None
    weights = write_adapter(first)
    with pytest.raises(DataError, match="an adapter to begin at brings its own"):
        load_config(make(adapter="adapter"))
    with pytest.raises(EngineError, match="nowhere: no adapter here"):
        Training(load_config(make(adapter="nowhere", lora=None)))
    second, entries = run(make(adapter="adapter", out="second", lora=None))
    assert second is not None
    assert entries[0].agreement == first.kept.agreement
    assert second.made_by["adapter"] == weights
    assert second.base.network.peft_config["default"].r == 4
    (first.config.out / "trained_on.txt").write_text("learned-before\n")
    write_adapter(second)
    learned = (second.config.out / "trained_on.txt").read_text().split()
    assert len(learned) == 1 + len({row.text_digest for row in second.rows})
    assert f"| begun at adapter | `{weights[:12]}` |" in (second.config.out / "README.md").read_text()


def test_a_rehearsal_learns_nothing(make: Make) -> None:
    training = Training(load_config(make()))
    before = {name: weight.clone() for name, weight in training.base.network.state_dict().items()}
    found = training.rehearse()
    assert found.steps == len(training.steps)
    assert found.seconds > 0
    assert found.memory > 1 << 20
    after = training.base.network.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


@pytest.mark.slow
def test_kill_9_and_resume_on_the_command_line(make: Make) -> None:
    """A process that is killed, not an exception that is caught; it ends with the loss of one that was left alone."""
    path = make(learning=QUICK | {"epochs": 40}, watching={"every": 3, "patience": 999})
    command = [sys.executable, "-m", "moderator", "finetune", "train", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoint = path.parent / "adapter" / CHECKPOINT
    while not checkpoint.exists() or torch.load(checkpoint, weights_only=True)["step"] < 6:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "--resume goes on with it" in refused.stderr
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    history = json.loads((path.parent / "adapter" / "training.json").read_text())["history"]
    steps = [entry["step"] for entry in history]
    assert steps == sorted(set(steps))
    assert "step 3:" not in done.stderr
    again = subprocess.run([*command, "--force"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    alone = json.loads((path.parent / "adapter" / "training.json").read_text())["history"]
    assert [entry["step"] for entry in alone] == steps
    assert history[-1]["loss"] == pytest.approx(alone[-1]["loss"], rel=1e-4)
