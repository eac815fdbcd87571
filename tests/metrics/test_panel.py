from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ttest_1samp

from moderator.metrics import Panels, Resampling, Votes, accuracy, alt_test, by_annotator, f1, macro_f1, recall

LABELS = ("a", "b", "c")
ITEMS = st.lists(st.lists(st.sampled_from(LABELS), min_size=3, max_size=6), min_size=1, max_size=20)
QUICK = Resampling(resamples=500)


def test_the_levels_by_hand() -> None:
    # item 1: a a b. Held out a: others a, b tie: half a point. Held out a: the same. Held out b: others a a: 0. Sum 1 of 3.
    # item 2: a a a a: 4 of 4.
    votes = Votes.of([["a", "a", "b"], ["a", "a", "a", "a"]], LABELS)
    panels = Panels.of(votes)
    assert panels.human().value(accuracy) == pytest.approx(5 / 7)
    # always a, against the same seven majorities: 1/2 + 1/2 + 1 + 4; so is the majority of all
    assert panels.constant("a").value(accuracy) == panels.oracle().value(accuracy) == pytest.approx(6 / 7)
    assert panels.constant("b").value(accuracy) == pytest.approx(1 / 7)
    assert panels.model(["b", "a"]).value(accuracy) == pytest.approx(5 / 7)
    # b is the majority of the others in 1/2 + 1/2 of the panels, both of them against an annotator who said a
    assert panels.human().value(recall, "b") == 0.0
    assert panels.human().counts.tolist() == [[5, 1, 0], [1, 0, 0], [0, 0, 0]]


@given(ITEMS)
@settings(max_examples=40, deadline=None)
def test_anonymous_counts_give_what_holding_out_each_annotator_gives(items: list[list[str]]) -> None:
    credit = []
    for item in items:
        for place, label in enumerate(item):
            others = item[:place] + item[place + 1 :]
            most = max(others.count(other) for other in LABELS)
            first = [other for other in LABELS if others.count(other) == most]
            credit.append((label in first) / len(first))
    human = Panels.of(Votes.of(items, LABELS)).human().value(accuracy)
    assert human == pytest.approx(float(np.mean(credit)))
    ratings = [{str(place): label for place, label in enumerate(item)} for item in items]
    tables = [pairing.first.counts for pairing in by_annotator(ratings, ["a"] * len(items), LABELS).values()]
    assert np.sum(tables, axis=0) == pytest.approx(Panels.of(Votes.of(items, LABELS)).human().counts)


@given(ITEMS, st.permutations(LABELS))
@settings(max_examples=30, deadline=None)
def test_levels_depend_neither_on_names_nor_on_order(items: list[list[str]], names: list[str]) -> None:
    renamed = [[names[LABELS.index(label)] for label in reversed(item)] for item in reversed(items)]
    one, other = Panels.of(Votes.of(items, LABELS)), Panels.of(Votes.of(renamed, LABELS))
    for statistic in (accuracy, macro_f1):
        assert one.human().value(statistic) == pytest.approx(other.human().value(statistic))
        assert one.oracle().value(statistic) == pytest.approx(other.oracle().value(statistic))
    assert one.constant("a").value(accuracy) == pytest.approx(other.constant(names[0]).value(accuracy))


@given(ITEMS)
@settings(max_examples=30, deadline=None)
def test_all_are_measured_against_the_same_majorities(items: list[list[str]]) -> None:
    panels = Panels.of(Votes.of(items, LABELS))
    gold = panels.human().counts.sum(-1)
    for confusion in (panels.oracle(), panels.constant("b"), panels.model(["c"] * len(items))):
        assert confusion.counts.sum(-1) == pytest.approx(gold)
    assert panels.model(["b"] * len(items)).counts == pytest.approx(panels.constant("b").counts)


def test_a_rater_in_the_own_gold_would_look_better() -> None:
    """The reason for leaving one out: against the majority of all, the same people score higher."""
    generator = np.random.default_rng(0)
    items = [[str(label) for label in generator.choice(["a", "b"], size=3)] for _ in range(300)]
    held_out = Panels.of(Votes.of(items, LABELS)).human().value(accuracy)
    in_own_gold = np.mean([label == max("ab", key=item.count) for item in items for label in item])
    assert held_out == pytest.approx(0.5, abs=0.05)
    assert in_own_gold > 0.7


def test_items_with_too_few_annotators_are_left_out_and_counted() -> None:
    panels = Panels.of(Votes.of([["a", "a"], ["a", "b", "b"], []], LABELS))
    assert (panels.left_out, panels.kept) == (2, (1,))
    assert panels.human().unknown == 2
    nobody = Panels.of(Votes.of([["a", "a"]], LABELS))
    assert nobody.human().value(accuracy) is None
    assert nobody.human().estimate(accuracy).inconclusive


