"""What a content says about each domain, and what the rules cover: written, not found by training.

The readers of `meaning` judge a text by the lights of each set, as well as linear models fitted to that set (log: run 49). What
they say is brought together for each domain by a mixture of experts, whose gates read which set a text is like (Jacobs et al.
1991), and stands along an axis of its own behind the layer that compares. Heads that look at the rule which is broken take
along the domains that it covers, and one more head looks at all rules. What follows from both is fitted in `fusion.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from finetune.nano import evidence, lessons, network, packing
from finetune.nano.conversion import ridge, size_of
from finetune.nano.prepare import Example
from finetune.nano.recognition import SOFT, ignore
from finetune.nano.shelf import Volume
from finetune.nano.stance import DOMAIN_NAMES, SETS, Stance, coverage
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

SOURCES = tuple(sorted({source for source, _ in SETS}))
EXPERTS = tuple(
    tuple(index for index, (_, told) in enumerate(SETS) if told == domain or (domain == "hate" and told == "sexism"))
    for domain in DOMAIN_NAMES
)
"""For each domain the places among `SETS` of those that label it; hate at women is hate."""
SINGLE = {"dangerous", "sexual"}
"""Domains whose one set holds nothing but violations of some kind: the reader over all texts counts as much."""
TEMPERATURE = 2.0
"""Of the gates: on texts that the readers have not seen 1 and 2 come to the same, also where a set's own expert is left out,
and 4 to less (log: run 55)."""
AT_LEAST = 0.03
"""What every expert has of a gate."""
FARTHEST = 6.0
"""How far an opinion may be from even odds, in units of a nat."""
LOUD = 0.7
"""How large an opinion of one nat stands beside an entry of the state."""
CARRIED = 3.0
"""How large it stands beside an entry of the state that a domain is covered."""
POLICY = 7
"""The head of the layer that compares which looks at all rules."""
LOOKING = 12.0
"""How much more a token of a rule gets of its look than another one, in nats."""
RESTING = 60.0
"""How much more the very first token gets of the look of a head that has nothing to do, in nats."""
STRENGTH = 0.01
"""Of the ridge regressions that tell rules from the rest, and what they cover."""
STEPS, BATCH = 3000, 1024
BEHIND = 64
"""Contents read at a time."""

Seen = torch.Tensor
"""States of tokens (tokens, width)."""
Reader = tuple[torch.Tensor, torch.Tensor]
"""Weight (width) and bias of what reads a state behind its norm."""


@dataclass(frozen=True)
class Mixture:
    """Experts for each domain, and the gate that says which of `SOURCES` a text is like."""

    readers: lessons.Lessons
    gate: nn.Linear

    @torch.no_grad()
    def read(self, states: torch.Tensor) -> torch.Tensor:
        """What a content says about each domain (contents, domains), in nats of no common origin: the mean over its experts
        and the mean weighed by the gate, added up."""
        inside = network.normal(states, torch.ones(states.shape[1]))
        readings = self.readers.topics(inside * self.readers.weight)
        own, alike = readings[:, -len(SETS) :], (self.gate(inside) / TEMPERATURE).softmax(-1)
        return torch.stack([self._domain(k, readings, own, alike) for k in range(len(DOMAIN_NAMES))], 1)

    def _domain(self, number: int, readings: torch.Tensor, own: torch.Tensor, alike: torch.Tensor) -> torch.Tensor:
        experts = list(EXPERTS[number])
        if not experts:
            return 2 * readings[:, number]
        weights = alike[:, [SOURCES.index(SETS[one][0]) for one in experts]] + AT_LEAST / len(experts)
        mixed = (weights * own[:, experts]).sum(1) / weights.sum(1) + own[:, experts].mean(1)
        return (mixed + 2 * readings[:, number]) / 2 if DOMAIN_NAMES[number] in SINGLE else mixed


def fit_gate(states: torch.Tensor, sources: Sequence[str], seed: int) -> nn.Linear:
    """A linear reader (softmax) of which of `SOURCES` a content (states: contents, width) is from; rare ones count more."""
    kept = [index for index, source in enumerate(sources) if source in SOURCES]
    random.Random(seed).shuffle(kept)
    inside = network.normal(states[kept], torch.ones(states.shape[1]))
    wanted = torch.tensor([SOURCES.index(sources[index]) for index in kept])
    rare = torch.bincount(wanted, minlength=len(SOURCES)).clamp(min=1).float().rsqrt()[wanted]
    gate = nn.Linear(states.shape[1], len(SOURCES))

    def lost(some: torch.Tensor) -> torch.Tensor:
        return (functional.cross_entropy(gate(inside[some]), wanted[some], reduction="none") * rare[some]).mean() / rare.mean()

    descend(list(gate.parameters()), lost, len(kept), STEPS // 2, 0.003, seed)
    return gate


def descend(
    learned: list[torch.Tensor], lost: Callable[[torch.Tensor], torch.Tensor], number: int, steps: int, rate: float, seed: int
) -> None:
    """Adam on random batches of `number` things, `lost(indices)`, the rate falling to zero."""
    adam, draw = torch.optim.Adam(learned, rate), torch.Generator().manual_seed(seed)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        loss = lost(torch.randint(0, number, (min(BATCH, number),), generator=draw))
        adam.zero_grad()
        loss.backward()
        adam.step()


def odds(readings: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """Readings (contents, domains) as log odds that a content breaks the domain, where violations are as many as the rest
    (Platt 1999); what a set says nothing about does not count, and a domain that nothing settles stays as it is."""
    found = readings.clone()
    for number, domain in enumerate(DOMAIN_NAMES):
        broken = torch.tensor([domain in one.domains for one in examples])
        kept = ~broken & torch.tensor([domain not in {*one.unsure, *one.doubt} for one in examples])
        if broken.any() and kept.any():
            scale, offset = _logistic(readings[broken, number], readings[kept, number])
            found[:, number] = scale * readings[:, number] + offset
    return found.clamp(-FARTHEST, FARTHEST)


def _logistic(above: torch.Tensor, below: torch.Tensor) -> tuple[float, float]:
    line = torch.tensor([0.3, 0.0], requires_grad=True)
    solver = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        scale, offset = line
        loss = functional.softplus(-scale * above - offset).mean() + functional.softplus(scale * below + offset).mean()
        loss.backward()
        return loss

    solver.step(closure)
    return line[0].item(), line[1].item()


@dataclass(frozen=True)
class Neurons:
    """SwiGLU neurons: gates and ups (neurons, width) with their biases, outputs (outputs, neurons) with theirs."""

    gate: torch.Tensor
    gate_bias: torch.Tensor
    up: torch.Tensor
    up_bias: torch.Tensor
    down: torch.Tensor
    down_bias: torch.Tensor

    @property
    def all(self) -> list[torch.Tensor]:
        return [self.gate, self.gate_bias, self.up, self.up_bias, self.down, self.down_bias]

    def __call__(self, inside: torch.Tensor) -> torch.Tensor:
        fired = functional.silu(inside @ self.gate.T + self.gate_bias) * (inside @ self.up.T + self.up_bias)
        return fired @ self.down.T + self.down_bias


def begin_neurons(mixture: Mixture, number: int, outputs: int, seed: int) -> Neurons:
    """So many neurons: gates of the mixture times its readers, two signs each; the others are small and random."""
    draw, width = torch.Generator().manual_seed(seed), mixture.gate.in_features
    gate, up = (0.02 * torch.randn(number, width, generator=draw) for _ in range(2))
    down = 0.02 * torch.randn(outputs, number, generator=draw)
    found = Neurons(gate, torch.zeros(number), up, torch.zeros(number), down, torch.zeros(outputs))
    readers, biases = mixture.readers.topics.weight * mixture.readers.weight, mixture.readers.topics.bias
    with torch.no_grad():
        for place, (source, _) in enumerate(SETS):
            like = SOURCES.index(source)
            for sign, row in ((1, 2 * place), (-1, 2 * place + 1)):
                found.gate[row] = (mixture.gate.weight[like] - mixture.gate.weight.mean(0)) / TEMPERATURE
                found.gate_bias[row] = sign * SOFT + (mixture.gate.bias[like] - mixture.gate.bias.mean()) / TEMPERATURE
                found.up[row], found.up_bias[row] = readers[place - len(SETS)], biases[place - len(SETS)]
                for domain, experts in enumerate(EXPERTS):
                    found.down[domain, row] = sign / (2 * SOFT) if place in experts else 0.0
        for domain, experts in enumerate(EXPERTS):
            row, columns = 2 * len(SETS) + domain, [one - len(SETS) for one in experts] or [domain]
            found.gate_bias[row] = 2 * SOFT
            found.up[row], found.up_bias[row] = readers[columns].mean(0), biases[columns].mean()
            found.down[domain, row] = 1 / (2 * SOFT)
    return found


def fit_neurons(mixture: Mixture, inside: torch.Tensor, wanted: torch.Tensor, number: int, seed: int) -> Neurons:
    """Neurons that come to what is wanted (contents, domains) of what they read of contents (contents, width).

    Raises ValueError when there are fewer than the mixture needs to begin with.
    """
    if number < 2 * len(SETS) + len(DOMAIN_NAMES):
        raise ValueError(f"the mixture needs {2 * len(SETS) + len(DOMAIN_NAMES)} neurons, not {number}")
    found = begin_neurons(mixture, number, wanted.shape[1], seed)
    with torch.no_grad():
        found.down_bias.add_((wanted - found(inside)).mean(0))
    learned = [part.requires_grad_() for part in found.all]
    descend(learned, lambda some: (found(inside[some]) - wanted[some]).pow(2).mean(), len(inside), STEPS, 0.002, seed)
    return Neurons(*(part.detach() for part in found.all))


@dataclass(frozen=True)
class Axes:
    """Orthonormal directions (width, domains): of the domains of a line as `recognition.write` chose them, of opinions, of what
    the rule that is looked at covers, of what the policy's rules cover on average; (width, 1) of whether an exception is looked
    at, and whether a rule about topics or letters is; and (width, size of a head) of the first and of the last token of the
    nearest id, see `citing`."""

    topics: torch.Tensor
    opinions: torch.Tensor
    covered: torch.Tensor
    policy: torch.Tensor
    excused: torch.Tensor
    tested: torch.Tensor
    names: tuple[torch.Tensor, ...]

    @property
    def read(self) -> torch.Tensor:
        """What a label follows from (width, 3, domains): opinions, what the rule covers, what the policy covers."""
        return torch.stack((self.opinions, self.covered, self.policy), 1)

    @property
    def new(self) -> torch.Tensor:
        """All but those of topics."""
        return torch.cat((self.opinions, self.covered, self.policy, self.excused, self.tested, *self.names), 1)


def find_axes(
    chosen: torch.Tensor, before: torch.Tensor, after: torch.Tensor, size: int, beside: torch.Tensor | None = None
) -> Axes:
    """Axes that the layer which recognises hardly reads or writes; `size` is that of a head.

    `chosen` (tokens, width) are the states that `recognition.write` was given, `before` and `after` those of contents and
    policies around that layer as it was fitted: the fit uses axes that were idle, and what is written there disturbs looks.
    """
    number = len(DOMAIN_NAMES)
    topics = evidence.axes([chosen], lessons.WIDTH, beside)
    taken = topics if beside is None else torch.cat((topics, beside), 1)
    sizes = [number] * 3 + [1, 1] + [size] * len(lessons.NAMING)
    opinions, covered, policy, excused, tested, *names = evidence.axes([before, after], sum(sizes), taken).split(sizes, 1)
    return Axes(topics[:, :number], opinions, covered, policy, excused, tested, tuple(names))


@dataclass(frozen=True)
class Rules:
    """Tokens of policies after the layer that recognises: those of rules, what their lines cover (tokens, domains; 0 or 1) and
    whether they are about topics or letters; and other ones, of contents too, with whether they stand in the line of an
    exception."""

    rules: Seen
    covered: torch.Tensor
    tests: torch.Tensor
    others: Seen
    excusing: torch.Tensor


@torch.no_grad()
def write(decoder: LlamaForCausalLM, read: Rules, axes: Axes, depth: int, opening: int) -> None:
    """Make heads of the layer behind `depth`, which recognises, carry what the rule covers that they look at and whether it is
    about topics or letters, those for exceptions whether they look at one, and one head what all rules cover; nothing from the
    token `opening` that every prompt begins with, where heads look that find no rule broken."""
    layer, size = decoder.model.layers[depth + 1], size_of(read.others)
    given = network.normal(torch.cat((read.rules, read.others)), layer.input_layernorm.weight)
    wanted = torch.cat((read.covered, read.tests[:, None]), 1)
    wanted = torch.cat((wanted, torch.zeros(len(read.others), wanted.shape[1])))
    weight, _ = ridge(given, wanted, torch.zeros(wanted.shape[1], given.shape[1]), STRENGTH)
    nothing = network.forward(decoder, torch.tensor([[opening]]), None, depth + 1)[0][-1][0, 0]
    along = CARRIED * size / len(lessons.HEADS[0]) * torch.cat((axes.covered, axes.tested), 1)
    for head in lessons.HEADS[0]:
        carry(layer, head, weight, along, nothing)
    told = torch.cat((torch.zeros(len(read.rules)), read.excusing.float()))[:, None]
    excuse, _ = ridge(given, told, torch.zeros(1, given.shape[1]), STRENGTH)
    for head in lessons.HEADS[1]:
        carry(layer, head, excuse, CARRIED * size / len(lessons.HEADS[1]) * axes.excused, nothing)
    look_at_rules(layer, read.rules, read.others)
    carry(layer, POLICY, weight[:-1], CARRIED * size * axes.policy, nothing)


@torch.no_grad()
def write_opinions(layer: nn.Module, neurons: Neurons, axes: Axes, size: float) -> None:
    """Into a layer that was cleared."""
    mlp, rows = layer.mlp, slice(len(neurons.gate))
    mlp.gate_proj.weight[rows], mlp.gate_proj.bias[rows] = neurons.gate, neurons.gate_bias
    mlp.up_proj.weight[rows], mlp.up_proj.bias[rows] = neurons.up, neurons.up_bias
    mlp.down_proj.weight[:, rows] = LOUD * size * axes.opinions @ neurons.down
    mlp.down_proj.bias += LOUD * size * axes.opinions @ neurons.down_bias
    for reader in (mlp.gate_proj, mlp.up_proj):
        ignore(reader, layer.post_attention_layernorm, axes.new)


def carry(layer: nn.Module, head: int, weight: torch.Tensor, along: torch.Tensor, nothing: torch.Tensor) -> None:
    """Make a head take along what a reader (number, width) finds in what the layer reads, and put it down along directions
    (width, number); from the state `nothing` it takes nothing."""
    attention = layer.self_attn
    length = attention.head_dim
    rows, some = slice(head * length, (head + 1) * length), slice(head * length, head * length + len(weight))
    attention.v_proj.weight[rows], attention.v_proj.bias[rows] = 0.0, 0.0
    attention.o_proj.weight[:, rows] = 0.0
    attention.v_proj.weight[some] = weight
    attention.v_proj.bias[some] = -weight @ network.normal(nothing, layer.input_layernorm.weight)
    attention.o_proj.weight[:, some] = along


@torch.no_grad()
def rest(layer: nn.Module, head: int, pair: int, busy: Reader, first: Reader) -> None:
    """Make a head look at the very first token, from which it takes nothing, wherever the reader `busy` does not come to 1;
    `first` comes to 1 at that token. `pair` of its rotations, a slow one, is taken for that."""
    attention, length = layer.self_attn, layer.self_attn.head_dim
    row = head * length + pair
    for matrix in (attention.q_proj, attention.k_proj):
        for place in (row, row + length // 2):
            matrix.weight[place], matrix.bias[place] = 0.0, 0.0
    attention.q_proj.weight[row], attention.q_proj.bias[row] = -busy[0], 1 - busy[1]
    attention.k_proj.weight[row], attention.k_proj.bias[row] = (RESTING * length**0.5 * part for part in first)


@torch.no_grad()
def look_at_rules(layer: nn.Module, rules: Seen, others: Seen) -> None:
    """Make the head `POLICY` of a layer look at the tokens of all rules alike, from anywhere: a linear reader tells them, along
    the slowest rotation."""
    attention, head = layer.self_attn, POLICY
    length = attention.head_dim
    told = torch.cat((torch.ones(len(rules), 1), torch.zeros(len(others), 1)))
    given = network.normal(torch.cat((rules, others)), layer.input_layernorm.weight)
    weight, _ = ridge(given, told, torch.zeros(1, given.shape[1]), STRENGTH)
    for matrix in (attention.q_proj, attention.k_proj):
        matrix.weight[head * length : (head + 1) * length] = 0.0
        matrix.bias[head * length : (head + 1) * length] = 0.0
    slowest = head * length + length // 2 - 1
    attention.q_proj.bias[slowest] = LOOKING * length**0.5
    attention.k_proj.weight[slowest] = weight[0]


@torch.no_grad()
def read_rules(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, stances: Sequence[Stance], volumes: Sequence[Volume], depth: int
) -> Rules:
    """Policies, and some contents, after the layer `depth`."""
    rules, covered, tests, others, excusing = [], [], [], [], []
    for stance in stances:
        prefix = packing.encode_prefix(chat, compile_prompt(stance.policy, "nano").system, list(lessons.line_texts(stance)))
        states = network.forward(decoder, torch.tensor([prefix.ids]), None, depth + 1)[0][-1][0]
        told, excuses = torch.zeros(2, len(states), dtype=torch.bool)
        about = coverage(stance)
        for name in stance.rules:
            start, end = prefix.lines[name]
            told[start:end] = True
            rules.append(states[start:end])
            covered += [about[name][: len(DOMAIN_NAMES)]] * (end - start)
            tests += [float(bool(stance.rules[name].test))] * (end - start)
        for exception in stance.policy.exceptions:
            excuses[slice(*prefix.lines[exception.id])] = True
        others.append(states[~told])
        excusing.append(excuses[~told])
    for volume in volumes:
        others.append(network.climb(decoder, volume.states[None].float(), None, range(depth, depth + 1))[0][-1][0, ::2])
        excusing.append(torch.zeros(len(others[-1]), dtype=torch.bool))
    told = torch.tensor(covered).clamp(min=0), torch.tensor(tests)
    return Rules(torch.cat(rules), *told, torch.cat(others), torch.cat(excusing))


def opinions(
    readers: lessons.Lessons, volumes: Sequence[Volume], behind: torch.Tensor, axes: Axes, number: int, seed: int
) -> Neurons:
    """Neurons that say of contents, where their labels are read, how likely they break each domain; fitted on these contents.

    `behind` (contents, width) are their states as the neurons' layer reads them behind some policy, `axes` those where nothing
    is read that says anything about a content.
    """
    states = torch.stack([volume.states[-1] for volume in volumes]).float()
    examples = [volume.example for volume in volumes]
    mixture = Mixture(readers, fit_gate(states, [one.source for one in examples], seed))
    inside = network.normal(behind, torch.ones(behind.shape[1]))
    inside -= inside @ axes.new @ axes.new.T
    return fit_neurons(mixture, inside, odds(mixture.read(states), examples), number, seed)


@torch.no_grad()
def read_behind(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, stances: Sequence[Stance], volumes: Sequence[Volume], depth: int
) -> torch.Tensor:
    """States (contents, width) where labels are read, after the layer behind `depth`: each behind one of the policies."""
    found = []
    share = -(-len(volumes) // len(stances))
    for number, stance in enumerate(stances):
        some = volumes[number * share : (number + 1) * share]
        past = network.forward(decoder, torch.tensor([chat.prefix(compile_prompt(stance.policy, "nano").system)]))[1]
        for start in range(0, len(some), BEHIND):
            part = some[start : start + BEHIND]
            hidden = pad_sequence([volume.states for volume in part], batch_first=True).float()
            places, layers = torch.tensor([volume.row.read for volume in part]), range(depth, depth + 2)
            found.append(network.climb(decoder, hidden, past[depth:], layers, places=places)[0][-1][:, 0])
    return torch.cat(found)
