"""The linear model beside the moderator: on the same items, by their ids."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import TypeAdapter

from moderator.errors import DataError
from moderator.metrics import Confusion, Estimate, Resampling, accuracy, cohen_kappa, estimate_all, f1, macro_f1
from moderator.scoring.labels import Known, Pair, gold, native_gold
from moderator.scoring.model import Metrics
from moderator.suite import Item, LinearFloor, Suite, linear_floors


@dataclass(frozen=True)
class Floor:
    """What the linear model says about test items, or why it says nothing. A property of the suite alone: fit it once."""

    note: str
    decisions: Mapping[str, Known]
    probabilities: Mapping[str, float]
    native: Mapping[str, str]
    """Native labels, where the suite has more than two."""

    def knows(self, pairs: Sequence[Pair]) -> bool:
        """Whether it judged all these items without having been trained on them."""
        return bool(pairs) and all(pair.item.id in self.decisions for pair in pairs)


NO_FLOOR: Final = Floor("not asked", {}, {}, {})
FLOOR: TypeAdapter[Floor] = TypeAdapter(Floor)
"""Writes and reads a floor as JSON."""


def fit_floor(suite: Suite, trained_on: Suite | None = None) -> Floor:
    """Fitted on the training split, for yes and no and for the native labels; without one, a note that says so.

    With `trained_on` it is fitted on that suite's training split instead, but for texts that are judged, and for yes and no
    alone: what a model of fixed labels makes of content from elsewhere.
    """
    if trained_on is not None:
        return _transferred(suite, trained_on)
    labels: list[Callable[[Item], str | None]] = [partial(gold, suite)]
    if len(suite.scale.values) > 2 and len({native_gold(item) for item in suite.split("train")} - {None}) > 1:
        labels.append(native_gold)
    try:
        binary, *native = linear_floors(suite.items, labels)
    except DataError as error:
        return Floor(str(error).partition("\n")[0].removeprefix("linear floor: "), {}, {}, {})
    named = {item_id: label for floor in native for item_id, label in zip(floor.ids, floor.predicted, strict=True)}
    return _floor(binary, named, f"character n-grams, fitted on {binary.trained_on:,} items")


def _transferred(suite: Suite, other: Suite) -> Floor:
    judged = {item.text for item in suite.split("test")}
    items = [*(item for item in other.split("train") if item.text not in judged), *suite.split("test")]
    try:
        (binary,) = linear_floors(items, [partial(gold, other)])
    except DataError as error:
        return Floor(str(error).partition("\n")[0].removeprefix("linear floor: "), {}, {}, {})
    return _floor(binary, {}, f"character n-grams, fitted on {binary.trained_on:,} items of {other.slug}")


def _floor(binary: LinearFloor, native: Mapping[str, str], note: str) -> Floor:
    answers: Sequence[Known] = ["yes" if answer == "yes" else "no" for answer in binary.predicted]
    return Floor(
        note,
        dict(zip(binary.ids, answers, strict=True)),
        dict(zip(binary.ids, map(float, binary.score("yes")), strict=True)),
        native,
    )


def native_floor(
    suite: Suite, floor: Floor, pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling
) -> Metrics | None:
    """The linear model on the native labels, where they are more than two."""
    places = [place for place, pair in enumerate(pairs) if pair.item.id in floor.native]
    if not places:
        return None
    known = [native_gold(pairs[place].item) for place in places]
    said = [floor.native[pairs[place].item.id] for place in places]
    kept = None if groups is None else [groups[place] for place in places]
    return native_metrics(Confusion.of(known, said, suite.scale.values, groups=kept), how)


def native_metrics(table: Confusion, how: Resampling) -> dict[str, Estimate]:
    """Statistics of several classes, and the F1 of each against the rest."""
    whole = (accuracy, macro_f1, cohen_kappa)
    metrics = dict(zip((one.name for one in whole), estimate_all(whole, table.units, how), strict=True))
    return metrics | {f"f1 {label}": table.estimate(f1, label, how) for label in table.labels}
