"""Heads that copy take a token along, from the place that they look at, before anything is trained."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional

from finetune.nano import augment, copying, evidence, lessons, network, shelf
from finetune.nano.stance import judge
from moderator.prompt import load_family
from tests.finetune import tiny

DEPTH = 1


@pytest.fixture(scope="module")
def written(chat, known):
    """A decoder whose heads were written, the tokens of policies, their states, and the axes on which ids travel."""
    decoder, draw, drawn = tiny.make_decoder(4, 256, 3), random.Random(3), []
    for stance in known[:5]:
        group = augment.make_group(draw, augment.Pools(tiny.EXAMPLES, draw, {}), stance, load_family("nano"), 10, 0.0, 1.0)
        volumes = shelf.read(decoder, chat, [group], DEPTH, 1000)
        drawn.append((stance, [(volume, judge(stance, volume.example)) for volume in volumes]))
    with torch.no_grad():
        states = torch.cat([states for _, states in copying.policies_read(decoder, chat, DEPTH, drawn)])
    copying.write(decoder, chat, DEPTH, states, iter(drawn), len(drawn))
    lines, texts = (read(decoder, chat, DEPTH, drawn) for read in (copying.policies_read, copying.contents_read))
    free = evidence.axes(states, lessons.WIDTH + 32 * len(lessons.NAMING))[:, lessons.WIDTH :]
    return decoder, lines, texts, free


def carried(layer: torch.nn.Module, heads: tuple[int, ...], states: torch.Tensor) -> torch.Tensor:
    """What the heads add where they look at nothing but a token with this state."""
    attention, said = layer.self_attn, 0
    values = attention.v_proj(network.normal(states, layer.input_layernorm.weight))
    for head in heads:
        rows = slice(head * 32, (head + 1) * 32)
        said = said + functional.linear(values[:, rows], attention.o_proj.weight[:, rows])
    return said


def found(decoder: torch.nn.Module, said: torch.Tensor, ids: torch.Tensor) -> float:
    """How often the token among those of the policies that is likest to what was said is the right one."""
    known, table = ids.unique(), decoder.model.embed_tokens.weight
    near = functional.normalize(said) @ functional.normalize(table[known] - table.mean(0)).T
    return (known[near.argmax(1)] == ids).float().mean().item()


@torch.no_grad()
def test_an_id_arrives_where_it_is_written(written):
    """Along the three heads in turn, from the policy's tokens; each is the only thing that the next one looks at."""
    decoder, lines, _, _ = written
    ids, states = (torch.cat(parts) for parts in zip(*lines, strict=True))
    for end in (0, 1):
        told = carried(decoder.model.layers[DEPTH], lessons.NAMING[end : end + 1], states)
        told = carried(decoder.model.layers[DEPTH + 1], copying.CARRIERS[end : end + 1], states.flip(0) + told)
        told = carried(decoder.model.layers[-1], lessons.COPYING[0][end::2], states.roll(7, 0) + told)
        assert found(decoder, told, ids) > 0.9
    assert found(decoder, states.flip(0), ids) < 0.2


@torch.no_grad()
def test_the_words_of_a_quote_arrive_where_it_begins(written):
    decoder, _, texts, _ = written
    ids, states = (torch.cat(parts) for parts in zip(*texts, strict=True))
    assert found(decoder, carried(decoder.model.layers[-1], lessons.COPYING[1], states), ids) > 0.9


@torch.no_grad()
def test_nothing_but_the_heads_that_carry_reads_an_id_on_its_way(written):
    decoder, _, _, free = written
    states = torch.randn(1, 9, 384)
    layer = decoder.model.layers[DEPTH + 1]
    readers = ((layer.mlp.gate_proj, layer.post_attention_layernorm), (layer.self_attn.k_proj, layer.input_layernorm))
    for reader, norm in readers:
        assert (functional.linear(states @ free @ free.T * norm.weight, reader.weight)).abs().max() < 1e-3
    rows = torch.tensor([row for head in copying.CARRIERS for row in range(head * 32, (head + 1) * 32)])
    assert (layer.self_attn.v_proj.weight[rows] @ free).abs().max() > 0.1


def test_directions_are_orthonormal_and_the_strongest():
    torch.manual_seed(0)
    table = torch.randn(500, 12) * torch.linspace(3, 0.1, 12)
    dealt = copying.directions(table, 2, 3)
    flat = dealt.flatten(0, 1)
    assert flat @ flat.T == pytest.approx(torch.eye(6), abs=1e-5)
    assert (flat[:, :6] ** 2).sum() > 5.5
    spreads = [(table @ some.T).std().item() for some in dealt]
    assert spreads[0] == pytest.approx(spreads[1], abs=0.5)  # 0.8 if the first had the strongest
