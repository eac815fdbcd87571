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
"""The type of the matrix products: a processor without bfloat16 arithmetic takes 50 times as long over it."""


@dataclass(frozen=True)
class Looks:
    """How one layer's heads attend: queries (rows, heads, tokens, size) and keys (rows, heads, before + tokens, size)."""

    queries: torch.Tensor
    keys: torch.Tensor

    def every(self, step: int) -> Looks:
        """Those of one row in so many."""
        return Looks(self.queries[::step], self.keys[::step])


def rotations(positions: torch.Tensor, size: int, theta: float = 10000.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021), each (tokens, size)."""
    angles = positions.float()[:, None] * theta ** (-torch.arange(0, size, 2).float() / size)
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
    config = network.config
    rows, tokens = ids.shape
    before = past[0][0].shape[2] if past else 0
    size, groups = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    cosines, sines = (part.to(WORKING) for part in rotations(torch.arange(before, before + tokens), size))
    mask = torch.ones(tokens, before + tokens, dtype=torch.bool).tril(before)
    learned = torch.is_grad_enabled()
    with torch.set_grad_enabled(learned and not frozen):
        hidden = network.model.embed_tokens(ids)
    states, cache, looks = [hidden], [], []
    for index, layer in enumerate(network.model.layers[:depth]):
        with torch.set_grad_enabled(learned and index >= frozen):
            attention = layer.self_attn
            inside = normal(hidden, layer.input_layernorm.weight)
            queries, keys, values = (
                linear(inside, matrix).view(rows, tokens, -1, size).transpose(1, 2)
                for matrix in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            queries, keys = turn(queries, cosines, sines), turn(keys, cosines, sines)
            cache.append((keys, values))
            if past:
                keys = torch.cat((past[index][0].expand(rows, -1, -1, -1), keys), 2)
                values = torch.cat((past[index][1].expand(rows, -1, -1, -1), values), 2)
            looks.append(Looks(queries, keys))
            mixed = functional.scaled_dot_product_attention(
                queries, keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1), attn_mask=mask
            )
            hidden = hidden + linear(mixed.transpose(1, 2).flatten(2), attention.o_proj).float()
            hidden = hidden + gated(normal(hidden, layer.post_attention_layernorm.weight), layer.mlp)
            states.append(hidden)
    return states, cache, looks


def last(network: LlamaForCausalLM, hidden: torch.Tensor) -> torch.Tensor:
    """Logits over the vocabulary from states after the last layer."""
    inside = normal(hidden, network.model.norm.weight).to(WORKING)
    return functional.linear(inside, network.lm_head.weight.to(WORKING)).float()
