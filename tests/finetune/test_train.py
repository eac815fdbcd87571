"""Rates of the parts, and losses of two kinds in turn."""

from __future__ import annotations

import itertools

import torch

from finetune.nano import lessons, train
from finetune.nano.teacher import SIZE


def test_losses_come_in_turn_and_say_whose_they_are():
    often = ((torch.tensor(float(number)), {"label": float(number)}) for number in itertools.count())
    seldom = ((torch.tensor(-1.0), {"label": -1.0}) for _ in itertools.count())
    found = list(itertools.islice(train.in_turn(often, 2, seldom), 6))
    assert [loss.item() for loss, _ in found] == [0, 1, -1, 2, 3, -1]
    assert [list(numbers) for _, numbers in found[:3]] == [["paired label"], ["paired label"], ["label"]]


def test_every_part_has_its_rate_and_the_last_norm_that_of_the_embeddings(decoder):
    taught, rates = lessons.Lessons(SIZE), {"first": 0.1, "new": 0.2, "embeddings": 0.3}
    found = {
        id(one): group["lr"] for group in train.optimizer(decoder, taught, 1, rates).param_groups for one in group["params"]
    }
    below, above = decoder.model.layers[0].mlp.up_proj.weight, decoder.model.layers[1].mlp.up_proj.weight
    words, norm = decoder.model.embed_tokens.weight, decoder.model.norm.weight
    assert [found[id(one)] for one in (below, above, words, norm)] == [0.1, 0.2, 0.3, 0.3]
    assert id(taught.topics.weight) not in found
    assert words.requires_grad
    assert not taught.topics.weight.requires_grad
    groups = train.optimizer(decoder, taught, 1, rates | {"norm": 0.4}).param_groups
    assert [group["lr"] for group in groups if any(one is norm for one in group["params"])] == [0.4]
