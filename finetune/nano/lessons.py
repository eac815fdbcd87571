"""What is taught beside the answer, so that a small model comes to compare a content with a policy instead of guessing.

The state where a label is read, and the state where a line of the policy ends, should say the same things in the same words:
topics (linear heads) and the teacher's sentence vector. One layer further, a few heads should look from the one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from finetune.nano.network import Looks, normal
from finetune.nano.packing import Look, Prefix, Row
from finetune.nano.policies import DOMAIN_NAMES, KIND_NAMES, SETS, TOPICS, Stance, coverage, targets
from finetune.nano.prepare import Example
from finetune.nano.teacher import SIZE

HEADS = ((0, 1, 2, 3), (4, 5), (6,))
"""The heads of the layer that compares which are taught to look at rules, at exceptions, at escalations."""
NAMING = (8, 9)
"""The heads of the layer that compares which are taught to look from a line of the policy to the first and to the last token of
its id: what looks at the line afterwards finds the id there."""
CITING = ((0, 1, 2, 3), (8, 9), (10,))
"""The heads of the last layer which are taught to look, where an id of a rule, an exception, an escalation is written, at its
line."""
QUOTING = (4, 5, 6, 7)
"""Those which are taught to look, where a quote begins, at its words."""
WIDTH = len(DOMAIN_NAMES) + len(TOPICS) + len(KIND_NAMES) + len(SETS)
WEIGHTS = torch.tensor([2.0] * len(DOMAIN_NAMES) + [1.0] * (len(TOPICS) + len(KIND_NAMES)) + [4.0] * len(SETS))


Wholes = tuple[torch.Tensor, torch.Tensor]
"""Texts as a whole, read in two places: see `packing.wholes`."""


class Vectors:
    """The teacher's vectors by text, less the `mean` of what texts have in common."""

    def __init__(self, texts: Sequence[str], rows: np.ndarray, mean: np.ndarray) -> None:
        self.places = {text: index for index, text in enumerate(texts)}
        self.rows, self.mean = rows, mean

    def find(self, texts: Sequence[str]) -> tuple[list[int], torch.Tensor]:
        """Which of the texts are known, and their vectors."""
        known = [index for index, text in enumerate(texts) if text in self.places]
        rows = self.rows[[self.places[texts[index]] for index in known]].astype(np.float32) - self.mean
        return known, torch.from_numpy(rows)


class Lessons(nn.Module):
    """Linear readers of the state after `depth` layers; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.topics = nn.Linear(width, WIDTH)
        self.vector = nn.Linear(width, SIZE)
        # readings begin as they are (the first layers come from the encoder), and no topic pulls before it is learned
        with torch.no_grad():
            nn.init.eye_(self.vector.weight)
            nn.init.zeros_(self.vector.bias)
            nn.init.zeros_(self.topics.weight)
            nn.init.constant_(self.topics.bias, -3.0)

    def topic_loss(self, wholes: Wholes, wanted: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy over topics, summed; `wanted` (texts, topics): 1, 0, -1 unknown. The mean over both readings."""
        lost = [
            functional.binary_cross_entropy_with_logits(self.topics(self.seen(one)), wanted.clamp(min=0), reduction="none")
            for one in wholes
        ]
        return sum((each * WEIGHTS * (wanted >= 0)).sum() for each in lost) / (len(wholes) * len(wanted))

    def distance(self, wholes: Wholes, vectors: torch.Tensor) -> torch.Tensor:
        """One minus the cosine of what is seen to the encoder's vectors (texts, size): the mean over both readings."""
        near = [functional.cosine_similarity(self.vector(self.seen(one)), vectors).mean() for one in wholes]
        return 1 - sum(near) / len(near)

    def seen(self, states: torch.Tensor) -> torch.Tensor:
        return normal(states.float(), self.weight)


def line_texts(stance: Stance) -> dict[str, str]:
    """The text of each line of the policy, without its id, as the teacher saw it."""
    parts = [(rule.id, rule.title, rule.summary) for rule in stance.policy.rules]
    parts += [(part.id, part.title, part.summary) for part in stance.policy.exceptions]
    parts += [(part.id, part.title, part.when) for part in stance.policy.escalations]
    return {name: f"{title}: {text}" for name, title, text in parts}


