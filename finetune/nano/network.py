"""The forward pass of the decoder, written out: one shared prefix, rows behind it.

It runs over the parameters of transformers' Llama (a test compares the two), so that `model.save` writes what was trained, and
it shows what training needs beside the logits: the state after any layer, and where a head looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM

WORKING = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
"""The type of the matrix products: on processors with such arithmetic bfloat16 takes a quarter of the time, on one without it
took 50 times as long."""


@dataclass(frozen=True)
class Looks:
    """How one layer's heads attend: queries (rows, heads, tokens, size) and keys (rows, heads, before + tokens, size)."""

    queries: torch.Tensor
    keys: torch.Tensor

    def every(self, step: int) -> Looks:
        """Those of one row in so many."""
        return Looks(self.queries[::step], self.keys[::step])


class _Lookup(torch.autograd.Function):
    """Rows of a table; their gradient goes straight into the table's. Autograd would fill a table of zeros for every call."""

    @staticmethod
    def forward(ctx, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        ctx.table = table
        ctx.save_for_backward(ids)
        return table[ids]

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[None, None]:
        if ctx.table.grad is None:
            ctx.table.grad = torch.zeros_like(ctx.table)
        (ids,) = ctx.saved_tensors
        ctx.table.grad.index_add_(0, ids.flatten(), gradient.flatten(0, -2))
        return None, None


def lookup(table: nn.Parameter, ids: torch.Tensor) -> torch.Tensor:
    """Rows (*ids, width) of embeddings; a backward pass adds to `table.grad`, and `torch.autograd.grad` sees nothing of it."""
    return _Lookup.apply(table, ids)


def rotations(positions: torch.Tensor, size: int, theta: float = 10000.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021), each (*positions, size)."""
    angles = positions.float()[..., None] * theta ** (-torch.arange(0, size, 2).float() / size)
    return torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()


def normal(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """RMSNorm in float32."""
    return functional.rms_norm(hidden, hidden.shape[-1:], weight, 1e-6)


def turn(hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    left, right = hidden.chunk(2, -1)
    return hidden * cosines + torch.cat((-right, left), -1) * sines


def linear(hidden: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """The layer in the working type."""
    bias = None if layer.bias is None else layer.bias.to(WORKING)
    return functional.linear(hidden.to(WORKING), layer.weight.to(WORKING), bias)


def gated(hidden: torch.Tensor, mlp: nn.Module) -> torch.Tensor:
    """A layer's perceptron (SwiGLU, Shazeer 2020)."""
    return linear(functional.silu(linear(hidden, mlp.gate_proj)) * linear(hidden, mlp.up_proj), mlp.down_proj).float()


Past = list[tuple[torch.Tensor, torch.Tensor]]


def forward(
    network: LlamaForCausalLM, ids: torch.Tensor, past: Past | None = None, depth: int | None = None, frozen: int = 0
) -> tuple[list[torch.Tensor], Past, list[Looks]]:
    """The states of `ids` (rows, tokens) after each layer, first the embeddings; keys and values; how each layer looks.

    `past` holds keys and values of one prefix (a single row) that every row continues. Rows are padded on the right: causal
    attention keeps padding from what is before it. Only the first `depth` layers run; the embeddings and the first `frozen`
    layers are not learned, which saves their backward pass.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        hidden = lookup(network.model.embed_tokens.weight, ids)
    return climb(network, hidden, past, range(len(network.model.layers))[:depth], frozen)


def climb(
    network: LlamaForCausalLM,
    hidden: torch.Tensor,
    past: Past | None,
    layers: range,
    frozen: int = 0,
    places: torch.Tensor | None = None,
) -> tuple[list[torch.Tensor], Past, list[Looks]]:
    """As `forward`, over some layers, from the states (rows, tokens, width) before the first of them; `past` is of the same.

    With `places` (one of each row) the last layer runs for these alone, and its states are (rows, 1, width); the layers before
    it are learned through these places and what they look at: other tokens get their states, which nothing is learned from.
    """
    learned, states, cache, looks = torch.is_grad_enabled(), [hidden], [], []
    before = past[0][0].shape[2] if past else 0
    every, rows = torch.arange(hidden.shape[1])[None], torch.arange(len(hidden))
    for index, number in enumerate(layers):
        behind = past[index] if past else None
        if places is not None:
            with torch.no_grad():
                rest = None if number == layers[-1] else _layer(network, number, hidden, behind, before, every)[0]
            hidden, pair, look = _layer(network, number, hidden, behind, before, places[:, None])
            # queries where tokens stand, so that looks are read one way
            spread = look.queries.new_zeros(len(rows), look.queries.shape[1], every.shape[1], look.queries.shape[3])
            spread[rows, :, places] = look.queries[:, :, 0]
            look = Looks(spread, look.keys)
            if rest is not None:
                hidden = rest.index_put((rows, places), hidden[:, 0])
        else:
            with torch.set_grad_enabled(learned and number >= frozen):
                hidden, pair, look = _layer(network, number, hidden, behind, before, every)
        states.append(hidden)
        cache.append(pair)
        looks.append(look)
    return states, cache, looks


def _layer(
    network: LlamaForCausalLM,
    number: int,
    hidden: torch.Tensor,
    past: tuple[torch.Tensor, torch.Tensor] | None,
    before: int,
    asking: torch.Tensor,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Looks]:
    """One layer for the tokens `asking` (rows or 1, tokens) of each row: their states; keys and values of all; the look."""
    config, layer = network.config, network.model.layers[number]
    size, groups = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    rows, tokens, _ = hidden.shape
    inside = normal(hidden, layer.input_layernorm.weight)
    if len(asking) > 1 or asking.shape[1] < tokens:
        hidden = hidden[torch.arange(rows)[:, None], asking]
        asked = inside[torch.arange(rows)[:, None], asking]
    else:
        asked = inside
    attention = layer.self_attn
    queries, keys, values = (
        linear(read, matrix).view(rows, read.shape[1], -1, size).transpose(1, 2)
        for read, matrix in ((asked, attention.q_proj), (inside, attention.k_proj), (inside, attention.v_proj))
    )
    cosines, sines = (part.to(WORKING) for part in rotations(torch.arange(before, before + tokens), size))
    keys = turn(keys, cosines, sines)
    queries = turn(queries, cosines[asking][:, None], sines[asking][:, None])
    seen = torch.arange(tokens) <= asking[:, None, :, None]
    wide, wide_past = (
        [part.repeat_interleave(groups, 1) if groups > 1 else part for part in parts] for parts in ((keys, values), past or ())
    )
    mixed = attend(queries, *wide, seen, *wide_past)
    hidden = hidden + linear(mixed.transpose(1, 2).flatten(2), attention.o_proj).float()
    looked = torch.cat((past[0].expand(rows, -1, -1, -1), keys), 2) if past else keys
    after = hidden + gated(normal(hidden, layer.post_attention_layernorm.weight), layer.mlp)
    return after, (keys, values), Looks(queries, looked)


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    seen: torch.Tensor,
    past_keys: torch.Tensor | None = None,
    past_values: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention (rows, heads, asking, size) of each row to its own tokens, where they are `seen` (rows or 1, 1, asking,
    tokens), and to all of a prefix (1, heads, before, size) that is not copied for every row.

    The products are written out: scaled_dot_product_attention in bfloat16, with its backward pass, takes more than five times
    as long (log: run 60).
    """
    rows, heads, asking, size = queries.shape
    asked = queries * size**-0.5
    own = torch.matmul(asked, keys.transpose(-1, -2)).masked_fill(~seen, -torch.inf)
    if past_keys is None:
        return own.softmax(-1) @ values
    flat = asked.transpose(0, 1).reshape(heads, rows * asking, size)
    prefix = (flat @ past_keys[0].transpose(-1, -2)).view(heads, rows, asking, -1)
    chances = torch.cat((prefix, own.transpose(0, 1)), -1).softmax(-1)
    on_prefix, on_own = chances.split((prefix.shape[-1], own.shape[-1]), -1)
    mixed = (on_prefix.reshape(heads, rows * asking, -1) @ past_values[0]).view(heads, rows, asking, size)
    return (mixed + on_own @ values.transpose(0, 1)).transpose(0, 1)


def last(network: LlamaForCausalLM, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
    """Logits over the vocabulary, or over some of its tokens, from states after the last layer."""
    inside, table = normal(hidden, network.model.norm.weight).to(WORKING), network.lm_head.weight
    return functional.linear(inside, (table if ids is None else table[ids]).to(WORKING)).float()
