"""What is put on the shelf, and what is taken from it."""

from __future__ import annotations

import random
from collections import Counter

import torch

from finetune.nano import packing, shelf
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import judge
from tests.finetune import tiny


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


def test_what_never_breaks_a_rule_is_drawn_again_and_again(decoder, hate):
    """Its signs cannot be balanced."""
    calm = [Example(f"the bus was late {number}", "everyday") for number in range(40)]
    volumes = [
        shelf.Volume(packing.Row((1, 2), (0, 0), 1, (), example), torch.zeros(2, decoder.config.hidden_size))
        for example in [*tiny.EXAMPLES * 10, *calm]
    ]
    found, draw = shelf.Shelf(volumes), random.Random(0)
    drawn = [volume.example.source for _ in range(60) for volume, _ in found.draw(draw, hate, 8, 0.5)]
    assert drawn[-200:].count("everyday") > 20


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
    calm = [Example(text, "everyday") for text in "abcde"]
    assert [one for _, judged in shelf.behind_any(draw, calm, 2, lambda *_: None) for one, _ in judged] == calm
    for stance, judged in found:
        assert len(judged) <= 2
        for example, ruling in judged:
            assert shelf.concerns(stance, example)
            assert ruling == judge(stance, example)
