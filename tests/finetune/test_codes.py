"""A token keeps its code through the layers, and what is put down along the same axes says that very token."""

from __future__ import annotations

import torch

from finetune.nano import codes, network
from finetune.nano.tokenizer import SPECIAL
from tests.finetune import tiny


@torch.no_grad()
def test_the_codes_of_a_decoder_are_found_in_its_embeddings():
    decoder, along = tiny.coded(tiny.make_decoder(2))
    found = codes.find(decoder)
    assert torch.allclose(found.along.T @ found.along, torch.eye(codes.SIZE), atol=1e-4)
    assert torch.allclose(found.along, along, atol=1e-3)
    decoder.model.embed_tokens.weight += 0.002 * torch.randn(decoder.model.embed_tokens.weight.shape)
    assert (codes.find(decoder).along.T @ found.along).diagonal().min() > 0.98


@torch.no_grad()
def test_a_code_goes_through_layers_that_leave_it_alone_and_is_read_and_said_again():
    decoder, _ = tiny.coded(tiny.make_decoder(3))
    found, ids = codes.find(decoder), torch.randint(len(SPECIAL), 700, (1, 40))

    def read() -> torch.Tensor:
        state = network.forward(decoder, ids)[0][-1][0]
        size = state.pow(2).mean(-1, keepdim=True).sqrt()
        return (state / size) @ found.reader(torch.ones(384), 1.0).T * size

    disturbed = read()
    for layer in decoder.model.layers:
        codes.leave_alone(layer, found.along)
    signs = codes.make(700)[ids[0]]
    assert (read() - signs).abs().mean() < 0.3 < (disturbed - signs).abs().mean()
    assert (read().sign() == signs).float().mean() > 0.99


@torch.no_grad()
def test_what_is_said_is_that_token_and_not_one_that_is_like_it():
    """By so many nats."""
    decoder, _ = tiny.coded(tiny.make_decoder(2))
    decoder.model.norm.weight.fill_(0.15)
    found, table = codes.find(decoder), decoder.model.embed_tokens.weight
    table[31] = table[30] - (table[30] - table[31]) @ found.along @ found.along.T
    states = network.normal(torch.randn(200, 384), torch.ones(384)) * 3.0
    moved = states + codes.make(700)[30] @ found.saying(decoder, 8.0, 3.0).T
    before, after = (network.last(decoder, one) * one.pow(2).mean(-1, keepdim=True).sqrt() / 3.0 for one in (states, moved))
    gained = (after - before).mean(0)
    assert abs(gained[30].item() - 8.0) < 1.0
    assert gained[31].item() < 6.0
    others = torch.ones(700, dtype=torch.bool)
    others[30] = False
    assert gained[others].max() < 7.0


def test_control_tokens_have_no_code_and_others_differ():
    signs = codes.make(700)
    assert not signs[: len(SPECIAL)].any()
    assert set(signs[len(SPECIAL) :].unique().tolist()) == {-1.0, 1.0}
    assert len(signs[len(SPECIAL) :].unique(dim=0)) == 700 - len(SPECIAL)
    assert torch.equal(signs, codes.make(700))


def test_training_writes_nothing_over_the_codes():
    """But for its last step."""
    decoder, along = tiny.coded(tiny.make_decoder(2))
    layers = list(decoder.model.layers)
    losses = codes.guarded(iter([(torch.zeros(()), {"number": 1.0}), (torch.zeros(()), {"number": 2.0})]), layers, along)
    for number in (1.0, 2.0):
        assert next(losses)[1] == {"number": number}
        for layer in layers:
            assert (along.T @ layer.mlp.down_proj.weight).abs().max() < 1e-5
            with torch.no_grad():
                layer.mlp.down_proj.weight += 0.1
