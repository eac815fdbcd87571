"""Rules about what a text talks of (topical.yaml), decided by words and the teacher's cosine; the undecided is left out."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import yaml

from finetune.nano.prepare import Example, hashed
from finetune.nano.stance import HERE

Closeness = Callable[[str, str], float | None]
"""The teacher's cosine between a text and a line of a policy; None: one of them has no vector."""

YES, NO = 0.26, 0.16
"""Mean cosines to a topic's lines: from the first on, with one of its words, on the topic; below the second, without, not."""
SURE, SOME = 0.20, 0.36
"""The same with two of the words; on the cosine alone, for topics that words do not tell. From 1,100 texts and 60 topics."""
FAR = 0.12
"""Below this a text is not on a topic that words do not tell."""


def unknown(text: str, line: str) -> float | None:
    """The closeness of nobody: no vectors."""
    return None


class Cosines:
    """`Closeness` from vectors of length one, by text: those of `lessons.Vectors` (`places`, `rows`)."""

    def __init__(self, places: dict[str, int], rows: np.ndarray) -> None:
        self.places, self.rows = places, rows

    def __call__(self, text: str, line: str) -> float | None:
        if text not in self.places or line not in self.places:
            return None
        left, right = (self.rows[self.places[one]].astype(np.float32) for one in (text, line))
        return float(left @ right)


@dataclass(frozen=True)
class Topic:
    """A subject with the lines that may ask for it and the words that give it away."""

    name: str
    lines: tuple[str, ...]
    words: tuple[str, ...]
    wordy: bool

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, self.words))})(?!\w)", re.IGNORECASE)

    def said(self, text: str) -> set[str]:
        """Which of the words are in the text."""
        return {hit.lower() for hit in self.pattern.findall(text)}


TOPICS = tuple(
    Topic(entry["topic"], tuple(entry["lines"]), tuple(map(str, entry["words"])), entry["wordy"])
    for entry in yaml.safe_load((HERE / "topical.yaml").read_text())
)
UNSEEN = tuple(topic for topic in TOPICS if hashed(topic.name, 10) == 0)
"""Topics that no policy of training asks for: to find out whether a model reads a rule that it has never met."""
SEEN = tuple(topic for topic in TOPICS if topic not in UNSEEN)


@dataclass(frozen=True)
class About:
    """The test of a topical rule."""

    topic: Topic
    closeness: Closeness

    def close(self, example: Example) -> float | None:
        """The mean cosine between the text, as it was before anything was put around it, and the topic's lines."""
        text = example.origin or example.text
        known = [value for line in self.topic.lines if (value := self.closeness(text, line)) is not None]
        return sum(known) / len(known) if known else None

    def evidence(self, example: Example) -> str:
        """The first sentence with one of the words."""
        sentences = re.split(r"(?<=[.!?]) +|\n", example.text)
        return next((sentence.strip() for sentence in sentences if self.topic.said(sentence)), "")

    def holds(self, example: Example) -> bool | None:
        here, said = self.topic.said(example.origin or example.text), self.topic.said(example.text)
        close = self.close(example)
        if close is None:
            if self.topic.wordy and len(here) >= 2:
                return True
            return None if said or not self.topic.wordy else False
        if self.topic.wordy:
            if here and close >= (SURE if len(here) >= 2 else YES):
                return True
            return False if not said and close < NO else None
        if close >= SOME or (here and close >= YES + 0.04):
            return True
        return False if close < FAR and not said else None


def draw_topical(draw: random.Random, closeness: Closeness, topics: Sequence[Topic] = SEEN) -> tuple[str, str, About]:
    """Title and text of a rule about one of the topics, and its test."""
    topic = draw.choice([one for one in topics if one.wordy] if draw.random() < 0.6 else topics)
    title, text = draw.choice(topic.lines).split(": ", 1)
    return title, text, About(topic, closeness)


class Finder:
    """Which of many texts hold a word of a topic, without reading them again."""

    def __init__(self, texts: Sequence[str]) -> None:
        wanted = {part for topic in TOPICS for word in topic.words for part in re.findall(r"\w+", word.lower())}
        self.texts, self.places = texts, defaultdict(list)
        for place, text in enumerate(texts):
            for part in set(re.findall(r"\w+", text.lower())) & wanted:
                self.places[part].append(place)
        self.rare = {
            topic.name: [min(parts, key=self._size) for word in topic.words if (parts := re.findall(r"\w+", word.lower()))]
            for topic in TOPICS
        }

    def _size(self, part: str) -> int:
        return len(self.places.get(part, ()))

    def draw(self, draw: random.Random, topic: Topic) -> int | None:
        """The place of a text that probably holds a word of the topic, rare words as likely as frequent ones."""
        known = [part for part in self.rare[topic.name] if self.places.get(part)]
        if not known:
            return None
        return draw.choice(self.places[draw.choices(known, [self._size(part) ** 0.5 for part in known])[0]])
