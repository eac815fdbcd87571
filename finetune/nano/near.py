"""Near duplicates: texts that are the same up to a few words, found by the pieces of five characters that they share."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable

from finetune.nano.prepare import fingerprint

SIZE, SAMPLE, COMMON = 5, 4, 400
"""Characters of a piece; one piece in so many is looked up; pieces of more texts than this are too common to be looked up."""
ALIKE = 0.6
"""The share of common pieces among all pieces of two texts (Jaccard) from which they are the same text up to a few words."""


def pieces(text: str) -> frozenset[int]:
    """The text's pieces as numbers, the same in every run: letters and digits only, in lower case."""
    letters = fingerprint(text).encode()
    return frozenset(zlib.crc32(letters[start : start + SIZE]) for start in range(max(1, len(letters) - SIZE + 1)))


class Held:
    """Texts that nothing in training may be a near copy of."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.exact: set[str] = set()
        self.sets: list[frozenset[int]] = []
        self.index: dict[int, list[int]] = defaultdict(list)
        for text in texts:
            if (mark := fingerprint(text)) in self.exact:
                continue
            self.exact.add(mark)
            for piece in (found := pieces(text)):
                if piece % SAMPLE == 0:
                    self.index[piece].append(len(self.sets))
            self.sets.append(found)

    def same(self, text: str) -> bool:
        """Whether one of the texts has the same letters and digits."""
        return fingerprint(text) in self.exact

    def alike(self, text: str) -> bool:
        """Whether one of the texts is the same up to a few words."""
        found = pieces(text)
        shared = Counter(
            place
            for piece in found
            if piece % SAMPLE == 0 and len(self.index.get(piece, ())) <= COMMON
            for place in self.index.get(piece, ())
        )
        for place, _ in shared.most_common(5):
            both = len(found & self.sets[place])
            if both >= ALIKE * (len(found) + len(self.sets[place]) - both):
                return True
        return False

    def why(self, text: str) -> str:
        """Why a text has to stay out of training: `same`, `alike`, or nothing."""
        return "same" if self.same(text) else "alike" if self.alike(text) else ""
