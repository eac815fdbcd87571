"""Perturbations that keep the label: what people who type fast or dodge filters do to a text without changing what it says.

A perturbation is a list of edits to a text; `perturb` applies them, and carries spans of evidence along. Handles, links,
amounts, codes and masked words are left as they are: a changed link would be another case. Randomness comes from the caller,
and only ``Random.random`` is drawn from, whose sequence Python promises to keep for a seed.

After HateCheck's spelling functionalities (Röttger et al., ACL 2021), CheckList's invariance tests (Ribeiro et al., ACL 2020)
and the evasions of Gröndahl et al. (AISec 2018).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from types import MappingProxyType
from typing import Final, TypeVar

from moderator.suite.model import Annotation, Item, Span, Suite

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """The characters from `start` to `end` (exclusive) of a text become `new`; an insertion where both are equal."""

    start: int
    end: int
    new: str


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A text after edits (in order, none overlapping), and where its pieces went."""

    text: str
    edits: tuple[Edit, ...]

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Where a span of the original stands now.

        What was inserted at its edges is left out. An edit that reaches over an edge is taken in whole.
        """
        first, last = start + self._gain(edit for edit in self.edits if edit.end <= start), end
        last += self._gain(edit for edit in self.edits if edit.start < end)
        for edit in self.edits:
            if edit.start < start < edit.end:
                first -= start - edit.start
            if edit.start < end < edit.end:
                last += edit.end - end
        return first, last

    @staticmethod
    def _gain(edits: Iterable[Edit]) -> int:
        return sum(len(edit.new) - (edit.end - edit.start) for edit in edits)


def perturb(name: str, text: str, random: Random) -> Perturbed:
    """The text under a perturbation of `PERTURBATIONS`; unchanged where there is nothing that it could change."""
    edits = tuple(sorted(PERTURBATIONS[name](text, random)))
    pieces: list[str] = []
    done = 0
    for edit in edits:
        pieces += [text[done : edit.start], edit.new]
        done = edit.end
    return Perturbed("".join([*pieces, text[done:]]), edits)


def perturb_suite(suite: Suite, names: Sequence[str] | None = None, *, seed: int = 0) -> Suite:
    """The suite with its perturbed copies, and `perturbation` among the slices that reports break down by."""
    # made anew and not copied: a copy would keep the digest of the original
    fields = {name: getattr(suite, name) for name in Suite.model_fields}
    slices = tuple(dict.fromkeys((*suite.slices, "perturbation")))
    return Suite(**{**fields, "items": tuple(perturb_items(suite.items, names, seed=seed)), "slices": slices})


def perturb_items(items: Iterable[Item], names: Sequence[str] | None = None, *, seed: int = 0) -> Iterator[Item]:
    """Every item, and after it a copy for each perturbation (all, when none are named) that changes its text.

    A copy has the id ``ID+NAME``, the slice ``perturbation: NAME``, the labels of the original with their spans moved, and its
    group, so that intervals resample them together. Threads are left as they are. What is drawn depends on the seed, the
    perturbation and the item's id alone. Raises `KeyError` for a name that is no perturbation.
    """
    chosen = list(PERTURBATIONS if names is None else names)
    if unknown := [name for name in chosen if name not in PERTURBATIONS]:
        raise KeyError(unknown[0])
    for item in items:
        original = item.model_copy(update={"group": item.cluster, "slices": {**item.slices, "perturbation": "none"}})
        yield original
        for name in chosen:
            changed = perturb(name, item.text, Random(f"{seed}/{name}/{item.id}"))
            if changed.text != item.text:
                update = {"id": f"{item.id}+{name}", "text": changed.text, "slices": {**item.slices, "perturbation": name}}
                labels = tuple(_moved(label, changed) for label in item.labels)
                yield original.model_copy(update={**update, "labels": labels})


def _moved(label: Annotation, changed: Perturbed) -> Annotation:
    """The label with its spans where their words stand now; a span of which nothing is left is dropped."""
    moved = ((span, changed.moved(span.start, span.end)) for span in label.spans)
    spans = tuple(Span(start=start, end=end, rule=span.rule) for span, (start, end) in moved if start < end)
    return label.model_copy(update={"spans": spans})


LEET: Final = MappingProxyType({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})
HOMOGLYPHS: Final = MappingProxyType(dict(zip("aceijopsxyABCEHKMOPTX", "асеіјорѕхуАВСЕНКМОРТХ", strict=True)))
"""Latin letters and the Cyrillic ones that look the same (Unicode Technical Standard 39, confusables)."""

ZERO_WIDTH: Final = "\u200b\u200c\u200d\u2060\ufeff"
SEPARATORS: Final = " .-"
EMOJI: Final = "✨📌🔹🎈🌿🧩"
"""To be put between words: none that laughs, threatens, or stands for an animal or a person."""

_PICTURES: Final = """
bike🚲 book📖 books📚 bread🍞 bus🚌 cake🍰 car🚗 cat🐈 chocolate🍫 clock⏰ cockroaches🪳🪳 coffee☕ dog🐕 dogs🐕🐕 door🚪
fire🔥 football⚽ gift🎁 gun🔫 hammer🔨 hospital🏥 house🏠 key🔑 keys🔑🔑 knife🔪 knives🔪🔪 laptop💻 money💰
mosquitoes🦟🦟 parcel📦 phone📱 photo📷 photos📷📷 pig🐖 pigs🐖🐖 pizza🍕 rain🌧 rat🐀 rats🐀🐀 school🏫 shoes👟
snake🐍 snakes🐍🐍 sun☀ train🚆 tree🌳 trophy🏆 umbrella☂ video📹
"""
PICTURES: Final = MappingProxyType(dict(re.findall(r"([a-z]+)(\S+)", _PICTURES)))
"""Words that a picture says as plainly."""

TRANSLATION_NOTES: Final = (
    "[Translated from Spanish] ",
    "[Translated from Turkish] ",
    "[Translated from Polish] ",
    "[machine translation] ",
)
KEYS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

_TOKEN = re.compile(r"\S+")
_PLAIN = re.compile(r"([^\w@#/*]*)([^\W\d_]+(?:['’-][^\W\d_]+)*)[^\w@#/*]*")
_VOWELS: Final = frozenset("aeiou")


def _plain_words(text: str, least: int = 1) -> list[tuple[int, int]]:
    """Words of letters alone, with at least so many; not handles, tags, links, numbers or masked words."""
    found = ((token.start(), _PLAIN.fullmatch(token[0])) for token in _TOKEN.finditer(text))
    return [(at + word.start(2), at + word.end(2)) for at, word in found if word and len(word[2]) >= least]


def _letters(text: str, words: Iterable[tuple[int, int]]) -> list[int]:
    return [at for start, end in words for at in range(start, end) if text[at].isalpha()]


def _pick(values: Sequence[T], random: Random) -> T:
    return values[int(random.random() * len(values))]


def _some(values: Sequence[T], share: float, random: Random) -> list[T]:
    """About this share of the values in their order, one at least where there is one."""
    drawn = [value for value in values if random.random() < share]
    return drawn or ([_pick(values, random)] if values else [])


def misspell(text: str, random: Random) -> list[Edit]:
    """A slip inside some longer words: letters swapped, lost, doubled or hit beside; first and last letters stay."""
    return [_slip(text, *word, random) for word in _some(_plain_words(text, 5), 0.3, random)]


def _slip(text: str, start: int, end: int, random: Random) -> Edit:
    at = start + 1 + int(random.random() * (end - start - 3))
    letter, kind = text[at], int(random.random() * 4)
    beside = [row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in KEYS for i, key in enumerate(row) if key == letter]
    if kind == 0 and letter != text[at + 1]:
        return Edit(at, at + 2, text[at + 1] + letter)
    if kind == 1:
        return Edit(at, at + 1, "")
    if kind == 2 and beside:
        return Edit(at, at + 1, _pick(beside[0], random))
    return Edit(at, at, letter)


def leetspeak(text: str, random: Random) -> list[Edit]:
    """Digits for letters that look like them."""
    places = [at for at in _letters(text, _plain_words(text)) if text[at].lower() in LEET]
    return [Edit(at, at + 1, LEET[text[at].lower()]) for at in _some(places, 0.5, random)]


def space_letters(text: str, random: Random) -> list[Edit]:
    """Some longer words spelled out, with a space, a full stop or a hyphen between their letters."""
    separator = _pick(SEPARATORS, random)
    words = _some(_plain_words(text, 4), 0.3, random)
    return [Edit(at, at, separator) for start, end in words for at in range(start + 1, end)]


def join_words(text: str, random: Random) -> list[Edit]:
    """Some spaces between plain words lost."""
    plain = {token.start() for token in _TOKEN.finditer(text) if _PLAIN.fullmatch(token[0])}
    tokens = list(_TOKEN.finditer(text))
    gaps = [
        Edit(left.end(), right.start(), "")
        for left, right in pairwise(tokens)
        if {left.start(), right.start()} <= plain and text[left.end() : right.start()] == " "
    ]
    return _some(gaps, 0.4, random)


def insert_emoji(text: str, random: Random) -> list[Edit]:
    """Neutral emoji after some words."""
    ends = [token.end() for token in _TOKEN.finditer(text)]
    return [Edit(at, at, f" {_pick(EMOJI, random)}") for at in _some(ends, 0.25, random)]


def substitute_emoji(text: str, random: Random) -> list[Edit]:
    """A picture in the place of every word that has one."""
    words = ((start, end, text[start:end].lower()) for start, end in _plain_words(text))
    return [Edit(start, end, PICTURES[word]) for start, end, word in words if word in PICTURES]


def insert_zero_width(text: str, random: Random) -> list[Edit]:
    """Characters without width between the letters of words."""
    places = [at for start, end in _plain_words(text, 2) for at in range(start + 1, end)]
    return [Edit(at, at, _pick(ZERO_WIDTH, random)) for at in _some(places, 0.2, random)]


def swap_homoglyphs(text: str, random: Random) -> list[Edit]:
    """Cyrillic letters for Latin ones that look the same."""
    places = [at for at in _letters(text, _plain_words(text)) if text[at] in HOMOGLYPHS]
    return [Edit(at, at + 1, HOMOGLYPHS[text[at]]) for at in _some(places, 0.5, random)]


def raise_case(text: str, random: Random) -> list[Edit]:
    """Capitals, but for handles, links and codes."""
    return [Edit(at, at + 1, text[at].upper()) for at in _letters(text, _plain_words(text)) if text[at].upper() != text[at]]


def lower_case(text: str, random: Random) -> list[Edit]:
    """Small letters, but for handles, links and codes."""
    return [Edit(at, at + 1, text[at].lower()) for at in _letters(text, _plain_words(text)) if text[at].lower() != text[at]]


def stretch_letters(text: str, random: Random) -> list[Edit]:
    """A vowel of some words held: "nooo"."""
    places = [[at for at in range(*word) if text[at].lower() in _VOWELS] for word in _plain_words(text, 2)]
    words = _some([vowels for vowels in places if vowels], 0.3, random)
    held = [_pick(vowels, random) for vowels in words]
    return [Edit(at + 1, at + 1, text[at] * (2 + int(random.random() * 3))) for at in held]


def note_translation(text: str, random: Random) -> list[Edit]:
    """The mark that a platform puts before a machine translation: a placeholder, the words stay in their language."""
    return [Edit(0, 0, _pick(TRANSLATION_NOTES, random))] if text.strip() else []


PERTURBATIONS: Final[Mapping[str, Callable[[str, Random], list[Edit]]]] = MappingProxyType(
    {
        "spelling": misspell,
        "leetspeak": leetspeak,
        "spaced-letters": space_letters,
        "missing-spaces": join_words,
        "emoji-inserted": insert_emoji,
        "emoji-substituted": substitute_emoji,
        "zero-width": insert_zero_width,
        "homoglyphs": swap_homoglyphs,
        "upper-case": raise_case,
        "lower-case": lower_case,
        "repeated-letters": stretch_letters,
        "translation-note": note_translation,
    }
)
"""All perturbations, by the name of their slice."""
