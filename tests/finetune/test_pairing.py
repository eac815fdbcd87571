"""Contents read once and put behind a policy lose what they lose when everything is read again."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch

from finetune.nano import answers, augment, lessons, network, packing, pairing, shelf
from finetune.nano.stance import judge
from finetune.nano.tokenizer import LABELS
from moderator.prompt import load_family
from tests.finetune import tiny

CONFIG = {
    "depth": 1,
    "compare": 1,
    "group": 8,
    "twins": 1.0,
    "seed": 3,
    "shares": {"shipped": 1.0},
    "weights": {"label": 1.0, "mass": 0.3, "look": 0.5, "named": 0.2},
}


@pytest.fixture
def drawn(chat, decoder, hate):
    """Contents of one policy, read behind it, with what follows."""
    draw = random.Random(3)
    group = augment.make_group(draw, augment.Pools(tiny.EXAMPLES, draw, {}), hate, load_family("nano"), 10, 0.0, 1.0)
    volumes = shelf.read(decoder, chat, [group], 1, 1000)
    return group, [(volume, judge(hate, volume.example)) for volume in volumes]


@pytest.mark.parametrize("compare", [1, 2])
def test_a_pair_loses_what_it_loses_when_all_layers_read_it(chat, decoder, hate, drawn, compare):
    group, pairs = drawn
    carved = replace(hate, kind="carveout")  # where people's labels are learned
    lost, numbers = pairing.pair_loss(CONFIG | {"compare": compare}, decoder, decoder, chat, carved, pairs)
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(hate)))
    rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked(chat, group), group.items, strict=True)]
    _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
    states, _, looks = network.forward(decoder, packing.padded(rows), past)
    read = states[-1][torch.arange(len(rows)), torch.tensor([row.read for row in rows])]
    wanted = torch.nn.functional.one_hot(torch.tensor([LABELS.index(item.said) for item in group.items]), len(LABELS)).float()
    parts = answers.label_losses(decoder, chat, read, wanted)
    label, mass = (values.mean() for values in parts.values())
    assert numbers["label"] == pytest.approx(label.item(), abs=0.01)
    assert numbers["mass"] == pytest.approx(mass.item(), abs=0.01)
    assert numbers["look0"] == pytest.approx(lessons.look_loss(rows, prefix, looks[compare])[0].mean().item(), abs=0.01)
    looked = sum(numbers[f"look{kind}"] for kind in range(3))
    assert lost.item() == pytest.approx(label.item() + 0.3 * mass.item() + 0.5 * looked + 0.2 * numbers["named"], abs=0.02)
    lost.backward()
    below, above = (list(decoder.model.layers[number].parameters()) for number in (compare - 1, -1))
    assert all(one.grad is None for one in below)
    assert all(one.grad is not None for one in above)


def asked(chat, group):
    return packing.ask(chat, [item.prompt for item in group.items])


def test_pairs_go_on_with_the_twin_of_a_policy(decoder):
    volumes = [
        shelf.Volume(packing.Row((1, 2), (0, 0), 1, (), example), torch.zeros(2, decoder.config.hidden_size))
        for example in tiny.EXAMPLES
        for _ in range(4)
    ]
    found = list(islice(pairing.pairs(CONFIG, shelf.Shelf(volumes), lambda *_: None), 12))
    twins = 0
    for (whole, first), (less, again) in pairwise(found):
        if [volume for volume, _ in again] == [volume for volume, _ in first][: len(again)]:
            lost = [(one, other) for (_, one), (_, other) in zip(first, again, strict=False) if one.label != other.label]
            twins += bool(lost)
            assert less.policy.rules != whole.policy.rules
    assert twins >= 1


def test_a_twin_under_which_nothing_is_settled_is_left_out(monkeypatch, decoder):
    monkeypatch.setattr(pairing, "judge", lambda *_: None)
    volumes = [
        shelf.Volume(packing.Row((1, 2), (0, 0), 1, (), example), torch.zeros(2, decoder.config.hidden_size))
        for example in tiny.EXAMPLES * 4
    ]
    assert all(drawn for _, drawn in islice(pairing.pairs(CONFIG, shelf.Shelf(volumes), lambda *_: None), 12))
