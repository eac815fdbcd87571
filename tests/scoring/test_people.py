"""Agreement of people on both scales against NLTK, held-out annotators by hand, the alternative annotator test, consensus."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import sklearn.metrics as oracle
from nltk.metrics.agreement import AnnotationTask

from moderator.scoring import Floor, Report
from moderator.suite import Annotation, Item, Scale
from tests.scoring.making import (
    FEW_RESAMPLES,
    NO_INTERVALS,
    Row,
    item,
    outcome_of,
    report_of,
    said,
    scored,
    suite,
    value,
    verdict,
)

GRADES = Scale(kind="ordinal", values=("kind", "odd", "rude", "vile"), violates=("rude", "vile"), unknown=("odd",))


def graded(n: int = 40, seed: int = 0) -> list[Item]:
    """Four annotators, three of whom see every item; graver with the number of the item, give or take one."""
    generator = np.random.default_rng(seed)
    items = []
    for place in range(n):
        grades = np.clip(place % 4 + generator.integers(-1, 2, size=3), 0, 3)
        labels = [said(GRADES.values[grade], by=f"judge {(place + seat) % 4}") for seat, grade in enumerate(grades)]
        items.append(item(f"{place:02}", *labels))
    return items


def nltk_alpha(items: Sequence[Item], kind: str = "nominal") -> float:
    """Krippendorff's alpha of the native labels, or of what they say about violation."""
    triples = [(label.by, one.id, label.value) for one in items for label in one.labels]
    if kind == "violates":
        known = [(by, name, GRADES.answer(grade)) for by, name, grade in triples if grade != "odd"]
        several = {name for name in {name for _, name, _ in known} if sum(other == name for _, other, _ in known) > 1}
        triples = [triple for triple in known if triple[1] in several]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(AnnotationTask(data=triples).alpha())


def on(items: Sequence[Item], outcome: str = "allowed", **fields: object) -> Report:
    return scored(suite(items, scale=GRADES), [verdict(one.id, outcome, 0.5) for one in items], **fields)  # type: ignore[arg-type]


def test_agreement_is_on_the_question_and_on_the_native_labels() -> None:
    report = on(graded())
    assert [(one.scale, one.alpha_level) for one in report.agreement] == [("violates", "nominal"), ("native", "ordinal")]
    of_question, native = report.agreement
    assert of_question.labels == ("no", "yes")
    assert native.labels == GRADES.values
    assert (native.items, native.raters, native.panel) == (40, 3, 40)


def test_alpha_is_nltks_on_both_scales() -> None:
    items = graded()
    of_question, native = on(items).agreement
    assert value(native.alpha_nominal) == pytest.approx(nltk_alpha(items))
    assert value(of_question.alpha) == value(of_question.alpha_nominal) == pytest.approx(nltk_alpha(items, "violates"))
    # Krippendorff's ordinal distance: the labels given from one grade to the other, those at the ends counting half
    times = [sum(label.value == grade for one in items for label in one.labels) for grade in GRADES.values]

    def apart(one: str, other: str) -> float:
        low, high = sorted((GRADES.rank(one), GRADES.rank(other)))
        return (sum(times[low : high + 1]) - (times[low] + times[high]) / 2) ** 2

    triples = [(label.by, one.id, label.value) for one in items for label in one.labels]
    assert value(native.alpha) == pytest.approx(AnnotationTask(data=triples, distance=apart).alpha())
    vile = [
        item(one.id, *(said("vile" if label.value == "vile" else "kind", by=label.by) for label in one.labels)) for one in items
    ]
    assert value(native.alpha_of["vile"]) == pytest.approx(nltk_alpha(vile))
    assert of_question.alpha_of == {}


def test_an_annotator_who_does_not_know_has_no_vote_on_the_question() -> None:
    items = graded()
    without = [one.model_copy(update={"labels": tuple(label for label in one.labels if label.value != "odd")}) for one in items]
    of_question = on(items).agreement[0]
    assert of_question == on(without).agreement[0]
    raters = [sum(label.value != "odd" for label in one.labels) for one in items]
    assert of_question.items == sum(n > 1 for n in raters)
    assert of_question.panel == sum(n > 2 for n in raters)
    assert of_question.raters == pytest.approx(np.mean([n for n in raters if n > 1]))


