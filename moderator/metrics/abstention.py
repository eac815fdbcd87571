"""Deciding automatically only so far as a guarantee, or a price list, allows.

A decision's doubt is the probability with which it is estimated to be wrong: that the content violates where it passes, that it
does not where it is flagged; infinite where there is no decision. The estimate need not be right for a guarantee to hold; the
worse it is, the less is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from moderator.metrics.intervals import Estimate, proportion_estimate

SHARES: Final = tuple(step / 20 for step in range(1, 21))
"""The shares of the golden set, those of least doubt first, that are tried for automatic decision."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Decisions with a doubt below `threshold` are wrong in at most `limit` of cases, at this confidence.

    That is: of golden sets drawn from what will be judged, no more than ``1 - confidence`` lead to a threshold that breaks it.
    """

    limit: float
    confidence: float
    threshold: float
    """1: whatever is decided."""
    n: int
    """The golden items below it, and how many decisions about them are wrong."""
    errors: int
    coverage: Estimate


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Nothing can be guaranteed: fewer than `needed` items are decided, too few if none is wrong, or too many are wrong."""

    limit: float
    confidence: float
    n: int
    needed: int

    @property
    def too_few(self) -> bool:
        return self.n < self.needed


def guarantee_error(wrong: ArrayLike, doubts: ArrayLike, limit: float, confidence: float = 0.95) -> Guarantee | Inconclusive:
    """The greatest threshold of doubt below which the error among automatic decisions is at most `limit`.

    Items must be independent, and drawn as what will be judged is. Selection with guaranteed risk (Geifman & El-Yaniv 2017):
    for each of `SHARES`, which share the level, the threshold is the doubt of the first item beyond it. Given that item, those
    below are independent draws of what lies below, so their errors are binomial, and an exact test tells whether the error is
    above the limit. Raises ValueError for what is no limit or confidence.
    """
    lost, doubt = np.asarray(wrong, dtype=bool), np.asarray(doubts, dtype=np.float64)
    if lost.shape != doubt.shape or lost.ndim != 1 or np.isnan(doubt).any():
        raise ValueError("a doubt is wanted for each decision, and nan is none")
    if not 0 < limit < 1 or not 0 < confidence < 1:
        raise ValueError(f"limit and confidence: between 0 and 1, not {limit} and {confidence}")
    level, ascending = (1 - confidence) / len(SHARES), np.append(np.sort(doubt), np.inf)
    for share in reversed(SHARES):
        threshold = float(ascending[int(share * len(doubt))])
        n, errors = int((doubt < threshold).sum()), int((lost & (doubt < threshold)).sum())
        if n and binom.cdf(errors, n, limit) <= level:
            return Guarantee(limit, confidence, min(threshold, 1.0), n, errors, proportion_estimate(n, len(doubt)))
    return Inconclusive(limit, confidence, int((doubt < np.inf).sum()), ceil(log(level) / log(1 - limit)))


@dataclass(frozen=True, slots=True)
class Limits:
    """The doubts from which on a person decides instead: of a content that would pass, and of one that would be flagged."""

    passed: float
    flagged: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What a violation let through, a false alarm and a look by a person cost, in one unit."""

    miss: float
    alarm: float
    review: float

    def __post_init__(self) -> None:
        if min(self.miss, self.alarm) <= 0 or self.review < 0:
            raise ValueError("a miss and an alarm cost more than nothing, a review no less")

    @property
    def limits(self) -> Limits:
        """Where a look costs less than the decision is expected to, of calibrated probabilities (Chow 1970)."""
        return Limits(self.review / self.miss, self.review / self.alarm)
