from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.metrics import Resampling, area_estimates, augrc, aurc, auroc, coverage_at_risk, risk_coverage

ITEMS = st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9])), min_size=1, max_size=40)


def test_the_curve_by_hand() -> None:
    losses, confidences = [0, 1, 0, 1], [0.9, 0.7, 0.7, 0.2]
    curve = [(point.threshold, point.coverage, round(point.risk, 6), point.n) for point in risk_coverage(losses, confidences)]
    assert curve == [(0.9, 0.25, 0.0, 1), (0.7, 0.75, 0.333333, 3), (0.2, 1.0, 0.5, 4)]
    # accepted 1, 2, 3, 4; lost 0, 1/2 (either order of the two that tie), 1, 2
    assert aurc(losses, confidences) == pytest.approx((0 + 0.25 + 1 / 3 + 0.5) / 4)
    # the area under lost/4 over accepted/4 by trapezoids: (0 + 0.5)/2 ... = (0 + 0.5 + 1 + 2 - 2 / 2) / 16
    assert augrc(losses, confidences) == pytest.approx(2.5 / 16)


@given(ITEMS)
@settings(max_examples=60, deadline=None)
def test_augrc_is_what_its_authors_derive_from_the_auroc(items: list[tuple[int, float]]) -> None:
    losses, confidences = np.array([item[0] for item in items]), np.array([item[1] for item in items])
    right = 1 - losses.mean()
    of_failures = auroc(losses == 0, confidences)
    expected = (1 - (of_failures or 0)) * right * (1 - right) + (1 - right) ** 2 / 2
    assert augrc(losses, confidences) == pytest.approx(expected)


@given(ITEMS)
@settings(max_examples=60, deadline=None)
def test_areas_are_bounded_and_do_not_depend_on_order(items: list[tuple[int, float]]) -> None:
    losses, confidences = [item[0] for item in items], [item[1] for item in items]
    for area, highest in ((aurc, 1.0), (augrc, 0.5)):
        value = area(losses, confidences)
        assert value is not None
        assert 0 <= value <= highest
        assert area(losses[::-1], confidences[::-1]) == pytest.approx(value)
        assert area(losses, [confidence * 2 - 7 for confidence in confidences]) == pytest.approx(value)
    curve = risk_coverage(losses, confidences)
    assert curve[-1].coverage == 1
    assert curve[-1].risk == pytest.approx(np.mean(losses))
    assert [point.threshold for point in curve] == sorted({*confidences}, reverse=True)


def test_ties_take_the_mean_over_orders() -> None:
    losses = [0, 1, 1, 0, 1]
    generator = np.random.default_rng(0)
    orders = [aurc(losses, generator.permutation(5)) for _ in range(4000)]
    assert aurc(losses, [0.5] * 5) == pytest.approx(float(np.mean([value for value in orders if value is not None])), abs=0.01)


def test_coverage_at_a_risk_is_the_greatest() -> None:
    losses, confidences = [1, 0, 0, 0, 1, 1], [6, 5, 4, 3, 2, 1]
    found = coverage_at_risk(losses, confidences, 0.25)
    assert found is not None
    assert (found.threshold, found.n) == (3, 4)
    assert found.coverage == pytest.approx(4 / 6)
    assert coverage_at_risk(losses, confidences, 0.2) is None
    assert coverage_at_risk([], [], 0.5) is None


def test_an_item_without_an_answer_counts_and_can_never_be_accepted() -> None:
    losses, confidences = [0, 0, 1], [0.9, 0.8, -np.inf]
    assert [point.coverage for point in risk_coverage(losses, confidences)] == pytest.approx([1 / 3, 2 / 3])
    found = coverage_at_risk(losses, confidences, 1.0)
    assert found is not None
    assert found.n == 2
    assert aurc(losses, confidences) == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_nothing_has_no_area_and_an_area_has_an_interval() -> None:
    assert aurc([], []) is None
    assert augrc([], []) is None
    generator = np.random.default_rng(0)
    confidences = generator.random(200)
    losses = generator.random(200) > confidences
    estimates = area_estimates(losses, confidences, how=Resampling(index_resamples=100))
    for found, area in zip(estimates, (aurc, augrc), strict=True):
        assert found.value == area(losses, confidences)
        assert found.low is not None
        assert found.value is not None
        assert found.low < found.value < (found.high or 0)
    with pytest.raises(ValueError, match="nan"):
        aurc([1], [np.nan])
