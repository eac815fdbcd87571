"""Near duplicates: texts that are the same up to a few words, found by the pieces of five characters that they share."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from moderator.suite.prepare.texts import fingerprint

SIZE: Final = 5
COMMON: Final = 100
"""Bytes of a piece; pieces of more texts than this are too common to be looked up."""
ALIKE: Final = 0.6
"""The share of common pieces among all pieces of two texts (Jaccard) from which they are the same text up to a few words."""


def pieces(mark: str) -> NDArray[np.uint64]:
    """All pieces of a mark, sorted, each once, as numbers made of their bytes."""
    signs = np.frombuffer(mark.encode("utf-8", "surrogatepass").ljust(SIZE), dtype=np.uint8).astype(np.uint64)
    numbers = np.zeros(len(signs) - SIZE + 1, dtype=np.uint64)
    for place in range(SIZE):
        numbers = (numbers << np.uint64(8)) | signs[place : place + len(numbers)]
    return np.unique(numbers)


def sampled(numbers: NDArray[np.uint64]) -> list[int]:
    """One piece in four, the same ones of every text."""
    few: list[int] = numbers[(numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(62) == 0].tolist()
    return few


class Held:
    """Texts that something else, such as what is trained on, may hold no copy of, nor nearly one."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.exact: dict[str, None] = dict.fromkeys(map(fingerprint, texts))
        self.pieces = [pieces(mark) for mark in self.exact]
        self.index: dict[int, list[int]] = defaultdict(list)
        for place, numbers in enumerate(self.pieces):
            for number in sampled(numbers):
                self.index[number].append(place)

    def alike(self, mark: str) -> bool:
        """Whether one of the texts is the same up to a few words."""
        numbers = pieces(mark)
        looked = [places for number in sampled(numbers) if 0 < len(places := self.index.get(number, ())) <= COMMON]
        for place, shared in Counter(itertools.chain.from_iterable(looked)).most_common(3):
            if shared < 0.3 * len(looked):
                break
            both = len(np.intersect1d(numbers, self.pieces[place], assume_unique=True))
            if both >= ALIKE * (len(numbers) + len(self.pieces[place]) - both):
                return True
        return False

    def why(self, text: str) -> Literal["same", "alike", ""]:
        """Why a text has to stay out: it is the same as one of the texts, or nearly; empty: it has not to."""
        mark = fingerprint(text)
        return "same" if mark in self.exact else "alike" if self.alike(mark) else ""
