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

from moderator.engines import decoder, describe, open_engine
from moderator.engines.decoder import Decoder
from moderator.engines.nano import NanoEngine
from moderator.errors import EngineError

torch_files = pytest.importorskip("safetensors.torch")

PREFIX = list(range(5, 60))
ROWS = [[7, 8, 9], list(range(100, 170)), [11], list(range(200, 230)), [13, 14]]


LLAMA = {"architecture": "Llama", "attention_bias": True, "mlp_bias": True}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="qwen3"),
        pytest.param({"num_key_value_heads": 1, "tie_word_embeddings": False}, id="qwen3-one-key-untied"),
        pytest.param({"num_key_value_heads": 4, "attention_bias": True}, id="qwen3-a-key-for-each-head-biased"),
        pytest.param({"architecture": "Llama"}, id="llama"),
        pytest.param({"architecture": "Llama", "attention_bias": True}, id="llama-attention-biased"),
        pytest.param({"architecture": "Llama", "mlp_bias": True}, id="llama-perceptron-biased"),
        pytest.param(LLAMA, id="llama-biased"),
        pytest.param(LLAMA | {"num_key_value_heads": 1}, id="llama-one-key"),
        pytest.param(LLAMA | {"num_key_value_heads": 4, "tie_word_embeddings": False}, id="llama-a-key-for-each-head-untied"),
    ],
)
def test_logits_are_those_of_transformers(
    fields: dict[str, Any], save_model: Callable[..., Path], open_reference: Callable[[Path], Any]
) -> None:
    agree(save_model(**fields, dtype="float32", initializer_range=0.1), open_reference, tolerance=1e-5)


@pytest.mark.parametrize("model", [{}, LLAMA], ids=["qwen3", "llama"])
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="bfloat16"),
        pytest.param({"dtype": "float16", "num_hidden_layers": 3}, id="float16"),
        pytest.param({"rope_parameters": {"rope_type": "default", "rope_theta": 1234.0}}, id="theta"),
        pytest.param({"num_hidden_layers": 1, "rms_norm_eps": 1e-2}, id="one-layer"),
        pytest.param({"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 16}, id="narrow-heads"),
    ],
)
def test_logits_of_models_with_strong_opinions(
    model: dict[str, Any], fields: dict[str, Any], save_model: Callable[..., Path], open_reference: Callable[[Path], Any]
) -> None:
    agree(save_model(**model | fields), open_reference, tolerance=1e-3)


def agree(folder: Path, open_reference: Callable[[Path], Any], *, tolerance: float) -> None:
    """Packed rows behind a prefix give the logits that transformers gives for each row alone."""
    expected, model = open_reference(folder).logits, Decoder(folder)
    rows = model.rows(model.prefix(PREFIX), len(ROWS))
    for ids, logits in zip(ROWS, rows.extend(dict(enumerate(ROWS))), strict=True):
        assert logits == pytest.approx(expected(PREFIX + ids), abs=tolerance)


@pytest.fixture(scope="module", params=[{}, LLAMA], ids=["qwen3", "llama"])
def folder(request: pytest.FixtureRequest, save_model: Callable[..., Path]) -> Path:
    return save_model(**request.param, initializer_range=0.1)


@pytest.fixture(scope="module")
def logits_alone(folder: Path, open_reference: Callable[[Path], Any]) -> Callable[[list[int]], Any]:
    logits: Callable[[list[int]], Any] = open_reference(folder).logits
    return logits


def test_rows_go_on_by_themselves(folder: Path, logits_alone: Callable[[list[int]], Any]) -> None:
    model = Decoder(folder)
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
            assert found == pytest.approx(logits_alone(PREFIX + written[row]), abs=1e-5)


def test_long_rows_are_run_in_chunks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Decoder(folder)
    at_once = model.rows(model.prefix(PREFIX), len(ROWS)).extend(dict(enumerate(ROWS)))
    monkeypatch.setattr(decoder, "_CHUNK", 7)
    monkeypatch.setattr(decoder, "_BLOCK", 3)
    chunked = model.rows(model.prefix(PREFIX), len(ROWS)).extend(dict(enumerate(ROWS)))
    assert chunked == pytest.approx(at_once, abs=1e-5)


