"""Texts as a suite may store them: personal data stripped, offsets kept; and what makes two texts the same."""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass
from typing import Final

from moderator.content import well_formed
from moderator.suite.model import Split

_MASKED: Final = {
    "link": r"https?://\S+|\bwww\.\S+|\b(?:[\w-]+\.)+(?:com|net|org|info|biz|co\.uk)\b(?:/\S*)?|\b[\w-]+\.(?:ly|tv|gl|me|ca)/\S*"
    r"|\[URL\]|<url>",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "user": r"(?<![\w@])@\w[\w.]*(?:@[\w.-]+)?|(?<![\w/])/?u/[\w-]{3,20}\b|\[USER\]|<user>|\[NAME\]",
    "number": r"(?<![\w$£€.])\+?\d[\d ().-]{8,}\d(?!\w)",
    "edge": r"\A[\s\ufeff]+|[\s\ufeff]+\Z",
}
_MASKS: Final = {"link": "[link]", "email": "[email]", "user": "@user", "number": "[number]", "edge": ""}
_PERSONAL: Final = re.compile("|".join(f"(?P<{name}>{form})" for name, form in _MASKED.items()), re.IGNORECASE)
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG: Final = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stripped:
    """A text without handles, links, e-mail addresses and phone numbers; each is replaced by a mask."""

    text: str
    edits: tuple[tuple[int, int, int], ...] = ()
    """What was replaced: start and end in the original text, and the length of what stands there now."""

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Where a span of the original text stands now; one that touches a mask covers all of it. None: nothing is left."""
        found = self._moved(start, ends=False), self._moved(end, ends=True)
        return found if found[0] < found[1] else None

    def _moved(self, offset: int, *, ends: bool) -> int:
        shift = 0
        for start, end, length in self.edits:
            if offset <= start:
                break
            if offset < end:
                return start + shift + (length if ends else 0)
            shift += length - (end - start)
        return offset + shift


def strip(raw: str) -> Stripped:
    """The text without what names or reaches a person, and without white space at its ends."""
    parts: list[str] = []
    edits: list[tuple[int, int, int]] = []
    at = 0
    raw = well_formed(raw)
    for found in _PERSONAL.finditer(raw):
        mask = _MASKS[found.lastgroup or "edge"]
        parts += [raw[at : found.start()], mask]
        edits.append((found.start(), found.end(), len(mask)))
        at = found.end()
    return Stripped("".join([*parts, raw[at:]]), tuple(edits))


def strip_html(raw: str) -> Stripped:
    """The same for a text that was taken from a page: entities are resolved, tags removed."""
    return strip(_TAG.sub("", _BREAK.sub("\n", html.unescape(html.unescape(raw)))))


def fingerprint(text: str) -> str:
    """What makes two texts the same: the letters and digits, lower-cased. A text that has none is the same only as itself.

    Texts that differ in emoji or punctuation alone are one: a training text that is so near to a test text is not for training.
    """
    return _letters(text) or text


def fifth(text: str) -> Split:
    """The split of a text in a set without an official one: a fifth is the test, by a hash of its letters and digits.

    Two texts with the same letters fall into one split; the hash never changes, so neither do splits.
    """
    digest = hashlib.sha256(_letters(text).encode("utf-8", "surrogatepass")).hexdigest()
    return "test" if int(digest[:8], 16) % 5 == 0 else "train"


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
