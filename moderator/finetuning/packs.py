"""Rows packed behind their policy: it is run once for all of them, in training as in serving.

A pack is one sequence: the policy's tokens, then the rows' own, each at the positions that it would have alone and each seeing
the policy and itself. The loss, and so its gradient, is that of the rows one by one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from moderator.finetuning.encoding import Encoded


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows of one policy that are run together."""

    rows: tuple[Encoded, ...]

    @property
    def tokens(self) -> int:
        return len(self.rows[0].prefix) + sum(len(row.ids) for row in self.rows)

    @property
    def weight(self) -> float:
        """Of all tokens that are learned."""
        return sum(sum(row.weights) for row in self.rows)


def packed(rows: Sequence[Encoded], tokens: int, *, together: bool) -> list[Pack]:
    """The rows in packs of at most so many tokens, in their order within a policy; not `together`: a row a pack."""
    if not together:
        return [Pack((row,)) for row in rows]
    of_policy: dict[tuple[int, ...], list[list[Encoded]]] = {}
    for row in rows:
        packs = of_policy.setdefault(row.prefix, [[]])
        if packs[-1] and len(row.prefix) + sum(len(one.ids) for one in packs[-1]) + len(row.ids) > tokens:
            packs.append([])
        packs[-1].append(row)
    return [Pack(tuple(pack)) for packs in of_policy.values() for pack in packs]


def steps(rows: Sequence[Encoded], tokens: int, least: int, *, together: bool, seed: int, epoch: int) -> list[list[Pack]]:
    """The packs of each step of an epoch: rows in an order of its own, then packs, until a step has its rows."""
    drawn = random.Random(f"{seed}/{epoch}")
    order = list(rows)
    drawn.shuffle(order)
    packs = packed(order, tokens, together=together)
    drawn.shuffle(packs)
    found: list[list[Pack]] = [[]]
    for pack in packs:
        if sum(len(one.rows) for one in found[-1]) >= least:
            found.append([])
        found[-1].append(pack)
    return found


def losses(network: Any, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss (nats) of foretelling each learned token of a pack, and what each counts."""
    device = network.device
    ids, owners, positions, wanted, weights = _laid_out(pack)
    options: dict[str, Any] = {}
    if len(pack.rows) > 1:
        options["attention_mask"] = _mask(owners.to(device), network.dtype)
        options["position_ids"] = positions[None].to(device)
    logits = network(input_ids=ids[None].to(device), logits_to_keep=(wanted - 1).to(device), use_cache=False, **options).logits[
        0
    ]
    each = functional.cross_entropy(logits.float(), ids[wanted].to(device), reduction="none")
    return each, weights.to(device)


def _laid_out(pack: Pack) -> tuple[torch.Tensor, ...]:
    """Ids, owners (0: the policy) and positions of a pack's tokens; the places of those that are learned, and their weights."""
    prefix = pack.rows[0].prefix
    ids, owners, positions = list(prefix), [0] * len(prefix), list(range(len(prefix)))
    weights = [0.0] * len(prefix)
    for number, row in enumerate(pack.rows, start=1):
        ids += row.ids
        owners += [number] * len(row.ids)
        positions += range(len(prefix), len(prefix) + len(row.ids))
        weights += row.weights
    wanted = [place for place, weight in enumerate(weights) if weight]
    return (
        torch.tensor(ids),
        torch.tensor(owners),
        torch.tensor(positions),
        torch.tensor(wanted),
        torch.tensor([weights[place] for place in wanted]),
    )


def _mask(owners: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What each token sees: what stands before it, of the policy and of its own row (1, 1, tokens, tokens)."""
    before = torch.ones(len(owners), len(owners), dtype=torch.bool, device=owners.device).tril()
    seen = before & ((owners[:, None] == owners) | (owners == 0))
    mask = torch.zeros(seen.shape, dtype=dtype, device=owners.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]
