"""Calibration: a temperature and an offset of `yes`, fitted on texts kept out of training, and folded in.

Whoever loads the folder, on any engine, gets the calibrated probabilities; nothing has to be stored or applied beside it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from finetune.nano import dev, network
from finetune.nano.prepare import Example
from finetune.nano.tokenizer import LABELS

YES = LABELS.index("yes")


MIXED = 0.1
"""A set in which fewer have one of the two answers says little of how sure to be, and is left out."""


def alike(sources: Sequence[str]) -> torch.Tensor:
    """Weights that make every source count the same, and every text within it; they sum to one.

    Sets have 5 to 96 % violations by how they were collected, which is what probabilities then mean: what a platform has is
    another number, and its own calibration (log: run 48).
    """
    sizes = Counter(sources)
    return torch.tensor([1 / (sizes[source] * len(sizes)) for source in sources])


def violating(known: dev.Known) -> float:
    """The share of violations."""
    return sum(ruling.label == "yes" for _, ruling in known) / max(1, len(known))


def towards(decoder: LlamaForCausalLM, labels: Sequence[int]) -> torch.Tensor:
    """For each label (width, labels) the shortest step of a last state that moves its logit by one (before the norm's scale),
    and no other label's."""
    return torch.linalg.pinv(decoder.lm_head.weight[list(labels)].float() * decoder.model.norm.weight.float())


def towards_yes(decoder: LlamaForCausalLM, labels: Sequence[int]) -> torch.Tensor:
    """The same of `yes` alone (width)."""
    return towards(decoder, labels)[:, YES]


def logits(decoder: LlamaForCausalLM, labels: Sequence[int], states: torch.Tensor) -> torch.Tensor:
    inside = network.normal(states.float(), decoder.model.norm.weight.float())
    return inside @ decoder.lm_head.weight[list(labels)].float().T


def lost(decoder: LlamaForCausalLM, labels: Sequence[int], states: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor,
         scale: torch.Tensor | float = 1.0, steps: torch.Tensor | float = 0.0) -> torch.Tensor:  # fmt: skip
    """Log loss (nats) of p(yes) against the truth, weighted; with a temperature and so many steps towards `yes`."""
    moved = logits(decoder, labels, states + steps * towards_yes(decoder, labels)) * scale
    chances = moved.softmax(-1)[:, YES].clamp(1e-6, 1 - 1e-6)
    return (functional.binary_cross_entropy(chances, truth.float(), reduction="none") * weights).sum()


def fit(
    decoder: LlamaForCausalLM, labels: Sequence[int], states: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor
) -> tuple[float, float]:
    """The inverse temperature and the steps towards `yes` with the least log loss (Platt 1999, Guo et al. 2017)."""
    found = torch.zeros(2, requires_grad=True)
    solver = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = lost(decoder, labels, states.detach(), truth, weights, found[0].exp(), found[1])
        loss.backward(inputs=[found])
        return loss

    solver.step(closure)
    return found.detach()[0].exp().item(), found.detach()[1].item()


@torch.no_grad()
def fold(decoder: LlamaForCausalLM, labels: Sequence[int], scale: float, steps: float) -> None:
    """Write both into the weights: the offset into the last bias before the norm, the temperature into the norm."""
    decoder.model.layers[-1].mlp.down_proj.bias += steps * towards_yes(decoder, labels)
    decoder.model.norm.weight *= scale


def calibrate(
    decoder: LlamaForCausalLM, reader: dev.Reader, examples: Sequence[Example], everyday: Sequence[str]
) -> tuple[float, float]:
    """Fit on what is kept out of training, each set under its shipped policy, and on lines that break nothing, as one set more;
    fold in. The log loss before and after."""
    states, sources, truth = [], [], []
    mixed = (found for found in dev.by_set(examples) if MIXED <= violating(found[2]) <= 1 - MIXED)
    for source, stance, known in itertools.chain(mixed, dev.behind_all(everyday)):
        states.append(reader.states(stance.policy, [example for example, _ in known]))
        sources += [source] * len(known)
        truth += [ruling.label == "yes" for _, ruling in known]
    read, wanted = torch.cat(states), torch.tensor(truth)
    weights = alike(sources)
    with torch.no_grad():
        before = lost(decoder, reader.labels, read, wanted, weights)
    scale, steps = fit(decoder, reader.labels, read, wanted, weights)
    with torch.no_grad():
        after = lost(decoder, reader.labels, read, wanted, weights, scale, steps)
    fold(decoder, reader.labels, scale, steps)
    return float(before), float(after)
