"""Which token stands where: a code along axes of its own, so that heads can copy what a state has long made something else of.

An encoder's layers turn a word into what it means in its place; which of two like words it was, or which number, is hardly left
before the last layer (log: run 57). So embeddings carry random signs along axes that no layer writes to. They are also the last
layer's: a head that takes a code along and puts it down along the same axes moves the answer towards that very token, and words
with one meaning and two forms can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaForCausalLM

from finetune.nano.tokenizer import SPECIAL
from finetune.nano.train import Loss

SIZE = 32
"""Signs in a code: what one head carries."""


def make(number: int) -> torch.Tensor:
    """Signs (tokens, size), the same every time; zero for control tokens, so that nothing is copied from the very first one."""
    draw = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (number, SIZE), generator=draw).float() * 2 - 1
    signs[: len(SPECIAL)] = 0.0
    return signs


@dataclass(frozen=True)
class Codes:
    """Where the codes stand in a decoder: orthonormal directions (width, size), and how large a sign is along them."""

    along: torch.Tensor
    unit: float

    def reader(self, norm: torch.Tensor, size: float) -> torch.Tensor:
        """Weights (size, width) that come to the signs, behind a norm (width) of states as large as `size` an entry."""
        return size / self.unit * self.along.T / norm

    def saying(self, decoder: LlamaForCausalLM, nats: float, size: float) -> torch.Tensor:
        """Directions (width, size): along them signs move the logit of their token by so many nats, in a last state that is as
        large as `size` an entry."""
        return nats * size / (SIZE * self.unit * decoder.model.norm.weight.mean()) * self.along


@torch.no_grad()
def find(decoder: LlamaForCausalLM) -> Codes:
    """The codes of a decoder that was made with them: the directions that say of an embedding which signs `make` gave it. Least
    squares find them, for nothing else of an embedding stands there."""
    table = decoder.model.embed_tokens.weight.float()
    signs = make(len(table))
    told = torch.linalg.lstsq(table - table.mean(0), signs - signs.mean(0)).solution
    left, sizes, right = torch.linalg.svd(told, full_matrices=False)
    return Codes(left @ right, 1 / sizes.mean().item())


@torch.no_grad()
def leave_alone(layer: nn.Module, along: torch.Tensor) -> None:
    """Make a layer write nothing along orthonormal axes (width, number)."""
    for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
        writer.weight -= along @ (along.T @ writer.weight)
        writer.bias -= along @ (along.T @ writer.bias)


def guarded(losses: Iterator[Loss], layers: Sequence[nn.Module], along: torch.Tensor) -> Iterator[Loss]:
    """The losses, of layers that are kept from writing along the axes before each of them."""
    while True:
        for layer in layers:
            leave_alone(layer, along)
        yield next(losses)
