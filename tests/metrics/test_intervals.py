from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from moderator.metrics import (
    Confusion,
    Estimate,
    Pairing,
    Resampling,
    Statistic,
    Units,
    accuracy,
    cohen_kappa,
    estimate,
    f1,
    mean,
    proportion_estimate,
    recall,
    wilson,
)

TOTAL = Statistic("total", lambda table: table[..., 0])


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=30, deadline=None)
def test_wilson_is_scipys_and_statsmodels(successes: int, more: int, level: float) -> None:
    trials = successes + more
    low, high = wilson(successes, trials, level)
    scipys = binomtest(successes, trials).proportion_ci(level, "wilson")
    assert (low, high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)
    assert (low, high) == pytest.approx(proportion_confint(successes, trials, 1 - level, "wilson"), abs=1e-12)


def test_wilson_at_the_ends_has_width() -> None:
    # 20 of 20, z = 1.96: n / (n + z^2) = 20 / 23.8415
    assert wilson(20, 20) == pytest.approx((20 / 23.8414588, 1.0), abs=1e-6)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_an_undefined_proportion_has_no_value_and_no_interval() -> None:
    assert proportion_estimate(0, 0) == Estimate(None, None, None, 0, "none")


def test_few_units_are_inconclusive_and_so_is_an_undefined_number() -> None:
    assert proportion_estimate(29, 29).inconclusive
    assert not proportion_estimate(30, 30).inconclusive
    assert proportion_estimate(30, 30, Resampling(minimum=31)).inconclusive
    assert Estimate(None, None, None, 1000, "none").inconclusive


@pytest.mark.parametrize("ends", [(0.1, None), (None, 0.1), (0.3, 0.2)])
def test_half_an_interval_or_one_that_runs_backwards_cannot_be_made(ends: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="an interval"):
        Estimate(0.2, *ends, 10, "bootstrap")
    with pytest.raises(ValueError, match="an interval"):
        Estimate(None, 0.1, 0.2, 10, "bootstrap")


def test_the_bootstrap_of_a_mean_has_the_width_of_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(5, 2, size=400)
    found = mean(list(values), how=Resampling(resamples=2000))
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.04)


def test_few_kinds_and_many_kinds_are_resampled_alike() -> None:
    """The two ways of drawing, by kind and by unit, give the same distribution."""
    few = np.repeat([0.0, 1.0, 4.0], [500, 300, 1200])
    many = few + np.linspace(0, 1e-9, len(few))
    narrow = Resampling(resamples=2000)
    a, b = (estimate(TOTAL, Units.of(values[:, None]), narrow) for values in (few, many))
    assert (a.low, a.high) == pytest.approx((b.low, b.high), rel=0.01)
    assert a.low != b.low


def test_intervals_do_not_depend_on_the_order_of_the_items_nor_on_global_state() -> None:
    gold, judged = [True, False, True, True] * 20, [True, False, False, True] * 20
    one = Confusion.of(gold, judged, (False, True)).estimate(cohen_kappa)
    np.random.seed(7)
    assert Confusion.of(gold[::-1], judged[::-1], (False, True)).estimate(cohen_kappa) == one
    assert Confusion.of(gold, judged, (False, True)).estimate(cohen_kappa, how=Resampling(seed=1)).low != one.low


