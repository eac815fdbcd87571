"""Any causal language model of transformers, on the CPU or a GPU, with a peft adapter if wanted."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.utils import cached_file

from moderator.engines import Completion, EngineDescription
from moderator.engines.adapters import merged, quiet
from moderator.engines.chat import ChatTokenizer
from moderator.engines.decoding import Grammars
from moderator.engines.folder import check_base, digest, family, split_adapter, versioned_name, weight_files
from moderator.engines.packing import Limits, Logits, PackingEngine
from moderator.errors import EngineError
from moderator.prompt import Prompt

_BATCH_TOKENS: Final = {"cpu": 512, "cuda": 2048}
"""A pack's attention looks at all of its tokens, so larger packs only pay where the device would idle otherwise."""
_CHUNK: Final = 2048
"""Tokens in one pass: bounds the attention mask."""
_DTYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_ROTARY: Final = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions whose angles depend on a token's position alone."""


class NetworkEngine(PackingEngine[DynamicCache]):
    """Runs a transformers model that is in memory, on the device where it is. `ends`: ids that end a text."""

    def __init__(self, name: str, network: Any, chat: ChatTokenizer, ends: Sequence[int], *, batch_tokens: int | None = None):
        self.name = name
        config = network.config.get_text_config()
        ends = _ids(network.generation_config.eos_token_id) or ends
        grammars = Grammars(chat.tokenizer, config.vocab_size, ends, model=name)
        if can_be_packed(network):
            tokens = batch_tokens or _BATCH_TOKENS.get(network.device.type, _BATCH_TOKENS["cpu"])
            super().__init__(chat, _Packed(network), grammars, Limits(tokens=tokens))
        else:
            super().__init__(chat, _OneByOne(network), grammars, Limits(tokens=1, writers=1))

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        with engine_errors(self.name), torch.inference_mode():
            return super().complete(prompts)


class LocalEngine(NetworkEngine):
    """Runs ``MODEL[+ADAPTER]``: folders, or names of the Hugging Face Hub. An adapter is merged into the weights.

    `device` and `dtype` may be ``auto``: a GPU if there is one; bfloat16 on it and float32 on the CPU. `threads` sets torch's
    threads for the whole process.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_tokens: int | None = None,
        threads: int | None = None,
    ):
        name = f"local:{model}"
        self._source, self._adapter = split_adapter(model)
        if threads is not None:
            torch.set_num_threads(threads)
        with engine_errors(name):
            place = device_of(device)
            self._dtype = dtype_of(dtype, place)
            chat, ends = open_chat(self._source)
            if self._adapter:
                check_base(model_files(self._adapter, "adapter_config.json"), self._versioned)
            network = open_network(self._source, self._dtype)
            network = (merged(network, self._adapter) if self._adapter else network).eval().to(place)
        super().__init__(name, network, chat, ends, batch_tokens=batch_tokens)

    @cached_property
    def _versioned(self) -> str:
        """The model's name with the beginning of its digest."""
        folder = model_files(self._source)
        return versioned_name(folder.name if Path(self._source).is_dir() else self._source, folder)

    @cached_property
    def description(self) -> EngineDescription:
        folder = model_files(self._source)
        adapter = model_files(self._adapter, "adapter_config.json") if self._adapter else None
        return EngineDescription(
            engine=f"local transformers {transformers.__version__}",
            model=self._versioned,
            adapter_digest=digest(weight_files(adapter)) if adapter else None,
            parameters={"dtype": str(self._dtype).removeprefix("torch.")},
            family=family(adapter or folder) or family(folder),
            folders=(adapter or folder,),
        )


@contextmanager
def engine_errors(where: str) -> Iterator[None]:
    """Turns what transformers, torch and peft raise for bad models, adapters, devices and memory into `EngineError`."""
    try:
        yield
    # a file that is not what it says comes up as a missing key, too
    except (OSError, ValueError, LookupError, ImportError, MemoryError, RuntimeError, SafetensorError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        hint = "\n  fewer batch_tokens, a smaller dtype or a smaller model need less memory" if short else ""
        raise EngineError(f"{where}: {_first_lines(error)}{hint}") from error


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # peft and torch name the kind of fault first and the fault itself below
    return " ".join(lines[:2]) if lines else type(error).__name__


def device_of(name: str) -> torch.device:
    """The device of a name; ``auto``: a GPU if there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The type of a name; ``auto``: bfloat16 on a GPU and float32 on the CPU. Raises `ValueError`."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise ValueError(f"dtype {name!r} is not one of auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]


def model_files(source: str, file: str = "config.json") -> Path:
    """Where a model's or adapter's files are: the folder itself, or its place in the Hub's cache."""
    return Path(source) if Path(source).is_dir() else Path(cached_file(source, file)).parent


def _ids(value: int | list[int] | None) -> list[int]:
    return [] if value is None else value if isinstance(value, list) else [value]


def open_chat(source: str) -> tuple[ChatTokenizer, list[int]]:
    """The model's tokenizer, and the ids that end a text if the model itself names none."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EngineError(f"{source}: its tokenizer ({type(tokenizer).__name__}) is not one of the `tokenizers` library")
    chat = ChatTokenizer(backend, tokenizer.get_chat_template(), tokenizer.special_tokens_map, model=source)
    return chat, _ids(tokenizer.eos_token_id)


def open_network(source: str, dtype: torch.dtype, **options: Any) -> Any:
    """The model of a folder or a name, on the CPU unless the options, which are transformers', say otherwise."""
    with quiet():
        network = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options)
    if not _can_be_copied(network):
        raise EngineError(f"{source}: {type(network).__name__} does not keep its state in a cache that can be copied")
    return network


