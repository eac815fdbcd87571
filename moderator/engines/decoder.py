"""A Qwen3 or Llama decoder in plain numpy, float32: what `nano` runs without torch.

The two are one arithmetic. What a layer of one has and a layer of the other lacks is data: norms of queries and keys, biases.

Rows share the keys and values of one prefix, which are computed once; each row has keys and values of its own behind it. Rows
of a step are packed: one matrix product for the tokens of all of them, and attention per row over the prefix and itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from moderator.engines.folder import read_json, weight_files
from moderator.errors import EngineError

Array = NDArray[np.float32]
Indices = NDArray[np.intp]

_CHUNK: Final = 512
"""Tokens of one row that are run at a time: bounds the attention scores of a long row."""

_BLOCK: Final = 256
"""Tokens that go through a layer's perceptron at a time: its wide middle then stays in the processor's cache."""

_NORMED: Final = {"qwen3": True, "llama": False}
"""The model types that are run, and whether they normalise queries and keys."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a config.json says that decides the arithmetic."""

    layers: int
    hidden: int
    heads: int
    shared_heads: int
    """Heads of keys and values; each serves `heads / shared_heads` heads of queries."""
    head: int
    vocabulary: int
    context: int
    epsilon: float
    theta: float
    perceptron: int
    """Width between the two matrices of a layer's perceptron."""
    normed: bool
    """Whether each head's queries and keys are normalised."""
    attention_bias: bool
    perceptron_bias: bool
    tied: bool
    end: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """From the folder's config.json. Raises `EngineError` for anything that the arithmetic here does not do."""
        path = folder / "config.json"
        config: dict[str, Any] = read_json(path)
        rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
        for name, value, *right in _conditions(config, rope):
            if value not in right:
                wanted = " or ".join(map(repr, right))
                raise EngineError(f"{path}: {name} is {value!r}, not {wanted}\n  run this model with local:{folder}")
        end = config.get("eos_token_id")
        try:
            return cls(
                layers=config["num_hidden_layers"],
                hidden=config["hidden_size"],
                heads=config["num_attention_heads"],
                shared_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
                head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
                vocabulary=config["vocab_size"],
                context=config["max_position_embeddings"],
                epsilon=config["rms_norm_eps"],
                theta=float(rope.get("rope_theta", config.get("rope_theta", 1e4))),
                perceptron=config["intermediate_size"],
                normed=_NORMED[config["model_type"]],
                attention_bias=config.get("attention_bias", False),
                perceptron_bias=config.get("mlp_bias", False),
                tied=config.get("tie_word_embeddings", False),
                end=tuple(end) if isinstance(end, list) else () if end is None else (end,),
            )
        except KeyError as error:
            raise EngineError(f"{path}: {error.args[0]!r} is missing") from None


def _conditions(config: Mapping[str, Any], rope: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """A name in config.json, its value, and the values that the arithmetic here does right."""
    yield "model_type", config.get("model_type"), *_NORMED
    yield "hidden_act", config.get("hidden_act"), "silu"
    yield "attention_bias", config.get("attention_bias", False), False, True
    yield "mlp_bias", config.get("mlp_bias", False), False, True
    yield "pretraining_tp", config.get("pretraining_tp") or 1, 1
    yield "use_sliding_window", config.get("use_sliding_window", False), False
    # a width that `use_sliding_window` switches off is no window
    yield "sliding_window", None if "use_sliding_window" in config else config.get("sliding_window"), None
    yield "layer_types", sorted(set(config.get("layer_types") or ["full_attention"])), ["full_attention"]
    yield "quantization_config", config.get("quantization_config"), None
    yield "rope_type", rope.get("rope_type", rope.get("type", "default")), "default"
    yield "partial_rotary_factor", rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1)), 1