def test_percent_agreement_rates_and_ac1_by_hand() -> None:
    # pairs that agree: 1 of 1, 0 of 1, 1 of 3; 5 of 8 annotations say yes
    rows: list[Row] = [("yy", "violates", 0.9), ("yn", "violates", 0.9), ("nny", "allowed", 0.1), ("y", "violates", 0.9)]
    (found,) = report_of(rows, scale=Scale(values=("no", "yes"), violates=("yes",))).agreement
    assert value(found.percent) == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert [value(found.rates[label]) for label in ("yes", "no")] == pytest.approx([5 / 8, 3 / 8])
    share = (1 + 1 / 2 + 1 / 3 + 1) / 4  # of yes, the mean over all items
    chance = 2 * share * (1 - share)
    assert value(found.ac1) == pytest.approx(((4 / 9) - chance) / (1 - chance))
    assert (found.items, found.panel) == (3, 1)


def test_a_person_and_the_model_are_held_against_the_same_majorities() -> None:
    # held out of yyn, each in turn: the others are (y, n), (y, n), (y, y); of nnn: (n, n) three times; a tie is shared
    rows: list[Row] = [("yyn", "violates", 0.9), ("nnn", "violates", 0.8), ("yn", "allowed", 0.1), ("yyy", "failure", None)]
    found = report_of(rows).agreement[0]
    assert found.panel == 3
    assert [anchor.name for anchor in found.anchors] == ["constant", "linear", "human", "model", "oracle"]
    accuracy = {anchor.name: value(anchor.metrics["accuracy"]) for anchor in found.anchors if anchor.metrics}
    yyn_gold = 0.5 + 0.5 + 1  # how often the majority of the others is "yes"
    assert accuracy["human"] == pytest.approx((0.5 + 0.5 + 0 + 3 + 3) / 9)
    assert accuracy["model"] == pytest.approx((yyn_gold + 0 + 0) / 9)
    assert accuracy["oracle"] == pytest.approx((yyn_gold + 3 + 3) / 9)
    assert accuracy["constant"] == pytest.approx((yyn_gold + 0 + 3) / 9)
    assert [anchor.note for anchor in found.anchors] == [
        "always yes", "not asked", "one annotator, held out", "", "the majority of all annotators",
    ]  # fmt: skip
    paired = {one.metric: value(one.difference) for one in found.anchors[2].paired}
    assert list(paired) == ["accuracy", "macro_f1", "f1", "mcc", "cohen_kappa"]
    assert paired["accuracy"] == pytest.approx(2 / 9 - 7 / 9)


def test_the_linear_model_stands_among_the_panels_only_where_it_was_not_trained() -> None:
    items = [item(name, *labels) for name, labels in (("a", ["yes"] * 3), ("b", ["no"] * 3), ("c", ["no", "yes"]))]
    outcomes = [outcome_of(name, "allowed", 0.1) for name in "abc"]
    known = Floor("fitted", {"a": "yes", "b": "yes"}, {"a": 0.9, "b": 0.9}, {})
    linear = scored(suite(items), outcomes, floor=known).agreement[0].anchors[1]
    assert linear.note == "fitted"
    assert value(linear.metrics["accuracy"]) == 0.5
    trained = Floor("fitted", {"a": "yes"}, {"a": 0.9}, {})
    linear = scored(suite(items), outcomes, floor=trained).agreement[0].anchors[1]
    assert (linear.note, linear.metrics) == ("was trained on some of these items", {})


