"""`LocalEngine`: what it computes and how often, for several architectures, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from moderator.engines import describe, open_engine
from moderator.errors import EngineError

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
local = pytest.importorskip("moderator.engines.local")

# peft asks transformers 5.23 for what that one deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
LocalEngine = local.LocalEngine
TEXTS = ["I will hurt you", "a lovely day", "word " * 40, ""]
SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "use_sliding_window": True, "sliding_window": 8}


@contextmanager
def forwarded(engine: Any) -> Iterator[list[int]]:
    """How many tokens the model is given in each pass."""
    passes: list[int] = []
    network = engine._model.network
    hook = network.get_input_embeddings().register_forward_hook(lambda module, given, _: passes.append(given[0].numel()))
    yield passes
    hook.remove()


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Any:
    return LocalEngine(str(tiny_model))


def test_the_policy_is_run_once(tiny_model: Path, ask: Any, reference: Any) -> None:
    engine = LocalEngine(str(tiny_model), batch_tokens=150)
    prompts = [ask.read(text) for text in TEXTS]
    system = len(engine._chat.prefix(prompts[0].system))
    contents = sum(len(reference.ids(prompt)) - system for prompt in prompts)
    with forwarded(engine) as passes:
        first = engine.complete(prompts)
        second = engine.complete(prompts)
    assert sum(passes) == system + 2 * contents
    assert [completion.cached_tokens for completion in first].count(0) == 1
    assert {completion.cached_tokens for completion in second} == {system}


def test_forced_tokens_take_no_pass_of_their_own(engine: Any, ask: Any) -> None:
    prompts = [ask.rest(text, "yes") for text in TEXTS]
    engine.complete(prompts)
    with forwarded(engine) as passes:
        written = engine.complete(prompts)
    assert len(passes) < max(completion.completion_tokens for completion in written)
    assert sum(passes) <= sum(c.prompt_tokens - c.cached_tokens + c.completion_tokens for c in written)


def test_a_pass_is_bounded(tiny_model: Path, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LocalEngine(str(tiny_model))
    prompts = [ask.read(text) for text in TEXTS]
    expected = whole.complete(prompts)
    monkeypatch.setattr(local, "_CHUNK", 16)
    with forwarded(pieces := LocalEngine(str(tiny_model))) as passes:
        found = pieces.complete(prompts)
    assert max(passes) == 16
    for one, other in zip(found, expected, strict=True):
        assert one.labels == pytest.approx(other.labels, rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "fields", "packed"),
    [
        pytest.param("Qwen3", {"tie_word_embeddings": False}, True, id="qwen3"),
        pytest.param("Llama", {}, True, id="llama"),
        pytest.param("Qwen2", {}, True, id="qwen2"),
        pytest.param("Mistral", {"sliding_window": None}, True, id="mistral-full"),
        pytest.param("Olmo2", {}, True, id="olmo2"),
        pytest.param("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}, True, id="experts"),
        pytest.param(
            "Llama",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 1e4,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                }
            },
            True,
            id="llama3",
        ),
        pytest.param("Qwen2", SLIDING, False, id="some-layers-slide"),
        pytest.param("Mistral", {"sliding_window": 8}, False, id="all-layers-slide"),
        pytest.param("Gemma3Text", {"sliding_window": 8, "num_hidden_layers": 6}, False, id="gemma3"),
        pytest.param("GPT2", {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 1024}, False, id="learned-positions"),
        pytest.param("Bloom", {"n_head": 4, "n_layer": 2}, False, id="alibi"),
        pytest.param("Lfm2", {"layer_types": ["conv", "full_attention"]}, False, id="convolutions"),
        pytest.param(
            "Qwen3Next", {"layer_types": ["linear_attention", "full_attention"], "num_experts": 0}, False, id="linear"
        ),
    ],
)
def test_every_architecture_is_right(
    architecture: str, fields: dict[str, Any], packed: bool, save_model: Callable[..., Path], open_reference: Any, ask: Any
) -> None:
    folder = save_model(architecture, **fields)
    engine, reference = LocalEngine(str(folder)), open_reference(folder)
    assert isinstance(engine._model, local._Packed) == packed
    prompts = [ask.read(text) for text in TEXTS]
    for _ in range(2):
        for prompt, completion in zip(prompts, engine.complete(prompts), strict=True):
            assert completion.labels == pytest.approx(reference.labels(prompt), rel=1e-3, abs=1e-7)
    writes = [ask.rest(text, "yes") for text in TEXTS[:2]]
    for prompt, completion in zip(writes, engine.complete(writes), strict=True):
        assert completion.text == greedy(engine, reference, prompt)


@pytest.mark.parametrize(("architecture", "fields"), [("Rwkv", {"attention_hidden_size": 64}), ("Mamba", {"state_size": 8})])
def test_a_model_that_keeps_its_state_elsewhere(
    architecture: str, fields: dict[str, Any], save_model: Callable[..., Path]
) -> None:
    """Mamba takes a cache from transformers 5.24 on, but does not go on from a copied one."""
    with pytest.raises(EngineError, match=f"{architecture}ForCausalLM does not keep its state in a cache that can be copied"):
        LocalEngine(str(save_model(architecture, **fields)))


def greedy(engine: Any, reference: Any, prompt: Any) -> str:
    """The text that plain transformers would write under the prompt's grammar, the whole prompt anew at each step."""
    ids, writer = reference.ids(prompt), engine._grammars.writer(prompt.task, 900)
    while not writer.done:
        writer.choose(reference.logits(ids + writer.ids))
    return str(writer.text)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes(tiny_model: Path, dtype: str, ask: Any, reference: Any) -> None:
    engine = LocalEngine(str(tiny_model), dtype=dtype)
    assert engine.description.parameters == {"dtype": dtype}
    prompt = ask.read(TEXTS[0])
    labels = engine.complete([prompt])[0].labels
    assert labels == pytest.approx(reference.labels(prompt), rel=1e-3 if dtype == "float32" else 0.5, abs=1e-2)