def test_clusters_of_the_same_answer_widen_the_interval() -> None:
    gold = [True] * 400
    judged = [place >= 100 for place in range(400)]
    by_item = Confusion.of(gold, judged, (False, True)).estimate(accuracy)
    by_thread = Confusion.of(gold, judged, (False, True), groups=[place // 20 for place in range(400)]).estimate(accuracy)
    assert (by_item.method, by_item.n) == ("wilson", 400)
    assert (by_thread.method, by_thread.n) == ("cluster_bootstrap", 20)
    assert by_item.value == by_thread.value == 0.75
    assert _width(by_thread) > 3 * _width(by_item)


def test_clusters_of_one_item_are_items_and_an_item_without_a_group_stands_alone() -> None:
    rows = np.random.default_rng(0).random((50, 1))
    alone = estimate(TOTAL, Units.of(rows))
    for groups in (list(range(50)), [None] * 50):
        assert estimate(TOTAL, Units.of(rows, groups)).low == alone.low
    assert Units.of(rows, [None, "a", "a", *[None] * 47]).n == 49


def test_a_proportion_of_clusters_without_variation_falls_back_to_wilson_over_clusters() -> None:
    found = Confusion.of([True] * 100, [True] * 100, (False, True), groups=[place // 10 for place in range(100)])
    assert found.estimate(accuracy).method == "wilson"
    assert (found.estimate(accuracy).low, found.estimate(accuracy).high) == wilson(10, 10)


def test_perfect_agreement_still_has_an_interval() -> None:
    """Without variation the bootstrap of a table has no width; the posterior has, and narrows with the number of items."""
    widths = []
    for n in (20, 200):
        kappa = Confusion.of([True, False] * n, [True, False] * n, (False, True)).estimate(cohen_kappa)
        assert (kappa.value, kappa.method) == (1.0, "posterior")
        assert not kappa.degenerate
        widths.append(_width(kappa))
    assert widths[0] > 5 * widths[1] > 0


def test_an_interval_without_width_says_so() -> None:
    flat = estimate(Statistic("sum", lambda table: table[..., 0]), Units.of(np.ones((40, 1))))
    assert flat.degenerate
    assert flat.value == flat.low == flat.high == 40


def test_no_interval_when_many_resamples_are_undefined() -> None:
    """With one positive among 40, more than a third of the resamples have none: kappa of those is undefined."""
    found = Confusion.of([True] + [False] * 39, [True] + [False] * 39, (False, True)).estimate(cohen_kappa)
    assert found.value == 1.0
    assert found.low is None


def test_f1_has_the_interval_of_its_jaccard_index() -> None:
    # 8 found, 1 missed, 3 wrongly flagged: Jaccard 8/12, F1 = 2 * 8 / (2 * 8 + 1 + 3) = 0.8
    gold, judged = [1] * 9 + [0] * 20, [1] * 8 + [0] + [1] * 3 + [0] * 17
    found = Confusion.of(gold, judged, (0, 1)).estimate(f1)
    low, high = wilson(8, 12)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert found.n == 12


@pytest.mark.parametrize("rate", [0.03, 0.5, 0.9])
def test_intervals_cover_the_truth_about_as_often_as_they_say(rate: float) -> None:
    """Recall 0.8 at several base rates: Wilson over the positives, and the bootstrap of kappa where it is well defined."""
    generator = np.random.default_rng(int(rate * 100))
    n, covered, asked = 300, {"recall": 0, "kappa": 0}, 100
    # with recall 0.8 and a false alarm in ten
    agree, flagged = rate * 0.8 + (1 - rate) * 0.9, rate * 0.8 + (1 - rate) * 0.1
    chance = rate * flagged + (1 - rate) * (1 - flagged)
    truth = (agree - chance) / (1 - chance)
    for seed in range(asked):
        gold = generator.random(n) < rate
        judged = np.where(gold, generator.random(n) < 0.8, generator.random(n) < 0.1)
        confusion = Confusion.of(gold.tolist(), judged.tolist(), (False, True))
        how = Resampling(resamples=500, seed=seed)
        covered["recall"] += _covers(confusion.estimate(recall, how=how), 0.8)
        covered["kappa"] += _covers(confusion.estimate(cohen_kappa, how=how), truth)
    assert covered["recall"] / asked >= 0.9
    assert covered["kappa"] / asked >= 0.87


def test_ten_thousand_paired_resamples_of_25000_items_take_less_than_a_second() -> None:
    generator = np.random.default_rng(0)
    gold = generator.random(25_000) < 0.2
    first, second = (np.where(generator.random(25_000) < share, gold, ~gold) for share in (0.8, 0.82))
    pairing = Pairing.of(gold.tolist(), first.tolist(), second.tolist(), (False, True))
    start = time.process_time()
    found = pairing.difference(cohen_kappa, how=Resampling(resamples=10_000))
    assert time.process_time() - start < 1
    assert found.low is not None
    assert found.low > 0


def _width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def _covers(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high
