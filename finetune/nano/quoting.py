"""Where quotes begin: heads of the last layer that look at what people marked, and take the word along.

Which words of a content people mark as what makes it a violation, a linear reader tells; another tells where a quote begins.
The heads look from there at such words, take their codes (`codes`) along and move the answer towards them (copying heads:
Elhage et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaForCausalLM

from finetune.nano import augment, codes, lessons, network, packing
from finetune.nano.conversion import size_of, tell
from finetune.nano.domains import Reader, carry, rest
from finetune.nano.recognition import REST
from moderator.engines.chat import ChatTokenizer

PART = 0.6
"""Marks of more than this share of a content's tokens say nothing about single words."""
OFTEN, OFTEN_FIRST = 5, 100
"""How often marked words count, and places where quotes begin; the very first tokens, of which there is one a policy."""
STRENGTH = 0.01
"""Of the ridge regressions."""
LOOKING = 48.0
"""How much more a marked word gets of a look than another one, in nats."""
SAID = 40.0
"""How far a word is moved, in nats, by heads that look at nothing else."""


@dataclass(frozen=True)
class Words:
    """As the last layer reads them: tokens of contents with people's marks, and of the policies before them, which are not to
    be quoted (`states`: tokens, width; `marked`; `first`: the very first ones); tokens of answers (`written`: tokens, width),
    those behind which a quote begins (`begins`) and those behind which tokens of ids stand (`cites`)."""

    states: torch.Tensor
    marked: torch.Tensor
    first: torch.Tensor
    written: torch.Tensor
    begins: torch.Tensor
    cites: torch.Tensor

    @property
    def nothing(self) -> torch.Tensor:
        """The state (width) of the very first token, the same of all policies: what heads that rest look at."""
        return self.states[self.first][0]

    def opening(self, layer: nn.Module) -> Reader:
        """What tells the very first token, for heads of the layer."""
        return tell(network.normal(self.states, layer.input_layernorm.weight), self.first, OFTEN_FIRST, STRENGTH)


@torch.no_grad()
def read(decoder: LlamaForCausalLM, chat: ChatTokenizer, groups: Iterable[augment.Group], longest: int) -> Words:
    """Policies, contents and answers of the groups before the last layer."""
    parts: list[tuple[torch.Tensor, ...]] = []
    below = len(decoder.model.layers) - 1
    for group in groups:
        prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(group.stance)))
        asked = packing.ask(chat, [item.prompt for item in group.items])
        rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
        before, past, _ = network.forward(decoder, torch.tensor([prefix.ids]), None, below)
        none = torch.zeros(len(prefix.ids), dtype=torch.bool)
        first = torch.arange(len(none)) == 0
        parts.append((before[-1][0], none, first, before[-1][0, :0], none[:0], none[:0]))
        for batch in packing.batches([row for row in rows if row.quotes and len(row.ids) <= longest], 2048):
            for row, states in zip(batch, network.forward(decoder, packing.padded(batch), past, below)[0][-1], strict=True):
                parts.append(_of_row(row, states))
    return Words(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _of_row(row: packing.Row, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    places = {place for quote in row.quotes for place in quote.sources}
    first, past = (0, row.read) if row.example.quotes and len(places) < PART * row.read else (0, 0)
    begins = torch.zeros(len(row.ids) - row.read, dtype=torch.bool)
    begins[[quote.place - row.read for quote in row.quotes]] = True
    # behind a label only ids that people did not settle are of no kind
    ids = [kind in (packing.ID, 0) for kind in row.kinds[row.read + 1 :]] + [False]
    marked = torch.tensor([place in places for place in range(first, past)], dtype=torch.bool)
    return states[first:past], marked, torch.zeros_like(marked), states[row.read : len(row.ids)], begins, torch.tensor(ids)


@torch.no_grad()
def write(decoder: LlamaForCausalLM, words: Words) -> None:
    """Write the heads; where people marked nothing they stay as they are."""
    if not words.marked.any():
        return
    layer, found, size = decoder.model.layers[-1], codes.find(decoder), size_of(words.written)
    attention, length = layer.self_attn, decoder.config.head_dim
    seen, asking = (network.normal(states, layer.input_layernorm.weight) for states in (words.states, words.written))
    told, told_bias = tell(seen, words.marked, OFTEN, STRENGTH)
    begun, opening = tell(asking, words.begins, OFTEN, STRENGTH), words.opening(layer)
    reader = found.reader(layer.input_layernorm.weight, size_of(words.states))
    said = found.saying(decoder, SAID / len(lessons.QUOTING), size)
    for head in lessons.QUOTING:
        rows, slow = slice(head * length, (head + 1) * length), head * length + length // 2 - 2
        for matrix in (attention.q_proj, attention.k_proj):
            matrix.weight[rows], matrix.bias[rows] = 0.0, 0.0
        attention.q_proj.weight[slow], attention.q_proj.bias[slow] = begun
        attention.k_proj.weight[slow] = LOOKING * length**0.5 * told
        attention.k_proj.bias[slow] = LOOKING * length**0.5 * told_bias
        rest(layer, head, length // 2 + REST, begun, opening)
        carry(layer, head, reader, said, words.nothing)