def test_native_panels_by_hand() -> None:
    items = [item("a", "vile", "vile", "rude"), item("b", "kind", "kind", "kind"), item("c", "kind", "odd", "rude")]
    native = on(items).agreement[1]
    accuracy = {anchor.name: value(anchor.metrics["accuracy"]) for anchor in native.anchors}
    # a: (1/2 + 1/2 + 0), b: 3; c: the other two never agree with the one held out
    assert accuracy["human"] == pytest.approx((1 + 3 + 0) / 9)
    # a is "vile" for 2 of its 3; c: three labels tie, and each pair of the others shares
    assert accuracy["oracle"] == pytest.approx((2 + 3 + 3 / 3) / 9)
    assert accuracy["constant"] == pytest.approx((0 + 3 + 1) / 9)
    assert native.anchors[0].note == "always kind"
    assert "f1 vile" in native.anchors[1].metrics


def test_without_two_annotators_of_an_item_there_is_no_agreement() -> None:
    assert report_of([("y", "violates", 0.9), ("n", "allowed", 0.1), ("", "allowed", 0.1)]).agreement == ()
    assert report_of([("u", "violates", 0.9)]).agreement == ()


def test_two_who_do_not_know_agree_on_the_native_scale_only() -> None:
    assert [one.scale for one in report_of([("uu", "violates", 0.9)]).agreement] == ["native"]


def test_two_annotators_agree_without_panels() -> None:
    found = report_of([("yy", "violates", 0.9), ("nn", "allowed", 0.1)]).agreement[0]
    assert (found.panel, found.anchors) == (0, ())
    assert value(found.alpha) == 1


def named(n: int = 60) -> list[Item]:
    """Four judges: three who agree but for chance, and one who is wrong every third time."""
    generator = np.random.default_rng(3)
    items = []
    for place in range(n):
        truth = "yes" if place % 2 else "no"
        other = {"yes": "no", "no": "yes"}[truth]
        labels = [said(other if generator.random() < 0.05 else truth, by=name) for name in ("ann", "bea", "cleo")]
        items.append(item(f"{place:02}", *labels, said(other if place % 3 == 0 else truth, by="dan")))
    return items


def answers(items: Sequence[Item], wrong_every: int) -> list[str]:
    return [("violates", "allowed")[(place % 2 == 0) != (place % wrong_every == 0)] for place, _ in enumerate(items)]


def test_the_alternative_annotator_test_needs_names() -> None:
    items = named()
    outcomes = [outcome_of(one.id, name, 0.5) for one, name in zip(items, answers(items, 20), strict=True)]
    found = scored(suite(items, minimum=30), outcomes).agreement[0]
    assert found.alt_test is not None
    assert [contest.annotator for contest in found.alt_test.contests] == ["ann", "bea", "cleo", "dan"]
    assert found.alt_test.epsilon == 0.1
    dan = found.alt_test.contests[3]
    assert dan.won
    assert dan.n == 60
    # by the definition: how often the share of the others that agrees with the model is at least that with the annotator
    better = []
    for one, outcome in zip(items, outcomes, strict=True):
        others = [label.value for label in one.labels if label.by != "dan"]
        model = "yes" if outcome.violates else "no"  # type: ignore[union-attr]
        better.append(others.count(model) >= others.count(one.labels[3].value))
    assert dan.model_advantage == pytest.approx(np.mean(better))
    nameless = [item(one.id, *(said(label.value) for label in one.labels)) for one in items]
    without = scored(suite(nameless), outcomes).agreement[0]
    assert without.alt_test is None
    assert without.consensus is None
    assert without.alpha == found.alpha or value(without.alpha) == value(found.alpha)


@pytest.mark.parametrize(("annotators", "epsilon"), [("expert", 0.2), ("skilled", 0.15), ("crowd", 0.1)])
def test_more_is_asked_of_a_model_that_stands_in_for_a_crowd(annotators: str, epsilon: float) -> None:
    items = named()
    found = scored(suite(items), [verdict(one.id, "allowed") for one in items], annotators=annotators).agreement[0].alt_test
    assert found is not None
    assert found.epsilon == epsilon


