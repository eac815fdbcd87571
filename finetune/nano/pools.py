"""Contents by source and by what their labels say; for a policy a choice of them that keeps the signs balanced."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from finetune.nano import templates
from finetune.nano.prepare import SUBJECTS, Example
from finetune.nano.stance import DOMAIN_NAMES, Meaning, Ruling, Stance, judge
from finetune.nano.topical import About, Finder

TRUST = {
    "hatexplain": 1.5,
    "edos": 1.5,
    "hatemoji": 0.8,
    "davidson": 0.6,
    "written": 0.5,
    "templates": 0.8,
    "pairs": 0.5,
    "toxic-spans": 1.2,
    "misogyny": 1.0,
    "convabuse": 1.0,
    "context-toxicity": 0.5,
}
"""How much the violations of a source are drawn, beside how many there are."""
LONGEST = 420

Key = tuple
Bucket = tuple[Sequence[Example], Iterator[Example]]


def need(signs: Counter[str], towards: str) -> float:
    """How welcome another `yes` (or another label) of a source is: 1, and nearly nothing once it has too many."""
    if not towards:
        return 1.0
    share = (signs["yes"] + 42) / (signs.total() + 100)
    room = (0.52 - share) / 0.12 if towards == "yes" else (share - 0.30) / 0.12
    return min(1.0, max(0.03, room))


def endless(make: Callable[[], Example]) -> Iterator[Example]:
    while True:
        yield make()


class Pools:
    """Examples by source and by what their labels say, each drawn round and round in a shuffled order; and plain texts."""

    def __init__(
        self, examples: Sequence[Example], draw: random.Random, caps: Mapping[str, int], plain: Sequence[str] = ()
    ) -> None:
        self.draw = draw
        self.signs: dict[str, Counter[str]] = defaultdict(Counter)
        """By source, how often each label was given so far."""
        self.buckets: dict[Key, Bucket] = {}
        kept = self._add_examples(examples, dict(caps))
        self._add_lines()
        unlabelled = [Example(text, "plain", unsure=frozenset(DOMAIN_NAMES)) for text in plain if len(text) <= LONGEST]
        self.readable = [*unlabelled, *(example for example in kept if not example.doubt)]
        """All contents that stand as they are."""
        self.unlabelled = len(unlabelled)
        self.finder = Finder([example.text for example in self.readable])

    def _add_examples(self, examples: Sequence[Example], left: dict[str, int]) -> list[Example]:
        members: dict[Key, list[Example]] = defaultdict(list)
        for example in self.draw.sample(list(examples), len(examples)):
            if len(example.text) > LONGEST or (not example.broken and left.get(example.source, 1) <= 0):
                continue
            if example.source in left and not example.broken:
                left[example.source] -= 1
            said = (example.source, example.broken, example.unsure, example.excused, example.doubt, example.about)
            members[said].append(example)
        for key, some in members.items():
            self.buckets[key] = (some, iter(self._round(some)))
        return [example for some in members.values() for example in some]

    def _add_lines(self) -> None:
        """The lines with slots: a bucket for each written one, one for each function of the templates."""
        for index, (example, line) in enumerate(templates.written_lines()):
            if example.split == "train":
                make = lambda example=example, line=line: replace(example, text=templates.fill(self.draw, line))  # noqa: E731
                self.buckets["written", index] = ([make()], endless(make))
        functions: dict[str, list[templates.Line]] = defaultdict(list)
        for line in templates.functional_lines():
            functions[line.name].append(line)
        for name, lines in functions.items():
            make = lambda lines=lines: templates.drawn(self.draw, self.draw.choice(lines))  # noqa: E731
            self.buckets["templates", name] = ([make() for _ in lines], endless(make))

    def _round(self, members: list[Example]) -> Iterator[Example]:
        while True:
            yield from self.draw.sample(members, len(members))

    def sides(self, stance: Stance) -> dict[str, dict[str, list[Key]]]:
        """For a policy: by source and by label, the buckets that have this label before tests and waivers are looked at."""
        bare = replace(stance, rules={name: Meaning(one.covers, one.near) for name, one in stance.rules.items()}, waivers={})
        found: dict[str, dict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))
        for key, (members, _) in self.buckets.items():
            first = members[0]
            if stance.inverted and not (first.broken or first.about) and stance.domains & set(SUBJECTS.get(first.source, ())):
                found[first.source]["yes"].append(key)
            elif ruling := judge(bare, first):
                found[first.source][ruling.label].append(key)
        return found

    def take(self, keys: Sequence[Key], towards: str = "") -> Example:
        """An example of these buckets, large ones more often, but less than their size says, and those that need the sign."""
        weights = [len(self.buckets[key][0]) ** 0.75 * need(self.signs[key[0]], towards) for key in keys]
        return next(self.buckets[self.draw.choices(keys, weights)[0]][1])

    def note(self, example: Example, ruling: Ruling) -> None:
        """Count a label that was given."""
        self.signs[example.source][ruling.label] += 1

    def anything(self) -> Example:
        """A content as it stands, as often unlabelled as not."""
        if self.unlabelled and self.draw.random() < 0.5:
            return self.readable[self.draw.randrange(self.unlabelled)]
        return self.draw.choice(self.readable)

    def on_topic(self, test: About, tries: int = 8) -> Example | None:
        """A content that is on the topic of a test; None when none was found."""
        for _ in range(tries):
            place = self.finder.draw(self.draw, test.topic)
            example = self.anything() if place is None else self.readable[place]
            if test.holds(example):
                return example
        return None


@dataclass(frozen=True)
class Choice:
    """The contents that a policy may be shown, by what they are to it."""

    pools: Pools
    sides: dict[str, dict[str, list[Key]]]
    reach: dict[str, float]
    """The sources of violations, and how much each counts."""
    anything: list[Key]
    innocent: list[Key]
    other: list[Key]
    """Buckets that break rules, none of them the policy's."""
    beside: list[Key]
    """Those of them that break rules of the policy's own domains."""

    @classmethod
    def of(cls, pools: Pools, stance: Stance) -> Choice:
        sides = pools.sides(stance)
        reach = {
            source: sum(len(pools.buckets[key][0]) for key in labels["yes"]) ** 0.4 * TRUST.get(source, 1.0)
            for source, labels in sides.items()
            if labels["yes"]
        }
        anything = [key for labels in sides.values() for key in (*labels["no"], *labels["none"])]
        first = {key: pools.buckets[key][0][0] for key in anything}
        other = [key for key in anything if first[key].broken]
        return cls(
            pools,
            sides,
            reach,
            anything,
            [key for key in anything if key[0] in ("written", "templates") and not first[key].broken] or anything,
            other,
            [key for key in other if (first[key].domains | first[key].about) & stance.touched],
        )

    def all(self, label: str) -> list[Key]:
        return [key for labels in self.sides.values() for key in labels[label]]

    def source(self, draw: random.Random, towards: str) -> str:
        """A source of violations; empty where there is none."""
        weights = [amount * need(self.pools.signs[name], towards) for name, amount in self.reach.items()]
        return draw.choices(list(self.reach), weights)[0] if weights else ""

    def breaking(self, draw: random.Random) -> Example | None:
        """A content that breaks a rule by its labels, sometimes one that an exception may excuse."""
        if draw.random() < 0.08 and (excused := self.all("exception")):
            return self.pools.take(excused)
        source = self.source(draw, "yes")
        return self.pools.take(self.sides[source]["yes"]) if source else None

    def keeping(self, draw: random.Random, elsewhere: float) -> Example | None:
        """A content that breaks no rule: the share `elsewhere` breaks rules of other policies, half of these of the same
        domains; the rest is innocent, mostly from where the violations come from, or cannot be told without its thread."""
        pools, roll = self.pools, draw.random()
        if self.other and roll < elsewhere:
            return pools.take(self.beside if self.beside and draw.random() < 0.35 else self.other, "no")
        roll = draw.random()
        if roll < 0.1 and (doubtful := self.all("unknown")):
            return pools.take(doubtful)
        source = self.source(draw, "no")
        if source and roll < 0.6 and (calm := self.sides[source]["no"]):
            return pools.take(calm, "no")
        keys = self.innocent if roll < 0.8 else self.anything
        return pools.take(keys, "no") if keys else None
