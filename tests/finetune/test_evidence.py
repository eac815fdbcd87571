"""What single words say: found by set, whatever their case, and written where nothing else is."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from finetune.nano import evidence
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import DOMAIN_NAMES, SETS, targets
from tests.finetune import tiny

EDOS = SETS.index(("edos", "sexism"))


def token(pieces, text):
    (found,) = pieces.encode(text, add_special_tokens=False).ids
    return found


@pytest.fixture(scope="module")
def examples():
    """In one set a word goes with the label; in another the same word does not."""
    draw, words = random.Random(0), " ".join(tiny.TEXTS).split()
    found = []
    for number in range(200):
        text, breaks = " ".join(draw.sample(words, 5)), number % 2 == 0
        broken = topics("sexism.derogate") if breaks else frozenset()
        found.append(Example(text + (" fool" if breaks else " day"), "edos", broken=broken))
        found.append(Example(text + " fool", "misogyny", broken=broken))
    return found


def test_case_makes_no_difference(pieces):
    words = evidence.words_of(pieces)
    assert words[token(pieces, "t")] == words[token(pieces, "T")]
    assert words[token(pieces, " fool")] != words[token(pieces, " day")]


def test_bags_are_rows_of_length_one_without_repetition(pieces):
    words = evidence.words_of(pieces)
    bags = evidence.bags(pieces, words, ["you are a fool", "you you you"])
    assert np.asarray(bags.multiply(bags).sum(1)).ravel() == pytest.approx([1, 1])
    assert (bags[1] > 0).sum() == 1


def test_a_word_weighs_what_it_does_in_its_own_set(pieces, examples):
    weights = evidence.fit(pieces, examples)
    fool, day = (weights[token(pieces, name)] for name in (" fool", " day"))
    assert fool[EDOS] > 2
    assert day[EDOS] < -1
    assert abs(fool[SETS.index(("misogyny", "sexism"))]) < 1
    assert not weights[:, SETS.index(("sms-spam", "spam"))].any()
    assert np.abs(weights).max() <= evidence.MOST


def test_weights_take_the_place_of_what_varied_least():
    torch.manual_seed(0)
    table = torch.randn(300, 8) * torch.tensor([5.0, 5, 5, 5, 5, 5, 0.1, 0.1])
    along = evidence.axes([table], 2)
    assert along.T @ along == pytest.approx(torch.eye(2), abs=1e-5)
    assert along[:6].abs().max().item() < 0.05
    others = evidence.axes([table], 3, along)
    assert (others.T @ along).abs().max() < 1e-5
    assert others.T @ others == pytest.approx(torch.eye(3), abs=1e-5)
    large = torch.randn(300, 8) * torch.tensor([100.0, 100, 100, 100, 100, 1, 100, 100])
    assert evidence.axes([table, large], 1)[5].abs().item() < 0.5
    assert evidence.axes([table, large[:, [0, 1, 2, 3, 4, 6, 7, 5]]], 1)[7].abs().item() > 0.95
    weights = torch.randn(300, 2)
    written = evidence.write(table, along, weights, 1.5)
    unit = (table - table.mean(0)).pow(2).mean().sqrt() * 1.5
    assert (written - table.mean(0)) @ along == pytest.approx(unit * weights, abs=1e-3)
    beside = torch.eye(8) - along @ along.T
    assert written @ beside == pytest.approx(table @ beside, abs=1e-3)


def test_a_set_is_asked_for_its_own_labels_only():
    sexist = Example("a", "edos", broken=topics("sexism.derogate"))
    own = dict(zip(SETS, targets(sexist)[-len(SETS) :], strict=True))
    assert own["edos", "sexism"] == 1.0
    assert {value for name, value in own.items() if name != ("edos", "sexism")} == {-1.0}
    assert targets(Example("b", "edos"))[-len(SETS) :][EDOS] == 0.0
    assert set(DOMAIN_NAMES) >= {domain for _, domain in SETS}
