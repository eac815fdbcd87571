from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.metrics import corrected_prevalence


def test_the_point_is_rogan_and_gladens() -> None:
    # rate 0.14, sensitivity 0.8, specificity 0.9: (0.14 - 0.1) / 0.7
    found = corrected_prevalence(140, 1000, 80, 100, 180, 200)
    assert found.value == pytest.approx(0.04 / 0.7)
    assert (found.n, found.method) == (100, "lang_reiczigel")


def test_the_interval_by_hand() -> None:
    found = corrected_prevalence(140, 1000, 80, 100, 180, 200)
    # z = 1.959964, z^2 = 3.841459; rate' = (140 + 1.920729) / 1003.841459 = 0.141377
    # Se' = 81/102 = 0.794118, Sp' = 181/202 = 0.896040, Youden' 0.690157; p' = (0.141377 + 0.896040 - 1) / 0.690157 = 0.054215
    # Se'(1-Se')/102 = 0.00160288, Sp'(1-Sp')/202 = 0.00046116
    # shift = 2 * 3.841459 * (0.054215 * 0.00160288 - 0.945785 * 0.00046116) = -0.0026834
    # variance = 0.141377 * 0.858623 / 1003.84 + 0.054215^2 * 0.00160288 + 0.945785^2 * 0.00046116 = 0.00053815
    # half = 1.959964 * 0.0231981 / 0.690157 = 0.065880
    assert found.low == 0.0  # 0.051532 - 0.065880 is cut
    assert found.high == pytest.approx(0.051532 + 0.065880, abs=2e-5)


@pytest.mark.parametrize("truth", [0.02, 0.1, 0.5])
def test_the_interval_covers_the_truth(truth: float) -> None:
    generator = np.random.default_rng(int(truth * 100))
    covered = 0
    for _ in range(600):
        flagged = generator.binomial(800, truth * 0.85 + (1 - truth) * 0.07)
        found = corrected_prevalence(
            int(flagged), 800, int(generator.binomial(120, 0.85)), 120, int(generator.binomial(300, 0.93)), 300
        )
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 600 <= 0.99


@given(st.integers(0, 50), st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_it_is_a_share_or_nothing(flagged: int, true_positives: int, true_negatives: int) -> None:
    found = corrected_prevalence(flagged, 50, true_positives, 20, true_negatives, 20)
    if true_positives + true_negatives <= 20:
        assert found.value is None
    else:
        assert found.value is not None
        assert 0 <= found.value <= 1
        assert found.low is None or found.high is None or 0 <= found.low <= found.high <= 1


def test_a_perfect_detector_corrects_nothing_but_keeps_its_uncertainty() -> None:
    found = corrected_prevalence(50, 500, 100, 100, 400, 400)
    assert found.value == pytest.approx(0.1)
    assert found.low is not None
    assert found.low < 0.1 < (found.high or 0)


@pytest.mark.parametrize(
    "counts", [(0, 0, 1, 1, 1, 1), (1, 2, 0, 0, 1, 1), (1, 2, 1, 1, 0, 0), (1, 2, 1, 2, 1, 2), (1, 2, 0, 3, 0, 3)]
)
def test_without_items_or_with_a_detector_no_better_than_chance_it_is_undefined(
    counts: tuple[int, int, int, int, int, int],
) -> None:
    found = corrected_prevalence(*counts)
    assert (found.value, found.low, found.method) == (None, None, "none")


def test_more_flagged_than_judged_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        corrected_prevalence(3, 2, 1, 1, 1, 1)
