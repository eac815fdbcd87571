"""Rows behind one policy, run together: what they lose is what they lose alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from moderator.finetuning.encoding import Encoded
from moderator.finetuning.packs import Pack, losses, packed, steps

PREFIX = tuple(range(5, 25))
ROWS = [
    Encoded(PREFIX, (30, 31, 32, 33), (0.0, 0.0, 1.0, 0.5)),
    Encoded(PREFIX, (40, 41, 42, 43, 44, 45), (0.0, 0.0, 0.0, 2.0, 1.0, 0.3)),
    Encoded(PREFIX, (30, 50), (0.0, 1.0)),
]


@pytest.fixture
def network(tiny: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)


def lost(network: torch.nn.Module, packs: Sequence[Pack]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """What each token loses, and the gradient of the weighted sum."""
    network.zero_grad()
    of_tokens: list[float] = []
    for pack in packs:
        each, weights = losses(network, pack)
        (each * weights).sum().backward()
        of_tokens += each.tolist()
    return of_tokens, {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


def test_a_token_loses_what_the_model_gives_it_behind_those_before_it(network: torch.nn.Module) -> None:
    """Against plain transformers over the whole row."""
    row = ROWS[1]
    ids = torch.tensor([[*row.prefix, *row.ids]])
    with torch.inference_mode():
        chances = network(input_ids=ids).logits[0].log_softmax(-1)
    learned = [len(PREFIX) + place for place, weight in enumerate(row.weights) if weight]
    each, weights = losses(network, Pack((row,)))
    assert each.tolist() == pytest.approx([-chances[place - 1, ids[0, place]].item() for place in learned], abs=1e-4)
    assert weights.tolist() == pytest.approx([weight for weight in row.weights if weight])


def test_rows_in_a_pack_lose_what_they_lose_alone(network: torch.nn.Module) -> None:
    """No row sees another, each stands at its own positions, and the gradient is the same."""
    alone, apart = lost(network, [Pack((row,)) for row in ROWS])
    together, at_once = lost(network, [Pack(tuple(ROWS))])
    assert together == pytest.approx(alone, abs=1e-5)
    for name, gradient in apart.items():
        # sums in another order: what they round to depends on how large their terms are
        torch.testing.assert_close(at_once[name], gradient, atol=1e-5 * (1 + gradient.abs().max().item()), rtol=1e-4)


def test_a_row_that_saw_another_would_lose_something_else(network: torch.nn.Module) -> None:
    """The test above is one that a pack without a mask would fail."""
    alone, _ = lost(network, [Pack((ROWS[1],))])
    behind = Encoded(PREFIX, ROWS[0].ids + ROWS[1].ids, (0.0,) * len(ROWS[0].ids) + ROWS[1].weights)
    seen, _ = lost(network, [Pack((behind,))])
    assert seen != pytest.approx(alone, abs=1e-3)


def test_packs_hold_rows_of_one_policy_and_no_more_tokens_than_told() -> None:
    rows = [Encoded(PREFIX if number % 3 else PREFIX[:7], tuple(range(number, number + 9)), (1.0,) * 9) for number in range(40)]
    packs = packed(rows, 60, together=True)
    assert Counter(row for pack in packs for row in pack.rows) == Counter(rows)
    assert all(len({row.prefix for row in pack.rows}) == 1 and pack.tokens <= 60 for pack in packs)
    assert len(packs) < len(rows) / 2


def test_a_model_that_cannot_pack_gets_a_row_at_a_time() -> None:
    assert [len(pack.rows) for pack in packed(ROWS, 1000, together=False)] == [1, 1, 1]


def test_each_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    rows = [Encoded(PREFIX, (number, number + 1), (0.0, 1.0)) for number in range(50)]
    first, again, second = (
        [row for step in steps(rows, 40, 6, together=True, seed=3, epoch=epoch) for pack in step for row in pack.rows]
        for epoch in (0, 0, 1)
    )
    assert first == again
    assert first != second
    assert Counter(first) == Counter(second) == Counter(rows)


def test_a_step_has_its_rows() -> None:
    rows = [Encoded(PREFIX, (number, number + 1), (0.0, 1.0)) for number in range(50)]
    found = steps(rows, 28, 8, together=True, seed=3, epoch=0)
    assert all(sum(len(pack.rows) for pack in step) >= 8 for step in found[:-1])