_CACHE_NAMES: Final = frozenset({"cache", "past_key_values"})
"""What `forward` calls its cache: the first from transformers 5.24 on, the second before and in models of one's own."""


def _parameters(network: Any) -> set[str]:
    return set(inspect.signature(network.forward).parameters)


def _can_be_copied(network: Any) -> bool:
    """Whether rows may go on from copies of a cache: with attention they can, recurrent models would go wrong unseen."""
    layers = DynamicCache(config=network.config).layers
    return bool(_CACHE_NAMES & _parameters(network)) and any(isinstance(layer, DynamicLayer) for layer in layers)


def can_be_packed(network: Any) -> bool:
    """Whether tokens of several rows may stand in one sequence: attention obeys a mask, positions obey `position_ids`."""
    config = network.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        all(type(layer) is DynamicLayer for layer in DynamicCache(config=network.config).layers)
        and rope.get("rope_type") in _ROTARY
        and config._attn_implementation in ("sdpa", "eager")
        and {"position_ids", "logits_to_keep"} <= _parameters(network)
    )


class _Network:
    """A transformers model as `packing.Model`; subclasses make the rows."""

    def __init__(self, network: Any):
        self.network = network
        (self.cache_name,) = sorted(_CACHE_NAMES & _parameters(network))[:1]
        # a model that names no limit (recurrent, ALiBi) has none
        self.context: int = getattr(network.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
        self.device: torch.device = network.device

    def empty(self) -> DynamicCache:
        return DynamicCache(config=self.network.config)

    def tensor(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)


class _Packed(_Network):
    """All rows in one sequence behind the prefix; a mask keeps them apart."""

    def prefix(self, ids: Sequence[int]) -> DynamicCache:
        rows = _PackedRows(self, self.empty(), 0)
        if ids:
            rows.extend({0: ids})
        return rows.cache

    def rows(self, prefix: DynamicCache, count: int) -> _PackedRows:
        # layers replace their tensors when they grow, so copies of the layer objects share the prefix and leave it alone
        cache = copy.copy(prefix)
        cache.layers = [copy.copy(layer) for layer in prefix.layers]
        return _PackedRows(self, cache, prefix.get_seq_length())


class _PackedRows:
    def __init__(self, model: _Packed, cache: DynamicCache, prefix: int):
        self.cache = cache
        self._model = model
        self._prefix = prefix
        self._lengths: dict[int, int] = {}
        self._owners = model.tensor([])
        self._positions = model.tensor([])

    def extend(self, new: Mapping[int, Sequence[int]]) -> Logits:
        ids = self._model.tensor([index for ids in new.values() for index in ids])
        owners = self._model.tensor([row for row, ids in new.items() for _ in ids])
        starts = {row: self._prefix + self._lengths.get(row, 0) for row in new}
        positions = self._model.tensor([starts[row] + place for row, ids in new.items() for place in range(len(ids))])
        ends = np.cumsum([len(ids) for ids in new.values()]) - 1
        parts = []
        for start in range(0, len(ids), _CHUNK):
            piece = slice(start, start + _CHUNK)
            wanted = [int(end) - start for end in ends if start <= end < start + _CHUNK]
            parts.append(self._step(ids[piece], owners[piece], positions[piece], wanted))
        self._lengths |= {row: starts[row] - self._prefix + len(ids) for row, ids in new.items()}
        return np.concatenate(parts)

    def _step(self, ids: torch.Tensor, owners: torch.Tensor, positions: torch.Tensor, wanted: list[int]) -> Logits:
        self._owners = torch.cat([self._owners, owners])
        self._positions = torch.cat([self._positions, positions])
        seen = (owners[:, None] == self._owners) & (positions[:, None] >= self._positions)
        network = self._model.network
        mask = torch.zeros(len(ids), self._prefix + len(self._owners), dtype=network.dtype, device=ids.device)
        mask[:, self._prefix :].masked_fill_(~seen, torch.finfo(network.dtype).min)
        output = network(
            ids[None],
            attention_mask=mask[None, None],
            position_ids=positions[None],
            logits_to_keep=self._model.tensor(wanted),
            **{self._model.cache_name: self.cache},
        )
        logits: Logits = output.logits[0].float().cpu().numpy()
        return logits


class _OneByOne(_Network):
    """Each row on its own over a copy of the prefix: right for any attention and any cache, if slower."""

    def prefix(self, ids: Sequence[int]) -> DynamicCache:
        cache = self.empty()
        if ids:
            self.step(ids, cache)
        return cache

    def rows(self, prefix: DynamicCache, count: int) -> _SingleRows:
        return _SingleRows(self, [copy.deepcopy(prefix) for _ in range(count)])

    def step(self, ids: Sequence[int], cache: DynamicCache) -> Logits:
        keep = {"logits_to_keep": 1} if "logits_to_keep" in _parameters(self.network) else {}
        output = self.network(self.tensor(ids)[None], **keep, **{self.cache_name: cache})
        logits: Logits = output.logits[0, -1:].float().cpu().numpy()
        return logits


class _SingleRows:
    def __init__(self, model: _OneByOne, caches: list[DynamicCache]):
        self._model = model
        self._caches = caches

    def extend(self, new: Mapping[int, Sequence[int]]) -> Logits:
        return np.concatenate([self._model.step(ids, self._caches[row]) for row, ids in new.items()])
