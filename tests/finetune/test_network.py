"""What the recipe's forward pass adds to transformers' (which `test_answers.py` compares it with)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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
