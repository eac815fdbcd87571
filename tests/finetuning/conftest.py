"""A tiny random model with the embedded model's tokenizer, a policy, and labelled contents for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from transformers import Qwen3Config, Qwen3ForCausalLM

from moderator.assets import directory
from moderator.finetuning.building import Posing, Shares, deal, pose
from moderator.finetuning.gold import Gold, from_suite
from moderator.finetuning.rows import write_rows
from moderator.policy import Policy, write_policy
from moderator.prompt import load_family
from moderator.suite import Annotation, Item, Scale, Span, Suite, write_suite
from tests.small import house

SWORN = ("darn", "heck", "blast", "drat")
CALM = ("bicycle", "saddle", "spoke", "chain")
QUICK = {"epochs": 2, "rate": 0.02, "tokens": 900, "rows": 8}

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of two layers that knows nothing yet."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shipped = directory("models") / "nano"
    torch.manual_seed(7)
    told = json.loads((shipped / "config.json").read_text())
    config = Qwen3Config(
        vocab_size=told["vocab_size"], eos_token_id=told["eos_token_id"], hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=2048,
        tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "moderator.json", "generation_config.json"):
        shutil.copy(shipped / name, folder)
    return folder


@pytest.fixture(scope="session")
def policy() -> Policy:
    return house()


@pytest.fixture(scope="session")
def suite(policy: Policy) -> Suite:
    return swearing(range(40))


@pytest.fixture(scope="session")
def golds(policy: Policy, suite: Suite) -> Sequence[Gold]:
    return tuple(from_suite(suite, suite.items, policy))


@pytest.fixture
def make(tmp_path: Path, tiny: Path, policy: Policy) -> Make:
    """Writes a policy, rows, a suite to stop on and a configuration (a key that is None is left out); gives its path."""

    def made(**changes: object) -> Path:
        (tmp_path / "house.md").write_text(write_policy(policy), encoding="utf-8")
        suite = swearing(range(60))
        dealt = deal(tuple(from_suite(suite, suite.items, policy)), (), Shares(dev=0.3))
        write_rows(pose(dealt, {"house": policy}, Posing(load_family("nano"))), tmp_path / "rows.jsonl")
        ids = {gold.content.id for gold in dealt.by_place["dev"]}
        items = tuple(item.model_copy(update={"split": "test"}) for item in suite.items if item.id in ids)
        aside = suite.model_copy(update={"items": items, "policy": "../house.md"})
        write_suite(aside, tmp_path / "rows.dev" / "swearing.yaml")
        told = {"base": str(tiny), "rows": "rows.jsonl", "out": "adapter", "learning": QUICK, "watching": {"every": 4}}
        told["lora"] = {"rank": 4, "alpha": 8, "dropout": 0.1}
        path = tmp_path / "train.yaml"
        path.write_text(
            yaml.safe_dump({key: value for key, value in (told | changes).items() if value is not None}), encoding="utf-8"
        )
        return path

    return made


def swearing(numbers: Sequence[int]) -> Suite:
    """Contents of which each odd one has a word that breaks H3 and is marked as evidence; no other rule is broken."""
    return Suite(
        slug="swearing",
        title="Swearing",
        policy="house",
        scale=Scale(values=("bad", "fine"), violates=("bad",)),
        items=tuple(_item(number) for number in numbers),
    )


def _item(number: int) -> Item:
    said, about = SWORN[number % 4], CALM[number // 4 % 4]
    broken = number % 2 == 1
    text = f"my {about} number {number} is {said if broken else 'fine'} today"
    start = text.find(said)
    spans = (Span(start=start, end=start + len(said), rule="H3"),) if broken else ()
    rules = {"H1": "no", "H2": "no", "H3": "yes" if broken else "no", "H4": "no"}
    label = Annotation(value="bad" if broken else "fine", rules=rules, spans=spans)
    return Item(id=f"post-{number}", text=text, split="train" if number % 5 else "test", labels=(label,))
