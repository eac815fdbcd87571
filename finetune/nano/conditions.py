"""Conditions that code decides from a text and its place, and how a text is made to meet one or to miss it narrowly."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from finetune.nano.prepare import Example

Slots = Mapping[str, str]
Holds = Callable[[Example, Slots], bool | None]
Change = Callable[[random.Random, Example, Slots], Example]

SURFACES = ("post", "comment", "message", "profile", "livestream")
FILLER = (
    "It rained all morning here and the bus was late again.", "We are painting the hallway this weekend.",
    "The kettle is on and the cat is asleep.", "Our train leaves at the usual time from the usual platform.",
    "There is a new bench in the park by the pond.", "The neighbours planted beans and a small pear tree.",
    "I still have to hang out the washing and water the plants.", "Lunch was soup with bread and a bit of cheese.",
    "Somebody left an umbrella in the waiting room.", "The days are getting longer, that is nice.",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """How a kind of condition is decided; `meet` makes a text meet it, `miss` gives it something that only looks like it."""

    holds: Holds
    meet: Change | None = None
    miss: Change | None = None
    shows: str = ""
    """A pattern of what shows that it holds, with slots in `<>`; empty: the whole text does."""


@dataclass(frozen=True)
class Condition:
    """A kind of condition with its slots filled."""

    name: str
    kind: Kind
    slots: Slots

    def holds(self, example: Example) -> bool | None:
        """Whether the example meets it; None: it cannot be told."""
        return self.kind.holds(example, self.slots)

    def evidence(self, example: Example) -> str:
        """The passage that shows that it holds, if it is not the whole text."""
        pattern = re.sub(r"<(\w+)>", lambda slot: re.escape(self.slots[slot[1]]), self.kind.shows)
        hit = re.search(pattern, example.text, re.IGNORECASE) if pattern else None
        return hit[0].strip() if hit else ""

    def dressed(self, draw: random.Random, example: Example, wanted: bool) -> Example:
        """The example changed so that it meets the condition, or so that it nearly does; unchanged where nothing does that."""
        change = self.kind.meet if wanted else self.kind.miss
        if change is None or (self.holds(example) is wanted and draw.random() < 0.5):
            return example
        changed = change(draw, example, self.slots)
        return changed if self.holds(changed) is wanted else example


def with_text(example: Example, text: str) -> Example:
    """The example with other words around or in its text; quotes that are gone are left out."""
    if text == example.text:
        return example
    core = example.core or example.text
    core = next((one for one in (core, core.lower(), core.upper(), core.capitalize()) if one in text), "")
    quotes = tuple(quote for quote in example.quotes if quote in text)
    return replace(example, text=text, quotes=quotes, core=core, origin=example.origin or example.text)


def word(example: Example, one: str) -> bool:
    """Whether the word or phrase stands in the text as a whole, in either case."""
    return re.search(rf"(?<!\w){re.escape(one)}(?!\w)", example.text, re.IGNORECASE) is not None


def tag(example: Example, one: str) -> bool:
    return re.search(rf"#{re.escape(one)}(?!\w)", example.text, re.IGNORECASE) is not None


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, without the signs around them."""
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def found(pattern: str, flags: int = re.IGNORECASE) -> Holds:
    compiled = re.compile(pattern, flags)
    return lambda example, slots: compiled.search(example.text) is not None


def after(*pieces: str) -> Change:
    """One of the pieces at the end; slots are filled."""
    return lambda draw, example, slots: with_text(example, f"{example.text} {filled(draw, pieces, slots)}")


def before(*pieces: str) -> Change:
    return lambda draw, example, slots: with_text(example, f"{filled(draw, pieces, slots)} {example.text}")


def around(*pieces: str) -> Change:
    """One of the pieces before, between or after the words."""

    def change(draw: random.Random, example: Example, slots: Slots) -> Example:
        piece, parts = filled(draw, pieces, slots), example.text.split(" ")
        place = draw.choice((0, len(parts), draw.randint(0, len(parts))))
        return with_text(example, " ".join([*parts[:place], piece, *parts[place:]]))

    return change


def inside(*pieces: str) -> Change:
    """One of the pieces between the words, neither first nor last; at the end of a text of one word."""

    def change(draw: random.Random, example: Example, slots: Slots) -> Example:
        piece, parts = filled(draw, pieces, slots), example.text.split(" ")
        place = draw.randint(1, max(1, len(parts) - 1))
        return with_text(example, " ".join([*parts[:place], piece, *parts[place:]]))

    return change


def changed(function: Callable[[str], str]) -> Change:
    return lambda draw, example, slots: with_text(example, function(example.text))


def either(*changes: Change) -> Change:
    return lambda draw, example, slots: draw.choice(changes)(draw, example, slots)


def both(*changes: Change) -> Change:
    """All of the changes, one after the other."""

    def change(draw: random.Random, example: Example, slots: Slots) -> Example:
        for one in changes:
            example = one(draw, example, slots)
        return example

    return change


def longer(draw: random.Random, example: Example, slots: Slots) -> Example:
    """Everyday sentences before or after, until it has more words than `number`."""
    text = example.text
    while len(text.split()) <= int(slots["number"]):
        filler = draw.choice(FILLER)
        text = f"{text} {filler}" if draw.random() < 0.5 else f"{filler} {text}"
    return with_text(example, text)


def posted(pick: Callable[[random.Random, Slots], str]) -> Change:
    """Declared to be posted somewhere."""
    return lambda draw, example, slots: replace(example, surface=pick(draw, slots))


def elsewhere(draw: random.Random, slots: Slots) -> str:
    return draw.choice([surface for surface in SURFACES if surface != slots["surface"]])


def filled(draw: random.Random, pieces: Sequence[str], slots: Slots) -> str:
    """One of the pieces with its slots; `{digits}` is a number of four digits."""
    return draw.choice(pieces).format_map({**slots, "digits": draw.randint(1000, 9999)})
