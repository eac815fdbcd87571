"""The linear model beside the moderator: fitted on the training split alone, kept as JSON, absent with a reason."""

from __future__ import annotations

import pytest
import sklearn.metrics as oracle

from moderator.scoring import FLOOR, Pair, fit_floor, gold
from moderator.suite import Item, Scale, Suite, linear_floor
from tests.scoring.making import failure, item, said, scored, suite, value, verdict

GRADES = Scale(kind="ordinal", values=("kind", "rude", "vile"), violates=("rude", "vile"))
WORDS = {"kind": "thanks for the lovely photo of flower", "rude": "go away you silly person", "vile": "awful hateful monster"}


def of_grades(train: int = 30, test: int = 12) -> Suite:
    items = []
    for number in range(train + test):
        grade = GRADES.values[number % 3]
        split = "train" if number < train else "test"
        items.append(item(f"{number:02}", grade, text=f"{WORDS[grade]} {number}", split=split))
    return suite(items, scale=GRADES)


def test_it_is_the_linear_model_of_yes_and_no_and_of_the_native_labels() -> None:
    of = of_grades()
    found = fit_floor(of)
    binary = linear_floor(of.items, lambda one: gold(of, one))
    assert dict(found.probabilities) == dict(zip(binary.ids, binary.score("yes"), strict=True))
    assert found.decisions == {name: "yes" if p > 0.5 else "no" for name, p in found.probabilities.items()}
    native = linear_floor(of.items, lambda one: one.labels[0].value)
    assert found.native == dict(zip(native.ids, native.predicted, strict=True))
    assert found.note == "character n-grams, fitted on 30 items"
    assert set(found.decisions) == {one.id for one in of.split("test")}


def test_two_labels_are_their_own_native_ones() -> None:
    of = of_grades()
    two = Scale(values=("no", "yes"), violates=("yes",))
    items = [one.model_copy(update={"labels": (said("no" if one.labels[0].value == "kind" else "yes"),)}) for one in of.items]
    assert fit_floor(suite(items, scale=two)).native == {}


def test_native_labels_that_are_all_alike_leave_the_floor_of_yes_and_no() -> None:
    items = [
        one.model_copy(update={"labels": (said("rude", violates="no" if one.labels[0].value == "kind" else "yes"),)})
        for one in of_grades().items
    ]
    found = fit_floor(suite(items, scale=GRADES))
    assert len(found.decisions) == 12
    assert found.native == {}


@pytest.mark.parametrize("train", [0, 1])
def test_without_a_training_split_it_says_why_it_says_nothing(train: int) -> None:
    found = fit_floor(of_grades(train=train))
    assert found.note == f"{train} labelled training items, of fewer than two classes"
    assert (found.decisions, found.probabilities, found.native) == ({}, {}, {})


def test_it_is_written_and_read_as_json() -> None:
    found = fit_floor(of_grades())
    assert FLOOR.validate_json(FLOOR.dump_json(found)) == found


def test_it_knows_the_test_items_and_no_others() -> None:
    of = of_grades()
    found = fit_floor(of)

    def pairs(*items: Item) -> list[Pair]:
        return [Pair(of, one, failure(one.id)) for one in items]

    assert found.knows(pairs(*of.split("test")))
    assert not found.knows(pairs(*of.split("test"), of.items[0]))
    assert not found.knows([])


def test_native_labels_in_a_report_are_scikit_learns() -> None:
    of = of_grades()
    floor = fit_floor(of)
    wrong = {one.id: "vile" if place % 4 == 0 else floor.native[one.id] for place, one in enumerate(of.split("test"))}
    floor = FLOOR.validate_python({"note": "", "decisions": {}, "probabilities": {}, "native": wrong})
    found = scored(of, [verdict(one.id, "allowed") for one in of.split("test")], floor=floor).native_floor
    assert found is not None
    known = [one.labels[0].value for one in of.split("test")]
    said_ = [wrong[one.id] for one in of.split("test")]
    assert value(found["accuracy"]) == pytest.approx(oracle.accuracy_score(known, said_))
    assert value(found["macro_f1"]) == pytest.approx(oracle.f1_score(known, said_, average="macro"))
    assert value(found["cohen_kappa"]) == pytest.approx(oracle.cohen_kappa_score(known, said_))
    of_each = oracle.f1_score(known, said_, average=None, labels=list(GRADES.values))
    assert [value(found[f"f1 {grade}"]) for grade in GRADES.values] == pytest.approx(list(of_each))


def test_a_floor_that_was_not_asked_is_no_number() -> None:
    of = of_grades()
    report = scored(of, [verdict(one.id, "allowed") for one in of.split("test")])
    assert report.native_floor is None
    assert (report.anchors[1].note, report.anchors[1].metrics) == ("not asked", {})


def test_groups_of_the_test_items_are_resampled_together() -> None:
    of = of_grades()
    items = [one.model_copy(update={"group": f"g{int(one.id) // 4}"}) for one in of.items]
    of = suite(items, scale=GRADES)
    report = scored(of, [verdict(one.id, "allowed") for one in of.split("test")], floor=fit_floor(of))
    assert report.native_floor is not None
    # 30 ... 41 by fours: 7, 8, 9, 10
    assert report.native_floor["accuracy"].n == report.native_floor["macro_f1"].n == 4
