"""The label as a function of what a text is like and what the policy covers: a few weights, the same ones for every domain.

Domain by domain, neurons of the last layer read three numbers: how likely the content breaks the domain, how much the rule
that is looked at covers it, how much the whole policy does. Their sum, and whether a rule about topics or letters is looked
at, is the log odds of `yes`. So few weights are fitted to pairs of contents and policies in seconds, and cannot learn what
single sets are like; nothing else of the model says anything about labels at first, because what the state happens to say of
them is taken off. Where a rule is broken and heads look at an exception, two neurons more move the label from `yes` to
`exception`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from finetune.nano import calibrate, conversion, lessons, network, packing, pairing
from finetune.nano.answers import SETTLED
from finetune.nano.domains import Axes, descend
from finetune.nano.stance import DOMAIN_NAMES
from finetune.nano.tokenizer import LABELS
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

NEURONS = 8
"""For each domain."""
STEPS, RATE, DECAY = 2000, 0.01, 1e-3
OPEN = 4.0
"""The bias of a gate that reads nothing, so that its neuron is linear."""
OTHERS = -3.0
"""Log odds of `unknown` and `none`, before training, and of exceptions where none is met."""


@dataclass(frozen=True)
class Evidence:
    """Pairs of contents and policies: what neurons read (pairs, 3, domains), namely opinions, what the rule that is looked at
    covers and what the policy covers, and whether an exception is looked at (`excused`: pairs), or a rule about topics or
    letters (`tested`: pairs); whether a rule is broken, and whether it is waived (pairs); which set the content is from; how
    large an entry of the state is that neurons read, before the norm."""

    read: torch.Tensor
    excused: torch.Tensor
    tested: torch.Tensor
    broken: torch.Tensor
    waived: torch.Tensor
    sources: Sequence[str]
    size: float

    @property
    def weights(self) -> torch.Tensor:
        """How much each pair counts: a set as a whole as the root of its number of pairs."""
        sizes = Counter(self.sources)
        return torch.tensor([sizes[source] ** -0.5 for source in self.sources])


class Fusion(nn.Module):
    """Log odds that a rule is broken: a bias, the sum over domains of a few SwiGLU neurons, the same for all of them, and a
    weight for a look at a rule about topics or letters; and `excuse`, weight and bias of the log odds that an exception applies
    where one is."""

    excuse: tuple[float, float]

    def __init__(self, number: int = NEURONS) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(3, number), nn.Linear(3, number)
        self.down = nn.Linear(number, 1, bias=False)
        self.test = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))
        self.excuse = 0.0, OTHERS
        with torch.no_grad():
            for linear in (self.gate, self.up, self.down):
                linear.weight.mul_(0.5)

    def forward(self, read: torch.Tensor, tested: torch.Tensor) -> torch.Tensor:
        """Log odds of a broken rule (pairs) of what is read (pairs, 3, domains; pairs)."""
        each = read.transpose(1, 2)
        found = self.down(functional.silu(self.gate(each)) * self.up(each)).sum((1, 2))
        return self.bias + found + self.test * tested


def fit(evidence: Evidence, seed: int) -> Fusion:
    """Fitted to log loss."""
    torch.manual_seed(seed)
    fusion, weights = Fusion(), evidence.weights

    def lost(some: torch.Tensor) -> torch.Tensor:
        said = fusion(evidence.read[some], evidence.tested[some])
        each = functional.binary_cross_entropy_with_logits(said, evidence.broken[some], reduction="none")
        shrunk = sum(linear.weight.pow(2).sum() for linear in (fusion.gate, fusion.up, fusion.down))
        return (each * weights[some]).sum() / weights[some].sum() + DECAY * shrunk

    descend(list(fusion.parameters()), lost, len(evidence.read), STEPS, RATE, seed)
    fusion.excuse = fit_excuse(evidence)
    return fusion.requires_grad_(False)


def fit_excuse(evidence: Evidence) -> tuple[float, float]:
    """See `Fusion.excuse`; where no exception applies anywhere it hardly ever does. Raises ValueError where one does everywhere
    that a rule is broken."""
    broken = evidence.broken > 0
    waived = evidence.waived[broken] > 0
    if not waived.any():
        return 0.0, OTHERS
    line = LogisticRegression(C=100.0).fit(evidence.excused[broken, None].numpy(), waived.numpy())
    return float(line.coef_[0, 0]), float(line.intercept_[0])


@torch.no_grad()
def gather(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, pairs: Iterable[pairing.Pair], axes: Axes, depth: int, number: int
) -> Evidence:
    """What the last layer's neurons would read of the contents behind so many policies; they must have been cleared."""
    layers, sources, sizes = range(depth, len(decoder.model.layers)), [], []
    found, excused, tested, labels = [], [], [], []
    for stance, drawn in itertools.islice(pairs, number):
        some = [(volume, ruling) for volume, ruling in drawn if ruling.label in SETTLED | {"exception"}]
        if not some:
            continue
        prefix = packing.encode_prefix(chat, compile_prompt(stance.policy, "nano").system, list(lessons.line_texts(stance)))
        past = network.forward(decoder, torch.tensor([prefix.ids]))[1][depth:]
        hidden = pad_sequence([volume.states for volume, _ in some], batch_first=True).float()
        places = torch.tensor([volume.row.read for volume, _ in some])
        states = network.climb(decoder, hidden, past, layers, places=places)[0][-1][:, 0]
        inside = network.normal(states, torch.ones(states.shape[1]))
        found.append(torch.einsum("nw,wkd->nkd", inside, axes.read))
        excused.append(inside @ axes.excused[:, 0])
        tested.append(inside @ axes.tested[:, 0])
        labels += [ruling.label for _, ruling in some]
        sources += [volume.example.source for volume, _ in some]
        sizes.append(conversion.size_of(states))
    broken, waived = (
        torch.tensor([float(label in said) for label in labels]) for said in (("yes", "exception"), ("exception",))
    )
    read = (torch.cat(part) for part in (found, excused, tested))
    return Evidence(*read, broken, waived, sources, sum(sizes) / len(sizes))


