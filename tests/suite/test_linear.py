"""The linear floor learns from the training split alone, scores the test split, and gives the same numbers again."""

from __future__ import annotations

import numpy as np
import pytest

from moderator.errors import DataError
from moderator.suite import Annotation, Item, linear_floor

KINDS = {"rain": ("rain falls", "wet clouds", "a storm"), "sun": ("sun shines", "dry heat", "a clear sky")}


def items() -> list[Item]:
    """Thirty of one class, ten of the other; every fifth is the test."""
    found = []
    for kind, number in (("rain", 30), ("sun", 10)):
        for index in range(number):
            text = f"{KINDS[kind][index % 3]} over place {index}"
            split = "test" if index % 5 == 0 else "train"
            found.append(
                Item.model_validate({"id": f"{kind}-{index}", "text": text, "split": split, "labels": [{"value": kind}]})
            )
    return found


def gold(item: Item) -> str | None:
    return item.labels[0].value if item.labels else None


def test_the_floor_scores_every_test_item_and_learns_from_no_other() -> None:
    floor = linear_floor(items(), gold)
    assert floor.ids == tuple(item.id for item in items() if item.split == "test")
    assert floor.classes == ("rain", "sun")
    assert floor.trained_on == 32
    assert [name.split("-")[0] for name in floor.ids] == list(floor.predicted)
    assert np.allclose(floor.probabilities.sum(axis=1), 1)
    assert np.array_equal(floor.score("sun"), floor.probabilities[:, 1])


def test_the_same_items_give_the_same_numbers() -> None:
    assert np.array_equal(linear_floor(items(), gold).probabilities, linear_floor(items(), gold).probabilities)


def test_labels_of_the_test_are_not_looked_at() -> None:
    blind = [
        item if item.split == "train" else item.model_copy(update={"labels": (Annotation(value="rain"),)}) for item in items()
    ]
    assert np.array_equal(linear_floor(blind, gold).probabilities, linear_floor(items(), gold).probabilities)


def test_classes_are_balanced() -> None:
    """A text of neither class: without weights the class of three quarters of the items would have most of it."""
    neutral = Item(id="neutral", text="0123", split="test")
    floor = linear_floor([*items(), neutral], gold)
    assert abs(floor.score("sun")[-1] - 0.5) < 0.1


def test_items_without_a_known_label_are_not_trained_on() -> None:
    unlabelled = [item.model_copy(update={"labels": ()}) if item.id == "rain-1" else item for item in items()]
    assert linear_floor(unlabelled, gold).trained_on == 31


def test_nothing_to_learn_from_is_an_error() -> None:
    train, test = [item for item in items() if item.split == "train"], [item for item in items() if item.split == "test"]
    with pytest.raises(DataError, match="--split all"):
        linear_floor(test, gold)
    with pytest.raises(DataError, match="of fewer than two classes"):
        linear_floor(items(), lambda item: "rain")
    with pytest.raises(DataError, match="no test items"):
        linear_floor(train, gold)
