"""How well quoted evidence agrees with the spans that people marked.

Spans are half-open ranges of characters ``(start, end)``; those of one person on one text count as the set of their characters.
Where neither side marks anything there is nothing to compare: the value is None and the item is in no mean. (SemEval-2021
counts such an item as 1.) Where one side alone marks something the value is 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from moderator.metrics.intervals import DEFAULT, RATIO, Estimate, Floats, Resampling, Statistic, Units, divide, estimate, mean

Span = tuple[int, int]
Spans = Sequence[Span]
Annotations = Sequence[Spans]
"""Of one text: the spans of each annotator, empty for one who marked nothing."""

Gold = Literal["union", "majority", "each"]

IOU_AT_LEAST = 0.5


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same characters as spans in order that neither touch nor overlap. Raises ValueError for one that is no range."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if not 0 <= start <= end:
            raise ValueError(f"span ({start}, {end}): not a range of characters")
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif start < end:
            merged.append((start, end))
    return tuple(merged)


def union(annotations: Annotations) -> tuple[Span, ...]:
    """The characters that anyone marked."""
    return merge(span for spans in annotations for span in spans)


def majority(annotations: Annotations) -> tuple[Span, ...]:
    """The characters that more than half of the annotators marked."""
    return _marked_by(annotations, len(annotations) // 2 + 1)


def character_f1(predicted: Spans, gold: Spans) -> float | None:
    """The harmonic mean of character precision and recall; None when both are empty."""
    a, b = merge(predicted), merge(gold)
    marked = _length(a) + _length(b)
    return 2 * _overlap(a, b) / marked if marked else None


def iou(predicted: Spans, gold: Spans) -> float | None:
    """Characters in both by characters in either; None when both are empty."""
    a, b = merge(predicted), merge(gold)
    both = _overlap(a, b)
    either = _length(a) + _length(b) - both
    return both / either if either else None


def iou_f1(
    predicted: Sequence[Spans],
    gold: Sequence[Spans],
    at_least: float = IOU_AT_LEAST,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> Estimate:
    """ERASER's IOU F1 (DeYoung et al. 2020): the F1 of two means over texts.

    Precision of a text is the share of predicted spans, recall that number by the gold spans, for predicted spans whose best
    intersection over union with a gold span is `at_least`; 0 without spans on that side. Spans count as they are given, not
    merged. Texts without any spans are in no mean.
    """
    rows = []
    for spans, gold_spans in zip(predicted, gold, strict=True):
        found = sum(max((iou([span], [other]) or 0 for other in gold_spans), default=0) >= at_least for span in spans)
        sides = found / len(spans) if spans else 0.0, min(1.0, found / len(gold_spans)) if gold_spans else 0.0
        rows.append((*sides, 1.0) if spans or gold_spans else (0.0, 0.0, 0.0))
    return estimate(Statistic("iou_f1", _f1_of_means), Units.of(np.array(rows).reshape(-1, 3), groups), how)


def character_f1_estimate(
    predicted: Sequence[Spans],
    annotations: Sequence[Annotations],
    against: Gold,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> Estimate:
    """The mean character F1 over texts, against the union or the strict majority of the annotators, or against each of them.

    Against each, a text's value is the mean over its annotators who are comparable.
    """
    values = [_against(spans, others, against) for spans, others in zip(predicted, annotations, strict=True)]
    return mean(values, groups, how)


def pairwise_character_f1(
    annotations: Sequence[Annotations], groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> Estimate:
    """The human level of marking the same: character F1 over all pairs of annotators of a text in which both marked something.

    A text's value is the mean over its pairs: a text with very many annotators would outweigh all others by its pairs.
    """
    values: list[float | None] = []
    for spans in annotations:
        marked = [merged for merged in map(merge, spans) if merged]
        of_pairs = [character_f1(a, b) or 0.0 for a, b in combinations(marked, 2)]
        values.append(sum(of_pairs) / len(of_pairs) if of_pairs else None)
    return mean(values, groups, how)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Character F1 against the strict majority of the other annotators, where that majority marks something."""

    human: Estimate
    """Each annotator, held out in turn; one who marked nothing there scores 0."""
    model: Estimate
    """The model against the very same majorities."""
    difference: Estimate
    """The model less the human."""


def held_out_character_f1(
    annotations: Sequence[Annotations],
    predicted: Sequence[Spans],
    raters: int = 3,
    groups: Sequence[Hashable] | None = None,
    how: Resampling = DEFAULT,
) -> HeldOut:
    """A person and a model, measured alike, on the texts that `raters` annotators or more have seen.

    Every annotation that is held out weighs the same; texts (or groups) are resampled.
    """
    rows = []
    for spans, others in zip(predicted, annotations, strict=True):
        human = model = n = 0.0
        for place, of_one in enumerate(others if len(others) >= raters else ()):
            gold = majority([*others[:place], *others[place + 1 :]])
            if gold:
                human += character_f1(of_one, gold) or 0.0
                model += character_f1(spans, gold) or 0.0
                n += 1
        rows.append((human, model, n))
    units = Units.of(np.array(rows).reshape(-1, 3), groups)
    return HeldOut(
        estimate(RATIO, units.mapped(lambda row: row[..., [0, 2]]), how),
        estimate(RATIO, units.mapped(lambda row: row[..., [1, 2]]), how),
        estimate(Statistic("difference", lambda row: divide(row[..., 1] - row[..., 0], row[..., 2])), units, how),
    )


def quote_exactness(
    exact: Sequence[int], quotes: Sequence[int], groups: Sequence[Hashable] | None = None, how: Resampling = DEFAULT
) -> Estimate:
    """The share of quotes that stand in the text word for word: for each text, how many do, of how many."""
    rows = np.array(list(zip(exact, quotes, strict=True)), dtype=np.float64).reshape(-1, 2)
    if (rows[:, 0] > rows[:, 1]).any() or (rows < 0).any():
        raise ValueError("more exact quotes than quotes")
    return estimate(RATIO, Units.of(rows, groups), how)


def _against(spans: Spans, annotations: Annotations, gold: Gold) -> float | None:
    if gold != "each":
        return character_f1(spans, union(annotations) if gold == "union" else majority(annotations))
    values = [value for other in annotations if (value := character_f1(spans, other)) is not None]
    return sum(values) / len(values) if values else None


def _f1_of_means(rows: Floats) -> Floats:
    found, wanted, n = rows[..., 0], rows[..., 1], rows[..., 2]
    f1 = divide(2 * found * wanted, (found + wanted) * n)
    return np.where((found + wanted == 0) & (n > 0), 0.0, f1)


def _marked_by(annotations: Annotations, at_least: int) -> tuple[Span, ...]:
    """The characters that at least so many marked: a sweep over where the spans of each begin and end."""
    edges = sorted(
        (edge, step) for spans in annotations for span in merge(spans) for edge, step in zip(span, (1, -1), strict=True)
    )
    found: list[Span] = []
    depth = 0
    for place, (edge, step) in enumerate(edges):
        depth += step
        if depth >= at_least and place + 1 < len(edges):
            found.append((edge, edges[place + 1][0]))
    return merge(found)


def _length(spans: Spans) -> int:
    return sum(end - start for start, end in spans)


def _overlap(a: Spans, b: Spans) -> int:
    """Of spans in order that do not overlap among themselves."""
    i = j = both = 0
    while i < len(a) and j < len(b):
        both += max(0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] <= b[j][1]:
            i += 1
        else:
            j += 1
    return both
