from __future__ import annotations

import warnings
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nltk.metrics.agreement import AnnotationTask
from nltk.metrics.distance import interval_distance

from moderator.metrics import (
    Confusion,
    Resampling,
    Votes,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    linear_kappa,
    percent_agreement,
    quadratic_kappa,
)

NO_INTERVAL = Resampling(resamples=0)
RATINGS = st.lists(st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=4, max_size=4), min_size=2, max_size=25)
PAIRS = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3])), min_size=1, max_size=60)

# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C: four observers, twelve units
PUBLISHED: list[list[int | None]] = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, None, 3, None],
]


def _votes(items: list[list[int | None]]) -> Votes:
    return Votes.of(items, (1, 2, 3, 4))


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_as_published(scale: str, alpha: float) -> None:
    votes = Votes.of(PUBLISHED, (1, 2, 3, 4, 5))
    assert krippendorff_alpha(votes, scale, NO_INTERVAL).value == pytest.approx(alpha, abs=0.0005)  # type: ignore[arg-type]


@given(RATINGS)
@settings(max_examples=25, deadline=None)
def test_alpha_is_nltks(items: list[list[int | None]]) -> None:
    given_to = [[label for label in item if label is not None] for item in items]
    pairable = [item for item in given_to if len(item) > 1]
    assume(len({label for item in pairable for label in item}) > 1)
    triples = [(str(coder), str(unit), label) for unit, item in enumerate(pairable) for coder, label in enumerate(item)]
    assert krippendorff_alpha(_votes(items), "nominal", NO_INTERVAL).value == pytest.approx(AnnotationTask(triples).alpha())
    # nltk's interval distance is the squared difference
    assert krippendorff_alpha(_votes(items), "interval", NO_INTERVAL).value == pytest.approx(
        AnnotationTask(triples, distance=interval_distance).alpha()
    )


