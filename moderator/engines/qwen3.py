"""A Qwen3 decoder in plain numpy, float32: what `nano` runs without torch.

Rows share the keys and values of one prefix, which are computed once; each row has keys and values of its own behind it. Rows of
a step are packed: one matrix product for the tokens of all of them, and attention per row over the prefix and itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from moderator.engines.folder import read_json, weight_files
from moderator.errors import EngineError

Array = NDArray[np.float32]
Indices = NDArray[np.intp]

_CHUNK: Final = 512
"""Tokens of one row that are run at a time: bounds the attention scores of a long row."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a Qwen3 config.json that decide the arithmetic."""

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
    tied: bool
    end: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """From the folder's config.json. Raises `EngineError` for anything that the arithmetic here does not do."""
        path = folder / "config.json"
        config: dict[str, Any] = read_json(path)
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        wanted = {
            "model_type": (config.get("model_type"), ["qwen3"]),
            "hidden_act": (config.get("hidden_act"), ["silu"]),
            "attention_bias": (config.get("attention_bias", False), [False]),
            "use_sliding_window": (config.get("use_sliding_window", False), [False]),
            "quantization_config": (config.get("quantization_config"), [None]),
            "rope type": (rope.get("rope_type", rope.get("type", "default")), ["default"]),
        }
        for name, (value, allowed) in wanted.items():
            if value not in allowed:
                raise EngineError(f"{path}: {name} is {value!r} where {allowed[0]!r} is needed\n  run this model with local:{folder}")
        end = config.get("eos_token_id")
        try:
            return cls(
                layers=config["num_hidden_layers"],
                hidden=config["hidden_size"],
                heads=config["num_attention_heads"],
                shared_heads=config["num_key_value_heads"],
                head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
                vocabulary=config["vocab_size"],
                context=config["max_position_embeddings"],
                epsilon=config["rms_norm_eps"],
                theta=float(rope.get("rope_theta", config.get("rope_theta", 1e6))),
                perceptron=config["intermediate_size"],
                tied=config.get("tie_word_embeddings", False),
                end=tuple(end) if isinstance(end, list) else () if end is None else (end,),
            )
        except KeyError as error:
            raise EngineError(f"{path}: {error.args[0]!r} is missing") from None


@dataclass(frozen=True, slots=True)
class _Layer:
    """Matrices are stored as they are multiplied: input by output."""

    norm: Array
    query: Array
    key_value: Array
    query_norm: Array
    key_norm: Array
    output: Array
    middle_norm: Array
    gate: Array
    up: Array
    down: Array


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of a shared beginning, for each layer: heads, positions, head size."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    length: int


class Qwen3:
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


@dataclass(frozen=True, slots=True)
class _Queries:
    """The tokens that look, in a step: as packed rows, and where each stands when the rows are padded to one width."""

    rows: Indices
    """Which of the step's rows each belongs to."""
    columns: Indices
    """Its place among the new tokens of its row."""
    width: int
    hidden: Array
    """Additive, 0 or -inf: step row, 1, column, key."""


class PackedRows:
    """Rows behind one prefix; their keys and values are stored padded: heads, row, position, head size."""

    def __init__(self, model: Qwen3, prefix: Prefix, count: int):
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
            part = {place: ids[start : start + _CHUNK] for place, ids in enumerate(new.values()) if len(ids) > start}
            rows = np.array([row for place, row in enumerate(new) if place in part], np.intp)
            logits[list(part)] = self._step(rows, list(part.values()))
        return logits

    def _step(self, rows: Indices, new: list[Sequence[int]]) -> Array:
        model, counts = self._model, np.array([len(ids) for ids in new], np.intp)
        ends = counts.cumsum()
        owner = np.repeat(np.arange(len(new)), counts)
        column = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        before = self._lengths[rows]
        self._reserve(int((before + counts).max()))
        own = before[owner] + column
        angles = (model.cosines[self._prefix.length + own, None], model.sines[self._prefix.length + own, None])
        span = int((before + counts).max())
        everyone = self._queries(owner, column, before[:, None] + np.arange(counts.max()), span)
        # behind the last layer only the last token of each row is read, so only that one is asked there
        finals = self._queries(np.arange(len(new)), np.zeros(len(new), np.intp), (before + counts - 1)[:, None], span)
        x = model.embedding[np.concatenate([np.asarray(ids, np.intp) for ids in new])]
        for index, layer in enumerate(model.layers):
            normal = _normal(x, layer.norm, model.shape.epsilon)
            self._store(index, layer, normal, angles, rows[owner], own)
            queries, asking = everyone, normal
            if index == len(model.layers) - 1:
                queries, asking, x = finals, normal[ends - 1], x[ends - 1]
                angles = (angles[0][ends - 1], angles[1][ends - 1])
            x = x + self._attend(index, layer, asking, angles, queries, rows, span) @ layer.output
            x += _gated(_normal(x, layer.middle_norm, model.shape.epsilon), layer)
        self._lengths[rows] += counts
        return _normal(x, model.norm, model.shape.epsilon) @ model.unembedding.T

    def _queries(self, rows: Indices, columns: Indices, positions: Indices, span: int) -> _Queries:
        hidden = np.where(np.arange(span) <= positions[:, None, :, None], np.float32(0), np.float32(-np.inf))
        return _Queries(rows, columns, positions.shape[1], hidden)

    def _reserve(self, length: int) -> None:
        """Room for `length` positions in each row; a second growth is generous, because then it is a text that grows."""
        size = self.keys[0].shape[2]
        if length <= size:
            return
        more = length - size if not size else max(length - size, size, 64)
        for store in (self.keys, self.values):
            store[:] = [np.pad(array, ((0, 0), (0, 0), (0, more), (0, 0))) for array in store]

    def _store(self, index: int, layer: _Layer, x: Array, angles: tuple[Array, Array], rows: Indices, positions: Indices) -> None:
        shape = self._model.shape
        both = (x @ layer.key_value).reshape(len(x), 2, shape.shared_heads, shape.head)
        keys = _turned(_normal(both[:, 0], layer.key_norm, shape.epsilon), *angles)
        self.keys[index][:, rows, positions] = keys.swapaxes(0, 1)
        self.values[index][:, rows, positions] = both[:, 1].swapaxes(0, 1)

    def _attend(
        self, index: int, layer: _Layer, x: Array, angles: tuple[Array, Array], queries: _Queries, rows: Indices, span: int
    ) -> Array:
        shape = self._model.shape
        asked = (x @ layer.query).reshape(len(x), shape.heads, shape.head)
        asked = _turned(_normal(asked, layer.query_norm * np.float32(shape.head**-0.5), shape.epsilon), *angles)
        group = shape.heads // shape.shared_heads
        padded = np.zeros((shape.shared_heads, len(rows), group, queries.width, shape.head), np.float32)
        padded[:, queries.rows, :, queries.columns] = asked.reshape(len(x), shape.shared_heads, group, shape.head)
        keys, values = self.keys[index], self.values[index]
        if len(rows) < keys.shape[1]:
            keys, values = keys[:, rows], values[:, rows]
        seen = _attention(
            padded, self._prefix.keys[index], self._prefix.values[index], keys[:, :, :span], values[:, :, :span], queries.hidden
        )
        return np.ascontiguousarray(seen[:, queries.rows, :, queries.columns]).reshape(len(x), -1)


