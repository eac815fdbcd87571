"""What the moderator is held against: five anchors in order, and paired differences on the same items."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from statsmodels.stats.contingency_tables import mcnemar

from moderator.metrics import Resampling
from moderator.scoring import FLOOR, Floor, Report
from moderator.suite import Suite
from tests.scoring.making import NO_INTERVALS, item, outcome_of, scored, suite, value

NAMES = ["constant", "linear", "human", "model", "oracle"]


def made(n: int = 60, groups: int = 0, seed: int = 1) -> tuple[Suite, list[tuple[str, str, float, str, float]]]:
    """Items with a label, and for each the gold, what the model and the floor said, and their probabilities."""
    generator = np.random.default_rng(seed)
    rows = []
    for place in range(n):
        gold = "yes" if place % 3 == 0 else "no"
        p, q = (float(np.clip(0.3 + 0.4 * (gold == "yes") + generator.normal() * 0.3, 0, 1)) for _ in range(2))
        model = "failure" if place % 20 == 7 else "needs_review" if place % 20 == 9 else "violates" if p >= 0.5 else "allowed"
        rows.append((gold, model, p, "yes" if q >= 0.5 else "no", q))
    items = [
        item(f"{place:02}", row[0], group=f"g{place % groups}" if groups else "", split="test")
        for place, row in enumerate(rows)
    ]
    return suite(items), rows


def report_on(
    of: Suite, rows: list[tuple[str, str, float, str, float]], judged: int | None = None, how: Resampling = NO_INTERVALS
) -> Report:
    """With a floor over the first of the items."""
    within = list(enumerate(rows))[:judged]
    floor = Floor(
        "made up",
        {f"{place:02}": "yes" if row[3] == "yes" else "no" for place, row in within},
        {f"{place:02}": row[4] for place, row in within},
        {},
    )
    outcomes = [outcome_of(f"{place:02}", row[1], row[2]) for place, row in enumerate(rows)]
    return scored(of, outcomes, how, floor=floor)


def test_five_anchors_in_order_and_those_that_cannot_be_had_say_why() -> None:
    report = report_on(*made())
    assert [anchor.name for anchor in report.anchors] == NAMES
    assert [anchor.note for anchor in report.anchors] == [
        "always no",
        "made up",
        "needs three annotators an item: see the agreement of people",
        "",
        "needs three annotators an item: see the agreement of people",
    ]
    assert [bool(anchor.metrics) for anchor in report.anchors] == [True, True, False, True, False]
    assert report.anchors[3].metrics == report.metrics


@pytest.mark.parametrize(
    ("labels", "note", "accuracy"), [("yyn", "always yes", 2 / 3), ("ynn", "always no", 2 / 3), ("yn", "always no", 1 / 2)]
)
def test_the_constant_says_what_is_most_frequent(labels: str, note: str, accuracy: float) -> None:
    items = [item(str(place), {"y": "yes", "n": "no"}[label]) for place, label in enumerate(labels)]
    of = suite([*items, item("unknown", "unsure"), item("none")])
    constant = scored(of, [outcome_of(one.id, "failure") for one in of.items]).anchors[0]
    assert constant.note == note
    assert value(constant.metrics["accuracy"]) == pytest.approx(accuracy)
    assert "auroc" not in constant.metrics


def test_the_linear_model_is_measured_as_the_moderator_is() -> None:
    of, rows = made()
    linear = report_on(of, rows).anchors[1]
    gold, floor = [row[0] for row in rows], [row[3] for row in rows]
    assert value(linear.metrics["f1"]) == pytest.approx(oracle.f1_score(gold, floor, pos_label="yes"))
    assert value(linear.metrics["mcc"]) == pytest.approx(oracle.matthews_corrcoef(gold, floor))
    positive = [one == "yes" for one in gold]
    assert value(linear.metrics["auroc"]) == pytest.approx(oracle.roc_auc_score(positive, [row[4] for row in rows]))


def test_a_floor_that_knows_some_items_is_measured_on_those_and_says_so() -> None:
    of, rows = made()
    report = report_on(of, rows, judged=40)
    linear = report.anchors[1]
    assert linear.note == "made up; over the 40 items of the test split"
    assert linear.metrics["accuracy"].n == 40
    expected = oracle.accuracy_score([row[0] for row in rows[:40]], [row[3] for row in rows[:40]])
    assert value(linear.metrics["accuracy"]) == pytest.approx(expected)
    right = [(row[1] == "violates") == (row[0] == "yes") and row[1] in ("violates", "allowed") for row in rows[:40]]
    assert value(linear.paired[0].difference) == pytest.approx(np.mean(right) - expected)


def test_paired_differences_are_the_models_number_less_the_floors() -> None:
    report = report_on(*made())
    _, linear, _, model, _ = report.anchors
    assert [one.metric for one in linear.paired[:5]] == ["accuracy", "f1", "macro_f1", "balanced_accuracy", "mcc"]
    for one in linear.paired[:5]:
        expected = (value(model.metrics[one.metric]) or 0) - (value(linear.metrics[one.metric]) or 0)
        assert value(one.difference) == pytest.approx(expected), one.metric
        assert one.difference.n == 60


def test_paired_areas_are_over_the_items_with_both_probabilities() -> None:
    of, rows = made()
    report = report_on(of, rows)
    answered = [row for row in rows if row[1] != "failure"]
    positive = [row[0] == "yes" for row in answered]
    found = {one.metric: one for one in report.anchors[1].paired}
    for name, area in (("auroc", oracle.roc_auc_score), ("average_precision", oracle.average_precision_score)):
        expected = area(positive, [row[2] for row in answered]) - area(positive, [row[4] for row in answered])
        assert value(found[name].difference) == pytest.approx(expected)
        assert found[name].difference.n == len(answered) == 57
        assert found[name].p_value is None


def test_the_test_of_accuracy_is_statsmodels_exact_mcnemar() -> None:
    of, rows = made()
    linear = report_on(of, rows).anchors[1]
    table = np.zeros((2, 2))
    for gold, model, _, floor, _ in rows:
        table[int(floor == gold), int({"violates": "yes", "allowed": "no"}.get(model) == gold)] += 1
    assert linear.paired[0].p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert [one.p_value for one in linear.paired[1:]] == [None] * 6


def test_items_of_groups_are_no_independent_pairs() -> None:
    of, rows = made(groups=7)
    linear = report_on(of, rows).anchors[1]
    assert linear.paired[0].p_value is None
    assert linear.paired[0].difference.n == 7
    assert linear.metrics["macro_f1"].n == 7
    assert linear.paired[5].difference.n == 7


def test_differences_have_intervals_around_them() -> None:
    of, rows = made()
    for one in report_on(of, rows, how=Resampling(resamples=500, index_resamples=100)).anchors[1].paired:
        estimate = one.difference
        assert estimate.low is not None
        assert estimate.value is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high, one.metric


def test_a_floor_is_read_back_from_json_to_the_same_report() -> None:
    of, rows = made()
    floor = Floor("kept", {"00": "yes"}, {"00": 0.75}, {})
    outcomes = [outcome_of(f"{place:02}", row[1], row[2]) for place, row in enumerate(rows)]
    again = FLOOR.validate_json(FLOOR.dump_json(floor))
    assert scored(of, outcomes, floor=floor) == scored(of, outcomes, floor=again)
