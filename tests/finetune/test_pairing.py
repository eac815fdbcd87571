"""Contents read once and put behind a policy lose what they lose when everything is read again."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice, pairwise

import pytest
import torch

from finetune.nano import answers, augment, lessons, network, packing, pairing, shelf
from finetune.nano import model as nano
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import judge
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


def test_layers_run_for_one_place_of_a_row_say_there_what_they_say_when_run_for_all(decoder):
    shape = {name: decoder.config.to_dict()[name] for name in ("hidden_size", "vocab_size", "intermediate_size")}
    heads = {"num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 32, "num_hidden_layers": 4}
    deep, draw = nano.build(shape | heads, 3), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for matrix in (parameter for parameter in deep.parameters() if parameter.ndim == 2):
            matrix.normal_(0.0, 0.1, generator=draw)
    ids, places = torch.randint(0, 700, (3, 9), generator=draw), torch.tensor([8, 4, 6])
    with torch.no_grad():
        _, past, _ = network.forward(deep, torch.randint(0, 700, (1, 5), generator=draw))
        states, _, looks = network.forward(deep, ids, past)
    some, _, looked = network.climb(deep, states[1], past[1:], range(1, 4), places=places)
    here = torch.arange(3)
    assert torch.allclose(some[-1][:, 0], states[-1][here, places], atol=1e-3)
    for one, other in zip(looked, looks[1:], strict=True):
        assert torch.allclose(one.queries[here, :, places], other.queries[here, :, places], atol=1e-3)
    some[-1].square().sum().backward()
    assert all(layer.self_attn.q_proj.weight.grad.abs().max() > 0 for layer in deep.model.layers[1:])
    assert deep.model.embed_tokens.weight.grad is None


def test_a_pair_loses_what_it_loses_when_all_layers_read_it(chat, decoder, hate, drawn):
    group, pairs = drawn
    lost, numbers = pairing.pair_loss(CONFIG, decoder, chat, hate, pairs)
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(hate)))
    rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked(chat, group), group.items, strict=True)]
    _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
    states, _, looks = network.forward(decoder, packing.padded(rows), past)
    read = states[-1][torch.arange(len(rows)), torch.tensor([row.read for row in rows])]
    parts = answers.label_losses(decoder, chat, read, [item.said for item in group.items])
    label, mass = (values.mean() for values in parts.values())
    assert numbers["label"] == pytest.approx(label.item(), abs=0.01)
    assert numbers["mass"] == pytest.approx(mass.item(), abs=0.01)
    assert numbers["look0"] == pytest.approx(lessons.look_loss(rows, prefix, looks[1])[0].mean().item(), abs=0.01)
    looked = sum(numbers[f"look{kind}"] for kind in range(3))
    assert lost.item() == pytest.approx(label.item() + 0.3 * mass.item() + 0.5 * looked + 0.2 * numbers["named"], abs=0.02)
    lost.backward()
    below, above = (list(decoder.model.layers[number].parameters()) for number in (0, -1))
    assert all(one.grad is None for one in below)
    assert all(one.grad is not None for one in above)


def asked(chat, group):
    return packing.ask(chat, [item.prompt for item in group.items])


def test_a_shelf_balances_what_it_puts_behind_a_policy(chat, decoder, hate):
    volumes = [
        shelf.Volume(packing.Row((1, 2), (0, 0), 1, (), example), torch.zeros(2, decoder.config.hidden_size))
        for example in tiny.EXAMPLES
        for _ in range(16)
    ]
    found = shelf.Shelf(volumes).draw(random.Random(0), hate, 8, 0.5)
    assert len({id(volume) for volume, _ in found}) == len(found) == 8
    assert all(judge(hate, volume.example) == ruling for volume, ruling in found)
    assert 2 <= sum(ruling.label in ("yes", "exception") for _, ruling in found) <= 6


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


def test_texts_of_sets_are_read_once_behind_policies_that_concern_them():
    draw = random.Random(0)
    some = shelf.of_sets(draw, tiny.EXAMPLES * 3, {"edos": 4, "toxic-spans": 99})
    assert Counter(example.source for example in some) == {"edos": 4, "toxic-spans": 6}
    nowhere = Example("hm", "a set of its own")
    alone = [*tiny.EXAMPLES, Example("buy my pills", "sms-spam", broken=topics("spam.commercial")), nowhere]
    found = list(shelf.concerning(draw, alone, 2, lambda *_: None))
    behind = [example.text for _, judged in found for example, _ in judged]
    assert sorted(behind) == sorted(set(behind))
    assert set(behind) == {example.text for example in alone[:-1]}
    for stance, judged in found:
        assert len(judged) <= 2
        for example, ruling in judged:
            assert shelf.concerns(stance, example)
            assert ruling == judge(stance, example)


def test_a_twin_under_which_nothing_is_settled_is_left_out(monkeypatch, decoder):
    monkeypatch.setattr(pairing, "judge", lambda *_: None)
    volumes = [
        shelf.Volume(packing.Row((1, 2), (0, 0), 1, (), example), torch.zeros(2, decoder.config.hidden_size))
        for example in tiny.EXAMPLES * 4
    ]
    assert all(drawn for _, drawn in islice(pairing.pairs(CONFIG, shelf.Shelf(volumes), lambda *_: None), 12))