@dataclass(frozen=True, slots=True)
class _Linear:
    """A matrix as it is multiplied, input by output, and what is added to the product, if anything."""

    matrix: Array
    bias: Array | None

    def __call__(self, x: Array) -> Array:
        product: Array = x @ self.matrix
        if self.bias is not None:
            product += self.bias
        return product

    def beside(self, other: _Linear) -> _Linear:
        """Both in one product, this one's outputs first. Either both have a bias or neither."""
        biases = [linear.bias for linear in (self, other) if linear.bias is not None]
        return _Linear(np.concatenate([self.matrix, other.matrix], axis=1), np.concatenate(biases) if biases else None)

    def divided(self, divisor: np.float32) -> _Linear:
        """The same with smaller outputs."""
        return _Linear(self.matrix / divisor, None if self.bias is None else self.bias / divisor)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The scale of attention is in `query_norm`, or without norms in `query`."""

    norm: Array
    query: _Linear
    key_value: _Linear
    query_norm: Array | None
    key_norm: Array | None
    output: _Linear
    middle_norm: Array
    gate: _Linear
    up: _Linear
    down: _Linear


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of a shared beginning, for each layer: heads, positions, head size."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    length: int


class Decoder:
    """The weights, and the steps of arithmetic over them."""

    def __init__(self, folder: Path):
        self.shape = Shape.read(folder)
        self.context = self.shape.context
        tensors = _Tensors(folder)
        shape = self.shape
        self.embedding = tensors.take("model.embed_tokens.weight", shape.vocabulary, shape.hidden)
        self.unembedding = self.embedding if shape.tied else tensors.take("lm_head.weight", shape.vocabulary, shape.hidden)
        self.norm = tensors.take("model.norm.weight", shape.hidden)
        self.layers = tuple(_layer(tensors, f"model.layers.{index}.", shape) for index in range(shape.layers))
        tensors.finish(unread=["lm_head.weight"] if shape.tied else [])
        frequencies = shape.theta ** -(np.arange(0, shape.head, 2, dtype=np.float64) / shape.head)
        angles = np.outer(np.arange(shape.context), frequencies)
        self.cosines, self.sines = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Runs a shared beginning."""
        empty = np.zeros((self.shape.shared_heads, 0, self.shape.head), np.float32)
        row = PackedRows(self, Prefix((empty,) * self.shape.layers, (empty,) * self.shape.layers, 0), 1)
        if ids:
            row.extend({0: ids})
        keys = tuple(np.ascontiguousarray(keys[:, 0, : len(ids)]) for keys in row.keys)
        values = tuple(np.ascontiguousarray(values[:, 0, : len(ids)]) for values in row.values)
        return Prefix(keys, values, len(ids))

    def rows(self, prefix: Prefix, count: int) -> PackedRows:
        """Rows that continue the prefix, with nothing behind it yet."""
        return PackedRows(self, prefix, count)

    def normal(self, x: Array, weight: Array) -> Array:
        """Root mean square normalisation over the last axis."""
        means = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
        normal: Array = x / np.sqrt(means + np.float32(self.shape.epsilon))
        normal *= weight
        return normal


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the new tokens of a step belong: each token's place in the store, and its rotary angles."""

    rows: Indices
    """The rows that get new tokens."""
    owners: Indices
    """The row of each token, as a place in `rows`."""
    positions: Indices
    """Its position in that row, counted from the end of the prefix."""
    columns: Indices
    """Its place among the new tokens of that row."""
    cosines: Array
    sines: Array

    def lasts(self) -> Indices:
        """The last token of each row."""
        return np.append(np.flatnonzero(np.diff(self.owners)), len(self.owners) - 1)

    def only(self, tokens: Indices) -> _Step:
        """The same for some of the tokens, at most one of each row."""
        return _Step(
            rows=self.rows,
            owners=self.owners[tokens],
            positions=self.positions[tokens],
            columns=np.zeros_like(tokens),
            cosines=self.cosines[tokens],
            sines=self.sines[tokens],
        )


class _Seen(NamedTuple):
    """Values, weighted but not yet divided by the total weight. Weights are relative to that of the highest score."""

    values: Array
    total: Array
    highest: Array

    def with_(self, other: _Seen) -> _Seen:
        """One softmax over what was seen in two places."""
        highest = np.maximum(self.highest, other.highest)
        mine, others = np.exp(self.highest - highest), np.exp(other.highest - highest)
        return _Seen(self.values * mine + other.values * others, self.total * mine + other.total * others, highest)


