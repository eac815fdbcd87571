"""The alternative annotator test: may the model stand in for one of the annotators (Calderon, Reichart & Dror, ACL 2025)?

Each annotator is held out in turn. On each item of theirs that others rated too, the annotator's and the model's label are
scored by the share of the others who agree, and the better one (both, when equal) represents the others. The model wins against
the annotator when it is shown to represent them less often by less than `epsilon`, the discount that a person has to make up
for being slower and dearer: 0.2 for experts, 0.15 for skilled annotators, 0.1 for a crowd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from moderator.metrics.intervals import Floats, Label
from moderator.metrics.paired import benjamini_yekutieli

EPSILON = {"expert": 0.2, "skilled": 0.15, "crowd": 0.1}
WINS_AT_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Contest:
    """The model against one annotator."""

    annotator: str
    n: int
    """Items of the annotator that others rated too."""
    model_advantage: float
    """How often the model represents the others at least as well as the annotator does."""
    human_advantage: float
    p_value: float
    adjusted: float
    """The p-value, corrected for the number of annotators (Benjamini & Yekutieli 2001)."""
    won: bool


@dataclass(frozen=True, slots=True)
class AltTest:
    """The outcome; `winning_rate` and `advantage` are None when no annotator has items enough."""

    contests: tuple[Contest, ...]
    left_out: tuple[str, ...]
    """Annotators with fewer than the minimum of items."""
    epsilon: float
    winning_rate: float | None
    advantage: float | None
    """The mean of the model's advantages."""

    @property
    def passed(self) -> bool | None:
        """Whether the model wins against half of the annotators or more; None when there is none to compare with."""
        return None if self.winning_rate is None else self.winning_rate >= WINS_AT_LEAST


def alt_test(
    ratings: Sequence[Mapping[str, Label]],
    judged: Sequence[Label],
    epsilon: float,
    *,
    minimum: int = 30,
    level: float = 0.05,
) -> AltTest:
    """The test over the labels of each item by the id of the annotator; an answer that is no label agrees with nobody."""
    if len(ratings) != len(judged):
        raise ValueError(f"{len(judged)} answers for {len(ratings)} items")
    agreement: dict[str, list[tuple[int, int]]] = {}
    for rating, answer in zip(ratings, judged, strict=True):
        counts = Counter(rating.values())
        if len(rating) < 2:
            continue
        for annotator, label in rating.items():
            agreement.setdefault(annotator, []).append((counts[answer] - (answer == label), counts[label] - 1))
    enough = {annotator: np.array(pairs) for annotator, pairs in sorted(agreement.items()) if len(pairs) >= minimum}
    p_values = [_p_value(_human_leads(pairs), epsilon) for pairs in enough.values()]
    adjusted = benjamini_yekutieli(p_values)
    contests = tuple(
        Contest(
            annotator,
            len(pairs),
            float((pairs[:, 0] >= pairs[:, 1]).mean()),
            float((pairs[:, 1] >= pairs[:, 0]).mean()),
            p,
            corrected,
            corrected <= level,
        )
        for (annotator, pairs), p, corrected in zip(enough.items(), p_values, adjusted, strict=True)
    )
    return AltTest(
        contests,
        tuple(sorted(agreement.keys() - enough.keys())),
        epsilon,
        float(np.mean([contest.won for contest in contests])) if contests else None,
        float(np.mean([contest.model_advantage for contest in contests])) if contests else None,
    )


def _human_leads(pairs: Floats) -> Floats:
    """1 where the annotator alone represents the others, -1 where the model alone does."""
    leads: Floats = np.sign(pairs[:, 1] - pairs[:, 0]).astype(np.float64)
    return leads


def _p_value(leads: Floats, epsilon: float) -> float:
    """One-sided t-test that the mean lead of the annotator is less than epsilon."""
    from scipy.special import stdtr

    n, distance = len(leads), float(leads.mean()) - epsilon
    spread = float(leads.std(ddof=1)) if n > 1 else 0.0
    if spread == 0:
        return 0.0 if distance < 0 and n > 1 else 1.0
    return float(stdtr(n - 1, distance / (spread / sqrt(n))))
