"""Ids in answers: heads that carry them from the policy to where they are written, in two steps.

An id stands before its line, so its tokens know nothing of the rule, and the rule's words know nothing of the id. In the layer
that compares, heads look from every token to the nearest id before it, and put down its code (`codes`), along axes of their
own (a copying head: Elhage et al. 2021). In the last layer, heads look from where an id is written to the line that it should
follow from, as the heads that compare do, find the code there and move the answer towards it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaForCausalLM

from finetune.nano import codes, domains, lessons, network, packing
from finetune.nano.conversion import size_of, tell
from finetune.nano.quoting import Words
from finetune.nano.recognition import REST, ignore
from finetune.nano.stance import Stance
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

STRENGTH = 0.001
"""Of the ridge regression that tells ids."""
OFTEN = 30
"""How often the tokens of ids count when they are told from others, of which there are many more."""
TOLD = 60.0
"""How much more the token of an id gets of a look than another one, in nats."""
NEAR = ((5, 15.0), (7, 30.0), (9, 60.0))
"""Rotations that make the nearest one win, and how much each says, in nats: each tells distances beyond those where the one
before it comes round again. Lines may be of some 60 tokens."""
LOUD = 0.5
"""How large the code of an id stands beside an entry of the state, an entry of the code each."""
SAID = 20.0
"""How far an id is moved, in nats, by heads that look at nothing but its line: mostly half of a look is at no rule."""
OFTEN_CITED = 5
"""How often a token counts behind which one of an id stands."""


@dataclass(frozen=True)
class Lines:
    """Policies as the layer that compares reads them: `states` of their tokens (tokens, width); `ends` are two masks over
    tokens: first and last ones of an id."""

    states: torch.Tensor
    ends: tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def read(decoder: LlamaForCausalLM, chat: ChatTokenizer, stances: Iterable[Stance], depth: int) -> Lines:
    """The policies after `depth` layers."""
    states, firsts, lasts = [], [], []
    for stance in stances:
        prefix = packing.encode_prefix(chat, compile_prompt(stance.policy, "nano").system, list(lessons.line_texts(stance)))
        states.append(network.forward(decoder, torch.tensor([prefix.ids]), None, depth)[0][-1][0])
        for found, places in (
            (firsts, {first for first, _ in prefix.names.values()}),
            (lasts, {past - 1 for _, past in prefix.names.values()}),
        ):
            found += [place in places for place in range(len(prefix.ids))]
    return Lines(torch.cat(states), (torch.tensor(firsts), torch.tensor(lasts)))


@torch.no_grad()
def name(decoder: LlamaForCausalLM, lines: Lines, axes: domains.Axes, depth: int, opening: int) -> float:
    """Write the first step. `lines` are read after layer `depth`, which recognises; `opening` is the token that every prompt
    begins with. Returns how large a sign of a code stands along `axes.names`."""
    comparing, size = decoder.model.layers[depth + 1], size_of(lines.states)
    given = network.normal(lines.states, comparing.input_layernorm.weight)
    reader = codes.find(decoder).reader(comparing.input_layernorm.weight, size)
    start = network.forward(decoder, torch.tensor([[opening]]), None, depth + 1)[0][-1][0, 0]
    for head, way, ends in zip(lessons.NAMING, axes.names, lines.ends, strict=True):
        look_back(comparing, head, given, ends)
        domains.carry(comparing, head, reader, LOUD * size * way, start)
    return LOUD * size


@torch.no_grad()
def cite(decoder: LlamaForCausalLM, named: float, words: Words, axes: domains.Axes, depth: int) -> None:
    """Write the second step, behind the first, which said how large codes are `named`; `words` are as the last layer reads
    them. Where no id is written the heads rest."""
    comparing, answering = decoder.model.layers[depth + 1], decoder.model.layers[-1]
    copy_looks(comparing, answering, axes.new)
    size, norm, half = size_of(words.written), answering.input_layernorm.weight, decoder.config.head_dim // 2
    busy = tell(network.normal(words.written, norm), words.cites, OFTEN_CITED, STRENGTH)
    first, found = words.opening(answering), codes.find(decoder)
    for heads in lessons.CITING:
        for place, head in enumerate(heads):
            end = (2 * place // len(heads)) if len(heads) > 1 else 1
            said = found.saying(decoder, SAID / max(1, len(heads) // 2), size)
            domains.carry(answering, head, size_of(words.states) / named * axes.names[end].T / norm, said, words.nothing)
            domains.rest(answering, head, half + REST, busy, first)


def look_back(layer: nn.Module, head: int, given: torch.Tensor, ends: torch.Tensor) -> None:
    """Make a head look at the nearest token like those of `ends` (tokens) among what the layer reads (tokens, width)."""
    attention = layer.self_attn
    size = attention.head_dim
    weight, bias = tell(given, ends, OFTEN, STRENGTH)
    rows = slice(head * size, (head + 1) * size)
    for matrix in (attention.q_proj, attention.k_proj):
        matrix.weight[rows], matrix.bias[rows] = 0.0, 0.0
    # half of the size in queries, half in keys, so that a step of training moves neither far
    slowest, half = head * size + size // 2 - 1, size**0.25
    attention.q_proj.bias[slowest] = TOLD**0.5 * half
    attention.k_proj.weight[slowest], attention.k_proj.bias[slowest] = (TOLD**0.5 * half * part for part in (weight, bias))
    for pair, nats in NEAR:
        for matrix in (attention.q_proj, attention.k_proj):
            matrix.bias[head * size + pair] = nats**0.5 * half


def copy_looks(compares: nn.Module, answers: nn.Module, hidden: torch.Tensor) -> None:
    """Make heads of the last layer look as those that compare do, whatever stands along axes (width, number)."""
    size = answers.self_attn.head_dim
    answers.input_layernorm.weight.copy_(compares.input_layernorm.weight)
    for to, of in zip(lessons.CITING, lessons.HEADS, strict=True):
        for head, like in zip(to, of, strict=True):
            for name in ("q_proj", "k_proj"):
                ours, theirs = getattr(answers.self_attn, name), getattr(compares.self_attn, name)
                rows, same = (slice(one * size, (one + 1) * size) for one in (head, like))
                ours.weight[rows], ours.bias[rows] = theirs.weight[same], theirs.bias[same]
    for reader in (answers.self_attn.q_proj, answers.self_attn.k_proj):
        ignore(reader, answers.input_layernorm, hidden)
