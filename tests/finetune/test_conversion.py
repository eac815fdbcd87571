"""A decoder that begins at an encoder is near to what the encoder says, and nearer than one that does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from finetune.nano import conversion, evidence, network
from tests.finetune import tiny

TEXTS = [f"{one} {other}" for one in tiny.TEXTS for other in tiny.TEXTS]


def test_tokens_are_matched_where_both_end():
    assert conversion.ends([(0, 3), (3, 7), (7, 8)], [(0, 0), (0, 3), (3, 5), (5, 8), (0, 0)]) == [1, -1, 3]


@torch.no_grad()
def test_turned_heads_ask_and_show_the_same():
    torch.manual_seed(0)
    query, key, states = nn.Linear(24, 16), nn.Linear(24, 16), torch.randn(7, 24)
    asks, asked, shows, shown = conversion.turned_heads(query, key, 2)

    def products(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return torch.einsum("qhd,khd->hqk", queries.view(7, 2, 8), keys.view(7, 2, 8))

    turned = products(functional.linear(states, asks, asked), functional.linear(states, shows, shown))
    assert turned == pytest.approx(products(query(states), key(states)), abs=1e-4)
    strength = (asks.view(2, 8, 24).norm(dim=2) * shows.view(2, 8, 24).norm(dim=2)).mean(0)
    assert strength[3] > strength[0]  # axis 3 of the first half turns slowest


def test_ridge_finds_a_linear_map_and_stays_near_where_it_cannot():
    torch.manual_seed(0)
    given, weight = torch.randn(200, 5), torch.randn(3, 5)
    found, bias = conversion.ridge(given, given @ weight.T + 2, torch.zeros(3, 5), 1e-9)
    assert found == pytest.approx(weight, abs=1e-4)
    assert bias == pytest.approx(torch.full((3,), 2.0), abs=1e-4)
    kept, _ = conversion.ridge(torch.zeros(4, 5), torch.zeros(4, 3), weight, 1.0)
    assert kept == pytest.approx(weight, abs=1e-4)


@torch.no_grad()
def test_converted_layers_come_near_to_the_encoder(teacher, pieces, decoder):
    strings = [pieces.decode([index], skip_special_tokens=False) for index in range(tiny.VOCABULARY)]
    decoder.model.embed_tokens.weight.copy_(teacher.words(strings))
    room = conversion.classroom(teacher, pieces, TEXTS)
    target = room.theirs(room.lesson.states[-1])

    def near() -> float:
        states, _, _ = network.forward(decoder, room.ids, None, 2)
        return functional.cosine_similarity(room.ours(states[-1]), target).mean().item()

    before = near()
    reached = conversion.convert(decoder, teacher, room, (0, 1), 96)
    assert near() == pytest.approx(reached[-1], abs=1e-3)
    assert reached[-1] > max(0.9, before + 0.05)


@torch.no_grad()
def test_what_stands_along_free_axes_goes_through_untouched(teacher, pieces, decoder):
    strings = [pieces.decode([index], skip_special_tokens=False) for index in range(tiny.VOCABULARY)]
    table = teacher.words(strings)
    free = evidence.axes([table], 3)
    decoder.model.embed_tokens.weight.copy_(evidence.write(table, free, torch.randn(len(table), 3), 1.0))
    room = conversion.classroom(teacher, pieces, TEXTS, [[5, 6, 7], [8]])
    reached = conversion.convert(decoder, teacher, room, (0, 1), 96, free)
    states, _, _ = network.forward(decoder, room.ids, None, 2)
    assert states[2] @ free == pytest.approx(states[0] @ free, abs=1e-3)
    assert (states[2] - states[0]).abs().max() > 0.1
    assert reached[-1] > 0.8


def test_a_classroom_behind_prompts_pairs_the_same_tokens(teacher, pieces):
    alone = conversion.classroom(teacher, pieces, ["you are a fool", "what a lovely day"])
    behind = conversion.classroom(teacher, pieces, ["you are a fool", "what a lovely day"], [[5, 6, 7], [8]])
    assert behind.ids[0, :3].tolist() == [5, 6, 7]
    assert alone.ours(alone.ids).tolist() == behind.ours(behind.ids).tolist()
    assert alone.pieces == behind.pieces


def test_a_classroom_pairs_tokens_of_one_text(teacher, pieces):
    room = conversion.classroom(teacher, pieces, ["you are a fool", "what a lovely day"])
    for row, column, piece in zip(room.rows, room.columns, room.pieces, strict=True):
        ours = pieces.decode([int(room.ids[row, column])]).strip()
        assert ours.endswith(room.lesson.encodings[row].tokens[piece].removeprefix("##"))
    assert len(room.rows) == 8
