"""An id goes from its line to the answer, whatever the policy calls its rules."""

from __future__ import annotations

import pytest
import torch

from finetune.nano import citing, codes, domains, fusion, lessons, network, quoting
from tests.finetune import tiny

OPENING, MET = 3, range(20, 60)
FIRST, LAST, CITE = torch.randn(3, 384, generator=torch.Generator().manual_seed(0))


def states_of(decoder, ids: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Tokens as a layer might have them: what they are, and whether an id begins or ends there."""
    table = decoder.model.embed_tokens.weight.detach()
    return torch.randn(len(ids), 384) * 0.3 + table[ids] / table.std() + first[:, None] * FIRST + last[:, None] * LAST


@pytest.fixture(scope="module")
def written():
    """A decoder whose heads name and cite, and its axes."""
    torch.manual_seed(1)
    decoder, _ = tiny.coded(tiny.make_decoder(4, 480, 3))
    for layer in decoder.model.layers[2:]:
        fusion.clear(layer)
    ids = torch.randint(100, 700, (6000,))
    first = torch.arange(6000) % 15 == 0
    last = first.roll(1)
    ids[first | last] = torch.tensor(MET)[torch.randint(0, len(MET), (800,))]
    lines = citing.Lines(states_of(decoder, ids, first, last), (first, last))
    axes = domains.find_axes(lines.states, lines.states, lines.states, 32, codes.find(decoder).along)
    named = citing.name(decoder, lines, axes, 1, OPENING)
    answers, cites = torch.randn(4000, 384), torch.rand(4000) < 0.2
    answers[cites] += CITE
    begins = torch.zeros(4000, dtype=torch.bool)
    seen = torch.cat((network.forward(decoder, torch.tensor([[OPENING]]), None, 3)[0][-1][0], torch.randn(4000, 384)))
    first = torch.arange(4001) == 0
    citing.cite(decoder, named, quoting.Words(seen, begins, first, answers, begins, cites), axes, 1)
    return decoder, axes


@torch.no_grad()
def test_heads_look_back_at_the_nearest_of_many():
    torch.manual_seed(2)
    decoder, way = tiny.make_decoder(1), torch.randn(384)
    layer, size = decoder.model.layers[0], decoder.config.head_dim
    ends = torch.rand(4000) < 0.03
    citing.look_back(layer, 8, network.normal(torch.randn(4000, 384) + ends[:, None] * way, torch.ones(384)), ends)
    places = [1, 30, 80, 100, 155, 210, 250, 305, 360, 420, 470, 525, 560]
    states = torch.randn(600, 384)
    states[places] += way
    _, _, (look,) = network.climb(decoder, states[None], None, range(1))
    found = []
    for place in range(1, 600):
        scores = look.queries[0, 8, place].float() @ look.keys[0, 8, : place + 1].float().T / size**0.5
        found.append(scores.softmax(-1)[max(one for one in places if one <= place)].item())
    assert sum(found) > 0.9 * len(found)


@torch.no_grad()
def test_the_words_of_a_line_know_its_id_and_the_answer_is_moved_towards_it(written):
    decoder, axes = written
    torch.manual_seed(4)
    first = torch.arange(240) % 20 == 4
    ids = torch.randint(100, 700, (240,))
    ids[first] = torch.tensor(MET)[torch.randperm(len(MET))[:12]]
    ids[first.roll(1)] = torch.tensor(MET)[torch.randperm(len(MET))[:12]]
    states = network.climb(decoder, states_of(decoder, ids, first, first.roll(1))[None], None, range(2, 3))[0][-1][0]
    layer, size = decoder.model.layers[-1], decoder.config.head_dim
    logits = decoder.lm_head.weight * decoder.model.norm.weight
    for end, way, heads in ((first, axes.names[0], (0, 1)), (first.roll(1), axes.names[1], (2, 3))):
        tokens = ids[end]
        words = states[torch.arange(240)[end] + 12]
        assert ((words @ way @ codes.make(700)[tokens].T).argmax(1) == torch.arange(12)).float().mean() > 0.9
        said = 0.0
        for head in heads:
            rows = slice(head * size, (head + 1) * size)
            inside = network.normal(words, layer.input_layernorm.weight)
            said = (
                said
                + network.linear(inside, layer.self_attn.v_proj).float()[:, rows] @ layer.self_attn.o_proj.weight[:, rows].T
            )
        assert ((said @ logits[tokens].T).argmax(1) == torch.arange(12)).float().mean() > 0.9  # chance: 0.08


@torch.no_grad()
def test_heads_of_the_last_layer_look_as_those_that_compare_and_bring_nothing_from_the_opening(written):
    decoder, axes = written
    torch.manual_seed(5)
    states = torch.randn(1, 40, 384)
    states -= states @ axes.new @ axes.new.T
    looks = [network.climb(decoder, states, None, range(number, number + 1))[2][0] for number in (2, 3)]
    compared = [axis for axis in range(32) if axis not in (15, 31)]
    for theirs, ours in zip(lessons.HEADS, lessons.CITING, strict=True):
        for name in ("queries", "keys"):
            of, to = (
                getattr(look, name)[0, list(heads)][..., compared] for look, heads in zip(looks, (theirs, ours), strict=True)
            )
            assert torch.allclose(of, to, atol=1e-3)
    opening = network.forward(decoder, torch.tensor([[OPENING]]), None, 3)[0][-1][0, 0]
    layer = decoder.model.layers[-1]
    values = network.linear(network.normal(opening, layer.input_layernorm.weight), layer.self_attn.v_proj).float()
    cited = [row for heads in lessons.CITING for head in heads for row in range(head * 32, head * 32 + 32)]
    assert values[cited].abs().max() < 1e-3


@torch.no_grad()
def test_where_no_id_is_written_the_heads_that_cite_rest_at_the_very_first_token(written):
    decoder, _ = written
    torch.manual_seed(6)
    opening = network.forward(decoder, torch.tensor([[OPENING]]), None, 3)[0][-1][0]
    rested = {}
    for cites in (True, False):
        states = torch.cat((opening, torch.randn(60, 384)))
        states[-20:] += CITE * cites
        _, _, (look,) = network.climb(decoder, states[None], None, range(3, 4))
        scores = look.queries[0, :, -20:].float() @ look.keys[0].float().transpose(1, 2) / 32**0.5
        scores = scores.masked_fill(torch.arange(61)[None] > torch.arange(41, 61)[:, None], -1e9)
        heads = [head for some in lessons.CITING for head in some]
        rested[cites] = scores.softmax(-1)[heads, :, 0].mean().item()
    assert rested[False] > 0.9
    assert rested[True] < 0.4
