from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests

from moderator.metrics import (
    Estimate,
    Pairing,
    Resampling,
    accuracy,
    benjamini_hochberg,
    benjamini_yekutieli,
    conclude,
    f1,
    holm,
    macro_f1,
    mcc,
    mcnemar,
    non_inferior,
    precision,
    recall,
)

QUICK = Resampling(resamples=1000)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_mcnemar_is_statsmodels_exact_test(first: int, second: int) -> None:
    assert mcnemar(first, second) == pytest.approx(oracle_mcnemar([[5, first], [second, 5]], exact=True).pvalue)
    assert mcnemar(first, second) == mcnemar(second, first)


@given(P_VALUES)
@settings(max_examples=12, deadline=None)
def test_corrections_are_statsmodels(p_values: list[float]) -> None:
    for ours, theirs in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")):
        assert ours(p_values) == pytest.approx(multipletests(p_values, method=theirs)[1])
        assert all(adjusted >= p - 1e-12 for adjusted, p in zip(ours(p_values), p_values, strict=True))


def test_corrections_of_nothing_and_of_what_is_no_p_value() -> None:
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg([0.1, 1.2])


@pytest.fixture
def pairing() -> Pairing:
    generator = np.random.default_rng(5)
    gold = generator.integers(0, 3, size=400)
    first, second = (np.where(generator.random(400) < share, gold, generator.integers(0, 4, size=400)) for share in (0.5, 0.8))
    return Pairing.of(gold.tolist(), first.tolist(), second.tolist(), (0, 1, 2), (3,))


def test_a_difference_is_that_of_the_two_sides(pairing: Pairing) -> None:
    for statistic, label in ((accuracy, None), (mcc, None), (macro_f1, None), (precision, 1), (recall, 2), (f1, 0)):
        second, first = pairing.second.value(statistic, label), pairing.first.value(statistic, label)
        assert first is not None
        assert second is not None
        found = pairing.difference(statistic, label, QUICK)
        assert found.value == pytest.approx(second - first)
        assert found.low is not None
        assert found.high is not None
        assert found.low < second - first < found.high
        assert conclude(found) == "better"
        assert conclude(found, higher_is_better=False) == "worse"


def test_pairing_makes_the_interval_narrower_than_two_runs_apart_would_be() -> None:
    """Two runs that differ in 12 of 400 items, ten of them for the better."""
    gold = [1] * 400
    first = [0] * 110 + [1] * 290
    second = [1] * 10 + [0] * 100 + [0] * 2 + [1] * 288
    found = Pairing.of(gold, first, second, (0, 1)).difference(accuracy)
    assert found.value == pytest.approx(8 / 400)
    # standard error of a paired difference: sqrt(12 - 8^2 / 400) / 400 = 0.0086
    assert found.low == pytest.approx(0.02 - 1.96 * 0.0086, abs=0.003)
    assert conclude(found) == "better"
    assert Pairing.of(gold, first, second, (0, 1)).discordant() == (2, 10)
    assert Pairing.of(gold, first, second, (0, 1)).mcnemar() == pytest.approx(mcnemar(2, 10))


def test_discordant_items_of_one_label_and_with_failures(pairing: Pairing) -> None:
    found = Pairing.of([0, 1, 2, 2, None], [0, 1, 1, 3, 0], [0, 3, 2, 1, 0], (0, 1, 2), (3,))
    assert found.unknown == 1
    assert found.discordant() == (1, 1)
    # class 1 against the rest: item 1 is lost to a failure, item 2 was flagged wrongly, items 0 and 3: a failure is never right
    assert found.discordant(1) == (1, 1)
    assert sum(pairing.discordant()) > 100


def test_the_same_answers_twice_show_no_difference_and_their_interval_has_width() -> None:
    gold, judged = [0, 1] * 50, [0, 1, 1, 1] * 25
    same = Pairing.of(gold, judged, judged, (0, 1))
    for statistic in (accuracy, mcc, macro_f1):
        found = same.difference(statistic)
        assert found.value == 0
        assert found.low is not None
        assert found.high is not None
        assert found.low < 0 < found.high
        assert conclude(found) == "no difference shown"
        assert non_inferior(found, 0.1) is True
        assert non_inferior(found, found.high / 10) is False
    assert same.mcnemar() == 1.0


def test_swapping_the_sides_turns_the_difference_round(pairing: Pairing) -> None:
    generator = np.random.default_rng(1)
    gold, a, b = (generator.integers(0, 2, size=100).tolist() for _ in range(3))
    one, other = Pairing.of(gold, a, b, (0, 1)), Pairing.of(gold, b, a, (0, 1))
    assert one.difference(mcc).value == pytest.approx(-(other.difference(mcc).value or 0))
    assert one.discordant() == other.discordant()[::-1]


def test_groups_are_drawn_together() -> None:
    gold = [1] * 300
    first, second = [0] * 100 + [1] * 200, [1] * 60 + [0] * 40 + [1] * 200
    by_item = Pairing.of(gold, first, second, (0, 1)).difference(accuracy)
    grouped = Pairing.of(gold, first, second, (0, 1), groups=[place // 30 for place in range(300)])
    by_group = grouped.difference(accuracy)
    assert by_item.value == by_group.value == pytest.approx(0.2)
    assert (by_group.n, by_group.method) == (10, "cluster_bootstrap")
    assert by_group.low is not None
    assert by_item.low is not None
    assert by_group.low < by_item.low
    with pytest.raises(ValueError, match="cannot be told"):
        grouped.discordant()


@pytest.mark.parametrize(
    ("low", "high", "n", "conclusion"),
    [
        (0.01, 0.05, 100, "better"),
        (-0.05, -0.01, 100, "worse"),
        (-0.01, 0.02, 100, "no difference shown"),
        (0.0, 0.02, 100, "no difference shown"),
        (0.01, 0.05, 29, "inconclusive"),
        (None, None, 100, "inconclusive"),
    ],
)
def test_a_conclusion_needs_an_interval_on_one_side_of_zero(
    low: float | None, high: float | None, n: int, conclusion: str
) -> None:
    assert conclude(Estimate(0.0, low, high, n, "bootstrap")) == conclusion


def test_non_inferiority_is_the_interval_inside_the_margin() -> None:
    found = Estimate(-0.01, -0.03, 0.01, 100, "bootstrap")
    assert non_inferior(found, 0.031) is True
    assert non_inferior(found, 0.03) is False
    assert non_inferior(found, 0.011, higher_is_better=False) is True
    assert non_inferior(found, 0.01, higher_is_better=False) is False
    assert non_inferior(Estimate(0.0, -0.001, 0.001, 10, "bootstrap"), 0.1) is None
    with pytest.raises(ValueError, match="margin"):
        non_inferior(found, -0.1)
