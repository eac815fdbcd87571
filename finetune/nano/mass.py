"""The probability of all labels together, where a label is read: without it serving asks a person.

Embeddings are those of an encoder, in which `yes`, ` yes` and `Yes` are nearly one word, and no state can tell them apart: four
such words share what one of them should have (log: run 57). So labels get a direction of the embeddings to themselves, and two
neurons of the last layer, which open where a label is read, move all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from transformers import LlamaForCausalLM

from finetune.nano import augment, calibrate, lessons, network, packing
from finetune.nano.conversion import size_of, tell
from finetune.nano.recognition import SOFT
from moderator.engines.chat import ChatTokenizer

APART = 12.0
"""How far labels are moved from other words: about as far as an embedding is long."""
MOVED = 20.0
"""How far their logits are moved, in nats before the last norm makes less of it: the log of 24,576 words that all stand at zero
is 10."""
SHARP = 16.0
"""How much a place where a label is read is more open than another, in nats."""
OFTEN = 5
"""How often such a place counts when it is told from others."""
STRENGTH = 0.01
"""Of the ridge regression."""


@torch.no_grad()
def set_apart(decoder: LlamaForCausalLM, labels: Sequence[int]) -> None:
    """Move the embeddings of the labels (token ids) along the direction in which those of all tokens differ least."""
    table = decoder.model.embed_tokens.weight
    least = torch.linalg.eigh(torch.cov(table.double().T))[1][:, 0]
    table[list(labels)] += APART * least.to(table.dtype)


@torch.no_grad()
def read(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, groups: Iterable[augment.Group], longest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (tokens, width) after the last layer of contents and answers, and at which of them a label is read; as the layer's
    neurons read them, if they have been cleared."""
    states, told = [], []
    for group in groups:
        prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(group.stance)))
        asked = packing.ask(chat, [item.prompt for item in group.items])
        rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
        _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
        for batch in packing.batches([row for row in rows if len(row.ids) <= longest], 2048):
            for row, found in zip(batch, network.forward(decoder, packing.padded(batch), past)[0][-1], strict=True):
                states.append(found[: len(row.ids)])
                told.append(torch.arange(len(row.ids)) == row.read)
    return torch.cat(states), torch.cat(told)


@torch.no_grad()
def write(decoder: LlamaForCausalLM, states: torch.Tensor, told: torch.Tensor, labels: Sequence[int]) -> None:
    """Into the first two neurons of the last layer, of what `read` gives."""
    layer = decoder.model.layers[-1]
    weight, bias = tell(network.normal(states, layer.post_attention_layernorm.weight), told, OFTEN, STRENGTH)
    step = MOVED * size_of(states[told]) * calibrate.towards(decoder, labels).sum(1)
    for row, sign in ((0, 1), (1, -1)):
        layer.mlp.gate_proj.weight[row] = SHARP * weight
        layer.mlp.gate_proj.bias[row] = SHARP * (bias - 0.5) + sign * SOFT
        layer.mlp.up_proj.weight[row], layer.mlp.up_proj.bias[row] = 0.0, 1.0
        layer.mlp.down_proj.weight[:, row] = sign / (2 * SOFT) * step
