"""What a content says of each domain and what rules cover stand along axes of their own, before anything is trained."""

from __future__ import annotations

import pytest
import torch

from finetune.nano import domains, fusion, lessons, network
from finetune.nano.prepare import Example
from finetune.nano.stance import DOMAIN_NAMES, SETS
from tests.finetune import tiny

HATE, SPAM = DOMAIN_NAMES.index("hate"), DOMAIN_NAMES.index("spam")
NEURONS = 2 * len(SETS) + len(DOMAIN_NAMES)
WIDTH = 2 * lessons.WIDTH + NEURONS


@pytest.fixture(scope="module")
def mixture():
    torch.manual_seed(0)
    readers, gate = lessons.Lessons(384), torch.nn.Linear(384, len(domains.SOURCES))
    with torch.no_grad():
        readers.topics.weight.normal_(0.0, 0.1)
        gate.weight.normal_(0.0, 0.1)
    return domains.Mixture(readers, gate)


WAYS = {domain: torch.randn(384, generator=torch.Generator().manual_seed(domain)) for domain in (HATE, SPAM)}

EXCUSE, TESTED = torch.randn(2, 384, generator=torch.Generator().manual_seed(99))


@pytest.fixture(scope="module")
def written(mixture):
    """A decoder whose heads and neurons were written, its axes, and states of contents."""
    torch.manual_seed(1)
    decoder = tiny.make_decoder(4, WIDTH, 3)
    states = torch.randn(3000, 384) * torch.linspace(0.01, 2, 384)
    for layer in decoder.model.layers[2:]:
        fusion.clear(layer)
    axes = domains.find_axes(states, states, states, decoder.config.head_dim)
    rules = torch.cat([torch.randn(600, 384) + way for way in WAYS.values()])
    covered = torch.zeros(1200, len(DOMAIN_NAMES))
    covered[:600, HATE], covered[600:, SPAM] = 1.0, 1.0
    others, excusing = torch.randn(4000, 384), torch.arange(4000) < 600
    others[excusing] += EXCUSE
    tests = torch.arange(1200) % 4 == 0
    rules[tests] += TESTED
    domains.write(decoder, domains.Rules(rules, covered, tests.float(), others, excusing), axes, 1, 3)
    neurons = domains.begin_neurons(mixture, NEURONS, len(DOMAIN_NAMES), 0)
    domains.write_opinions(decoder.model.layers[2], neurons, axes, 2.0)
    return decoder, axes, neurons, states


def test_an_expert_counts_where_a_text_is_like_those_it_judged(mixture):
    torch.manual_seed(2)
    states = torch.randn(50, 384)
    with torch.no_grad():
        inside = network.normal(states, torch.ones(384))
        own = mixture.readers.topics(inside)[:, -len(SETS) :]
        alike = (mixture.gate(inside) / domains.TEMPERATURE).softmax(-1)
    experts = domains.EXPERTS[SPAM]
    assert {SETS[one][0] for one in experts} == {"sms-spam", "youtube-spam"}
    weights = torch.stack([alike[:, domains.SOURCES.index(SETS[one][0])] for one in experts], 1) + domains.AT_LEAST / 2
    wanted = (own[:, experts] * weights).sum(1) / weights.sum(1) + own[:, experts].mean(1)
    assert torch.allclose(mixture.read(states)[:, SPAM], wanted, atol=1e-4)


def test_neurons_say_what_the_mixture_says(mixture):
    torch.manual_seed(3)
    states = torch.randn(3000, 384)
    wanted = mixture.read(states)
    inside = network.normal(states, torch.ones(384))
    neurons = domains.fit_neurons(mixture, inside, wanted, NEURONS + 40, 0)
    missed = (neurons(inside) - wanted).pow(2).mean(0) / wanted.var(0)
    assert missed.max() < 0.1
    with pytest.raises(ValueError, match="needs"):
        domains.fit_neurons(mixture, inside, wanted, NEURONS - 1, 0)


def test_the_gate_tells_the_sets_apart():
    torch.manual_seed(4)
    sources = [domains.SOURCES[index % 3] for index in range(600)] + ["written"] * 50
    states = torch.randn(650, 16)
    states[torch.arange(600), [index % 3 for index in range(600)]] += 4.0
    told = domains.fit_gate(states, sources, 0)(network.normal(states[:600], torch.ones(16))).argmax(1)
    assert (told == torch.tensor([index % 3 for index in range(600)])).float().mean() > 0.95


def test_log_odds_are_those_of_as_many_violations_as_others():
    """However few there are, and whatever is said of texts whose set is silent about the domain."""
    torch.manual_seed(5)
    broken = [Example("a", "edos", broken=frozenset({"hate.slur"}))] * 500
    kept, silent = [Example("b", "edos")] * 5000, [Example("c", "sms-spam", unsure=frozenset({"hate"}))] * 5000
    readings = torch.zeros(10500, len(DOMAIN_NAMES))
    readings[:500, HATE] = torch.randn(500) + 1
    readings[500:5500, HATE] = torch.randn(5000) - 3
    readings[5500:, HATE] = 40.0
    found = domains.odds(readings, [*broken, *kept, *silent])[:, HATE]
    # two normal distributions of the same spread, 4 apart: 4 nats a unit, none halfway between them
    assert found[:5500].numpy() == pytest.approx((4 * (readings[:5500, HATE] + 1)).clamp(-6, 6).numpy(), abs=1.2)
    assert found[5500:].max() <= domains.FARTHEST


