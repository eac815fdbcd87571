"""Whole answers under policies. One prefix, many contents behind it; each kind of token has its weight."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from finetune.nano import augment, lessons, network, packing, policies
from finetune.nano.prepare import Example
from finetune.nano.tokenizer import LABELS, check_labels
from finetune.nano.topical import Closeness
from finetune.nano.train import Loss
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import load_family

NAMES = {packing.ID: "id", packing.REST: "rest", packing.HEAD: "head"}


def losses(
    config: dict,
    decoder: LlamaForCausalLM,
    chat: ChatTokenizer,
    examples: Sequence[Example],
    plain: Sequence[str],
    closeness: Closeness,
) -> Iterator[Loss]:
    """Groups without end: a policy, contents after it, their answers. `plain`: unlabelled texts, for topical rules."""
    draw, family = random.Random(config["seed"]), load_family("nano")
    pools = augment.Pools(examples, draw, config["caps"], plain)
    for group in augment.groups(draw, pools, policies.shipped(), family, config, closeness):
        if loss := group_loss(config, decoder, chat, group):
            yield loss


def group_loss(config: dict, decoder: LlamaForCausalLM, chat: ChatTokenizer, group: augment.Group) -> Loss | None:
    """The loss of one group; None when all of its contents are too long. Layers below `compare` are not learned."""
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(group.stance)))
    asked = packing.ask(chat, [item.prompt for item in group.items])
    rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
    rows = [row for row in rows if len(row.ids) <= config["longest"]]
    if not rows:
        return None
    _, past, looks = network.forward(decoder, torch.tensor([prefix.ids]), frozen=config["compare"])
    parts = {"named": [lessons.name_loss(prefix, looks[config["compare"]])]}
    for batch in packing.batches(rows, config["tokens"]):
        for name, values in batch_losses(config, decoder, chat, prefix, past, batch).items():
            parts.setdefault(name, []).append(values)
    means = {name: torch.cat(values).mean() for name, values in parts.items() if sum(map(len, values))}
    loss = sum(config["weights"][name.rstrip("0123456789")] * value for name, value in means.items())
    return loss, {name: value.item() for name, value in means.items()} | {"contents": len(rows)}


def batch_losses(
    config: dict,
    decoder: LlamaForCausalLM,
    chat: ChatTokenizer,
    prefix: packing.Prefix,
    past: network.Past,
    batch: Sequence[packing.Row],
) -> dict[str, torch.Tensor]:
    """What each token, each content and each look loses, by name.

    Tokens of an answer are over the whole vocabulary, and only where it goes on behind its label: that projection costs as
    much as all layers.
    """
    states, _, looks = network.forward(decoder, packing.padded(batch), past, frozen=config["compare"])
    said = {index: label for label, index in check_labels(chat.tokenizer).items()}
    read = states[-1][torch.arange(len(batch)), torch.tensor([row.read for row in batch])]
    parts = label_losses(decoder, chat, read, [said[row.ids[row.read + 1]] for row in batch])
    places = [
        (index, place, kind) for index, row in enumerate(batch) for place, kind in enumerate(row.written) if kind in NAMES
    ]
    if places:
        row, place, kinds = (torch.tensor(column) for column in zip(*places, strict=True))
        wanted = torch.tensor([batch[index].ids[column] for index, column, _ in places])
        each = functional.cross_entropy(network.last(decoder, states[-1][row, place - 1]), wanted, reduction="none")
        parts |= {name: each[kinds == kind] for kind, name in NAMES.items()}
    for part, values in lessons.look_loss(batch, prefix, looks[config["compare"]]).items():
        parts[f"look{part}"] = values
    return parts | lessons.copy_loss(batch, looks[-1])


def label_losses(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, read: torch.Tensor, labels: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Of the states (rows, width) where labels are read: minus the log of the probability of each `label` among all labels, as
    serving compares them, and of all labels in the vocabulary (`mass`), without which serving asks a person."""
    known = check_labels(chat.tokenizer)
    logits = network.last(decoder, read)
    among = logits[:, [known[label] for label in LABELS]]
    label = functional.cross_entropy(among, torch.tensor([LABELS.index(label) for label in labels]), reduction="none")
    return {"label": label, "mass": logits.logsumexp(-1) - among.logsumexp(-1)}
