"""A Qwen3 or Llama decoder in plain numpy, float32: what `nano` runs without torch.

Rows share the keys and values of one prefix, which are computed once; each row has keys and values of its own behind it. Rows
of a step are packed: one matrix product for the tokens of all of them, and attention per row over the prefix and itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderator.engines.weights import Array, Layer, Weights

Indices = NDArray[np.intp]

_CHUNK: Final = 512
"""Tokens of one row that are run at a time: bounds the attention scores of a long row."""

_BLOCK: Final = 256
"""Tokens that go through a layer's perceptron at a time: its wide middle then stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of a shared beginning, for each layer: heads, positions, head size."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    length: int


class Decoder:
    """The weights, and the steps of arithmetic over them."""

    def __init__(self, folder: Path):
        self.weights = Weights.read(folder)
        self.shape = shape = self.weights.shape
        self.context = shape.context
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
        means = np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1]
        normal: Array = x / np.sqrt(means + self.shape.epsilon)
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
        self.keys = [np.zeros(shape, np.float32) for _ in model.weights.layers]
        self.values = [np.zeros(shape, np.float32) for _ in model.weights.layers]

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
        x = model.weights.embedding[np.fromiter((index for ids in new.values() for index in ids), np.intp)]
        for index, layer in enumerate(model.weights.layers):
            normal = model.normal(x, layer.norm)
            self._store(index, layer, normal, step)
            if index == len(model.weights.layers) - 1:
                # behind the last layer only the last token of each row is read: the others need not be finished
                x, normal, step = x[lasts], normal[lasts], step.only(lasts)
            x += layer.output(self._attend(index, layer, normal, step))
            for block in (x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)):
                block += _gated(model.normal(block, layer.middle_norm), layer)
        self._lengths[step.rows] = step.positions + 1
        return model.normal(x, model.weights.norm) @ model.weights.unembedding.T

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

    def _store(self, index: int, layer: Layer, x: Array, step: _Step) -> None:
        """Computes and keeps the keys and values of all new tokens."""
        shape = self._model.shape
        both = layer.key_value(x).reshape(len(x), 2, shape.shared_heads, shape.head)
        keys = self._placed(both[:, 0], layer.key_norm, step)
        rows = step.rows[step.owners]
        self.keys[index][:, rows, step.positions] = keys.swapaxes(0, 1)
        self.values[index][:, rows, step.positions] = both[:, 1].swapaxes(0, 1)

    def _attend(self, index: int, layer: Layer, x: Array, step: _Step) -> Array:
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


def _gated(x: Array, layer: Layer) -> Array:
    gate = layer.gate(x)
    with np.errstate(over="ignore"):  # far below zero: divided by infinity, which is the 0 it should be
        np.divide(gate, 1 + np.exp(-gate), out=gate)
    np.multiply(gate, layer.up(x), out=gate)
    return layer.down(gate)