def test_it_says_what_it_is(engine: Any, tiny_model: Path) -> None:
    described = describe(engine)
    assert engine.name == f"local:{tiny_model}"
    assert described.engine == f"local transformers {transformers.__version__}"
    assert described.model.startswith(f"{tiny_model.name}@")
    assert described.family == "nano"
    assert described.adapter_digest is None


@pytest.fixture(scope="module")
def save_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Callable[..., Path]:
    def save(model: Path = tiny_model, seed: int = 0, **fields: Any) -> Path:
        folder = tmp_path_factory.mktemp("adapter")
        network = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        config = peft.LoraConfig(**{"r": 4, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | fields)
        adapted = peft.get_peft_model(network, config)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_" in name:
                    weight.normal_(0, 0.3)
        adapted.save_pretrained(folder)
        return folder

    return save


def test_an_adapter_is_merged(tiny_model: Path, save_adapter: Callable[..., Path], engine: Any, ask: Any) -> None:
    one, other = save_adapter(seed=1), save_adapter(seed=2)
    prompt = ask.read(TEXTS[0])
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    plain = peft.PeftModel.from_pretrained(base, one).eval()
    adapted = LocalEngine(f"{tiny_model}+{one}")
    ids = [*adapted._chat.prefix(prompt.system), *adapted._chat.suffixes([prompt])[0]]
    with torch.inference_mode():
        expected = plain(torch.tensor([ids])).logits[0, -1].softmax(-1)
    found = adapted.complete([prompt])[0].labels
    labels = adapted._chat.label_ids(prompt.format)
    assert found == pytest.approx({label: float(expected[index]) for label, index in labels.items()}, rel=1e-3)
    assert found != pytest.approx(engine.complete([prompt])[0].labels, rel=1e-2)
    digests = {LocalEngine(f"{tiny_model}+{path}").description.adapter_digest for path in (one, one, other)}
    assert len(digests) == 2
    assert all(digest and len(digest) == 64 for digest in digests)
    assert adapted.description.model == engine.description.model


def test_an_adapter_may_say_its_family(tiny_model: Path, save_adapter: Callable[..., Path]) -> None:
    adapter = save_adapter()
    assert LocalEngine(f"{tiny_model}+{adapter}").description.family == "nano"
    (adapter / "moderator.json").write_text('{"family": "default"}')
    assert LocalEngine(f"{tiny_model}+{adapter}").description.family == "default"


def broken(adapter: Path, **change: Any) -> Path:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return adapter


def thinned(adapter: Path, keep: Callable[[str], bool]) -> Path:
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if keep(name)}, path)
    return adapter


