"""The linear floor: what character n-grams alone make of a suite. A model that does not beat it follows no policy.

TF-IDF of character 1-4-grams (sublinear counts, n-grams of at least two texts) and a logistic regression with classes weighted
by their inverse frequency, fitted on the training split. Wang and Manning (ACL 2012) show how strong such a baseline is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moderator.errors import DataError
from moderator.suite.model import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LINEAR_MODEL: Final = "character 1-4-grams of two texts or more, sublinear TF-IDF, balanced logistic regression, C = 1"
"""What is fitted, in words."""


@dataclass(frozen=True, eq=False)
class LinearFloor:
    """What the linear model makes of the test split: for each item, in order, the probability of each class."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    """Sorted."""
    probabilities: NDArray[np.float64]
    """One row an item, one column a class."""
    trained_on: int
    """Items of the training split that had a gold label."""

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each item."""
        return tuple(self.classes[index] for index in self.probabilities.argmax(axis=1))

    def score(self, name: str) -> NDArray[np.float64]:
        """The probability of one class for each item. Raises `ValueError` for an unknown class."""
        column: NDArray[np.float64] = self.probabilities[:, self.classes.index(name)]
        return column


def linear_floor(items: Iterable[Item], gold: Callable[[Item], str | None]) -> LinearFloor:
    """The floor on the test items, fitted on the training items whose `gold` label is known (None: not used).

    Deterministic: the same items in the same order give the same numbers. Raises `DataError` where nothing can be fitted.
    """
    return linear_floors(items, [gold])[0]


def linear_floors(items: Iterable[Item], golds: Sequence[Callable[[Item], str | None]]) -> list[LinearFloor]:
    """Floors for several kinds of labels of the same items, over the same n-grams: those of all training items that have one
    of the labels. Raises `DataError`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    held = list(items)
    labels = [[gold(item) if item.split == "train" else None for item in held] for gold in golds]
    train = [place for place in range(len(held)) if any(kind[place] is not None for kind in labels)]
    test = [item for item in held if item.split == "test"]
    for kind in labels:
        if len(set(kind) - {None}) < 2:
            hint = "prepare the suite with --split all: the linear model is fitted on its training split"
            n = sum(label is not None for label in kind)
            raise DataError(f"linear floor: {n} labelled training items, of fewer than two classes\n  {hint}")
    if not test:
        raise DataError("linear floor: no test items")
    features = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=min(2, len(train)), sublinear_tf=True)
    trained_on = features.fit_transform([held[place].text for place in train])
    judged = features.transform([item.text for item in test])
    floors = []
    for kind in labels:
        known = [row for row, place in enumerate(train) if kind[place] is not None]
        model = LogisticRegression(class_weight="balanced", C=1.0, max_iter=1000)
        model.fit(trained_on[known], [kind[train[row]] for row in known])
        ids = tuple(item.id for item in test)
        floors.append(LinearFloor(ids, tuple(map(str, model.classes_)), model.predict_proba(judged), len(known)))
    return floors
