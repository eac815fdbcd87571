"""What the moderator is held against where there is one label an item: a constant and a linear model, on the same items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from moderator.metrics import (
    Pairing,
    Resampling,
    Statistic,
    accuracy,
    auroc_of,
    average_precision_of,
    balanced_accuracy,
    estimate_weighted,
    f1,
    macro_f1,
    mcc,
)
from moderator.scoring.classes import LABELS, confusion, decision_metrics, probability_metrics
from moderator.scoring.floor import Floor
from moderator.scoring.labels import Known, Pair
from moderator.scoring.model import NON_ANSWERS, Anchor, Decision, Metrics, Paired

_COMPARED: Final[tuple[Statistic, ...]] = (accuracy, f1, macro_f1, balanced_accuracy, mcc)
_NEEDS_PEOPLE: Final = "needs three annotators an item: see the agreement of people"


def anchors(
    pairs: Sequence[Pair], floor: Floor, metrics: Metrics, groups: Sequence[Hashable] | None, how: Resampling
) -> tuple[Anchor, ...]:
    """All five, in order of what is expected of them; one that cannot be had says why and has no numbers."""
    return (
        _constant(pairs, groups, how),
        _linear(pairs, floor, groups, how),
        Anchor("human", _NEEDS_PEOPLE, {}),
        Anchor("model", "", metrics),
        Anchor("oracle", _NEEDS_PEOPLE, {}),
    )


def _constant(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Anchor:
    gold = [pair.gold for pair in pairs]
    label: Known = max(LABELS, key=gold.count)
    answers: list[Decision] = [label] * len(gold)
    return Anchor("constant", f"always {label}", decision_metrics(confusion(gold, answers, groups), how))


def _linear(pairs: Sequence[Pair], floor: Floor, groups: Sequence[Hashable] | None, how: Resampling) -> Anchor:
    places = [place for place, pair in enumerate(pairs) if pair.item.id in floor.decisions]
    if not places:
        return Anchor("linear", floor.note, {})
    judged = [pairs[place] for place in places]
    kept = None if groups is None else [groups[place] for place in places]
    note = floor.note if len(judged) == len(pairs) else f"{floor.note}; over the {len(judged):,} items of the test split"
    gold = [pair.gold for pair in judged]
    decisions: list[Decision] = [floor.decisions[pair.item.id] for pair in judged]
    probabilities = [floor.probabilities[pair.item.id] for pair in judged]
    metrics = decision_metrics(confusion(gold, decisions, kept), how) | dict(
        probability_metrics(gold, probabilities, kept, how)
    )
    return Anchor("linear", note, metrics, _paired(judged, decisions, probabilities, kept, how))


def _paired(
    pairs: Sequence[Pair],
    decisions: Sequence[Decision],
    probabilities: Sequence[float],
    groups: Sequence[Hashable] | None,
    how: Resampling,
) -> tuple[Paired, ...]:
    gold = [pair.gold for pair in pairs]
    model = [pair.decision for pair in pairs]
    both = Pairing.of(gold, decisions, model, LABELS, NON_ANSWERS, groups)
    p_value = both.mcnemar() if groups is None else None
    found = [Paired(one.name, both.difference(one, how=how), p_value if one is accuracy else None) for one in _COMPARED]
    scored = [place for place, pair in enumerate(pairs) if pair.gold and pair.probability is not None]
    positive = np.array([gold[place] == "yes" for place in scored], dtype=bool)
    first = np.array([probabilities[place] for place in scored], dtype=np.float64)
    second = np.array([pairs[place].probability for place in scored], dtype=np.float64)
    kept = None if groups is None else [groups[place] for place in scored]
    for area in (auroc_of, average_precision_of):
        (estimate,) = estimate_weighted([_less(area(positive, second), area(positive, first))], len(scored), kept, how)
        found.append(Paired(area(positive, first).name, estimate, None))
    return tuple(found)


def _less(second: Statistic, first: Statistic) -> Statistic:
    return Statistic(f"{second.name}_difference", lambda weights: second(weights) - first(weights))
