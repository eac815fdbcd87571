"""Topics become numbers from 0 to 1 that content and line have in common; heads compare those and nothing is disturbed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from finetune.nano import augment, lessons, network, packing, pairing, recognition, shelf
from finetune.nano.stance import SETS, judge
from moderator.prompt import load_family
from tests.finetune import tiny

CONFIG = {"depth": 1, "compare": 2, "group": 8, "twins": 0.0, "seed": 3, "shares": {"shipped": 1.0}, "rate": 0.01}


@pytest.fixture
def written():
    """A decoder whose second layer recognises what a reader reads; the reader; states; the axes."""
    decoder, taught = tiny.make_decoder(4, 256, 3), lessons.Lessons(384)
    torch.nn.init.normal_(taught.topics.weight, 0.0, 0.15)
    states = torch.randn(2000, 384) * torch.linspace(0.01, 2, 384)
    before = decoder.model.layers[2].mlp.up_proj.weight.clone()
    return decoder, taught, states, recognition.write(decoder, taught, 1, states), before


def behind(chat, decoder, stance):
    """A group behind the policy, and its contents as the first layer reads them, with what follows."""
    draw = random.Random(3)
    group = augment.make_group(draw, augment.Pools(tiny.EXAMPLES, draw, {}), stance, load_family("nano"), 10, 0.0, 1.0)
    volumes = shelf.read(decoder, chat, [group], 1, 1000)
    return group, [(volume, judge(stance, volume.example)) for volume in volumes]


@torch.no_grad()
def test_a_topic_stands_along_its_axis_as_likely_as_it_is_read(written):
    decoder, taught, states, axes, _ = written
    (_, after), _, _ = network.climb(decoder, states[None, :200], None, range(1, 2))
    size = states.pow(2).mean(-1).sqrt().mean() * recognition.LOUD
    added = (after - states[None, :200])[0]
    chances = taught.topics(taught.seen(states[:200])).sigmoid()
    assert (added @ axes / size - chances).abs().max() < 0.12
    assert torch.allclose(added @ axes @ axes.T, added, atol=1e-4)


@torch.no_grad()
def test_layers_behind_do_not_see_the_axes_but_for_the_heads_that_compare(written):
    decoder, _, _, axes, before = written
    layer = decoder.model.layers[2]
    assert (layer.mlp.up_proj.weight @ axes).abs().max() < 1e-4 < (before @ axes).abs().max()
    rows = slice(0, 32)
    asked = (layer.self_attn.q_proj.weight[rows] @ axes).abs().amax(0)
    assert asked[: -len(SETS)].max() > 0.1
    assert asked[-len(SETS) :].max() < 0.05  # a line of a policy is not a text of any set


def test_too_many_topics_for_the_layer_are_refused(written):
    _, taught, states, _, _ = written
    small = tiny.make_decoder(4, 64, 3)
    with pytest.raises(ValueError, match="neurons"):
        recognition.write(small, taught, 1, states)


def test_the_looks_are_those_of_the_whole_forward_pass_and_only_their_parts_are_learned(chat, written, hate):
    decoder, *_ = written
    group, drawn = behind(chat, decoder, hate)
    adam = recognition.optimizer(decoder, CONFIG)
    lost, numbers = recognition.look_loss(CONFIG, decoder, chat, hate, drawn)
    lost.backward()
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(hate)))
    with torch.no_grad():
        _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]), None, 3)
        rows = [replace(volume.row, looks=pairing.looks(hate, volume, ruling)) for volume, ruling in drawn]
        whole = network.forward(decoder, packing.padded(rows), past, 3)[2][2]
        values = lessons.look_loss(rows, prefix, whole)
    assert numbers["look0"] == pytest.approx(values[0].mean().item(), abs=0.02)
    learned = {id(parameter) for group in adam.param_groups for parameter in group["params"]}
    touched = {id(parameter) for parameter in decoder.parameters() if parameter.grad is not None}
    assert touched <= learned
    assert len(touched) == len(learned)


def test_pairing_teaches_the_heads_that_were_fitted(chat, written, hate):
    decoder, *_ = written
    _, drawn = behind(chat, decoder, hate)
    _, fitted = recognition.look_loss(CONFIG, decoder, chat, hate, drawn)
    _, paired = pairing.pair_loss(
        CONFIG | {"weights": dict.fromkeys(("label", "mass", "look", "named"), 1.0)}, decoder, decoder, chat, hate, drawn
    )
    assert {name: paired[name] for name in fitted} == pytest.approx(fitted, abs=1e-3)
