"""The weights of a Qwen3 or Llama decoder, as a folder of config.json and safetensors holds them; float32.

The two are one arithmetic. What a layer of one has and a layer of the other lacks is data: norms of queries and keys, biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from moderator.engines.folder import read_json, weight_files
from moderator.errors import EngineError

Array = NDArray[np.float32]

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
class Linear:
    """A matrix as it is multiplied, input by output, and what is added to the product, if anything."""

    matrix: Array
    bias: Array | None

    def __call__(self, x: Array) -> Array:
        product: Array = x @ self.matrix
        if self.bias is not None:
            product += self.bias
        return product

    def beside(self, other: Linear) -> Linear:
        """Both in one product, this one's outputs first. Either both have a bias or neither."""
        biases = [linear.bias for linear in (self, other) if linear.bias is not None]
        return Linear(np.concatenate([self.matrix, other.matrix], axis=1), np.concatenate(biases) if biases else None)

    def divided(self, divisor: np.float32) -> Linear:
        """The same with smaller outputs."""
        return Linear(self.matrix / divisor, None if self.bias is None else self.bias / divisor)


@dataclass(frozen=True, slots=True)
class Layer:
    """The scale of attention is in `query_norm`, or without norms in `query`."""

    norm: Array
    query: Linear
    key_value: Linear
    query_norm: Array | None
    key_norm: Array | None
    output: Linear
    middle_norm: Array
    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """All that a decoder multiplies with."""

    shape: Shape
    embedding: Array
    unembedding: Array
    norm: Array
    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, folder: Path) -> Weights:
        """The weights of a folder. Raises `EngineError` where it holds less, more or something else than its config says."""
        shape, tensors = Shape.read(folder), _Tensors(folder)
        embedding = tensors.take("model.embed_tokens.weight", shape.vocabulary, shape.hidden)
        weights = cls(
            shape=shape,
            embedding=embedding,
            unembedding=embedding if shape.tied else tensors.take("lm_head.weight", shape.vocabulary, shape.hidden),
            norm=tensors.take("model.norm.weight", shape.hidden),
            layers=tuple(_layer(tensors, f"model.layers.{index}.", shape) for index in range(shape.layers)),
        )
        tensors.finish(unread=["lm_head.weight"] if shape.tied else [])
        return weights


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

    def linear(self, name: str, outputs: int, inputs: int, *, biased: bool) -> Linear:
        """A linear layer, its weight turned to be multiplied from the right."""
        matrix = np.ascontiguousarray(self.take(name + ".weight", outputs, inputs).T)
        return Linear(matrix, self.take(name + ".bias", outputs) if biased else None)

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


def _layer(tensors: _Tensors, name: str, shape: Shape) -> Layer:
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
    return Layer(
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
