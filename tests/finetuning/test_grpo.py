"""The recipe ``finetune/grpo.py``, with TRL for real."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from moderator.answer import Kind
from moderator.engines import open_engine
from moderator.engines.chat import ChatTokenizer
from moderator.finetuning.building import Dealt, Posing, pose
from moderator.finetuning.encoding import Turn, encode_prompt, encode_rows
from moderator.finetuning.gold import Gold
from moderator.finetuning.packs import losses, packed
from moderator.finetuning.rows import read_rows
from moderator.judge import Moderator
from moderator.policy import Policy
from moderator.prompt import compile_prompt, load_family
from tests.finetuning.conftest import QUICK, Make

RECIPE = Path(__file__).parents[2] / "finetune" / "grpo.py"
STEPS = 300
"""Of the model that learns to write."""


def called(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_prompts_are_those_of_serving(tiny: Path, golds: Sequence[Gold], policy: Policy) -> None:
    chat, compiled = ChatTokenizer.from_folder(tiny), compile_prompt(policy, "nano")
    dealt = Dealt(by_place={"train": list(golds), "dev": [], "test": []})
    for gold, row in zip(golds, pose(dealt, {"house": policy}, Posing(load_family("nano"), variants=())), strict=True):
        asked = compiled.ask(gold.content).label()
        assert encode_prompt(row, chat, Turn()) == [*chat.prefix(asked.system), *chat.suffixes([asked])[0]]


def writer(tiny: Path, rows: Path, folder: Path) -> Path:
    """A small model that has learned, all of it, to write the answers of these rows, so that there is something to reward: the
    embedded model writes under a grammar only."""
    torch.manual_seed(3)
    shutil.copytree(tiny, folder)
    shape = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 6, "initializer_range": 0.05}
    network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny, **shape), dtype=torch.float32)
    chat, known = ChatTokenizer.from_folder(tiny), [row for row in read_rows(rows)[0] if row.split == "train"]
    weights: dict[Kind, float] = dict.fromkeys(get_args(Kind), 1.0)
    encoded = encode_rows(known, chat, weights, most=900, balance=False, turn=Turn(end=network.config.eos_token_id))
    adam, packs = torch.optim.AdamW(network.parameters(), 3e-3), packed(encoded, 900, together=True)
    for step in range(STEPS):
        each, counts = losses(network, packs[step % len(packs)])
        ((each * counts).sum() / counts.sum()).backward()
        adam.step()
        adam.zero_grad()
    network.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_few_steps_of_a_model_that_writes(make: Make, policy: Policy, tiny: Path, tmp_path: Path) -> None:
    """Begun at an adapter, moved away from it, and open to every engine; what the first one learned is learned."""
    pytest.importorskip("trl")
    path = make()
    base = str(writer(tiny, path.with_name("rows.jsonl"), tmp_path / "writer"))
    path = make(base=base, learning=QUICK | {"rate": 0.0005}, watching={"every": 4})
    trained = called("-m", "moderator", "finetune", "train", path)
    assert trained.returncode == 0, trained.stderr
    told = {"base": base, "rows": "rows.jsonl", "out": "rewarded", "adapter": "adapter", "watching": {"every": 2}}
    told |= {
        "learning": {"rate": 0.02, "rows": 2},
        "reinforcing": {"steps": 4, "answers": 4, "tokens": 96, "temperature": 1.2},
    }
    config = path.with_name("grpo.yaml")
    config.write_text(yaml.safe_dump(told), encoding="utf-8")
    done = called(RECIPE, config)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = path.parent / "rewarded"
    assert done.stdout.strip() == str(folder)
    rewards = [line for line in done.stderr.splitlines() if ": reward " in line]
    assert len(rewards) == 4
    read = [float(line.partition("(form ")[2].partition(",")[0]) for line in rewards]
    assert max(read) > 0.5, "it writes answers that can be read"
    record = json.loads((folder / "training.json").read_text())
    assert [entry["step"] for entry in record["history"]] == [0, 2, 4]
    before = json.loads((path.parent / "adapter" / "training.json").read_text())
    assert record["made_by"]["adapter"] == before["adapter_digest"]
    assert record["history"][0]["agreement"] == pytest.approx(before["kept"]["agreement"], abs=1e-3)
    losses = [entry["agreement"]["log_loss"] for entry in record["history"]]
    assert abs(losses[-1] - losses[0]) > 1e-4, "rewards move the weights"
    if record["kept"]["step"]:
        weights, begun = (load_file(at / "adapter_model.safetensors") for at in (folder, path.parent / "adapter"))
        assert any((weights[name] - begun[name]).abs().max() > 1e-4 for name in begun)
    learned = [set((at / "trained_on.txt").read_text().split()) for at in (path.parent / "adapter", folder)]
    assert learned[0] <= learned[1]
    engine = open_engine(f"local:{base}+{folder}")
    assert Moderator(policy, engine, family="nano").judge("my bicycle is darn").outcome
    again = called(RECIPE, config)
    assert again.returncode == 1
    assert again.stderr.endswith("rewarded: exists\n  name a new folder as `out`\n")


@pytest.mark.slow
def test_what_is_no_configuration_is_said_in_words(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    (tmp_path / "grpo.yaml").write_text("rows: r.jsonl\nout: o\nreinforcing: {answers: 1, reward: {tone: 1}}\n")
    done = called(RECIPE, tmp_path / "grpo.yaml")
    assert done.returncode == 1
    assert "reinforcing.answers" in done.stderr
    assert "Traceback" not in done.stderr
    helped = called(RECIPE, "--help")
    assert helped.returncode == 0
    assert "people's labels as the reward" in helped.stdout
