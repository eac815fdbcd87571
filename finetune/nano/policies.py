"""Policies to train on: shipped, cut, re-worded, merged and inverted ones, and ones about topics or letters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finetune.nano import topical
from finetune.nano.carveouts import draw_carveout
from finetune.nano.lexical import draw_lexical
from finetune.nano.stance import (
    ATTACK,
    BANK,
    DOMAIN_NAMES,
    FITTING,
    GRAVE,
    HERE,
    KIND_NAMES,
    KINDS,
    SETS,
    SHIPPED,
    TOPICS,
    WORDS,
    Meaning,
    Ruling,
    Stance,
    Test,
    coverage,
    judge,
    meaning_of,
    targets,
)
from finetune.nano.topical import Closeness, draw_topical, unknown
from moderator.policy.library import list_policies, load_policy
from moderator.policy.model import Escalation, Policy, PolicyException, Rule

__all__ = [
    "ATTACK", "BANK", "DOMAIN_NAMES", "GRAVE", "HERE", "KINDS", "KIND_NAMES", "SETS", "SHARES", "SHIPPED", "TOPICS", "WORDS",
    "Meaning", "Ruling", "Stance", "coverage", "draw_stance", "judge", "lines", "shipped", "targets", "without",
]  # fmt: skip

SHARES = {
    "shipped": 0.08, "edited": 0.17, "written": 0.22, "merged": 0.08, "carveout": 0.12, "inverted": 0.09, "topical": 0.13,
    "lexical": 0.07, "mixed": 0.04,
}  # fmt: skip
"""How often each kind of policy is drawn, where a configuration does not say."""

CHANCES = {
    "hate": 6,
    "sexism": 4,
    "harassment": 5,
    "toxicity": 2,
    "spam": 4,
    "selfharm": 2.5,
    "violence": 3,
    "dangerous": 2.5,
    "sexual": 2,
    "privacy": 2,
    "misinformation": 2,
}
SLUGS = {"self-harm": "selfharm"}
GENERIC = ("Rule", "Not allowed", "Point", "Forbidden", "We remove", "No", "Item", "Case", "Please note")
"""Titles that say nothing, so that a rule has to be read to its end."""
LETTERS = "ABCDFGHIJKLMNOPQRSTUVWYZ"


@dataclass(frozen=True)
class Part:
    """A line of a policy before it has an id, and what it means: a `Meaning`, a kind of excuse, or a test."""

    title: str
    text: str
    means: Meaning | str | Test


def lines() -> list[str]:
    """The lines of policies without slots, as "title: text": those that a teacher can know beforehand."""
    found = [line for entry in BANK for line in entry["lines"]]
    found += [line for name in ("exceptions", "escalations") for some in WORDS[name].values() for line in some]
    found += [line for topic in topical.TOPICS for line in topic.lines]
    for stance in shipped():
        found += [f"{part.title}: {part.text}" for some in parts_of(stance) for part in some]
    return list(dict.fromkeys(found))


def shipped() -> list[Stance]:
    """The shipped policies, with the meaning of their ids."""
    found = []
    for slug in list_policies():
        policy = load_policy(slug)
        rules = {rule.id: SHIPPED[rule.id] for rule in policy.rules if rule.id in SHIPPED}
        found.append(Stance(policy, rules, dict(KINDS.get(slug, {}))))
    return found


def parts_of(stance: Stance) -> tuple[list[Part], list[Part], list[Part]]:
    """A policy taken apart: rules, exceptions, and the escalations that a reader decides."""
    policy = stance.policy
    rules = [Part(rule.title, rule.summary, stance.rules[rule.id]) for rule in policy.rules]
    exceptions = [
        Part(part.title, part.summary, stance.waivers.get(part.id) or stance.kinds.get(part.id, ""))
        for part in policy.exceptions
    ]
    asked = [Part(part.title, part.when, stance.kinds.get(part.id, "")) for part in policy.escalations if not part.triggers]
    return rules, exceptions, asked


def edited(draw: random.Random, base: Stance) -> Stance:
    """A shipped policy with rules left out, permuted or in other words, ids drawn anew, and parts left out."""
    rules, exceptions, asked = parts_of(base)
    rules = draw.sample(rules, draw.randint(1, len(rules)))
    rules = [reworded(draw, part) if draw.random() < 0.4 else part for part in rules]
    exceptions = [part for part in exceptions if draw.random() < 0.6]
    asked = [part for part in asked if draw.random() < 0.6]
    title = draw.choice([base.policy.title, *WORDS["titles"]["mixed"]])
    return renamed(draw, title, rules, exceptions, asked, kind="edited")


def reworded(draw: random.Random, part: Part) -> Part:
    """A rule in other words of the bank that mean the same, where there are some."""
    same = [entry for entry in BANK if isinstance(part.means, Meaning) and frozenset(entry["covers"]) == part.means.covers]
    return bank_part(draw, draw.choice(same)) if same else part


def bank_part(draw: random.Random, entry: dict) -> Part:
    return Part(*draw.choice(entry["lines"]).split(": ", 1), meaning_of(entry))


def entries(draw: random.Random, domains: Sequence[str], size: int) -> list[dict]:
    """Bank rules about these domains; no two of them cover the same topic."""
    pool = [entry for entry in BANK if {topic.split(".")[0] for topic in entry["covers"]} & set(domains)]
    chosen, taken = [], set()
    for entry in draw.sample(pool, len(pool)):
        if len(chosen) < size and not set(entry["covers"]) & taken:
            taken |= set(entry["covers"])
            chosen.append(entry)
    return chosen


def written(draw: random.Random, domains: Sequence[str], size: int, kind: str) -> Stance:
    """A policy of bank rules about these domains, with exceptions and escalations that fit them."""
    kinds = [
        one for domain in domains for one in FITTING.get(domain, ("quoted", "fiction", "education", "reclaimed", "banter"))
    ]
    kinds = draw.sample(sorted(set(kinds)), min(len(set(kinds)), draw.choice((0, 0, 1, 1, 2, 3))))
    asked = [one for one in ("thread", "other", "other") if draw.random() < 0.35]
    title = draw.choice(WORDS["titles"][domains[0]] if len(domains) == 1 else WORDS["titles"]["mixed"])
    return renamed(
        draw,
        title,
        [bank_part(draw, entry) for entry in entries(draw, domains, size)],
        [Part(*draw.choice(WORDS["exceptions"][one]).split(": ", 1), one) for one in kinds],
        [Part(*draw.choice(WORDS["escalations"][one]).split(": ", 1), one) for one in asked],
        kind=kind,
    )


def ids(draw: random.Random, number: int) -> list[str]:
    """Ids of one or two letters and a number from 1 to 99, in order or at random, rarely of several letters."""
    letter = "".join(draw.choices(LETTERS, k=draw.choice((1, 1, 1, 2))))
    first = draw.choice((1, 1, 1, draw.randint(2, 99 - number)))
    numbers = list(range(first, first + number)) if draw.random() < 0.75 else draw.sample(range(1, 100), number)
    if draw.random() < 0.08:
        return [f"{one}{place}" for one, place in zip(draw.sample(LETTERS, number), numbers, strict=True)]
    return [f"{letter}{place}" for place in numbers]


def renamed(
    draw: random.Random, title: str, rules: Sequence[Part], exceptions: Sequence[Part], asked: Sequence[Part], *, kind: str,
    inverted: bool = False,
) -> Stance:  # fmt: skip
    """A policy of these parts, its ids drawn anew."""
    names = ids(draw, len(rules))
    if draw.random() < 0.12:
        rules = [replace(part, title=draw.choice(GENERIC)) for part in rules]
    made = [
        Rule(id=name, title=part.title, severity="medium", action="remove", text=part.text)
        for name, part in zip(names, rules, strict=True)
    ]
    open_to = [name for name, part in zip(names, rules, strict=True) if "sexual.minors" not in part.means.covers] or names
    covers = [
        tuple(open_to) if draw.random() < 0.8 else tuple(draw.sample(open_to, draw.randint(1, len(open_to))))
        for _ in exceptions
    ]
    excused = [
        PolicyException(id=f"X{index}", title=part.title, covers=some, text=part.text)
        for index, (part, some) in enumerate(zip(exceptions, covers, strict=True), 1)
    ]
    to_ask = [Escalation(id=f"E{index}", title=part.title, when=part.text, to="team") for index, part in enumerate(asked, 1)]
    means = {part.id: told.means for part, told in zip([*excused, *to_ask], [*exceptions, *asked], strict=True)}
    policy = Policy(
        slug="variant", version="1.0.0", title=title, rules=tuple(made), exceptions=tuple(excused), escalations=tuple(to_ask)
    )
    return Stance(
        policy,
        {name: part.means for name, part in zip(names, rules, strict=True)},
        {name: one for name, one in means.items() if isinstance(one, str)},
        {name: one for name, one in means.items() if not isinstance(one, str)},
        inverted,
        kind,
    )


def carved(draw: random.Random, base: Stance) -> Stance:
    """A policy with an exception that code decides, rarely two."""
    rules, exceptions, asked = parts_of(base)
    added = [Part(*draw_carveout(draw)) for _ in range(draw.choice((1, 1, 1, 2)))]
    exceptions = [*(part for part in exceptions if draw.random() < 0.4), *added]
    return renamed(draw, base.policy.title, rules, draw.sample(exceptions, len(exceptions)), asked, kind="carveout")


def inverted(draw: random.Random, base: Stance) -> Stance:
    """A policy with every rule turned round; it has no exceptions."""
    rules, _, asked = parts_of(base)
    turned = []
    for part in draw.sample(rules, min(len(rules), draw.choice((1, 1, 1, 2, 3)))):
        way = draw.choice(WORDS["inversions"])
        title, text = (way[name].format(title=part.title, text=part.text) for name in ("title", "text"))
        turned.append(Part(title, text, part.means))
    asked = [part for part in asked if part.means == "other"]
    return renamed(draw, base.policy.title, turned, [], asked, kind="inverted", inverted=True)


def tested(draw: random.Random, kind: str, closeness: Closeness, size: int) -> list[Part]:
    """Rules that a test decides, no two about the same."""
    parts, taken = [], set()
    while len(parts) < size:
        title, text, test = draw_topical(draw, closeness) if kind == "topical" else draw_lexical(draw)
        name = test.topic.name if kind == "topical" else test.name
        if name not in taken:
            taken.add(name)
            parts.append(Part(title, text, Meaning(frozenset(), frozenset(), test)))
    return parts


def about_texts(draw: random.Random, kind: str, closeness: Closeness) -> Stance:
    """A policy about topics or about letters, or one of harms with such a rule among its own."""
    carve = [Part(*draw_carveout(draw))] if draw.random() < 0.25 else []
    title = draw.choice(WORDS["titles"]["mixed"])
    if kind != "mixed":
        return renamed(draw, title, tested(draw, kind, closeness, draw.choice((1, 1, 2, 3))), carve, [], kind=kind)
    domains = draw.choices(list(CHANCES), list(CHANCES.values()), k=draw.choice((1, 1, 2)))
    harms = [bank_part(draw, entry) for entry in entries(draw, domains, draw.choice((1, 2, 3)))]
    rules = [*harms, *tested(draw, draw.choice(("topical", "lexical")), closeness, 1)]
    return renamed(draw, title, draw.sample(rules, len(rules)), carve, [], kind=kind)


def draw_stance(
    draw: random.Random, known: Sequence[Stance], shares: dict[str, float] | None = None, closeness: Closeness = unknown
) -> Stance:
    """A policy to train on, of one of the kinds of `SHARES`; `closeness` decides the rules about topics."""
    shares = shares or SHARES
    kind = draw.choices(list(shares), list(shares.values()))[0]
    if kind in ("topical", "lexical", "mixed"):
        return about_texts(draw, kind, closeness)
    if kind in ("carveout", "inverted"):
        base = draw_stance(draw, known, {"edited": 0.3, "written": 0.6, "merged": 0.1 if kind == "carveout" else 0.0})
        return (carved if kind == "carveout" else inverted)(draw, base)
    if kind in ("shipped", "edited"):
        chances = [CHANCES[SLUGS.get(stance.policy.slug, stance.policy.slug)] for stance in known]
        base = draw.choices(known, chances)[0]
        return base if kind == "shipped" else edited(draw, base)
    number = 1 if kind == "written" else draw.randint(2, 4)
    domains = list(dict.fromkeys(draw.choices(list(CHANCES), list(CHANCES.values()), k=number)))
    size = draw.choice((1, 1, 2, 3, 4, 6)) if kind == "written" else draw.randint(2, 8)
    return written(draw, domains, size, kind)


def without(draw: random.Random, stance: Stance, name: str, wanted: str = "", closeness: Closeness = unknown) -> Stance:
    """The policy without a rule, everything else in another order, partly in other words, under other ids and another title.

    `wanted` is a topic that it covers instead. A policy of one rule gets another one that covers nothing of it.
    """
    rules, exceptions, asked = parts_of(stance)
    lost = stance.rules[name]
    kept = [part for part, rule in zip(rules, stance.policy.rules, strict=True) if rule.id != name]
    kept = [reworded(draw, part) if draw.random() < 0.3 else part for part in kept]
    taken = lost.covers | lost.near | frozenset().union(*(part.means.covers for part in kept))
    others = [entry for entry in BANK if not set(entry["covers"]) & taken]
    fitting = [entry for entry in others if wanted in entry["covers"]]
    if fitting:
        kept.append(bank_part(draw, draw.choice(fitting)))
    elif not kept:
        tests = tested(draw, draw.choice(("topical", "lexical")), closeness, 1) if lost.test else []
        kept = tests or [bank_part(draw, draw.choice(others))]
    titles = [stance.policy.title, *WORDS["titles"]["mixed"]]
    return renamed(draw, draw.choice(titles), draw.sample(kept, len(kept)), exceptions, asked, kind=stance.kind)
