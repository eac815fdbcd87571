"""Thresholds keep what they promise over many golden sets, and are as high as that allows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController
from scipy.special import expit

from moderator.metrics.abstention import SHARES, Costs, Guarantee, Inconclusive, guarantee_error
from moderator.metrics.intervals import Floats


def golden(n: int, generator: np.random.Generator, sure: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Whether decisions are wrong, what they are doubted, and how likely each is to be wrong; `sure` above 1: overconfident."""
    logits = generator.normal(0, 4, n)
    chances = expit(-np.abs(logits))
    return generator.random(n) < chances, expit(-np.abs(sure * logits)), chances


@pytest.mark.parametrize("sure", [1.0, 2.5])
@pytest.mark.parametrize(("limit", "n"), [(0.02, 4000), (0.05, 800)])
def test_the_limit_is_broken_by_one_golden_set_in_twenty_at_most(sure: float, limit: float, n: int) -> None:
    """Of 200 golden sets; also where the model is surer than it should be. And the promise is not kept by deciding nothing."""
    generator = np.random.default_rng(7)
    _, doubts, chances = golden(1_000_000, generator, sure)
    order = np.argsort(doubts)
    errors = np.cumsum(chances[order]) / np.arange(1, len(order) + 1)  # among so many of least doubt, of a whole population
    found = [guarantee_error(*golden(n, generator, sure)[:2], limit) for _ in range(200)]
    kept = [one for one in found if isinstance(one, Guarantee)]
    decided = np.searchsorted(doubts[order], [one.threshold for one in kept])
    assert (errors[decided - 1] > limit).sum() <= 10
    assert len(kept) > 190
    assert decided.mean() > 0.6 * np.searchsorted(errors, limit)


def mapies_threshold(wrong: Floats, doubts: Floats, limit: float, confidence: float) -> float:
    """By MAPIE's risk control over the same thresholds: the greatest below which decisions are right often enough; 0: none."""
    tried = np.append(np.sort(doubts), 1.0)[[int(share * len(doubts)) for share in SHARES]]
    controller = BinaryClassificationController(
        lambda doubt, threshold: (doubt[:, 0] < threshold).astype(int),
        "precision",
        1 - limit,
        confidence,
        list_predict_params=tried[:, None],
        fwer_method="bonferroni",
    )
    with warnings.catch_warnings():
        # where no threshold will do
        warnings.simplefilter("ignore")
        controller.calibrate(doubts[:, None], ~wrong.astype(bool))
    valid = np.asarray(controller.valid_predict_params)
    return float(valid.max()) if valid.size else 0.0


@pytest.mark.parametrize("seed", range(20))
def test_it_decides_no_less_than_mapie_and_no_more_than_the_difference_of_their_tests(seed: int) -> None:
    """MAPIE tests with the lesser of Hoeffding's bound and Bentkus's, which is e times the exact binomial tail."""
    wrong, doubts, _ = golden(1500, np.random.default_rng(seed), 1.5)
    theirs = mapies_threshold(wrong, doubts, 0.05, 0.95)
    ours, strict = (guarantee_error(wrong, doubts, 0.05, 1 - level) for level in (0.05, 0.05 / np.e))
    least, most = (one.threshold if isinstance(one, Guarantee) else 0.0 for one in (strict, ours))
    assert least <= theirs <= most
    assert theirs > 0


def test_what_is_reported_is_what_was_counted() -> None:
    wrong, doubts, _ = golden(3000, np.random.default_rng(1))
    found = guarantee_error(wrong, doubts, 0.03, 0.9)
    assert isinstance(found, Guarantee)
    decided = doubts < found.threshold
    assert (found.n, found.errors) == (decided.sum(), wrong[decided].sum())
    assert found.coverage.value == pytest.approx(decided.mean())


def test_a_small_golden_set_is_inconclusive_and_says_how_many_are_wanted() -> None:
    for n, conclusive in ((296, False), (297, True)):
        found = guarantee_error([False] * n, [0.0] * n, 0.02)
        assert isinstance(found, Guarantee) == conclusive
    few = guarantee_error([False] * 296, [0.0] * 296, 0.02)
    assert isinstance(few, Inconclusive)
    assert (few.needed, few.too_few) == (297, True)


def test_a_model_that_is_too_often_wrong_is_inconclusive() -> None:
    found = guarantee_error([True, False] * 500, [0.001] * 1000, 0.02)
    assert isinstance(found, Inconclusive)
    assert not found.too_few


def test_what_was_not_decided_never_counts_as_decided() -> None:
    found = guarantee_error([True] * 50 + [False] * 500, [np.inf] * 50 + [0.001] * 500, 0.02)
    assert isinstance(found, Guarantee)
    assert (found.n, found.errors) == (500, 0)
    assert found.coverage.value == pytest.approx(500 / 550)


@pytest.mark.parametrize(("limit", "confidence"), [(0.0, 0.95), (1.0, 0.95), (0.1, 1.0)])
def test_impossible_promises_are_errors(limit: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        guarantee_error([False], [0.1], limit, confidence)


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0, 100), st.floats(0, 1))
def test_a_person_decides_where_that_is_cheaper(miss: float, alarm: float, review: float, chance: float) -> None:
    limits = Costs(miss, alarm, review).limits
    assert (chance < limits.passed) == (chance * miss < review) or chance * miss == pytest.approx(review)
    assert (1 - chance < limits.flagged) == ((1 - chance) * alarm < review) or (1 - chance) * alarm == pytest.approx(review)


def test_wrong_prices_are_unwritable() -> None:
    with pytest.raises(ValueError, match="cost"):
        Costs(0.0, 1.0, 1.0)
