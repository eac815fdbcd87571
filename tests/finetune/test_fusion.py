"""A label of a few weights: fitted, and written so that nothing else speaks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from finetune.nano import augment, calibrate, domains, fusion, lessons, network, packing, shelf
from finetune.nano.stance import DOMAIN_NAMES, judge
from finetune.nano.tokenizer import LABELS
from moderator.prompt import load_family
from tests.finetune import tiny

HATE, SPAM = DOMAIN_NAMES.index("hate"), DOMAIN_NAMES.index("spam")
OPINION, RULE, POLICY = range(3)
TOKENS = (5, 6, 7, 8, 9)


@pytest.fixture(scope="module")
def axes():
    torch.manual_seed(1)
    states = torch.randn(2000, 384)
    return domains.find_axes(states, states, states, 32)


def pairs_of(number: int, domain: int, seed: int) -> fusion.Evidence:
    """Pairs that break a rule where an opinion is high and the rule that is looked at covers it."""
    torch.manual_seed(seed)
    read = torch.zeros(number, 3, len(DOMAIN_NAMES))
    read[:, OPINION, domain] = torch.randn(number)
    read[:, RULE, domain] = torch.rand(number).round()
    broken = (read[:, OPINION, domain] + 0.3 * torch.randn(number) > 0) & (read[:, RULE, domain] > 0.5)
    return evidence_of(read, broken.float(), ["edos"] * number)


def evidence_of(read: torch.Tensor, broken: torch.Tensor, sources: list[str]) -> fusion.Evidence:
    """Without exceptions, or rules about letters."""
    none = torch.zeros(len(read))
    return fusion.Evidence(read, none, none, broken, none, sources, 1.0)


def test_what_is_learned_of_one_domain_holds_for_every_other():
    found = fusion.fit(pairs_of(4000, HATE, 0), 0)
    other = pairs_of(1000, SPAM, 1)
    assert roc_auc_score(other.broken, found(other.read, other.tested)) > 0.95
    silent = other.read.clone()
    silent[:, RULE] = 0.0
    assert found(silent, other.tested).max() < 0


def test_a_look_at_a_rule_about_letters_has_a_weight():
    torch.manual_seed(5)
    none = evidence_of(torch.zeros(2000, 3, len(DOMAIN_NAMES)), torch.zeros(2000), ["edos"] * 2000)
    tested = torch.rand(2000).round()
    assert fusion.fit(replace(none, tested=tested, broken=tested), 0).test > 4


def test_a_large_set_counts_less_than_its_pairs():
    read, broken = torch.zeros(500, 3, len(DOMAIN_NAMES)), (torch.arange(500) < 400).float()
    one = fusion.fit(evidence_of(read, broken, ["edos"] * 500), 0)
    two = fusion.fit(evidence_of(read, broken, ["edos"] * 400 + ["sms-spam"] * 100), 0)
    for found, share in ((one, 0.8), (two, 20 / (20 + 10))):
        assert torch.sigmoid(found(read[:1], torch.zeros(1))).item() == pytest.approx(share, abs=0.02)


def test_an_exception_is_told_by_what_is_looked_at_where_a_rule_is_broken():
    torch.manual_seed(4)
    found = pairs_of(4000, HATE, 0)
    waived = found.broken * (torch.rand(4000) < 0.2)
    excused = torch.where(waived > 0, 1.0, 0.2) + 0.1 * torch.randn(4000)
    excused[found.broken == 0] = 1.0
    weight, bias = fusion.fit_excuse(replace(found, excused=excused, waived=waived))
    assert 0.2 < -bias / weight < 1.0
    assert weight + bias > 3
    assert 0.2 * weight + bias < -3
    assert fusion.fit_excuse(found) == (0.0, fusion.OTHERS)


@torch.no_grad()
def test_labels_are_what_the_fusion_says_and_nothing_else(axes):
    torch.manual_seed(2)
    decoder, made = tiny.make_decoder(2), fusion.Fusion()
    made.bias.fill_(0.7)
    made.test.fill_(0.8)
    made.excuse = 3.0, -1.5
    layer = decoder.model.layers[-1]
    fusion.clear(layer)
    states = network.normal(torch.randn(40, 384), torch.ones(384)) * 2.5
    assert torch.equal(network.gated(network.normal(states, layer.post_attention_layernorm.weight), layer.mlp), 0 * states)
    layer.self_attn.o_proj.weight.normal_()
    fusion.write(decoder, made, axes, TOKENS, 2.5)
    said_by_heads = decoder.lm_head.weight[list(TOKENS)] * decoder.model.norm.weight @ layer.self_attn.o_proj.weight
    assert said_by_heads.abs().max() < 1e-4
    after = states + network.gated(network.normal(states, layer.post_attention_layernorm.weight), layer.mlp)
    # a step counts as many times as the last norm makes the state smaller
    said = calibrate.logits(decoder, TOKENS, after) * after.pow(2).mean(-1, keepdim=True).sqrt() / 2.5
    along = torch.stack((axes.opinions, axes.covered, axes.policy), 1)
    odds = made(torch.einsum("nw,wkd->nkd", states / 2.5, along), states / 2.5 @ axes.tested[:, 0])
    wanted = torch.full((40, len(LABELS)), fusion.OTHERS)
    excuse = 3.0 * (states / 2.5 @ axes.excused[:, 0]) - 1.5
    assert excuse.std() > 1
    wanted[:, LABELS.index("yes")] = odds / 2 - functional.silu(excuse)
    wanted[:, LABELS.index("exception")] = odds / 2 - functional.silu(-excuse)
    wanted[:, LABELS.index("no")] = -odds / 2
    assert odds.std() > 0.02
    assert said.numpy() == pytest.approx(wanted.numpy(), abs=0.02)


@torch.no_grad()
def test_what_is_gathered_is_what_the_last_layer_would_read(chat, hate, axes):
    decoder, draw = tiny.make_decoder(3), random.Random(3)
    group = augment.make_group(draw, augment.Pools(tiny.EXAMPLES, draw, {}), hate, load_family("nano"), 10, 0.0, 1.0)
    drawn = [(volume, judge(hate, volume.example)) for volume in shelf.read(decoder, chat, [group], 1, 1000)]
    never = [(hate, drawn)] * 5
    fusion.clear(decoder.model.layers[2])
    found = fusion.gather(decoder, chat, [(hate, drawn), *never], axes, 1, 1)
    settled = [(volume, ruling) for volume, ruling in drawn if ruling.label != "unknown"]
    assert found.broken.tolist() == [float(ruling.label in ("yes", "exception")) for _, ruling in settled]
    assert found.waived.tolist() == [float(ruling.label == "exception") for _, ruling in settled]
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(hate)))
    for (volume, _), read, excused in zip(settled, found.read, found.excused, strict=True):
        states, _, _ = network.forward(decoder, torch.tensor([[*prefix.ids, *volume.row.ids]]))
        inside = network.normal(states[3][0, -1], torch.ones(384))
        for part, along in zip(read, (axes.opinions, axes.covered, axes.policy), strict=True):
            assert part.numpy() == pytest.approx((inside @ along).numpy(), abs=0.02)
        assert excused.item() == pytest.approx((inside @ axes.excused[:, 0]).item(), abs=0.02)
    assert found.sources == [volume.example.source for volume, _ in settled]