def test_adapters_that_do_not_fit(
    tiny_model: Path, save_model: Callable[..., Path], save_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    wider = save_adapter(save_model(hidden_size=96))
    deeper = save_adapter(save_model(num_hidden_layers=3))
    shallower = save_adapter(save_model(num_hidden_layers=1))
    misfits = {
        "size mismatch": wider,
        "does not fit the model: 4 weights without a counterpart": deeper,
        "weights without a counterpart, such as": shallower,
        "does not fit": thinned(save_adapter(), lambda name: "layers.1" not in name),
        "nothing_proj": broken(save_adapter(), target_modules=["nothing_proj"]),
        "adapter_config.json": tmp_path,
    }
    for message, adapter in misfits.items():
        with pytest.raises(EngineError, match=message) as error:
            LocalEngine(f"{tiny_model}+{adapter}")
        assert "\n" not in str(error.value)


def test_an_adapter_that_cannot_be_merged(tiny_model: Path, tmp_path: Path) -> None:
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    peft.get_peft_model(network, config).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="cannot be merged"):
        LocalEngine(f"{tiny_model}+{tmp_path}")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "no-such-architecture"}'),
        ("model.safetensors", None),
        ("model.safetensors", b"short"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_folders_that_are_broken(tiny_model: Path, tmp_path: Path, file: str, content: bytes | None) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_bytes(content)
    with pytest.raises(EngineError, match=r"^local:") as error:
        LocalEngine(str(copy))
    assert len(str(error.value).splitlines()) <= 2


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(EngineError, match=r"^local:no-such/model: "):
        open_engine("local:no-such/model")


def test_a_model_without_a_chat_template(tiny_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="chat template"):
        LocalEngine(str(copy))


def test_a_tokenizer_of_another_library(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.AutoTokenizer, "from_pretrained", lambda source: object())
    with pytest.raises(EngineError, match="not one of the `tokenizers` library"):
        LocalEngine(str(tiny_model))


@pytest.mark.parametrize(
    ("options", "message"), [({"dtype": "int3"}, "'int3' is not one of auto"), ({"device": "abacus"}, "abacus")]
)
def test_options_that_make_no_sense(tiny_model: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        LocalEngine(str(tiny_model), **options)


@pytest.mark.parametrize(
    ("raised", "hint"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access\nmore"), False),
        (OSError("gone"), False),
    ],
)
def test_foreign_errors_become_ours(raised: Exception, hint: bool) -> None:
    with pytest.raises(EngineError, match=r"^here: ") as error, local.engine_errors("here"):
        raise raised
    assert ("need less memory" in str(error.value)) == hint
    assert error.value.__cause__ is raised


def test_mistakes_of_ours_stay_what_they_are() -> None:
    with pytest.raises(TypeError), local.engine_errors("here"):
        raise TypeError


def test_a_prefix_survives_what_is_written_behind_it(engine: Any, ask: Any) -> None:
    prompt = ask.read(TEXTS[1])
    before = engine.complete([prompt])[0].labels
    engine.complete([ask.rest(text, "yes") for text in TEXTS])
    assert engine.complete([prompt])[0].labels == before
    assert np.isfinite(list((before or {}).values())).all()