def test_a_failure_of_the_model_agrees_with_nobody() -> None:
    panels = Panels.of(Votes.of([["a", "a", "a"], ["b", "b", "b"]], LABELS))
    found = panels.model(["a", "failed"], ("failed",))
    assert found.value(accuracy) == 0.5
    assert found.value(recall, "b") == 0.0
    with pytest.raises(ValueError, match="'failed' is none of"):
        panels.model(["a", "failed"])


def test_a_model_beside_a_person_is_compared_item_by_item() -> None:
    generator = np.random.default_rng(2)
    truth = generator.choice(["a", "b"], size=200)
    items = [[str(label) if generator.random() < 0.7 else "ab"[label == "a"] for _ in range(5)] for label in truth]
    panels = Panels.of(Votes.of(items, LABELS, [place // 4 for place in range(200)]))
    pairing = panels.pairing([str(label) for label in truth], ("failed",))
    found = pairing.difference(f1, "a", QUICK)
    human, model = pairing.first.value(f1, "a"), pairing.second.value(f1, "a")
    assert human is not None
    assert model is not None
    assert found.value == pytest.approx(model - human)
    assert found.low is not None
    assert found.low > 0
    assert (found.n, found.method) == (50, "cluster_bootstrap")
    with pytest.raises(ValueError, match="cannot be told"):
        pairing.mcnemar()


def test_annotators_one_by_one() -> None:
    ratings = [{"x": "a", "y": "a", "z": "b"}, {"x": "a", "y": "b", "z": "b"}, {"x": "a", "y": "a"}]
    found = by_annotator(ratings, ["a", "b", "c"], LABELS)
    # z on item 1: others a a; z said b. On item 2: others a, b tie: half
    assert found["z"].first.value(accuracy) == pytest.approx(0.25)
    # the model on the same: a on item 1 is right, b on item 2 half
    assert found["z"].second.value(accuracy) == pytest.approx(0.75)
    assert list(found) == ["x", "y", "z"]


def _crowd(error: float, people: int = 4, items: int = 150) -> tuple[list[dict[str, str]], list[str]]:
    generator = np.random.default_rng(9)
    truth = generator.choice(["a", "b"], size=items)
    ratings = [
        {f"h{person}": str(label) if generator.random() < 0.8 else "ab"[label == "a"] for person in range(people)}
        for label in truth
    ]
    return ratings, [str(label) if generator.random() > error else "ab"[label == "a"] for label in truth]


def test_the_alt_test_is_scipys_t_test_with_its_correction() -> None:
    ratings, judged = _crowd(0.2)
    found = alt_test(ratings, judged, 0.1)
    p_values = []
    for contest in found.contests:
        leads = []
        for rating, answer in zip(ratings, judged, strict=True):
            others = [label for name, label in rating.items() if name != contest.annotator]
            model, human = others.count(answer), others.count(rating[contest.annotator])
            leads.append((human >= model) - (model >= human))
        p_values.append(ttest_1samp(leads, 0.1, alternative="less").pvalue)
        assert contest.p_value == pytest.approx(p_values[-1])
        assert contest.human_advantage - contest.model_advantage == pytest.approx(np.mean(leads))
    adjusted = false_discovery_control(p_values, method="by")
    assert [contest.adjusted for contest in found.contests] == pytest.approx(list(adjusted))
    assert found.winning_rate == np.mean(adjusted <= 0.05)
    assert found.advantage == pytest.approx(np.mean([contest.model_advantage for contest in found.contests]))


def test_a_good_model_passes_the_alt_test_and_a_coin_does_not() -> None:
    assert alt_test(*_crowd(0.0), epsilon=0.1).passed is True
    coin = alt_test(*_crowd(0.5), epsilon=0.1)
    assert coin.passed is False
    assert coin.advantage is not None
    assert coin.advantage < 0.8


def test_failures_lose_the_alt_test() -> None:
    ratings, judged = _crowd(0.0)
    assert alt_test(ratings, ["failed"] * len(judged), 0.2).winning_rate == 0.0


def test_annotators_with_few_items_are_named_and_nobody_is_no_verdict() -> None:
    ratings, judged = _crowd(0.0, items=29)
    found = alt_test(ratings, judged, 0.1)
    assert (found.contests, found.passed, found.winning_rate, found.advantage) == ((), None, None, None)
    assert found.left_out == ("h0", "h1", "h2", "h3")
    always = alt_test([{"x": "a", "y": "a"}] * 40, ["a"] * 40, 0.1)
    assert [contest.p_value for contest in always.contests] == [0.0, 0.0]
    assert always.advantage == 1.0