def test_annotators_with_few_items_are_left_out_by_the_suites_minimum() -> None:
    items = [*named(40), item("x", said("yes", by="eva"), said("yes", by="ann"))]
    report = scored(suite(items, minimum=30), [verdict(one.id, "allowed") for one in items])
    found = report.agreement[0].alt_test
    assert found is not None
    assert found.left_out == ("eva",)


def test_the_consensus_overrules_a_careless_majority() -> None:
    """Where all agree it is their word; on one item the careful one stands against two who are wrong half of the time."""
    generator = np.random.default_rng(0)
    items = []
    for place in range(80):
        truth = ("no", "yes")[place % 2]
        careless = [("no", "yes")[int(generator.integers(2))] for _ in range(2)]
        labels = [
            said(truth, by="careful"),
            said(truth, by="careful too"),
            *(said(c, by=f"c{n}") for n, c in enumerate(careless)),
        ]
        items.append(item(f"{place:02}", *labels))
    disputed = item("x", said("yes", by="careful"), said("no", by="c0"), said("no", by="c1"))
    of = suite([*items, disputed])
    outcomes = [outcome_of(one.id, ("allowed", "violates")[place % 2], 0.5) for place, one in enumerate(items)]
    report = scored(of, [*outcomes, outcome_of("x", "violates", 0.9)])
    consensus = report.agreement[0].consensus
    assert consensus is not None
    # against the consensus all 81 are right; the majority has "no" for the last, and is split on some
    assert value(consensus["accuracy"]) == 1
    assert consensus["accuracy"].n == 81
    assert (value(report.metrics["accuracy"]) or 0) < 1


def test_one_name_an_item_is_nobody_to_compare_with() -> None:
    items = [item(str(n), said("yes", by="ann"), "yes", "no") for n in range(4)]
    found = scored(suite(items), [verdict(one.id, "violates") for one in items]).agreement[0]
    assert found.panel == 4
    assert found.alt_test is None
    assert found.consensus is None


def test_an_item_that_nobody_knows_is_in_no_consensus() -> None:
    items = [*named(), item("u", said("unsure", by="ann"), said("unsure", by="bea")), item("none")]
    report = scored(suite(items), [verdict(one.id, "violates") for one in items])
    consensus = report.agreement[0].consensus
    assert consensus is not None
    assert consensus["accuracy"].n == 60
    assert value(consensus["recall"]) == 1


def test_consensus_metrics_are_measured_as_others_are() -> None:
    items = [item(str(n), *(said("yes" if n % 2 else "no", by=name) for name in "abc")) for n in range(10)]
    said_of = ["violates", "allowed", "allowed", "violates", "failure"] * 2
    report = scored(suite(items), [outcome_of(str(n), name, 0.5) for n, name in enumerate(said_of)])
    consensus = report.agreement[0].consensus
    assert consensus is not None
    judged = [{"violates": "yes", "allowed": "no", "failure": "failure"}[name] for name in said_of]
    gold = ["yes" if n % 2 else "no" for n in range(10)]
    assert value(consensus["accuracy"]) == pytest.approx(oracle.accuracy_score(gold, judged))
    assert consensus == {name: report.metrics[name] for name in consensus}


def test_groups_are_resampled_together_and_intervals_hold_their_values() -> None:
    items = [one.model_copy(update={"group": f"g{place // 5}"}) for place, one in enumerate(graded())]
    for found in on(items, how=FEW_RESAMPLES).agreement:
        for estimate in (found.percent, found.alpha, found.ac1):
            assert estimate.n == 8
            assert estimate.method == "cluster_bootstrap"
            assert estimate.low is not None
            assert estimate.value is not None
            assert estimate.low <= estimate.value <= (estimate.high or 0)


def test_a_label_of_several_nameless_annotators_is_as_many_votes() -> None:
    labels: list[Annotation] = [said("rude", count=2), said("kind")]
    counted, listed = (on([item("1", *given)]).agreement for given in (labels, ["rude", "rude", "kind"]))
    assert counted == listed
    assert counted[1].raters == 3


def test_intervals_may_be_left_out() -> None:
    assert on(graded(), how=NO_INTERVALS).agreement[0].alpha.low is None