def line_loss(
    taught: Lessons, vectors: Vectors, stance: Stance, prefix: Prefix, states: Sequence[torch.Tensor], first: int, depth: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Topics of the policy's lines, and the distance to the encoder's vectors where those are known.

    `states` are the prefix's after each layer (1, tokens, width). A line is read off the mean over its tokens after `first`
    layers, and at its last token after `depth`.
    """
    about, texts = coverage(stance), line_texts(stance)
    names = [name for name in prefix.lines if name in about]
    spans = [prefix.lines[name] for name in names]
    wholes = (
        torch.stack([states[first][0, start:end].mean(0) for start, end in spans]),
        states[depth][0, [end - 1 for _, end in spans]],
    )
    topics = taught.topic_loss(wholes, torch.tensor([about[name] for name in names]))
    known, wanted = vectors.find([texts[name] for name in names])
    far = taught.distance((wholes[0][known], wholes[1][known]), wanted) if known else torch.zeros(())
    return topics, far


def content_loss(taught: Lessons, examples: Sequence[Example], wholes: Wholes) -> torch.Tensor:
    """Topics of contents."""
    return taught.topic_loss(wholes, torch.tensor([targets(example) for example in examples]))


def aside_loss(rows: Sequence[Row], looks: Looks) -> torch.Tensor:
    """Minus the log of the attention that a text's tokens leave for the text itself and for the very first token.

    The encoder never saw a policy before a text: heads copied from it would average both.
    """
    before = looks.keys.shape[2] - looks.queries.shape[2]
    scores = torch.einsum("rhqd,rhkd->rhqk", looks.queries.float(), looks.keys.float()) / math.sqrt(looks.queries.shape[-1])
    places = torch.arange(scores.shape[-1])
    seen = places[None] <= before + torch.arange(scores.shape[2])[:, None]
    own = seen & ((places == 0) | (places >= before))
    left = scores.masked_fill(~own, -math.inf).logsumexp(-1) - scores.masked_fill(~seen, -math.inf).logsumexp(-1)
    inside = torch.arange(scores.shape[2])[None] <= torch.tensor([row.read for row in rows])[:, None]
    return -(left.mean(1) * inside).sum() / inside.sum()


def look_loss(rows: Sequence[Row], prefix: Prefix, looks: Looks) -> dict[int, torch.Tensor]:
    """By kind of parts, for each look of each of its heads: minus the log of the attention that falls where it should."""
    wanted = [(index, look, head) for index, row in enumerate(rows) for look in row.looks for head in HEADS[look.kind]]
    return line_attention(wanted, prefix, looks)


def cite_loss(rows: Sequence[Row], prefix: Prefix, looks: Looks) -> torch.Tensor:
    """The same of the heads that cite, where ids are written."""
    wanted = [(index, look, head) for index, row in enumerate(rows) for look in row.cites for head in CITING[look.kind]]
    return torch.cat([torch.zeros(0), *line_attention(wanted, prefix, looks).values()])


def line_attention(wanted: Sequence[tuple[int, Look, int]], prefix: Prefix, looks: Looks) -> dict[int, torch.Tensor]:
    """Of rows, looks and heads, by kind."""
    if not wanted:
        return {}
    places = [(index, look.place, head) for index, look, head in wanted]
    targets = [
        [place for name in look.parts for place in range(*prefix.lines[name])] if look.parts else [0] for _, look, _ in wanted
    ]
    lost, kind = attention_loss(looks, places, targets), torch.tensor([look.kind for _, look, _ in wanted])
    return {number: lost[kind == number] for number in sorted(set(kind.tolist()))}


def name_loss(prefix: Prefix, looks: Looks) -> torch.Tensor:
    """For every token of every line behind its id, of the prefix alone: the same of the heads that look at the id."""
    pairs = [
        (place, head, end)
        for name, (first, past) in prefix.names.items()
        for place in range(past, prefix.lines[name][1])
        for head, end in zip(NAMING, (first, past - 1), strict=True)
    ]
    return attention_loss(looks, [(0, place, head) for place, head, _ in pairs], [[end] for _, _, end in pairs])


def quote_loss(rows: Sequence[Row], looks: Looks) -> torch.Tensor:
    """The same of the heads that quote, where quotes begin."""
    before = looks.keys.shape[2] - looks.queries.shape[2]
    wanted = [(index, one, head) for index, row in enumerate(rows) for one in row.quotes for head in QUOTING]
    if not wanted:
        return torch.zeros(0)
    targets = [[before + source for source in one.sources] for _, one, _ in wanted]
    return attention_loss(looks, [(index, one.place, head) for index, one, head in wanted], targets)


def attention_loss(looks: Looks, wanted: Sequence[tuple[int, int, int]], targets: Sequence[Sequence[int]]) -> torch.Tensor:
    """For each row, place (among the queries) and head: minus the log of the attention that falls on any of its targets (among
    the keys, none behind the place)."""
    row, place, head = (torch.tensor(column) for column in zip(*wanted, strict=True))
    shared = looks.queries.shape[1] // looks.keys.shape[1]
    before = looks.keys.shape[2] - looks.queries.shape[2]
    queries = looks.queries[row, head, place].float()
    keys = looks.keys[row, head // shared].float()
    scores = torch.einsum("nd,nkd->nk", queries, keys) / math.sqrt(queries.shape[1])
    seen = torch.arange(keys.shape[1])[None] <= before + place[:, None]
    chances = scores.masked_fill(~seen, -math.inf).log_softmax(-1)
    target = torch.zeros_like(seen)
    for index, some in enumerate(targets):
        target[index, list(some)] = True
    return -chances.masked_fill(~target, -math.inf).logsumexp(-1)
