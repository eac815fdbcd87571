from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.metrics import (
    Confusion,
    Resampling,
    Statistic,
    accuracy,
    answered,
    auroc,
    auroc_estimate,
    average_precision,
    average_precision_estimate,
    balanced_accuracy,
    base_rate,
    f1,
    false_positive_rate,
    flagged,
    macro_f1,
    mcc,
    precision,
    recall,
    specificity,
)

ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60)
SCORED = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=1, max_size=60)


def _confusion(items: list[tuple[str, str]], labels: str = "abc") -> Confusion:
    return Confusion.of([gold for gold, _ in items], [judged for _, judged in items], tuple(labels))


@given(ITEMS)
@settings(max_examples=25, deadline=None)
def test_every_statistic_is_sklearns_where_it_is_defined(items: list[tuple[str, str]]) -> None:
    gold, judged = [item[0] for item in items], [item[1] for item in items]
    found = _confusion(items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = {"labels": ["a"], "average": None, "zero_division": np.nan}
        expected: list[tuple[Statistic, str | None, Any]] = [
            (accuracy, None, oracle.accuracy_score(gold, judged)),
            (precision, "a", oracle.precision_score(gold, judged, **one)[0]),
            (recall, "a", oracle.recall_score(gold, judged, **one)[0]),
            (f1, "a", oracle.f1_score(gold, judged, **one)[0]),
            (macro_f1, None, oracle.f1_score(gold, judged, average="macro")),
            (balanced_accuracy, None, oracle.balanced_accuracy_score(gold, judged) if len(set(gold)) > 1 else np.nan),
            (
                mcc,
                None,
                oracle.matthews_corrcoef(gold, judged) if len(set(gold)) > 1 and len(set(judged)) > 1 else np.nan,
            ),
        ]
    for statistic, label, value in expected:
        got = found.value(statistic, label)
        if np.isnan(value):
            assert got is None, statistic.name
        else:
            assert got == pytest.approx(value, abs=1e-12), statistic.name


@given(ITEMS, st.permutations("abc"))
@settings(max_examples=30, deadline=None)
def test_nothing_depends_on_the_names_of_labels_nor_on_the_order_of_items(
    items: list[tuple[str, str]], names: list[str]
) -> None:
    renamed = [
        (dict(zip("abc", names, strict=True))[gold], dict(zip("abc", names, strict=True))[judged]) for gold, judged in items
    ]
    one, other = _confusion(items), _confusion(renamed[::-1], "".join(sorted(names)))
    for statistic in (accuracy, macro_f1, balanced_accuracy, mcc):
        assert one.value(statistic) == pytest.approx(other.value(statistic))
    for statistic in (precision, recall, f1, specificity):
        assert one.value(statistic, "a") == pytest.approx(other.value(statistic, names[0]))


@given(ITEMS)
@settings(max_examples=30, deadline=None)
def test_mcc_f1_and_accuracy_are_symmetric_in_gold_and_judged(items: list[tuple[str, str]]) -> None:
    one, other = _confusion(items), _confusion([(judged, gold) for gold, judged in items])
    for statistic, label in ((mcc, None), (accuracy, None), (macro_f1, None), (f1, "a")):
        assert one.value(statistic, label) == pytest.approx(other.value(statistic, label))
    assert one.value(precision, "b") == pytest.approx(other.value(recall, "b"))


@pytest.fixture
def with_failures() -> Confusion:
    # gold yes: 6 yes, 2 no, 1 review, 1 failed; gold no: 3 yes, 14 no, 0 review, 3 failed; one unknown
    gold = ["yes"] * 10 + ["no"] * 20 + [None]
    judged = ["yes"] * 6 + ["no"] * 2 + ["review", "failed"] + ["yes"] * 3 + ["no"] * 14 + ["failed"] * 3 + ["yes"]
    return Confusion.of(gold, judged, ("no", "yes"), ("review", "failed"))


def test_failures_and_abstentions_are_counted_by_hand(with_failures: Confusion) -> None:
    assert with_failures.counts.tolist() == [[14, 3, 0, 3], [2, 6, 1, 1]]
    assert with_failures.unknown == 1
    expected = {
        accuracy: 20 / 30,  # 14 + 6 of 30
        answered: 25 / 30,
        precision: 6 / 9,  # a failure is no false alarm
        recall: 6 / 10,  # but it finds nothing
        specificity: 14 / 20,
        false_positive_rate: 3 / 20,
        f1: 12 / 19,  # 2 * 6 / (10 known + 9 flagged)
        base_rate: 10 / 30,
        flagged: 9 / 30,
        balanced_accuracy: (0.6 + 0.7) / 2,
        macro_f1: (12 / 19 + 2 * 14 / (20 + 16)) / 2,
    }
    for statistic, value in expected.items():
        assert with_failures.value(statistic) == pytest.approx(value), statistic.name


def test_mcc_with_failures_is_that_of_a_class_which_no_item_has(with_failures: Confusion) -> None:
    gold = ["yes"] * 10 + ["no"] * 20
    judged = ["yes"] * 6 + ["no"] * 2 + ["review", "failed"] + ["yes"] * 3 + ["no"] * 14 + ["failed"] * 3
    assert with_failures.value(mcc) == pytest.approx(oracle.matthews_corrcoef(gold, judged))


def test_one_against_the_rest_keeps_the_failures_and_looks_at_either_label(with_failures: Confusion) -> None:
    assert with_failures.one_vs_rest("no").counts.tolist() == [[6, 2, 1, 1], [3, 14, 0, 3]]
    assert with_failures.value(recall, "no") == with_failures.value(specificity)


def test_undefined_is_none() -> None:
    nothing_flagged = Confusion.of([True, False], [False, False], (False, True))
    assert nothing_flagged.value(precision) is None
    assert nothing_flagged.value(mcc) is None
    assert nothing_flagged.value(recall) == 0.0
    empty = Confusion.of([], [], (False, True))
    for statistic in (accuracy, precision, recall, specificity, f1, macro_f1, mcc, balanced_accuracy, base_rate, answered):
        assert empty.value(statistic) is None
        assert empty.estimate(statistic).low is None
    assert Confusion.of([False], [False], (False, True)).value(f1) is None


def test_a_label_that_is_not_named_is_an_error() -> None:
    with pytest.raises(ValueError, match="'maybe' is none of"):
        Confusion.of(["yes"], ["maybe"], ("no", "yes"))
    with pytest.raises(ValueError, match="1 labels and 2 answers"):
        Confusion.of(["yes"], ["no", "no"], ("no", "yes"))
    with pytest.raises(ValueError, match="one against the rest"):
        _confusion([("a", "a")]).value(precision)


@given(SCORED)
@settings(max_examples=25, deadline=None)
def test_auroc_and_auprc_are_sklearns(items: list[tuple[bool, float]]) -> None:
    labels, scores = [item[0] for item in items], [item[1] for item in items]
    if len(set(labels)) == 2:
        assert auroc(labels, scores) == pytest.approx(oracle.roc_auc_score(labels, scores))
    else:
        assert auroc(labels, scores) is None
    if any(labels):
        assert average_precision(labels, scores) == pytest.approx(oracle.average_precision_score(labels, scores))
    else:
        assert average_precision(labels, scores) is None


@given(SCORED)
@settings(max_examples=30, deadline=None)
def test_auroc_of_the_opposite_scores_is_the_rest_to_one(items: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([item[0] for item in items]), np.array([item[1] for item in items])
    value, opposite = auroc(labels, scores), auroc(labels, -scores)
    assert (value is None) == (opposite is None)
    if value is not None and opposite is not None:
        assert value + opposite == pytest.approx(1)
        assert auroc(labels, scores**3) == value


def test_score_estimates_surround_their_value_and_count_groups() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(200) < 0.4
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    how = Resampling(index_resamples=200)
    for make, value in ((auroc_estimate, auroc), (average_precision_estimate, average_precision)):
        found = make(labels, scores, how=how)
        assert found.value == value(labels, scores)
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert found.low < found.value < found.high
        assert make(labels, scores, [place // 5 for place in range(200)], how).n == 40
    assert auroc_estimate([True, True], [0.1, 0.2]).value is None
