"""A training is told by one closed file."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.errors import DataError
from moderator.finetuning.config import base_of, load_config, load_reinforcement

CONFIGS = Path(__file__).parents[2] / "finetune" / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_read(path: Path) -> None:
    assert (load_reinforcement if path.stem.startswith("grpo") else load_config)(path).lora.rank >= 8


def test_there_is_one_for_the_embedded_model_and_for_larger_ones() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} >= {"nano", "qwen3-4b", "qwen3-8b", "gpt-oss-safeguard-20b"}


def told(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    return path


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = told(tmp_path, "rows: r.jsonl\nout: o\nlearning: {rate: -1, epoch: 3}\nweights: {label: 0, word: 1}\n")
    with pytest.raises(DataError) as raised:
        load_config(path)
    for what in ("learning.rate", "learning.epoch", "weights.word"):
        assert what in str(raised.value)


def test_a_label_that_counts_for_nothing_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a label that counts for nothing"):
        load_config(told(tmp_path, "rows: r.jsonl\nout: o\nweights: {rule: 1}\n"))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.dev").mkdir()
    (tmp_path / "r.dev" / "own.yaml").touch()
    (tmp_path / "model").mkdir()
    config = load_config(told(tmp_path, "base: model\nrows: r.jsonl\nout: o\n"))
    assert (config.rows, config.out, config.base) == (tmp_path / "r.jsonl", tmp_path / "o", str(tmp_path / "model"))
    assert config.dev == (tmp_path / "r.dev" / "own.yaml",)


def test_where_files_lie_does_not_make_another_training(tmp_path: Path) -> None:
    one, other, third = (
        load_config(told(tmp_path, f"rows: {rows}\nout: {out}\nseed: {seed}\n"))
        for rows, out, seed in (("a.jsonl", "x", 1), ("b.jsonl", "y", 1), ("a.jsonl", "x", 2))
    )
    assert one.digest == other.digest != third.digest


def test_the_embedded_model_has_a_name() -> None:
    assert (Path(base_of("nano")) / "config.json").is_file()
    assert base_of("Some/Model") == "Some/Model"


@pytest.mark.parametrize("text", ["", "- a", "rows: [", "{"])
def test_what_is_no_configuration_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"train\.yaml"):
        load_config(told(tmp_path, text))
    with pytest.raises(DataError, match="No such file"):
        load_config(tmp_path / "missing.yaml")
