"""Where a label is read, the labels have nearly all of the probability, whatever words are like them."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from finetune.nano import augment, fusion, mass, network
from finetune.nano.tokenizer import LABELS
from moderator.prompt import load_family
from tests.finetune import tiny

TOKENS = (5, 6, 7, 8, 9)
TWINS = tuple(range(10, 25))
"""Three to a label: as ` yes`, `Yes` and ` Yes` are to `yes`."""


@pytest.fixture
def made():
    """A decoder whose last layer adds nothing, with embeddings as large as the encoder's; it reads labels at the last norm of
    the recipe."""
    torch.manual_seed(3)
    decoder = tiny.make_decoder(2, vocabulary=24576)
    with torch.no_grad():
        table = decoder.model.embed_tokens.weight
        table.mul_(11.2 / table.norm(dim=1).mean())
        table[list(TWINS)] = table[list(TOKENS)].repeat(3, 1) + 0.1 * torch.randn(15, 384)
        decoder.model.norm.weight.fill_(0.15)
    fusion.clear(decoder.model.layers[-1])
    return decoder


def states_of(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places where labels are read, which have something in common, and others."""
    torch.manual_seed(seed)
    told = torch.rand(number) < 0.1
    common = torch.randn(384, generator=torch.Generator().manual_seed(1))
    return torch.randn(number, 384) + told[:, None] * common, told


@torch.no_grad()
def masses(decoder, states: torch.Tensor) -> torch.Tensor:
    layer = decoder.model.layers[-1]
    after = states + network.gated(network.normal(states, layer.post_attention_layernorm.weight), layer.mlp)
    return network.last(decoder, after).softmax(-1)[:, list(TOKENS)].sum(-1)


@pytest.mark.parametrize("apart", [True, False])
def test_labels_have_the_probability_where_they_are_read_and_nowhere_else(made, apart):
    """Which they cannot have while other words stand where they do."""
    if apart:
        mass.set_apart(made, TOKENS)
    mass.write(made, *states_of(4000, 0), TOKENS)
    states, told = states_of(1000, 1)
    found = masses(made, states)
    assert found[~told].quantile(0.99) < 0.5
    if apart:
        assert found[told].quantile(0.05) > 0.95
    else:
        assert found[told].max() < 0.5


def test_labels_are_moved_alike(made):
    before, (states, told) = made.lm_head.weight.clone(), states_of(4000, 0)
    mass.set_apart(made, TOKENS)
    changed = (made.lm_head.weight - before).norm(dim=1)
    assert changed[list(TOKENS)].tolist() == pytest.approx([mass.APART] * len(LABELS), rel=1e-3)
    assert changed.count_nonzero() == len(LABELS)
    layer = made.model.layers[-1]

    def odds() -> torch.Tensor:
        after = states + network.gated(network.normal(states, layer.post_attention_layernorm.weight), layer.mlp)
        logits = network.last(made, after)[:, list(TOKENS)] * after.pow(2).mean(-1, keepdim=True).sqrt()
        return logits - logits[:, :1]

    were = odds()
    mass.write(made, states, told, TOKENS)
    assert (odds() - were).abs().max() < 0.05


def test_every_row_is_read_where_its_label_is(chat, decoder, hate):
    draw = random.Random(0)
    pools, family = augment.Pools(tiny.EXAMPLES, draw, {}), load_family("nano")
    groups = [augment.make_group(draw, pools, hate, family, 10, 0.0, cut) for cut in (0.0, 1.0)]
    states, told = mass.read(decoder, chat, itertools.islice(groups, 2), 1000)
    assert told.sum() == sum(len(group.items) for group in groups)
    assert len(states) == len(told)