def carried(decoder, heads: range, state: torch.Tensor) -> torch.Tensor:
    """What heads of the layer that compares add where they look at nothing but this."""
    layer, size = decoder.model.layers[2], decoder.config.head_dim
    values = network.linear(network.normal(state, layer.input_layernorm.weight), layer.self_attn.v_proj).float()
    rows = slice(heads[0] * size, (heads[-1] + 1) * size)
    return values[rows] @ layer.self_attn.o_proj.weight[:, rows].T


@torch.no_grad()
def test_heads_carry_the_domains_of_what_they_look_at_and_nothing_from_where_no_rule_is(written):
    decoder, axes, _, _ = written
    torch.manual_seed(7)
    opening = network.forward(decoder, torch.tensor([[3]]), None, 2)[0][-1][0, 0]
    line = torch.randn(384) + WAYS[HATE]
    for heads, along in ((range(4), axes.covered), (range(domains.POLICY, domains.POLICY + 1), axes.policy)):
        assert carried(decoder, heads, opening).abs().max() < 1e-3
        told = carried(decoder, heads, line) @ along - carried(decoder, heads, torch.randn(384)) @ along
        assert told[HATE] > 3 * told[SPAM].abs()
    assert carried(decoder, range(4, 6), opening).abs().max() < 1e-3
    excused, broken, other = (carried(decoder, range(4, 6), torch.randn(384) + way) for way in (EXCUSE, WAYS[HATE], 0.0))
    assert (excused - other) @ axes.excused > 3 * ((broken - other) @ axes.excused).abs()
    tested, beside, other = (carried(decoder, range(4), torch.randn(384) + way) for way in (TESTED, EXCUSE, 0.0))
    assert (tested - other) @ axes.tested > 3 * ((beside - other) @ axes.tested).abs()


@torch.no_grad()
def test_a_head_looks_at_the_tokens_of_rules_wherever_they_stand(written):
    decoder = written[0]
    torch.manual_seed(6)
    way = torch.randn(384)
    others, rules = torch.randn(3000, 384), torch.randn(1000, 384) + way
    layer, size = decoder.model.layers[2], decoder.config.head_dim
    domains.look_at_rules(layer, rules, others)
    states = torch.cat((torch.randn(300, 384), torch.randn(20, 384) + way, torch.randn(80, 384)))[None]
    _, _, (look,) = network.climb(decoder, states, None, range(2, 3))
    scores = look.queries[0, domains.POLICY, -1].float() @ look.keys[0, domains.POLICY].float().T / size**0.5
    assert scores.softmax(-1)[300:320].sum() > 0.95


@torch.no_grad()
def test_opinions_are_what_the_neurons_say_and_read_nothing_along_the_axes(written):
    decoder, axes, neurons, states = written
    layer = decoder.model.layers[2]
    plain = states - states @ axes.new @ axes.new.T
    plain = network.normal(plain, torch.ones(384))
    said = network.gated(network.normal(plain, layer.post_attention_layernorm.weight), layer.mlp) @ axes.opinions
    assert said.numpy() == pytest.approx((2.0 * domains.LOUD * neurons(plain)).numpy(), abs=0.02)
    moved = network.normal(plain, torch.ones(384)) + 3 * axes.policy[:, :1].T
    again = network.gated(moved, layer.mlp) @ axes.opinions
    assert again.numpy() == pytest.approx(said.numpy(), abs=0.02)


@torch.no_grad()
def test_nothing_else_writes_along_the_axes(written):
    decoder, axes, _, _ = written
    size = decoder.config.head_dim
    heads = {*lessons.HEADS[0], *lessons.HEADS[1], domains.POLICY}
    silent = [row for head in range(12) if head not in heads for row in range(head * size, (head + 1) * size)]
    assert (axes.new.T @ decoder.model.layers[2].self_attn.o_proj.weight[:, silent]).abs().max() < 1e-4
    last = decoder.model.layers[3]
    assert last.mlp.down_proj.weight.abs().max() == last.self_attn.o_proj.weight.abs().max() == 0.0


def test_axes_are_idle_before_the_layer_and_behind_it():
    """Not those of topics, and none that the layer came to use."""
    torch.manual_seed(8)
    before = torch.randn(3000, 384) * torch.linspace(0.01, 2, 384)
    chosen = torch.eye(384)[:, : lessons.WIDTH]
    used = torch.eye(384)[:, lessons.WIDTH : lessons.WIDTH + 20]
    after = before + torch.randn(3000, lessons.WIDTH) @ chosen.T + 5 * torch.randn(3000, 20) @ used.T
    axes = domains.find_axes(before, before, after, 32)
    assert (axes.new.T @ axes.new - torch.eye(axes.new.shape[1])).abs().max() < 1e-4
    assert (axes.new.T @ axes.topics).abs().max() < 0.02
    assert (used.T @ axes.new).pow(2).sum(0).max() < 0.05
