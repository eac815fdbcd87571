"""The layer that recognises topics, written from what the lessons read; and the heads that compare, fitted to it alone.

A head compares linearly, and topics are not linear in a state: most are absent, and two that are absent are nothing in common.
So one layer's perceptron turns each topic that a linear reader finds into a number from 0 to 1 along an axis of its own, for a
content and for a line of the policy alike, and heads of the next layer begin by comparing these numbers. What each set by its
own lights calls a violation gets an axis too: nothing that a line could share, but the best that is known of a content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from finetune.nano import evidence, lessons, network, packing, pairing
from finetune.nano.shelf import Shelf, Volume
from finetune.nano.stance import SETS, Ruling, Stance
from finetune.nano.topical import Closeness
from finetune.nano.train import Loss
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

SOFT = 2.0
"""(silu(z + 2) - silu(z - 2)) / 4 is the logistic function of z up to 0.11."""
LOUD = 3.0
"""How large a topic stands beside an entry of the state."""
MATCHED = 2.5
"""How much a head makes of a topic that content and line share, before anything is fitted."""
SLOW = 10
"""Axes of a head whose rotations are slow enough to compare over the length of a policy; the slowest two are left to `REST`."""
REST = -1
"""The pair of rotations, from the end, by which heads that have nothing to do look away."""


@torch.no_grad()
def write(
    decoder: LlamaForCausalLM, taught: lessons.Lessons, number: int, states: torch.Tensor, beside: torch.Tensor | None = None
) -> torch.Tensor:
    """Make layer `number` recognise topics, and nothing else; the heads for rules of the next layer compare them.

    `states` (tokens, width) are examples of what the layer reads; topics get the axes that these use least, at right angles to
    `beside` (width, some). Returns the axes (width, topics), the last of them those of `SETS`. Raises ValueError when the layer
    has fewer than two neurons a topic.
    """
    topics = lessons.WIDTH
    layer = decoder.model.layers[number]
    axes, mlp = evidence.axes([states], topics, beside), layer.mlp
    if 2 * topics > mlp.gate_proj.out_features:
        raise ValueError(f"{topics} topics need {2 * topics} neurons")
    for silent in (layer.self_attn.o_proj, mlp.down_proj):
        nn.init.zeros_(silent.weight)
        nn.init.zeros_(silent.bias)
    layer.post_attention_layernorm.weight.fill_(1.0)
    size = states.pow(2).mean(-1).sqrt().mean() * LOUD
    for sign, start in ((1, 0), (-1, topics)):
        rows = slice(start, start + topics)
        mlp.gate_proj.weight[rows] = taught.topics.weight * taught.weight
        mlp.gate_proj.bias[rows] = taught.topics.bias + sign * SOFT
        mlp.up_proj.weight[rows] = 0.0
        mlp.up_proj.bias[rows] = 1.0
        mlp.down_proj.weight[:, rows] = sign * size / (2 * SOFT) * axes
    for later in decoder.model.layers[number + 1 :]:
        readers = (later.self_attn.v_proj, later.mlp.gate_proj, later.mlp.up_proj)
        norms = (later.input_layernorm, later.post_attention_layernorm, later.post_attention_layernorm)
        for reader, norm in zip(readers, norms, strict=True):
            ignore(reader, norm, axes)
    _compare(decoder.model.layers[number + 1], axes[:, : -len(SETS)], decoder.config.head_dim)
    return axes


def ignore(reader: nn.Linear, norm: nn.Module, axes: torch.Tensor) -> None:
    """Make a matrix that reads behind a norm read nothing along orthonormal axes (width, number) of the state."""
    reader.weight -= (reader.weight * norm.weight) @ axes @ axes.T / norm.weight


def _compare(layer: nn.Module, axes: torch.Tensor, size: int) -> None:
    """Queries and keys of the heads for rules: the same few sums of topics, on the slowest rotations."""
    attention, half = layer.self_attn, size // 2
    slow = torch.tensor([axis for pair in range(half + REST - SLOW // 2, half + REST) for axis in (pair, pair + half)])
    for head in lessons.HEADS[0]:
        mixed, _ = torch.linalg.qr(torch.randn(axes.shape[1], SLOW))
        for matrix in (attention.q_proj, attention.k_proj):
            matrix.weight[head * size : (head + 1) * size].normal_(0.0, 0.01)
            matrix.bias[head * size : (head + 1) * size] = 0.0
            matrix.weight[head * size + slow] = MATCHED * (axes @ mixed).T / layer.input_layernorm.weight


def optimizer(decoder: LlamaForCausalLM, config: dict) -> torch.optim.AdamW:
    """Of the layer that recognises, and of queries and keys of the layer that compares, alone, with the norms before them."""
    recognising, comparing = (decoder.model.layers[config[part]] for part in ("depth", "compare"))
    parts = (
        recognising.post_attention_layernorm,
        recognising.mlp,
        comparing.input_layernorm,
        comparing.self_attn.q_proj,
        comparing.self_attn.k_proj,
    )
    learned = [parameter for part in parts for parameter in part.parameters()]
    return torch.optim.AdamW(learned, config["rate"], betas=(0.9, 0.95), weight_decay=0.0, fused=True)


def losses(config: dict, decoder: LlamaForCausalLM, chat: ChatTokenizer, shelf: Shelf, closeness: Closeness) -> Iterator[Loss]:
    """Losses without end, of looks alone."""
    for stance, drawn in pairing.pairs(config, shelf, closeness):
        yield look_loss(config, decoder, chat, stance, drawn)


def look_loss(
    config: dict, decoder: LlamaForCausalLM, chat: ChatTokenizer, stance: Stance, drawn: Sequence[tuple[Volume, Ruling]]
) -> Loss:
    """What the looks lose where labels are read, of a layer that recognises and heads that compare, and of nothing else.

    The layer that recognises does not attend here, which is how `write` leaves it.
    """
    depth = config["depth"]
    prefix = packing.encode_prefix(chat, compile_prompt(stance.policy, "nano").system, list(lessons.line_texts(stance)))
    with torch.no_grad():
        before = network.forward(decoder, torch.tensor([prefix.ids]), None, depth)[0][-1]
    own = pad_sequence([volume.states for volume, _ in drawn], batch_first=True).float()
    rows, places = torch.arange(len(drawn)), torch.tensor([volume.row.read for volume, _ in drawn])
    recognising, comparing = (decoder.model.layers[config[part]] for part in ("depth", "compare"))

    def recognised(hidden: torch.Tensor) -> torch.Tensor:
        inside = network.normal(hidden, recognising.post_attention_layernorm.weight)
        return network.normal(hidden + network.gated(inside, recognising.mlp), comparing.input_layernorm.weight)

    def heads(inside: torch.Tensor, matrix: nn.Linear, where: torch.Tensor) -> torch.Tensor:
        split = network.linear(inside, matrix).view(*inside.shape[:2], -1, decoder.config.head_dim).transpose(1, 2)
        return network.turn(split, *(part[:, None] for part in network.rotations(where, decoder.config.head_dim)))

    asked = heads(recognised(own[rows, places][:, None]), comparing.self_attn.q_proj, len(prefix.ids) + places[:, None])
    with torch.no_grad():
        rest = recognised(own)
    here = len(prefix.ids) + torch.arange(own.shape[1])[None]
    keys = heads(recognised(before), comparing.self_attn.k_proj, torch.arange(len(prefix.ids))[None])
    keys = torch.cat((keys.expand(len(rows), -1, -1, -1), heads(rest, comparing.self_attn.k_proj, here)), 2)
    queries = asked.new_zeros(len(rows), asked.shape[1], own.shape[1], asked.shape[3])
    queries[rows, :, places] = asked[:, :, 0]
    looking = [replace(volume.row, looks=pairing.looks(stance, volume, ruling)) for volume, ruling in drawn]
    means = {
        f"look{part}": values.mean()
        for part, values in lessons.look_loss(looking, prefix, network.Looks(queries, keys)).items()
    }
    return sum(means.values()), {name: value.item() for name, value in means.items()}
