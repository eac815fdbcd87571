"""Where quotes begin: heads of the last layer that look at what people marked, and take the word along.

Which words of a content people mark as what makes it a violation, a linear reader tells; another tells where a quote begins.
The heads look from there at such words and move the answer towards them (copying heads: Elhage et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from finetune.nano import augment, lessons, network, packing
from finetune.nano.conversion import ridge, size_of, tell
from moderator.engines.chat import ChatTokenizer

PART = 0.6
"""Marks of more than this share of a content's tokens say nothing about single words."""
OFTEN = 5
"""How often marked words count, and places where quotes begin."""
STRENGTH = 0.01
"""Of the ridge regressions."""
LOOKING = 12.0
"""How much more a marked word gets of a look than another one, in nats."""
LOUD = 0.5
"""How large what is said stands beside an entry of the state."""


@dataclass(frozen=True)
class Words:
    """As the last layer reads them: tokens of contents with people's marks (`ids`, `states`: tokens, width; `marked`), and
    tokens of answers (`written`: tokens, width), those behind which a quote begins (`begins`)."""

    ids: torch.Tensor
    states: torch.Tensor
    marked: torch.Tensor
    written: torch.Tensor
    begins: torch.Tensor


@torch.no_grad()
def read(decoder: LlamaForCausalLM, chat: ChatTokenizer, groups: Iterable[augment.Group], longest: int) -> Words:
    """Contents and answers of the groups before the last layer."""
    parts: list[tuple[torch.Tensor, ...]] = []
    below = len(decoder.model.layers) - 1
    for group in groups:
        prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(group.stance)))
        asked = packing.ask(chat, [item.prompt for item in group.items])
        rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
        _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]), None, below)
        for batch in packing.batches([row for row in rows if row.quotes and len(row.ids) <= longest], 2048):
            for row, states in zip(batch, network.forward(decoder, packing.padded(batch), past, below)[0][-1], strict=True):
                parts.append(_of_row(row, states))
    return Words(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _of_row(row: packing.Row, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    places = {place for quote in row.quotes for place in quote.sources}
    first, past = (0, row.read) if row.example.quotes and len(places) < PART * row.read else (0, 0)
    begins = torch.zeros(len(row.ids) - row.read, dtype=torch.bool)
    begins[[quote.place - row.read for quote in row.quotes]] = True
    marked = torch.tensor([place in places for place in range(first, past)], dtype=torch.bool)
    ids = torch.tensor(row.ids[first:past], dtype=torch.long)
    return ids, states[first:past], marked, states[row.read : len(row.ids)], begins


@torch.no_grad()
def write(decoder: LlamaForCausalLM, words: Words) -> None:
    """Write the heads; where people marked nothing they stay as they are."""
    if not words.marked.any():
        return
    layer, table = decoder.model.layers[-1], decoder.model.embed_tokens.weight.detach().float()
    attention, size = layer.self_attn, decoder.config.head_dim
    seen, asking = (network.normal(states, layer.input_layernorm.weight) for states in (words.states, words.written))
    told, told_bias = tell(seen, words.marked, OFTEN, STRENGTH)
    begun, begun_bias = tell(asking, words.begins, OFTEN, STRENGTH)
    strongest = torch.linalg.eigh(torch.cov(table.double().T))[1].flip(1).float()
    for head, along in zip(lessons.QUOTING, strongest[:, : len(lessons.QUOTING) * size].split(size, 1), strict=True):
        rows, slowest = slice(head * size, (head + 1) * size), head * size + size // 2 - 1
        for matrix in (attention.q_proj, attention.k_proj):
            matrix.weight[rows], matrix.bias[rows] = 0.0, 0.0
        attention.q_proj.weight[slowest], attention.q_proj.bias[slowest] = begun, begun_bias
        attention.k_proj.weight[slowest] = LOOKING * size**0.5 * told
        attention.k_proj.bias[slowest] = LOOKING * size**0.5 * told_bias
        every = (table - table.mean(0)) @ along
        weight, bias = ridge(seen, every[words.ids] / size_of(every), torch.zeros(size, table.shape[1]), STRENGTH)
        attention.v_proj.weight[rows], attention.v_proj.bias[rows] = weight, bias
        attention.o_proj.weight[:, rows] = LOUD * size_of(words.written) * along
