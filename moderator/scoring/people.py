"""How far people agree among themselves, and how a person, a constant, a linear model, the moderator and an oracle do against
the very same majorities. Annotators who do not know are not counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Literal

import numpy as np

from moderator.metrics import (
    EPSILON,
    Confusion,
    Label,
    Panels,
    Resampling,
    Statistic,
    Votes,
    accuracy,
    alt_test,
    cohen_kappa,
    dawid_skene,
    f1,
    gwet_ac1,
    krippendorff_alpha,
    macro_f1,
    mcc,
    percent_agreement,
)
from moderator.scoring.classes import LABELS, confusion, decision_metrics
from moderator.scoring.floor import Floor, native_metrics
from moderator.scoring.labels import Known, Pair, votes
from moderator.scoring.model import NON_ANSWERS, Agreement, Anchor, Metrics, Paired
from moderator.suite import Suite

Annotators = Literal["expert", "skilled", "crowd"]
"""Whom the alternative annotator test holds the model against."""

_COMPARED: Final[tuple[Statistic, ...]] = (accuracy, macro_f1, f1, mcc, cohen_kappa)


def agreements(
    suite: Suite,
    pairs: Sequence[Pair],
    floor: Floor,
    groups: Sequence[Hashable] | None,
    annotators: Annotators,
    how: Resampling,
) -> tuple[Agreement, ...]:
    """On the question of violation, and on the native labels where they say more; empty without items rated twice."""
    found = []
    of_decision = Votes.of_counts([votes(suite, pair.item) for pair in pairs], LABELS, groups)
    if (of_decision.raters > 1).any():
        found.append(_of_violation(suite, pairs, of_decision, floor, annotators, how))
    if len(suite.scale.values) > 2:
        native = Votes.of_counts([_native(pair) for pair in pairs], suite.scale.values, groups)
        if (native.raters > 1).any():
            found.append(_agreement(suite, native, _native_anchors(Panels.of(native), how), how))
    return tuple(found)


def _agreement(suite: Suite, given: Votes, anchors: tuple[Anchor, ...], how: Resampling) -> Agreement:
    binary = given.labels == LABELS
    several = given.raters[given.raters > 1]
    level = suite.scale.kind if not binary else "nominal"
    nominal = krippendorff_alpha(given, "nominal", how)
    return Agreement(
        scale="violates" if binary else "native",
        labels=tuple(map(str, given.labels)),
        items=len(several),
        raters=float(several.mean()),
        percent=percent_agreement(given, how),
        alpha=nominal if level == "nominal" else krippendorff_alpha(given, level, how),
        alpha_level=level,
        alpha_nominal=nominal,
        ac1=gwet_ac1(given, how),
        rates={str(label): given.base_rate(label, how) for label in given.labels},
        alpha_of={}
        if binary
        else {str(label): krippendorff_alpha(given.one_vs_rest(label), how=how) for label in given.labels},
        panel=int((given.raters > 2).sum()),
        anchors=anchors,
    )


def _of_violation(
    suite: Suite, pairs: Sequence[Pair], given: Votes, floor: Floor, annotators: Annotators, how: Resampling
) -> Agreement:
    panels = Panels.of(given)
    decisions = [pair.decision for pair in pairs]
    anchors: tuple[Anchor, ...] = ()
    if panels.kept:
        pairing = panels.pairing(decisions, NON_ANSWERS)
        compared = tuple(Paired(one.name, pairing.difference(one, how=how), None) for one in _COMPARED)
        metrics = partial(decision_metrics, how=how)
        anchors = (
            _constant(panels, metrics),
            _linear(panels, pairs, floor, metrics),
            Anchor("human", "one annotator, held out", metrics(panels.human()), compared),
            Anchor("model", "", metrics(panels.model(decisions, NON_ANSWERS))),
            Anchor("oracle", "the majority of all annotators", metrics(panels.oracle())),
        )
    ratings = [_by_name(suite, pair) for pair in pairs]
    named = any(len(rating) > 1 for rating in ratings)
    return replace(
        _agreement(suite, given, anchors, how),
        alt_test=alt_test(ratings, decisions, EPSILON[annotators], minimum=how.minimum) if named else None,
        consensus=_consensus(ratings, pairs, given.groups, how) if named else None,
    )


def _constant(panels: Panels, metrics: Callable[[Confusion], Metrics]) -> Anchor:
    label = _commonest(panels)
    return Anchor("constant", f"always {label}", metrics(panels.constant(label)))


def _commonest(panels: Panels) -> Label:
    return max(panels.labels, key=lambda label: panels.constant(label).value(accuracy) or 0.0)


def _linear(panels: Panels, pairs: Sequence[Pair], floor: Floor, metrics: Callable[[Confusion], Metrics]) -> Anchor:
    if not floor.decisions:
        return Anchor("linear", floor.note, {})
    kept = [pairs[place] for place in panels.kept]
    if not floor.knows(kept):
        return Anchor("linear", "was trained on some of these items", {})
    judged = [floor.decisions.get(pair.item.id, "no") for pair in pairs]
    return Anchor("linear", floor.note, metrics(panels.model(judged)))


def _native_anchors(panels: Panels, how: Resampling) -> tuple[Anchor, ...]:
    if not panels.kept:
        return ()
    label = _commonest(panels)
    of_each: tuple[tuple[Anchor, Confusion], ...] = (
        (Anchor("constant", f"always {label}", {}), panels.constant(label)),
        (Anchor("human", "one annotator, held out", {}), panels.human()),
        (Anchor("oracle", "the majority of all annotators", {}), panels.oracle()),
    )
    return tuple(Anchor(anchor.name, anchor.note, native_metrics(table, how)) for anchor, table in of_each)


def _native(pair: Pair) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for label in pair.item.labels:
        counts[label.value] = counts.get(label.value, 0) + label.count
    return counts


def _by_name(suite: Suite, pair: Pair) -> dict[str, Known]:
    """What each annotator with a name said, of those who know."""
    said = ((label.by, suite.answer(label)) for label in pair.item.labels)
    return {by: answer for by, answer in said if by is not None and answer != "unknown"}


def _consensus(
    ratings: Sequence[Mapping[str, Known]], pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling
) -> Metrics:
    """The model against what the annotators probably meant; an item that nobody rated is unknown."""
    fitted = dawid_skene(ratings, LABELS)
    rated = np.array([bool(rating) for rating in ratings])
    gold: list[Known | None] = [
        ("yes" if choice == "yes" else "no") if there else None for choice, there in zip(fitted.choices, rated, strict=True)
    ]
    return decision_metrics(confusion(gold, [pair.decision for pair in pairs], groups), how)