class PackedRows:
    """Rows behind one prefix; their keys and values are stored padded: heads, row, position, head size."""

    def __init__(self, model: Decoder, prefix: Prefix, count: int):
        self._model = model
        self._prefix = prefix
        self._lengths = np.zeros(count, np.intp)
        shape = (model.shape.shared_heads, count, 0, model.shape.head)
        self.keys = [np.zeros(shape, np.float32) for _ in model.layers]
        self.values = [np.zeros(shape, np.float32) for _ in model.layers]

    def extend(self, new: Mapping[int, Sequence[int]]) -> Array:
        """Appends ids to rows; the logits after the last id of each, in the mapping's order."""
        logits = np.empty((len(new), self._model.shape.vocabulary), np.float32)
        for start in range(0, max(map(len, new.values())), _CHUNK):
            part = {row: ids[start : start + _CHUNK] for row, ids in new.items() if len(ids) > start}
            logits[[place for place, row in enumerate(new) if row in part]] = self._run(part)
        return logits

    def _run(self, new: Mapping[int, Sequence[int]]) -> Array:
        model, step = self._model, self._step(new)
        lasts = step.lasts()
        self._reserve(int(step.positions.max()) + 1)
        x = model.embedding[np.fromiter((index for ids in new.values() for index in ids), np.intp)]
        for index, layer in enumerate(model.layers):
            normal = model.normal(x, layer.norm)
            self._store(index, layer, normal, step)
            if index == len(model.layers) - 1:
                # behind the last layer only the last token of each row is read: the others need not be finished
                x, normal, step = x[lasts], normal[lasts], step.only(lasts)
            x = x + layer.output(self._attend(index, layer, normal, step))
            for block in (x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)):
                block += _gated(model.normal(block, layer.middle_norm), layer)
        self._lengths[step.rows] = step.positions + 1
        return model.normal(x, model.norm) @ model.unembedding.T

    def _step(self, new: Mapping[int, Sequence[int]]) -> _Step:
        rows = np.fromiter(new, np.intp)
        owners = np.repeat(np.arange(len(rows)), [len(ids) for ids in new.values()])
        columns = np.concatenate([np.arange(len(ids)) for ids in new.values()])
        positions = self._lengths[rows[owners]] + columns
        angles = self._prefix.length + positions
        return _Step(rows, owners, positions, columns, self._model.cosines[angles, None], self._model.sines[angles, None])

    def _reserve(self, length: int) -> None:
        """Room for `length` positions in each row; a second growth is generous, because then it is a text that grows."""
        size = self.keys[0].shape[2]
        if length <= size:
            return
        more = max(length - size, 64 if size else 0)
        for store in (self.keys, self.values):
            store[:] = [np.pad(array, ((0, 0), (0, 0), (0, more), (0, 0))) for array in store]

    def _store(self, index: int, layer: _Layer, x: Array, step: _Step) -> None:
        """Computes and keeps the keys and values of all new tokens."""
        shape = self._model.shape
        both = layer.key_value(x).reshape(len(x), 2, shape.shared_heads, shape.head)
        keys = self._placed(both[:, 0], layer.key_norm, step)
        rows = step.rows[step.owners]
        self.keys[index][:, rows, step.positions] = keys.swapaxes(0, 1)
        self.values[index][:, rows, step.positions] = both[:, 1].swapaxes(0, 1)

    def _attend(self, index: int, layer: _Layer, x: Array, step: _Step) -> Array:
        """What the tokens of the step see: in the prefix, and in their own row up to themselves."""
        shape = self._model.shape
        asked = self._placed(layer.query(x).reshape(len(x), shape.heads, shape.head), layer.query_norm, step)
        asked = asked.reshape(len(x), shape.shared_heads, -1, shape.head)
        seen = self._own(index, asked, step)
        if self._prefix.length:
            seen = seen.with_(self._shared(index, asked))
        return (seen.values / seen.total).reshape(len(x), -1)

    def _placed(self, x: Array, norm: Array | None, step: _Step) -> Array:
        """Queries or keys at their positions, normalised before where the model does that."""
        return _turned(x if norm is None else self._model.normal(x, norm), step)

    def _shared(self, index: int, asked: Array) -> _Seen:
        """In the prefix. One head at a time keeps the scores in the processor's cache."""
        tokens, heads, group, size = asked.shape
        flat = np.ascontiguousarray(asked.swapaxes(0, 1)).reshape(heads, -1, size)
        by_head = [_look(*three) for three in zip(flat, self._prefix.keys[index], self._prefix.values[index], strict=True)]
        return _Seen(
            *(np.stack(parts).reshape(heads, tokens, group, -1).swapaxes(0, 1) for parts in zip(*by_head, strict=True))
        )

    def _own(self, index: int, asked: Array, step: _Step) -> _Seen:
        """In the tokens' own rows, which are padded for it to the most new tokens that one has."""
        count, width, span = len(step.rows), int(step.columns.max()) + 1, int(step.positions.max()) + 1
        heads, group, size = asked.shape[1:]
        padded = np.zeros((heads, count, group, width, size), np.float32)
        padded[:, step.owners, :, step.columns] = asked
        limits = np.zeros((count, 1, width, 1), np.intp)
        limits[step.owners, 0, step.columns, 0] = step.positions
        hidden = np.where(np.arange(span) <= limits, np.float32(0), np.float32(-np.inf))
        # all rows: a view of the store; some of them: a copy
        rows = slice(None) if count == self.keys[index].shape[1] else step.rows
        keys, values = self.keys[index][:, rows, :span], self.values[index][:, rows, :span]
        seen = _look(padded, keys[:, :, None], values[:, :, None], hidden)
        return _Seen(*(part[:, step.owners, :, step.columns] for part in seen))


