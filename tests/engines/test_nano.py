"""The numpy decoder against transformers, and the models that it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from moderator.engines import describe, open_engine, qwen3
from moderator.engines.nano import NanoEngine
from moderator.engines.qwen3 import Qwen3
from moderator.errors import EngineError

torch_files = pytest.importorskip("safetensors.torch")

PREFIX = list(range(5, 60))
ROWS = [[7, 8, 9], list(range(100, 170)), [11], list(range(200, 230)), [13, 14]]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="grouped"),
        pytest.param({"num_key_value_heads": 4}, id="a-key-for-each-head"),
        pytest.param({"num_key_value_heads": 1}, id="one-key"),
        pytest.param({"tie_word_embeddings": False}, id="untied"),
        pytest.param({"dtype": "float32"}, id="float32"),
        pytest.param({"dtype": "float16", "num_hidden_layers": 3}, id="float16"),
        pytest.param({"rope_parameters": {"rope_type": "default", "rope_theta": 1234.0}}, id="theta"),
        pytest.param({"num_hidden_layers": 1, "rms_norm_eps": 1e-2}, id="one-layer"),
    ],
)
def test_logits_are_those_of_transformers(
    fields: dict[str, Any], save_model: Callable[..., Path], open_reference: Callable[[Path], Any]
) -> None:
    folder = save_model(**fields)
    expected, model = open_reference(folder).logits, Qwen3(folder)
    rows = model.rows(model.prefix(PREFIX), len(ROWS))
    for ids, logits in zip(ROWS, rows.extend(dict(enumerate(ROWS))), strict=True):
        assert logits == pytest.approx(expected(PREFIX + ids), abs=1e-3)


def test_rows_go_on_by_themselves(tiny_model: Path, reference: Any) -> None:
    model = Qwen3(tiny_model)
    written = {row: list(ids) for row, ids in enumerate(ROWS)}
    rows = model.rows(model.prefix(PREFIX), len(ROWS))
    rows.extend(written)
    for new in (
        {4: [21], 1: [22, 23, 24]},
        {2: [25]},
        {0: [26], 1: [27], 2: [28, 29], 3: [30], 4: [31]},
        {1: list(range(40, 140))},
    ):
        logits = rows.extend(new)
        for row, ids in new.items():
            written[row] += ids
        for (row, _), found in zip(new.items(), logits, strict=True):
            assert found == pytest.approx(reference.logits(PREFIX + written[row]), abs=1e-3)


def test_long_rows_are_run_in_chunks(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Qwen3(tiny_model)
    at_once = model.rows(model.prefix(PREFIX), len(ROWS)).extend(dict(enumerate(ROWS)))
    monkeypatch.setattr(qwen3, "_CHUNK", 7)
    monkeypatch.setattr(qwen3, "_BLOCK", 3)
    chunked = model.rows(model.prefix(PREFIX), len(ROWS)).extend(dict(enumerate(ROWS)))
    assert chunked == pytest.approx(at_once, abs=1e-4)


def test_nothing_shared(tiny_model: Path, reference: Any) -> None:
    model = Qwen3(tiny_model)
    assert model.rows(model.prefix([]), 1).extend({0: [5, 6, 7]})[0] == pytest.approx(reference.logits([5, 6, 7]), abs=1e-3)


def test_weights_in_several_files(tiny_model: Path, tmp_path: Path, ask: Any) -> None:
    copy = copied(tiny_model, tmp_path)
    (copy / "model.safetensors").unlink()
    names = sorted(tensors := weights(tiny_model))
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        save_file({name: tensors[name] for name in part}, copy / f"model-{number}-of-2.safetensors")
    prompt = ask.read("hello")
    assert NanoEngine(copy).complete([prompt]) == NanoEngine(tiny_model).complete([prompt])


def test_far_values_make_no_noise(tiny_model: Path, tmp_path: Path, ask: Any) -> None:
    """A gate far below zero overflows the exponential on its way to 0: no warning, and a number comes out."""
    copy = rewritten(tiny_model, tmp_path, lambda tensors: {n: t * (300 if "gate" in n else 1) for n, t in tensors.items()})
    assert sum(NanoEngine(copy).complete([ask.read("hello")])[0].labels.values()) <= 1  # type: ignore[union-attr]


def test_weights_that_are_no_numbers_give_no_answer(tiny_model: Path, tmp_path: Path, ask: Any) -> None:
    copy = rewritten(tiny_model, tmp_path, lambda tensors: tensors | {"model.norm.weight": np.full(64, np.nan, np.float32)})
    read, written = NanoEngine(copy).complete([ask.read("hello"), ask.rest("hello", "yes")])
    assert (read.problem, written.problem) == ("engine", "engine")
    assert read.labels is None


def test_it_says_what_it_is(tiny_model: Path) -> None:
    engine = open_engine(f"nano:{tiny_model}")
    described = describe(engine)
    assert engine.name == f"nano:{tiny_model}"
    assert described.family == "nano"
    assert described.parameters == {"dtype": "float32"}
    name, _, digest = described.model.partition("@")
    assert name == tiny_model.name
    assert len(digest) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama', not 'qwen3'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is 'yarn', not 'default'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type is 'linear'"),
        ({"num_hidden_layers": 3}, "the weights lack 'model.layers.2."),
        ({"hidden_size": 32}, r"has shape \(\d+, 64\) where config.json says \(\d+, 32\)"),
        ({"tie_word_embeddings": False}, "the weights lack 'lm_head.weight'"),
        ({"vocab_size": None}, "has shape"),
        ({"eos_token_id": None}, "ends a text"),
    ],
)
def test_models_that_it_does_not_run(tiny_model: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    copy = copied(tiny_model, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(EngineError, match=message):
        NanoEngine(copy)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "no model here"),
        ("config.json", b"[]", "a JSON object was expected"),
        ("config.json", b"{", "config.json: "),
        ("config.json", b'{"model_type": "qwen3", "hidden_act": "silu"}', "'num_hidden_layers' is missing"),
        ("model.safetensors", None, "no safetensors file"),
        ("model.safetensors", b"short", "model.safetensors: "),
        ("tokenizer.json", None, "no usable tokenizer"),
        ("tokenizer.json", b"{}", "no usable tokenizer"),
        ("moderator.json", b'{"family": 3}', "`family` is 3"),
    ],
)
def test_folders_that_are_broken(tiny_model: Path, tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    copy = copied(tiny_model, tmp_path)
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_bytes(content)
    with pytest.raises(EngineError, match=message):
        describe(NanoEngine(copy))


def test_a_kind_of_number_that_it_does_not_know(tiny_model: Path, tmp_path: Path) -> None:
    copy = rewritten(tiny_model, tmp_path, lambda tensors: tensors | {"model.norm.weight": np.ones(64, np.float64)})
    with pytest.raises(EngineError, match=r"'model.norm.weight' is stored as F64, not as BF16, F16 or F32"):
        NanoEngine(copy)


def test_a_tokenizer_larger_than_the_model(tiny_model: Path, tmp_path: Path, ask: Any) -> None:
    """One control token more is common, and never needed. A word more means that it is another model's tokenizer."""
    copy = copied(tiny_model, tmp_path)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": len(words), "content": "<|more|>"})
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    prompts = [ask.read("hello"), ask.rest("hello", "yes")]
    assert NanoEngine(copy).complete(prompts) == NanoEngine(tiny_model).complete(prompts)
    del tokenizer["added_tokens"][-1]
    (copy / "tokenizer.json").write_text(
        json.dumps(tokenizer | {"model": tokenizer["model"] | {"vocab": words | {"more": len(words)}}})
    )
    with pytest.raises(EngineError, match=f"the tokenizer has {len(words) + 1} tokens, the model {len(words)}"):
        NanoEngine(copy)


def test_labels_that_are_not_one_token_each(tiny_model: Path, tmp_path: Path) -> None:
    copy = copied(tiny_model, tmp_path)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = [merge for merge in tokenizer["model"]["merges"] if "".join(merge) != "unknown"]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(EngineError, match="label 'unknown' is not one distinct token"):
        NanoEngine(copy)


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "copy"))


def weights(folder: Path) -> dict[str, Any]:
    """A model's tensors in float32."""
    return {name: tensor.float().numpy() for name, tensor in torch_files.load_file(folder / "model.safetensors").items()}


def rewritten(folder: Path, target: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """A copy of the folder in float32, with its tensors changed."""
    copy = copied(folder, target)
    save_file(change(weights(folder)), copy / "model.safetensors")
    return copy
