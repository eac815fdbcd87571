"""What is taught beside the answer, so that a small model comes to compare a content with a policy instead of guessing.

After `depth` layers the state where a label is read, and the state where a line of the policy ends, should say the same things
in the same words: topics (linear heads) and the teacher's sentence vector. One layer further, three heads should look from the
one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from finetune.nano.network import Looks, normal
from finetune.nano.packing import Prefix, Row
from finetune.nano.policies import DOMAIN_NAMES, KIND_NAMES, TOPICS, Stance, coverage, targets
from finetune.nano.teacher import SIZE

WIDTH = len(DOMAIN_NAMES) + len(TOPICS) + len(KIND_NAMES)
WEIGHTS = torch.tensor([3.0] * len(DOMAIN_NAMES) + [1.0] * (len(TOPICS) + len(KIND_NAMES)))


class Vectors:
    """The teacher's vectors by text, their mean taken away."""

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        self.places = {text: index for index, text in enumerate(texts)}
        self.rows = rows
        self.mean = rows.astype(np.float32).mean(0)

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

    def forward(self, states: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss over topics (`wanted`: 1, 0, -1 unknown), and the teacher's vector as it is seen in the states."""
        seen = normal(states.float(), self.weight)
        each = functional.binary_cross_entropy_with_logits(self.topics(seen), wanted.clamp(min=0), reduction="none")
        return (each * WEIGHTS * (wanted >= 0)).sum() / len(wanted), self.vector(seen)


def meaning_loss(
    lessons: Lessons, vectors: Vectors, states: torch.Tensor, wanted: torch.Tensor, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Topics, and one minus the cosine to the teacher's vector where it is known."""
    topics, seen = lessons(states, wanted)
    known, vector = vectors.find(texts)
    far = 1 - functional.cosine_similarity(seen[known], vector).mean() if known else torch.zeros(())
    return topics, far


def line_texts(stance: Stance) -> dict[str, str]:
    """The text of each line of the policy, without its id, as the teacher saw it."""
    parts = [(rule.id, rule.title, rule.summary) for rule in stance.policy.rules]
    parts += [(part.id, part.title, part.summary) for part in stance.policy.exceptions]
    parts += [(part.id, part.title, part.when) for part in stance.policy.escalations]
    return {name: f"{title}: {text}" for name, title, text in parts}


def line_loss(
    lessons: Lessons, vectors: Vectors, stance: Stance, prefix: Prefix, states: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`meaning_loss` at the ends of the policy's lines; `states` are the prefix's (tokens, width)."""
    about, texts = coverage(stance), line_texts(stance)
    names = [name for name in prefix.lines if name in about]
    ends = [prefix.lines[name][1] - 1 for name in names]
    return meaning_loss(
        lessons, vectors, states[ends], torch.tensor([about[name] for name in names]), [texts[name] for name in names]
    )


def content_loss(
    lessons: Lessons, vectors: Vectors, rows: Sequence[Row], states: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`meaning_loss` where the labels are read; `states` (rows, width)."""
    examples = [row.example for row in rows]
    return meaning_loss(
        lessons,
        vectors,
        states,
        torch.tensor([targets(example) for example in examples]),
        [example.text for example in examples],
    )


def look_loss(rows: Sequence[Row], prefix: Prefix, looks: Looks) -> dict[int, torch.Tensor]:
    """By head: for each of its looks, minus the log of the attention that falls where it should."""
    wanted = [(index, look) for index, row in enumerate(rows) for look in row.looks]
    row, place, head = (
        torch.tensor(column) for column in zip(*((index, look.place, look.head) for index, look in wanted), strict=True)
    )
    shared = looks.queries.shape[1] // looks.keys.shape[1]
    before = looks.keys.shape[2] - looks.queries.shape[2]
    queries = looks.queries[row, head, place].float()
    keys = looks.keys[row, head // shared].float()
    scores = torch.einsum("nd,nkd->nk", queries, keys) / math.sqrt(queries.shape[1])
    seen = torch.arange(keys.shape[1])[None] <= before + place[:, None]
    chances = scores.masked_fill(~seen, -math.inf).log_softmax(-1)
    target = torch.zeros_like(seen)
    for index, (_, look) in enumerate(wanted):
        for name in look.parts:
            target[index, slice(*prefix.lines[name])] = True
        if not look.parts:
            target[index, 0] = True
    lost = -chances.masked_fill(~target, -math.inf).logsumexp(-1)
    return {number: lost[head == number] for number in sorted(set(head.tolist()))}