def _look(queries: Array, keys: Array, values: Array, hidden: Array | None = None) -> _Seen:
    scores: Array = queries @ keys.swapaxes(-1, -2)
    if hidden is not None:
        scores += hidden
    highest = scores.max(-1, keepdims=True)
    scores -= highest
    np.exp(scores, out=scores)
    weighted: Array = scores @ values
    return _Seen(weighted, scores.sum(-1, keepdims=True), highest)


def _turned(x: Array, step: _Step) -> Array:
    """Rotary positions, halves form: token, head, head size."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = np.empty_like(x)
    turned[..., :half] = first * step.cosines - second * step.sines
    turned[..., half:] = second * step.cosines + first * step.sines
    return turned


def _gated(x: Array, layer: _Layer) -> Array:
    gate = layer.gate(x)
    with np.errstate(over="ignore"):  # far below zero: divided by infinity, which is the 0 it should be
        np.divide(gate, 1 + np.exp(-gate), out=gate)
    np.multiply(gate, layer.up(x), out=gate)
    return layer.down(gate)


class _Tensors:
    """The tensors of a folder's safetensors files by name, as float32."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._raw: dict[str, Mapping[str, Any]] = {}
        files = [path for path in weight_files(folder) if path.suffix == ".safetensors"]
        if not files:
            raise EngineError(f"{folder}: no safetensors file")
        for path in files:
            try:
                self._raw.update(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
            except (OSError, SafetensorError) as error:
                raise EngineError(f"{path}: {error}") from None

    def take(self, name: str, *shape: int) -> Array:
        """A tensor, which must have this shape."""
        if name not in self._raw:
            raise EngineError(f"{self._folder}: the weights lack {name!r}")
        raw = self._raw.pop(name)
        if tuple(raw["shape"]) != shape:
            raise EngineError(f"{self._folder}: {name!r} has shape {tuple(raw['shape'])} where config.json says {shape}")
        return _float32(raw["dtype"], raw["data"], f"{self._folder}: {name!r}").reshape(shape)

    def linear(self, name: str, outputs: int, inputs: int, *, biased: bool) -> _Linear:
        """A linear layer, its weight turned to be multiplied from the right."""
        matrix = np.ascontiguousarray(self.take(name + ".weight", outputs, inputs).T)
        return _Linear(matrix, self.take(name + ".bias", outputs) if biased else None)

    def finish(self, *, unread: Sequence[str]) -> None:
        """Refuses weights that were not taken: the model is more than what was read of it."""
        for name in sorted(self._raw):
            # older files hold the rotary frequencies, which are computed here
            if name not in unread and not name.endswith(".rotary_emb.inv_freq"):
                raise EngineError(
                    f"{self._folder}: the weights hold {name!r}, which config.json does not speak of\n"
                    f"  run this model with local:{self._folder}"
                )


def _float32(kind: str, raw: bytes, where: str) -> Array:
    if kind == "BF16":
        # a bfloat16 is the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if kind not in ("F16", "F32"):
        raise EngineError(f"{where} is stored as {kind}, not as BF16, F16 or F32")
    return np.frombuffer(raw, "<f2" if kind == "F16" else "<f4").astype(np.float32)


def _layer(tensors: _Tensors, name: str, shape: Shape) -> _Layer:
    attention, middle = name + "self_attn.", name + "mlp."
    shared, asked = shape.shared_heads * shape.head, shape.heads * shape.head
    attentive = partial(tensors.linear, biased=shape.attention_bias)
    perceptive = partial(tensors.linear, biased=shape.perceptron_bias)
    query = attentive(attention + "q_proj", asked, shape.hidden)
    key, value = (attentive(f"{attention}{kind}_proj", shared, shape.hidden) for kind in "kv")
    scale = np.float32(shape.head**0.5)
    query_norm = key_norm = None
    if shape.normed:
        query_norm = tensors.take(attention + "q_norm.weight", shape.head) / scale
        key_norm = tensors.take(attention + "k_norm.weight", shape.head)
    return _Layer(
        norm=tensors.take(name + "input_layernorm.weight", shape.hidden),
        query=query if shape.normed else query.divided(scale),
        key_value=key.beside(value),
        query_norm=query_norm,
        key_norm=key_norm,
        output=attentive(attention + "o_proj", shape.hidden, asked),
        middle_norm=tensors.take(name + "post_attention_layernorm.weight", shape.hidden),
        gate=perceptive(middle + "gate_proj", shape.perceptron, shape.hidden),
        up=perceptive(middle + "up_proj", shape.perceptron, shape.hidden),
        down=perceptive(middle + "down_proj", shape.hidden, shape.perceptron),
    )
