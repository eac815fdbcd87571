"""Heads that begin as copying: they carry a rule's id from its line to the answer, and the words of a quote.

Where such a head should look is taught (`lessons`); what it takes along is a product of two matrices that maps the embedding of
a token onto itself (a copying head: Elhage et al. 2021), and small models are long in finding one. So values begin as ridge
regressions from the state of a token to its embedding along some directions, and outputs as the way back.

An id goes three steps: to the tokens of its line, from the line to where the label is read, from there to where it is written.
On its way it stands along axes of its own that nothing else reads, those of its first token and those of its last.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from finetune.nano import evidence, lessons, network, pairing
from finetune.nano.conversion import ridge, size_of
from finetune.nano.recognition import ignore
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

CARRIERS = lessons.HEADS[0][:2]
"""The heads that look at rules and take the first and the last token of their ids along; the others say what they like."""
LOUD = 3.0
"""How large what is said stands beside an entry of the state."""
STRENGTH = 0.01
"""Of the ridge regressions."""

Seen = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Tokens (length) and their states (length, width)."""


def directions(table: torch.Tensor, number: int, size: int) -> torch.Tensor:
    """Orthonormal directions (number, size, width) along which the embeddings vary most, dealt out in turn."""
    strongest = torch.linalg.eigh(torch.cov(table.double().T))[1].flip(1)[:, : number * size].float()
    return strongest.T.reshape(size, number, -1).transpose(0, 1).contiguous()


@torch.no_grad()
def write(
    decoder: LlamaForCausalLM,
    chat: ChatTokenizer,
    depth: int,
    states: torch.Tensor,
    pairs: Iterable[pairing.Pair],
    number: int,
) -> None:
    """Make the heads that name, carry and copy begin as copying, fitted on so many policies and the contents behind them.

    `states` (tokens, width) are examples of what layer `depth` reads, and those that `recognition.write` was given.
    """
    layers, table, size = decoder.model.layers, decoder.model.embed_tokens.weight, decoder.config.head_dim
    free = evidence.axes(states, lessons.WIDTH + len(lessons.NAMING) * size)[:, lessons.WIDTH :]
    hide(layers[depth:], free)
    met, ways, loud = list(itertools.islice(pairs, number)), free.T.split(size), size_of(states)
    names, words = directions(table, len(lessons.NAMING), size), directions(table, len(lessons.COPYING[1]), size)
    lines = policies_read(decoder, chat, depth, met)
    for head, some, way in zip(lessons.NAMING, names, ways, strict=True):
        write_head(layers[depth], head, *readout(table, some, layers[depth].input_layernorm.weight, lines), loud * way)
    for head, way in zip(CARRIERS, ways, strict=True):
        write_head(layers[depth + 1], head, *passed_on(way, layers[depth + 1]), loud * way)
    texts = contents_read(decoder, chat, depth, met)
    said = LOUD * size_of(torch.cat([found for _, found in texts]))
    for head, way, some in zip(lessons.COPYING[0], itertools.cycle(ways), itertools.cycle(names)):
        write_head(layers[-1], head, *passed_on(way, layers[-1]), said * some)
    for head, some in zip(lessons.COPYING[1], words, strict=True):
        write_head(layers[-1], head, *readout(table, some, layers[-1].input_layernorm.weight, texts), said * some)


def hide(layers: Iterable[nn.Module], axes: torch.Tensor) -> None:
    """Make layers read nothing along orthonormal axes (width, number)."""
    for layer in layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm, readers in (
            (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
        ):
            for reader in readers:
                ignore(reader, norm, axes)


def write_head(layer: nn.Module, head: int, weight: torch.Tensor, bias: torch.Tensor, along: torch.Tensor) -> None:
    """Make a head take `weight` (size, width) of what the layer reads, and put it down along directions (size, width)."""
    rows = slice(head * len(along), (head + 1) * len(along))
    layer.self_attn.v_proj.weight[rows], layer.self_attn.v_proj.bias[rows] = weight, bias
    layer.self_attn.o_proj.weight[:, rows] = along.T


def passed_on(way: torch.Tensor, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of values that are what a state is along axes (size, width), beside its size."""
    return way / layer.input_layernorm.weight, torch.zeros(len(way))


def policies_read(decoder: LlamaForCausalLM, chat: ChatTokenizer, depth: int, pairs: Sequence[pairing.Pair]) -> Seen:
    """Policies as layer `depth` reads them."""
    prefixes = [torch.tensor(chat.prefix(compile_prompt(stance.policy, "nano").system)) for stance, _ in pairs]
    return [(ids, network.forward(decoder, ids[None], None, depth)[0][-1][0]) for ids in prefixes]


def contents_read(decoder: LlamaForCausalLM, chat: ChatTokenizer, depth: int, pairs: Sequence[pairing.Pair]) -> Seen:
    """Contents behind policies as the last layer reads them."""
    found, above = [], range(depth, len(decoder.model.layers) - 1)
    for (_, before), (_, drawn) in zip(policies_read(decoder, chat, depth, pairs), pairs, strict=True):
        _, past, _ = network.climb(decoder, before[None], None, above)
        own = pad_sequence([volume.states for volume, _ in drawn], batch_first=True).float()
        for (volume, _), states in zip(drawn, network.climb(decoder, own, past, above)[0][-1], strict=True):
            found.append((torch.tensor(volume.row.ids[: volume.row.read]), states[: volume.row.read]))
    return found


def readout(table: torch.Tensor, along: torch.Tensor, norm: torch.Tensor, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (size, width) and bias with the least squares from states, as a layer with this norm reads them, to what the
    embeddings of their tokens are along directions (size, width), less the mean of all embeddings, in units of its own size."""
    ids, states = (torch.cat(parts) for parts in zip(*seen, strict=True))
    every = (table - table.mean(0)) @ along.T
    return ridge(network.normal(states, norm), every[ids] / size_of(every), torch.zeros(len(along), table.shape[1]), STRENGTH)
