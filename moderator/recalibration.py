"""From a score to a probability that means what it says: the functions, as values. `moderator.metrics.recalibration` fits them.

None of them turns the order of two scores round: what changes is what a score means, not which content is the likelier.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

_FURTHEST: Final = 1e-9
"""Scores this near to 0 or 1 count as this: their logits would be infinite."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The score as it is."""

    method: Literal["identity"] = "identity"

    def __call__(self, score: float) -> float:
        return score


@dataclass(frozen=True, slots=True)
class Platt:
    """``expit(scale * logit(score) + offset)`` (Platt 1999); with an offset of 0, temperature scaling by ``1 / scale`` (Guo et
    al. 2017)."""

    scale: float
    offset: float = 0.0
    method: Literal["platt", "temperature"] = "platt"

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError(f"scale: {self.scale} would turn the order of scores round")

    def __call__(self, score: float) -> float:
        moved = self.scale * logit(score) + self.offset
        # of the two forms the one that cannot overflow
        return 1 / (1 + math.exp(-moved)) if moved >= 0 else math.exp(moved) / (1 + math.exp(moved))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between `scores` (ascending) and their `rates` (Zadrozny & Elkan 2002), flat beyond the first and last."""

    scores: tuple[float, ...]
    rates: tuple[float, ...]
    method: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in pairwise(self.scores)) and all(
            low <= high for low, high in pairwise(self.rates)
        )
        if not self.scores or len(self.scores) != len(self.rates) or not rising:
            raise ValueError("a rate is wanted for each score, and none below the one before it")

    def __call__(self, score: float) -> float:
        above = bisect_right(self.scores, score)
        if above in (0, len(self.scores)):
            return self.rates[min(above, len(self.rates) - 1)]
        (low, high), (least, most) = self.scores[above - 1 : above + 1], self.rates[above - 1 : above + 1]
        return min(most, least + (most - least) * (score - low) / (high - low))


Recalibration = Identity | Platt | Isotonic


def logit(score: float) -> float:
    """The log odds of a probability, finite for 0 and 1, too."""
    within = min(max(score, _FURTHEST), 1 - _FURTHEST)
    return math.log(within) - math.log1p(-within)
