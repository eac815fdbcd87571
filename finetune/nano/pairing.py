"""Labels and looks alone: the layers that compare, on contents and policies that the layers below have read apart.

A pair costs a third to a half of a pass through all layers, so that many policies are met with the same contents.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from finetune.nano import augment, lessons, network, packing, policies
from finetune.nano.answers import Before, label_losses
from finetune.nano.shelf import Shelf, Volume
from finetune.nano.stance import Ruling, Stance, judge
from finetune.nano.topical import Closeness
from finetune.nano.train import Loss
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

Pair = tuple[Stance, list[tuple[Volume, Ruling]]]


def pairs(config: dict, shelf: Shelf, closeness: Closeness) -> Iterator[Pair]:
    """Policies without end, with contents and what follows; sometimes the same contents again under the policy's twin."""
    draw, known = random.Random(config["seed"]), policies.shipped()
    while True:
        stance = policies.draw_stance(draw, known, config["shares"], closeness)
        drawn = shelf.draw(draw, stance, config["group"], augment.share_of(stance))
        if not drawn:
            continue
        yield stance, drawn
        if stance.inverted or draw.random() >= config["twins"]:
            continue
        less = augment.twin(draw, stance, [(volume.example, ruling) for volume, ruling in drawn], closeness)
        again = [(volume, other) for volume, _ in drawn if (other := judge(less, volume.example))] if less else []
        if again:
            yield less, again


def losses(
    config: dict,
    decoder: LlamaForCausalLM,
    written: LlamaForCausalLM,
    chat: ChatTokenizer,
    shelf: Shelf,
    closeness: Closeness,
) -> Iterator[Loss]:
    """Losses without end, of labels and looks; `written`: the decoder before training."""
    for stance, drawn in pairs(config, shelf, closeness):
        yield pair_loss(config, decoder, written, chat, stance, drawn)


def pair_loss(
    config: dict,
    decoder: LlamaForCausalLM,
    written: LlamaForCausalLM,
    chat: ChatTokenizer,
    stance: Stance,
    drawn: Sequence[tuple[Volume, Ruling]],
) -> Loss:
    """What the labels and the looks of contents behind one policy lose; layers below `compare` are not learned."""
    compare, weights = config["compare"], config["weights"]
    unread, above = range(config["depth"], compare), range(compare, len(decoder.model.layers))
    prefix = packing.encode_prefix(chat, compile_prompt(stance.policy, "nano").system, list(lessons.line_texts(stance)))
    with torch.no_grad():
        before = network.forward(decoder, torch.tensor([prefix.ids]), None, config["depth"])[0][-1]
        through, behind, _ = network.climb(decoder, before, None, unread)
    _, past, named = network.climb(decoder, through[-1], None, above)
    earlier = Before(written, stance.kind, compare, through[-1])
    drawn = sorted(drawn, key=lambda pair: len(pair[0].states))
    rows = [replace(volume.row, looks=looks(stance, volume, ruling)) for volume, ruling in drawn]
    hidden = pad_sequence([volume.states for volume, _ in drawn], batch_first=True).float()
    places = torch.tensor([row.read for row in rows])
    with torch.no_grad():
        hidden = network.climb(decoder, hidden, behind, unread)[0][-1]
    states, _, looked = network.climb(decoder, hidden, past, above, places=places)
    wanted = earlier.wanted(chat, hidden, rows, [ruling.label for _, ruling in drawn])
    parts = label_losses(decoder, chat, states[-1][:, 0], wanted)
    parts["named"] = lessons.name_loss(prefix, named[0])
    for part, values in lessons.look_loss(rows, prefix, looked[0]).items():
        parts[f"look{part}"] = values
    means = {name: values.mean() for name, values in parts.items()}
    loss = sum(weights[name.rstrip("0123456789")] * value for name, value in means.items())
    return loss, {name: value.item() for name, value in means.items()} | {"contents": len(rows)}


def looks(stance: Stance, volume: Volume, ruling: Ruling) -> tuple[packing.Look, ...]:
    """Where the heads that compare should look from where the label is read."""
    parts = augment.points(stance, volume.example, ruling)
    return tuple(packing.Look(volume.row.read, kind, some) for kind, some in enumerate(parts))
