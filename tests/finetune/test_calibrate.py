"""Calibration folded into the weights: what was fitted is what the decoder then says, and nothing else moves."""

from __future__ import annotations

import pytest
import torch

from finetune.nano import calibrate, dev, network, policies
from finetune.nano.tokenizer import LABELS
from tests.finetune import tiny


@pytest.fixture
def labels(chat, decoder):
    return dev.Reader(decoder, chat).labels


def drawn(decoder, labels, scale, steps, size=4000):
    """States, and a truth for each that follows from its logits once they are calibrated."""
    torch.manual_seed(0)
    spread = torch.linalg.pinv(decoder.lm_head.weight[labels].detach())
    states = torch.randn(size, len(spread)) * 0.01 + (torch.randn(size, len(labels)) * 3) @ spread.T
    with torch.no_grad():
        said = calibrate.logits(decoder, labels, states + steps * calibrate.towards_yes(decoder, labels)) * scale
    return states, torch.rand(size) < said.softmax(-1)[:, calibrate.YES]


def test_temperature_and_offset_are_found_again_and_folded_in(decoder, labels):
    states, truth = drawn(decoder, labels, 2.0, 1.5)
    weights = torch.full((len(truth),), 1 / len(truth))
    scale, steps = calibrate.fit(decoder, labels, states, truth, weights)
    assert scale == pytest.approx(2.0, rel=0.25)
    assert steps == pytest.approx(1.5, rel=0.25)
    with torch.no_grad():
        expected = calibrate.lost(decoder, labels, states, truth, weights, scale, steps)
        assert expected < 0.95 * calibrate.lost(decoder, labels, states, truth, weights)
        bias = decoder.model.layers[-1].mlp.down_proj.bias
        before = bias.clone()
        calibrate.fold(decoder, labels, scale, steps)
        chances = network.last(decoder, states + (bias - before)).float()[:, labels].softmax(-1)[:, calibrate.YES]
        folded = torch.nn.functional.binary_cross_entropy(chances.clamp(1e-6, 1 - 1e-6), truth.float())
        assert folded.item() == pytest.approx(expected.item(), abs=0.01)


@torch.no_grad()
def test_a_step_towards_yes_moves_no_other_label(decoder, labels):
    rows = decoder.lm_head.weight[labels] * decoder.model.norm.weight
    moved = rows @ calibrate.towards_yes(decoder, labels)
    assert moved[LABELS.index("yes")].item() == pytest.approx(1, abs=1e-4)
    assert moved.abs().sum().item() == pytest.approx(1, abs=1e-3)


def test_sets_count_the_same_and_texts_within_them():
    weights = calibrate.alike(["a"] * 4 + ["b"] * 2)
    assert weights.tolist() == pytest.approx([1 / 8] * 4 + [1 / 4] * 2)


def test_everyday_lines_count_as_one_set_and_sets_of_one_answer_are_left_out(chat, decoder, monkeypatch):
    """What is fitted on: violations of a set that has both, none of one that has hardly anything else, and each line once."""
    hate = policies.shipped()[0]
    both = [(tiny.EXAMPLES[0], policies.Ruling("yes")), (tiny.EXAMPLES[2], policies.Ruling("no"))]
    sets = [("edos", hate, both), ("toxic-spans", hate, [(tiny.EXAMPLES[1], policies.Ruling("yes"))] * 20)]
    monkeypatch.setattr(dev, "by_set", lambda examples: iter(sets))
    seen = []
    fit = calibrate.fit
    monkeypatch.setattr(calibrate, "fit", lambda *given: seen.append(given) or fit(*given))
    lines = [f"see you at {number}" for number in range(20)]
    before, after = calibrate.calibrate(decoder, dev.Reader(decoder, chat), tiny.EXAMPLES, lines)
    ((_, _, states, truth, weights),) = seen
    assert len(states) == 22
    assert truth.tolist() == [True, False] + [False] * 20
    assert weights.tolist() == pytest.approx([1 / 4] * 2 + [1 / 40] * 20)
    assert after <= before
