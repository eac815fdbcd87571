"""How well a person does, measured as a model is: against the other annotators of the same item.

Each annotator of an item is held out once and compared with the majority of the others; a model, a constant and an oracle are
compared with the very same majorities. (Against the majority of *all* annotators a person would have a vote in the own gold.)
Only counts are needed, so anonymous votes do. The oracle knows all votes of the item; it is no person and a little leaky.

Stated rules. Among labels that tie for the majority of the others the credit is shared evenly, and so is the oracle's answer
among labels that tie for the majority of all. Every annotation that is held out weighs the same, so an item weighs as much as
it has annotators. An item needs `raters` annotators (three unless told); the others are counted as left out.

None of these levels is an upper bound: print them side by side, and no "share of the ceiling".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moderator.metrics.agreement import Votes
from moderator.metrics.classification import Confusion, indices
from moderator.metrics.intervals import Floats, Label, Units
from moderator.metrics.paired import Pairing

MAJORITY_OF_OTHERS = 3
"""Annotators that an item needs, so that the others of each can have a majority."""


@dataclass(frozen=True, eq=False, slots=True)
class Panels:
    """The items with enough annotators, as leave-one-out panels.

    `human_tables` (items, labels, labels): how many of the item's annotators have this majority against them (rows) and gave
    this label (columns). `gold` (items, labels): their rows' sums. `majority` (items, labels): that of all annotators.
    """

    labels: tuple[Label, ...]
    human_tables: Floats
    gold: Floats
    majority: Floats
    kept: tuple[int, ...]
    """The places of these items among those given."""
    groups: tuple[Hashable, ...] | None
    left_out: int

    @classmethod
    def of(cls, votes: Votes, raters: int = MAJORITY_OF_OTHERS) -> Panels:
        """Panels of all items that `raters` annotators or more have rated."""
        if raters < 2:
            raise ValueError("a panel without the one held out needs two annotators or more")
        kept = np.flatnonzero(votes.raters >= raters)
        counts = votes.counts[kept].astype(np.float64)
        tables = np.zeros((len(kept), len(votes.labels), len(votes.labels)))
        for place in range(len(votes.labels)):
            rated = counts[:, place] > 0
            others = counts[rated] - np.eye(len(votes.labels))[place]
            tables[rated, :, place] = _majority(others) * counts[rated, place, None]
        groups = None if votes.groups is None else tuple(votes.groups[item] for item in kept)
        left_out = len(votes.counts) - len(kept)
        return cls(votes.labels, tables, tables.sum(-1), _majority(counts), tuple(map(int, kept)), groups, left_out)

    def human(self) -> Confusion:
        """One annotator, held out, against the majority of the others."""
        return self._confusion(self.human_tables)

    def oracle(self) -> Confusion:
        """The majority of all annotators against the majorities of the others."""
        return self._confusion(self.gold[:, :, None] * self.majority[:, None, :])

    def constant(self, label: Label) -> Confusion:
        """One label for every item, against the majorities of the others."""
        answer = np.eye(len(self.labels))[self.labels.index(label)]
        return self._confusion(self.gold[:, :, None] * answer)

    def model(self, judged: Sequence[Label], non_answers: Sequence[Label] = ()) -> Confusion:
        """Answers, one for each item of the votes, against the majorities of the others."""
        return self._confusion(self._model(judged, non_answers), non_answers)

    def pairing(self, judged: Sequence[Label], non_answers: Sequence[Label] = ()) -> Pairing:
        """A held-out annotator first, the model second, item by item; its difference is the model less the person."""
        human = np.pad(self.human_tables, ((0, 0), (0, 0), (0, len(non_answers))))
        rows = np.stack([human, self._model(judged, non_answers)], axis=1)
        return Pairing(self.labels, tuple(non_answers), Units.of(rows, self.groups), self.left_out)

    def _model(self, judged: Sequence[Label], non_answers: Sequence[Label]) -> Floats:
        if len(judged) != len(self.kept) + self.left_out:
            raise ValueError(f"{len(judged)} answers for {len(self.kept) + self.left_out} items")
        columns = indices((judged[item] for item in self.kept), (*self.labels, *non_answers))
        return self.gold[:, :, None] * np.eye(len(self.labels) + len(non_answers))[columns][:, None, :]

    def _confusion(self, tables: Floats, non_answers: Sequence[Label] = ()) -> Confusion:
        return Confusion(self.labels, tuple(non_answers), Units.of(tables, self.groups), self.left_out)


def by_annotator(
    ratings: Sequence[Mapping[str, Label]],
    judged: Sequence[Label],
    labels: Sequence[Label],
    non_answers: Sequence[Label] = (),
    raters: int = MAJORITY_OF_OTHERS,
) -> dict[str, Pairing]:
    """For each annotator, the annotator first and the model second against the majority of the others of the same items.

    `ratings`: the labels of each item by the id of the annotator.
    """
    if len(ratings) != len(judged):
        raise ValueError(f"{len(judged)} answers for {len(ratings)} items")
    tables: dict[str, list[Floats]] = {}
    held_out = np.eye(len(labels), len(labels) + len(non_answers))
    for rating, answer in zip(ratings, indices(judged, (*labels, *non_answers)), strict=True):
        if len(rating) < raters:
            continue
        places = indices(rating.values(), labels)
        counts = np.bincount(places, minlength=len(labels)).astype(np.float64)
        model = np.eye(held_out.shape[1])[answer]
        for annotator, place in zip(rating, places, strict=True):
            gold = _majority(counts - np.eye(len(labels))[place])[:, None]
            tables.setdefault(annotator, []).append(np.stack([gold * held_out[place], gold * model]))
    return {annotator: Pairing(tuple(labels), tuple(non_answers), Units.of(rows)) for annotator, rows in sorted(tables.items())}


def _majority(counts: Floats) -> Floats:
    """The most frequent label (items, labels), as shares of one where several tie."""
    first = counts == counts.max(-1, keepdims=True)
    shares: Floats = first / first.sum(-1, keepdims=True)
    return shares
