"""What the recipe's forward pass adds to transformers' (which `test_answers.py` compares it with)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from finetune.nano import model as nano
from finetune.nano import network


def test_a_lookup_adds_the_gradient_that_autograd_would():
    ids = torch.tensor([[3, 1], [3, 0]])
    table = nn.Parameter(torch.randn(5, 4))
    plain = nn.Parameter(table.detach().clone())
    for found in (network.lookup(table, ids), functional.embedding(ids, plain)):
        assert found.shape == (2, 2, 4)
        found.square().sum().backward()
    network.lookup(table, ids).sum().backward()
    functional.embedding(ids, plain).sum().backward()
    assert torch.allclose(table.grad, plain.grad)


@pytest.mark.parametrize(("working", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("before", [0, 7])
def test_attention_is_that_of_torch_in_values_and_gradients(working, near, before):
    """With the prefix's keys and values copied for every row, as that wants them."""
    draw = torch.Generator().manual_seed(4)
    queries, keys, values = (torch.randn(3, 2, 5, 8, generator=draw, dtype=torch.float32) for _ in range(3))
    past = [torch.randn(1, 2, before, 8, generator=draw) for _ in range(2)] if before else []
    seen = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    given = [part.to(working, copy=True).requires_grad_() for part in (queries, keys, values, *past)]
    plain = [part.clone().requires_grad_() for part in (queries, keys, values, *past)]
    found = network.attend(*given[:3], seen, *given[3:])
    wide = [
        torch.cat((old.expand(3, -1, -1, -1), new), 2) for old, new in zip(plain[3:], plain[1:3], strict=True)
    ] if before else plain[1:3]  # fmt: skip
    mask = torch.cat((torch.ones(1, 1, 5, before, dtype=torch.bool), seen), -1)
    wanted = functional.scaled_dot_product_attention(plain[0], *wide, attn_mask=mask)
    for one in (found, wanted):
        one.float().square().sum().backward()
    assert torch.allclose(found.float(), wanted, atol=near)
    for one, other in zip(given, plain, strict=True):
        assert torch.allclose(one.grad.float(), other.grad, atol=10 * near)


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
