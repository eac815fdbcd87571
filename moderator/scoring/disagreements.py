"""The items on which the moderator and the labels part: the worst of them, and which are alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moderator.content import well_formed
from moderator.records import outcome_name
from moderator.scoring.labels import Pair, votes
from moderator.scoring.model import Cluster, Direction, Disagreement, Mark
from moderator.verdict import Verdict

DIRECTIONS: Final[tuple[Direction, ...]] = ("under", "over")
_OF_EACH = 25
_FEWEST_TO_CLUSTER = 20
_FEWEST_IN_CLUSTER = 5
_ERRORS_A_CLUSTER = 15
_MOST_CLUSTERS = 8
_TERMS = 6
_LONGEST = 2_000
"""Characters of a text that are shown, as many of each message before it."""


def errors(pairs: Sequence[Pair], direction: Direction) -> list[Pair]:
    """The items that were decided against their label, the most confident first; those left to people are none."""
    decided, label = ("no", "yes") if direction == "under" else ("yes", "no")
    wrong = [pair for pair in pairs if pair.decision == decided and pair.gold == label]
    return sorted(wrong, key=lambda pair: (-(pair.confidence or 0.0), pair.item.id))


def worst(pairs: Sequence[Pair]) -> tuple[Disagreement, ...]:
    """The most confident errors of both directions."""
    return tuple(_disagreement(pair, direction) for direction in DIRECTIONS for pair in errors(pairs, direction)[:_OF_EACH])


def clusters(pairs: Sequence[Pair]) -> tuple[Cluster, ...]:
    """Errors of each direction by likeness of their words (k-means over TF-IDF), the largest cluster first."""
    return tuple(cluster for direction in DIRECTIONS for cluster in _clustered(errors(pairs, direction), direction))


def _disagreement(pair: Pair, direction: Direction) -> Disagreement:
    spans = {Mark(span.start, span.end, span.rule) for label in pair.item.labels for span in label.spans}
    return Disagreement(
        id=pair.item.id,
        direction=direction,
        text=_shown(pair.item.text),
        thread=tuple(_shown(turn.text) for turn in pair.item.thread),
        label="yes" if pair.gold == "yes" else "no",
        votes={answer: n for answer, n in votes(pair.suite, pair.item).items() if n},
        rules_labelled=tuple(sorted(pair.rules_held)),
        outcome=outcome_name(pair.outcome),
        rules=pair.cited,
        score=pair.probability,
        confidence=pair.confidence,
        evidence=tuple(_within(pair.evidence)),
        marked=tuple(_within(sorted(spans, key=lambda mark: (mark.start, mark.end, mark.rule or "")))),
        rationale=_shown(pair.outcome.rationale) if isinstance(pair.outcome, Verdict) else "",
    )


def _shown(text: str) -> str:
    return well_formed(text[:_LONGEST])


def _within(marks: Sequence[Mark]) -> Iterator[Mark]:
    return (Mark(mark.start, min(mark.end, _LONGEST), mark.rule) for mark in marks if mark.start < _LONGEST)


def _clustered(wrong: Sequence[Pair], direction: Direction) -> list[Cluster]:
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(wrong) < _FEWEST_TO_CLUSTER:
        return []
    vectorizer = TfidfVectorizer(min_df=2, max_df=0.8, sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d]\w+\b")
    try:
        weights = vectorizer.fit_transform([pair.item.text for pair in wrong])
    except ValueError:  # no word is in two texts
        return []
    words = vectorizer.get_feature_names_out()
    different = len({(row.indices.tobytes(), row.data.tobytes()) for row in weights})
    k = min(_MOST_CLUSTERS, max(2, len(wrong) // _ERRORS_A_CLUSTER), different)
    place: NDArray[np.intp] = KMeans(k, n_init=4, random_state=0).fit_predict(weights)
    found = []
    for number in range(k):
        inside = np.flatnonzero(place == number)
        if not _FEWEST_IN_CLUSTER <= len(inside) < len(wrong):
            continue
        apart = np.asarray(weights[inside].mean(0)).ravel() - np.asarray(weights[place != number].mean(0)).ravel()
        terms = [str(words[term]) for term in np.argsort(-apart)[:_TERMS] if apart[term] > 0]
        ids = tuple(wrong[member].item.id for member in inside.tolist())
        found.append(Cluster(direction, len(inside), len(inside) / len(wrong), tuple(terms), ids))
    return sorted(found, key=lambda cluster: -cluster.n)
