"""Recalibrations find what was done to a probability, keep the order of scores, and are chosen where they were not fitted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from moderator.metrics import expected_calibration_error
from moderator.metrics.intervals import Floats
from moderator.metrics.recalibration import METHODS, choose, fit_isotonic, fit_platt, recalibrated
from moderator.recalibration import Identity, Isotonic, Platt

ITEMS = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1, allow_nan=False)), min_size=8, max_size=60
).filter(lambda items: 2 <= sum(label for label, _ in items) <= len(items) - 2)  # fmt: skip


def drawn(n: int, seed: int) -> tuple[Floats, Floats]:
    """Labels, and the probabilities with which they were drawn."""
    generator = np.random.default_rng(seed)
    chances = expit(generator.normal(0, 2, n))
    return (generator.random(n) < chances).astype(float), chances


def test_what_was_done_to_the_logits_is_found() -> None:
    labels, chances = drawn(20_000, 0)
    found = fit_platt(labels, expit(2.5 * logit(chances) + 1.0))
    assert found.scale == pytest.approx(1 / 2.5, rel=0.05)
    assert found.offset == pytest.approx(-1 / 2.5, abs=0.05)


@pytest.mark.parametrize(
    ("change", "method"),
    [
        (lambda logits: logits, "identity"),
        (lambda logits: 3 * logits, "temperature"),
        (lambda logits: 2 * logits + 1.5, "platt"),
        (lambda logits: np.where(logits < 0, 4 * logits, 0.3 * logits), "isotonic"),
    ],
)
def test_the_method_that_fits_is_chosen_and_mends_the_error(change: Callable[[Floats], Floats], method: str) -> None:
    labels, chances = drawn(20_000, 1)
    scores = expit(change(logit(chances)))
    choice = choose(labels, scores)
    assert choice.recalibration.method == method
    assert log_loss(labels, choice.held_out) == pytest.approx(log_loss(labels, chances), abs=0.003)
    after, before = (expected_calibration_error(labels, p) for p in (choice.held_out, scores))
    assert after is not None
    assert before is not None
    assert after < (0.02 if method == "identity" else min(0.02, before / 3))


def test_the_choice_is_made_on_folds_left_out() -> None:
    """A method that knows its items by heart wins on them and loses on others."""
    labels, chances = drawn(40, 2)
    choice = choose(labels, chances)
    assert log_loss(labels, recalibrated(METHODS["isotonic"](labels, chances), chances)) < log_loss(labels, chances)
    assert choice.losses["isotonic"] > choice.losses["identity"]


def test_groups_are_not_parted() -> None:
    """Ten copies of twelve items: by items each copy would be known from another fold."""
    labels, scores = np.repeat([0.0, 1.0] * 6, 10), np.repeat(np.linspace(0.2, 0.8, 12), 10)
    parted, kept = (choose(labels, scores, groups).losses["isotonic"] for groups in (None, np.repeat(range(12), 10).tolist()))
    assert parted < kept


@given(ITEMS)
@settings(max_examples=100, deadline=None)
def test_every_method_keeps_the_order_and_stays_a_probability(items: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    grid = np.linspace(0, 1, 101)
    for fit in METHODS.values():
        found = recalibrated(fit(labels, scores), grid)
        assert ((found >= 0) & (found <= 1)).all()
        assert (np.diff(found) >= -1e-12).all()


@given(ITEMS)
@settings(max_examples=100, deadline=None)
def test_isotonic_says_at_its_own_items_what_pooling_says(items: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    found = fit_isotonic(labels, scores)
    rates = recalibrated(found, scores)
    assert rates.mean() == pytest.approx(labels.mean(), abs=1 / (len(labels) + 2) + 1e-9)
    assert rates.min() > 0
    assert rates.max() < 1
    assert rates == pytest.approx(np.interp(scores, found.scores, found.rates))


def test_scores_that_part_the_labels_do_not_end_at_infinity() -> None:
    found = fit_platt([0.0] * 20 + [1.0] * 20, [0.1] * 20 + [0.9] * 20)
    assert found(0.9) == pytest.approx(21 / 22, abs=0.01)


def test_scores_of_nothing_and_all_are_read() -> None:
    assert np.isfinite(recalibrated(Platt(0.5, 1.0), [0.0, 1.0])).all()
    assert [Identity()(0.0), Identity()(0.25)] == [0.0, 0.25]


@pytest.mark.parametrize(
    ("labels", "scores", "why"),
    [
        ([1, 0, 0, 0, 0, 0], [0.5] * 6, "two items of either label"),
        ([0, 1, 0, 1], [0.5] * 4, "too few for 5 folds"),
        ([0, 1] * 5, [1.5] * 10, "a score between 0 and 1"),
        ([0], [0.5, 0.5], "for each label"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(labels: list[int], scores: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        choose(labels, scores)


def test_wrong_functions_are_unwritable() -> None:
    with pytest.raises(ValueError, match="order"):
        Platt(-1.0)
    with pytest.raises(ValueError, match="none below"):
        Isotonic((0.1, 0.2), (0.6, 0.5))