def test_nothing_shared(folder: Path, logits_alone: Callable[[list[int]], Any]) -> None:
    model = Decoder(folder)
    assert model.rows(model.prefix([]), 1).extend({0: [5, 6, 7]})[0] == pytest.approx(logits_alone([5, 6, 7]), abs=1e-5)


def test_a_llama_with_a_tokenizer_of_words(
    save_model: Callable[..., Path], save_word_tokenizer: Callable[[Path], int], open_reference: Callable[[Path], Any], ask: Any
) -> None:
    """From the text to the answer, in another form of both parts than the shipped model has."""
    folder = save_model(**LLAMA)
    save_word_tokenizer(folder)
    engine, reference = NanoEngine(folder), open_reference(folder)
    for text in ("I will hurt you", 'she said "no"\n\n😀', ""):
        read, rest, rationale = engine.complete([ask.read(text), ask.rest(text, "yes"), ask.rationale(text)])
        assert read.labels == pytest.approx(reference.labels(ask.read(text)), rel=1e-3, abs=1e-7)
        assert rationale.problem is None
        finding = ask.form.read(ask.form.head() + "yes" + rest.text)
        assert all(rule.quote in text for rule in finding.rules)


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
        ({"model_type": "mistral"}, "model_type is 'mistral', not 'qwen3' or 'llama'\n  run this model with local:"),
        (
            {"model_type": "llama"},
            "the weights hold 'model.layers.0.self_attn.k_norm.weight', which config.json does not speak of",
        ),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": "some"}, "attention_bias is 'some'"),
        ({"attention_bias": True}, "the weights lack 'model.layers.0.self_attn.q_proj.bias'"),
        ({"mlp_bias": True}, "the weights lack 'model.layers.0.mlp.gate_proj.bias'"),
        ({"pretraining_tp": 2}, "pretraining_tp is 2, not 1"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, r"layer_types is \['full_attention', 'sliding_attention'\]"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is 'yarn', not 'default'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type is 'linear'"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5, not 1"),
        ({"num_hidden_layers": 1}, "the weights hold 'model.layers.1."),
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
    ("change", "message"),
    [
        ({"sliding_window": 8}, "sliding_window is 8, not None"),
        ({"model_type": "qwen3"}, "the weights lack 'model.layers.0.self_attn.q_norm.weight'"),
        ({"attention_bias": False}, "the weights hold 'model.layers.0.self_attn.k_proj.bias'"),
        ({"mlp_bias": False}, "the weights hold 'model.layers.0.mlp.down_proj.bias'"),
    ],
)
def test_llamas_that_it_does_not_run(save_model: Callable[..., Path], change: dict[str, Any], message: str) -> None:
    folder = save_model(**LLAMA)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(EngineError, match=message):
        NanoEngine(folder)


def test_a_folder_as_it_was_written_of_old(
    save_model: Callable[..., Path], open_reference: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Defaults that are not spelled out; beside the weights the rotary frequencies, and the embeddings a second time."""
    folder = save_model("Llama", num_key_value_heads=4, head_dim=16, initializer_range=0.1)
    more = {name: np.zeros(1, np.float32) for name in ("lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq")}
    copy = rewritten(folder, tmp_path, lambda tensors: tensors | more)
    config = json.loads((copy / "config.json").read_text())
    for field in ("num_key_value_heads", "head_dim", "rope_parameters", "attention_bias", "mlp_bias", "pretraining_tp"):
        del config[field]
    (copy / "config.json").write_text(json.dumps(config))
    model = Decoder(copy)
    found = model.rows(model.prefix(PREFIX), 1).extend({0: [7, 8]})[0]
    assert found == pytest.approx(open_reference(folder).logits([*PREFIX, 7, 8]), abs=1e-5)


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