@given(PAIRS)
@settings(max_examples=25, deadline=None)
def test_cohens_kappas_are_sklearns(items: list[tuple[int, int]]) -> None:
    gold, judged = [item[0] for item in items], [item[1] for item in items]
    found = Confusion.of(gold, judged, (1, 2, 3))
    for statistic, weights in ((cohen_kappa, None), (linear_kappa, "linear"), (quadratic_kappa, "quadratic")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle.cohen_kappa_score(gold, judged, weights=weights, labels=[1, 2, 3])
        value = found.value(statistic)
        assert (value is None) if np.isnan(expected) else value == pytest.approx(expected, abs=1e-9)


def test_kappa_counts_a_failure_as_a_class_of_its_own() -> None:
    gold, judged = [1, 1, 2, 2, 3, 3], [1, 1, 2, "failed", 3, 2]
    found = Confusion.of(gold, judged, (1, 2, 3), ("failed",))
    assert found.value(cohen_kappa) == pytest.approx(
        oracle.cohen_kappa_score([str(label) for label in gold], [str(label) for label in judged])
    )
    # linear, distances 0, 1/2, 1 and 1 to a failure: observed (1 + 1/2) / 6 = 0.25;
    # expected by row (a third each) against columns 2/6, 2/6, 1/6 and 1/6 failed:
    # row 1: 2/6 * 1/2 + 1/6 + 1/6 = 1/2; row 2: 2/6 * 1/2 + 1/6 * 1/2 + 1/6 = 5/12; row 3: 2/6 + 2/6 * 1/2 + 1/6 = 2/3
    assert found.value(linear_kappa) == pytest.approx(1 - 0.25 / ((1 / 2 + 5 / 12 + 2 / 3) / 3))


def test_ac1_by_hand() -> None:
    # four items, two labels: (2,0) (1,1) (3,0) (0,1); the last has one rater
    votes = Votes.of_counts([{"a": 2}, {"a": 1, "b": 1}, {"a": 3}, {"b": 1}], ("a", "b"))
    # agreement of the three with pairs: (1 + 0 + 1) / 3; shares of a: (1 + 1/2 + 1 + 0) / 4 = 0.625
    # chance: 0.625 * 0.375 + 0.375 * 0.625, over k - 1 = 1
    chance = 2 * 0.625 * 0.375
    assert gwet_ac1(votes, NO_INTERVAL).value == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert percent_agreement(votes, NO_INTERVAL).value == pytest.approx(2 / 3)
    assert votes.base_rate("a", NO_INTERVAL).value == pytest.approx(6 / 8)


def test_two_raters_ac1_is_gwets_published_example() -> None:
    # Gwet (2008), table 1: 118 both positive, 5 and 2 apart, none both negative: percent 0.944, AC1 0.941, kappa -0.0234
    gold, judged = ["+"] * 123 + ["-"] * 2, ["+"] * 118 + ["-"] * 5 + ["+"] * 2
    votes = Votes.of(zip(gold, judged, strict=True), ("-", "+"))
    assert percent_agreement(votes).value == pytest.approx(0.944)
    assert gwet_ac1(votes).value == pytest.approx(0.941, abs=0.0005)
    assert Confusion.of(gold, judged, ("-", "+")).value(cohen_kappa) == pytest.approx(-0.0234, abs=0.0005)


@given(RATINGS)
@settings(max_examples=30, deadline=None)
def test_percent_agreement_is_that_of_the_pairs(items: list[list[int | None]]) -> None:
    shares = []
    for item in items:
        labels = [label for label in item if label is not None]
        if len(labels) > 1:
            shares.append(np.mean([a == b for a, b in combinations(labels, 2)]))
    value = percent_agreement(_votes(items), NO_INTERVAL).value
    assert (value is None) if not shares else value == pytest.approx(float(np.mean(shares)))


@given(RATINGS, st.permutations([1, 2, 3, 4]))
@settings(max_examples=25, deadline=None)
def test_nothing_depends_on_names_nor_on_the_order_of_items_and_annotators(
    items: list[list[int | None]], names: list[int]
) -> None:
    renamed = [[None if label is None else names[label - 1] for label in reversed(item)] for item in reversed(items)]
    for statistic in (percent_agreement, gwet_ac1):
        _same(statistic(_votes(items), NO_INTERVAL).value, statistic(_votes(renamed), NO_INTERVAL).value)
    _same(krippendorff_alpha(_votes(items), how=NO_INTERVAL).value, krippendorff_alpha(_votes(renamed), how=NO_INTERVAL).value)
    upside_down = Votes((4, 3, 2, 1), _votes(items).counts[:, ::-1])
    _same(
        krippendorff_alpha(_votes(items), "ordinal", NO_INTERVAL).value,
        krippendorff_alpha(upside_down, "ordinal", NO_INTERVAL).value,
    )


def test_the_paradox_of_a_rare_label_is_visible() -> None:
    votes = Votes.of([["no", "no"]] * 98 + [["no", "yes"]] * 2, ("no", "yes"))
    alpha, ac1 = krippendorff_alpha(votes), gwet_ac1(votes)
    assert percent_agreement(votes).value == pytest.approx(0.98)
    assert alpha.value is not None
    assert alpha.value < 0.01
    assert ac1.value is not None
    assert ac1.value > 0.97


def test_agreement_on_one_label_alone_is_undefined_beyond_chance() -> None:
    votes = Votes.of([["no", "no"]] * 10, ("no", "yes"))
    assert krippendorff_alpha(votes).value is None
    assert gwet_ac1(votes).value == 1.0
    assert percent_agreement(Votes.of([["no"], []], ("no", "yes"))).value is None
    assert krippendorff_alpha(Votes.of([], ("no", "yes"))).value is None


def test_counts_and_ratings_make_the_same_votes() -> None:
    items: list[list[str | None]] = [["a", "b", None], ["b", "b"], []]
    votes = Votes.of(items, ("a", "b"))
    counted = Votes.of_counts([Counter(label for label in item if label) for item in items], ("a", "b"))
    assert votes.counts.tolist() == counted.counts.tolist() == [[1, 1], [0, 2], [0, 0]]
    assert votes.one_vs_rest("a").counts.tolist() == [[1, 1], [2, 0], [0, 0]]
    with pytest.raises(ValueError, match="'c' is none of"):
        Votes.of([["c"]], ("a", "b"))


def test_alpha_is_resampled_by_item_and_by_group() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(generator.integers(0, 2, size=30), 10)
    ratings = [[int(label) if generator.random() < 0.8 else 1 - int(label) for _ in range(3)] for label in truth]
    by_item = krippendorff_alpha(Votes.of(ratings, (0, 1)))
    by_group = krippendorff_alpha(Votes.of(ratings, (0, 1), [place // 10 for place in range(300)]))
    assert by_item.value == by_group.value
    assert (by_item.n, by_group.n) == (300, 30)
    assert by_item.low is not None
    assert by_item.high is not None
    assert by_item.value is not None
    assert by_item.low < by_item.value < by_item.high


def _same(one: float | None, other: float | None) -> None:
    assert (one is None) == (other is None)
    assert one is None or one == pytest.approx(other)