def _attention(queries: Array, prefix_keys: Array, prefix_values: Array, keys: Array, values: Array, hidden: Array) -> Array:
    """One softmax over two sets of keys: the prefix, which all rows share, and each row's own.

    Queries come as (heads, row, group, column, head size). One head at a time keeps the scores in the processor's cache.
    """
    heads, rows, group, width, size = queries.shape
    seen = np.empty_like(queries)
    for head in range(heads):
        flat = queries[head].reshape(rows * group * width, size)
        shared = flat @ prefix_keys[head].T
        own = flat.reshape(rows, group * width, size) @ keys[head].swapaxes(1, 2)
        own = (own.reshape(rows, group, width, -1) + hidden).reshape(len(flat), -1)
        highest = own.max(1, keepdims=True)
        if shared.shape[1]:
            np.maximum(highest, shared.max(1, keepdims=True), out=highest)
        for scores in (shared, own):
            np.subtract(scores, highest, out=scores)
            np.exp(scores, out=scores)
        total = shared.sum(1, keepdims=True) + own.sum(1, keepdims=True)
        mixed = (own.reshape(rows, group * width, -1) @ values[head]).reshape(flat.shape)
        mixed += shared @ prefix_values[head]
        mixed /= total
        seen[head] = mixed.reshape(rows, group, width, size)
    return seen


def _normal(x: Array, weight: Array, epsilon: float) -> Array:
    """Root mean square normalisation over the last axis."""
    squares = np.einsum("...i,...i->...", x, x)[..., None]
    scale: Array = np.float32(1) / np.sqrt(squares / np.float32(x.shape[-1]) + np.float32(epsilon))
    scaled: Array = x * scale
    scaled *= weight
    return scaled


def _turned(x: Array, cosines: Array, sines: Array) -> Array:
    """Rotary positions, halves form: token, head, head size."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = np.empty_like(x)
    turned[..., :half] = first * cosines - second * sines
    turned[..., half:] = second * cosines + first * sines
    return turned


def _gated(x: Array, layer: _Layer) -> Array:
    gate = x @ layer.gate
    gate /= np.float32(1) + np.exp(-gate)
    gate *= x @ layer.up
    down: Array = gate @ layer.down
    return down


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
                self._raw.update(deserialize(path.read_bytes()))
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

    def matrix(self, name: str, outputs: int, inputs: int) -> Array:
        """A weight of a linear layer, turned to be multiplied from the right."""
        return np.ascontiguousarray(self.take(name, outputs, inputs).T)


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
    key, value = (tensors.matrix(f"{attention}{kind}_proj.weight", shared, shape.hidden) for kind in "kv")
    return _Layer(
        norm=tensors.take(name + "input_layernorm.weight", shape.hidden),
        query=tensors.matrix(attention + "q_proj.weight", asked, shape.hidden),
        key_value=np.concatenate([key, value], axis=1),
        query_norm=tensors.take(attention + "q_norm.weight", shape.head),
        key_norm=tensors.take(attention + "k_norm.weight", shape.head),
        output=tensors.matrix(attention + "o_proj.weight", shape.hidden, asked),
        middle_norm=tensors.take(name + "post_attention_layernorm.weight", shape.hidden),
        gate=tensors.matrix(middle + "gate_proj.weight", shape.perceptron, shape.hidden),
        up=tensors.matrix(middle + "up_proj.weight", shape.perceptron, shape.hidden),
        down=tensors.matrix(middle + "down_proj.weight", shape.hidden, shape.perceptron),
    )