@torch.no_grad()
def clear(layer: nn.Module) -> None:
    """Make a layer add nothing, with what it reads as it is."""
    for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
        nn.init.zeros_(writer.weight)
        nn.init.zeros_(writer.bias)
    layer.post_attention_layernorm.weight.fill_(1.0)


@torch.no_grad()
def write(decoder: LlamaForCausalLM, fusion: Fusion, axes: Axes, labels: Sequence[int], size: float) -> None:
    """Into the last layer, whose neurons were cleared: the fusion's neurons, two for exceptions, one for rules about topics or
    letters, and as many as there are labels that take off what the state says of them; heads of this layer say nothing of
    labels any more. `size` is that of `Evidence`."""
    layer, said = decoder.model.layers[-1], decoder.lm_head.weight[list(labels)] * decoder.model.norm.weight
    mlp, writer, steps = layer.mlp, layer.self_attn.o_proj, calibrate.towards(decoder, labels)
    writer.weight -= steps @ (said @ writer.weight)
    towards = size * steps
    way = dict(zip(LABELS, towards.T, strict=True))
    yes = (way["yes"] + way["exception"] - way["no"]) / 2
    row = mlp.gate_proj.out_features
    for domain in range(len(DOMAIN_NAMES)):
        rows = slice(row - len(fusion.gate.weight), row)
        for matrix, read in ((mlp.gate_proj, fusion.gate), (mlp.up_proj, fusion.up)):
            matrix.weight[rows], matrix.bias[rows] = read.weight @ axes.read[:, :, domain].T, read.bias
        mlp.down_proj.weight[:, rows] = yes[:, None] * fusion.down.weight
        row = rows.start
    weight, bias = fusion.excuse
    for sign, label in ((1, "yes"), (-1, "exception")):
        row -= 1
        mlp.gate_proj.weight[row], mlp.gate_proj.bias[row] = sign * weight * axes.excused[:, 0], sign * bias
        mlp.up_proj.weight[row], mlp.up_proj.bias[row] = 0.0, 1.0
        mlp.down_proj.weight[:, row] = -way[label]
    row -= 1
    mlp.gate_proj.weight[row], mlp.gate_proj.bias[row] = 0.0, OPEN
    mlp.up_proj.weight[row], mlp.up_proj.bias[row] = fusion.test * axes.tested[:, 0], 0.0
    mlp.down_proj.weight[:, row] = yes / functional.silu(torch.tensor(OPEN))
    rows = slice(row - len(labels), row)
    mlp.gate_proj.weight[rows], mlp.gate_proj.bias[rows] = 0.0, OPEN
    mlp.up_proj.weight[rows] = said
    mlp.up_proj.bias[rows] = 0.0
    mlp.down_proj.weight[:, rows] = -towards / functional.silu(torch.tensor(OPEN))
    mlp.down_proj.bias += yes * fusion.bias + OTHERS * (way["unknown"] + way["none"])
