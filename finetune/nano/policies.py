"""Policies to train on, and what their parts mean: the shipped ones, cut and re-worded ones, merged ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from finetune.nano.prepare import Example
from moderator.policy.library import list_policies, load_policy
from moderator.policy.model import Escalation, Policy, PolicyException, Rule

HERE = Path(__file__).parent
WORDS = yaml.safe_load((HERE / "words.yaml").read_text())
BANK = yaml.safe_load((HERE / "rules.yaml").read_text())

GRAVE = frozenset(
    {
        "selfharm.encourage",
        "violence.threat",
        "violence.incite",
        "dangerous.weapons",
        "dangerous.violent",
        "sexism.threat",
        "hate.threat",
        "harassment.threat",
    }
)
KINDS = {
    "hate": {"X1": "quoted", "X2": "reclaimed", "X3": "education", "X4": "fiction", "E2": "thread"},
    "harassment": {"X1": "quoted", "X2": "banter", "X3": "fiction", "E2": "thread"},
    "violence": {"X1": "quoted", "X2": "fiction", "X3": "testimony", "E3": "thread"},
    "self-harm": {"X1": "recovery", "X2": "education", "X3": "fiction", "E3": "thread"},
    "sexual": {"X1": "education", "X2": "quoted", "X3": "fiction"},
    "spam": {"X1": "transactional", "X2": "warning"},
    "dangerous": {"X1": "education", "X2": "fiction", "X3": "harm-reduction"},
    "privacy": {"X1": "own"},
    "misinformation": {"X1": "correction", "X2": "fiction"},
}  # fmt: skip
ALSO = {"warning": "quoted", "correction": "quoted", "testimony": "quoted"}
ATTACK = frozenset({"hate", "sexism", "harassment", "toxicity", "violence", "selfharm"})
FITTING = {
    "spam": ("transactional", "warning"),
    "selfharm": ("recovery", "education", "fiction"),
    "dangerous": ("education", "fiction", "harm-reduction"),
    "privacy": ("own",), "misinformation": ("correction", "fiction"), "sexual": ("education", "quoted", "fiction"),
}  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What a rule covers, and what it is so near to that neither yes nor no is safe."""

    covers: frozenset[str]
    near: frozenset[str]


@dataclass(frozen=True)
class Stance:
    """A policy, and for each of its ids what it means in topics and kinds."""

    policy: Policy
    rules: dict[str, Meaning]
    kinds: dict[str, str]

    @cached_property
    def covered(self) -> frozenset[str]:
        return frozenset().union(*(meaning.covers for meaning in self.rules.values()))

    @cached_property
    def near(self) -> frozenset[str]:
        return frozenset().union(*(meaning.near for meaning in self.rules.values())) - self.covered

    def about(self, example: Example) -> tuple[str, ...]:
        """The rules of the domains that the example breaks, whatever the kind."""
        found = {topic.split(".")[0] for topic in example.broken}
        return tuple(name for name, meaning in self.rules.items() if found & {topic.split(".")[0] for topic in meaning.covers})

    @cached_property
    def domains(self) -> frozenset[str]:
        return frozenset(topic.split(".")[0] for topic in self.covered)

    @cached_property
    def whole(self) -> frozenset[str]:
        """Domains that are covered in full, so that "some rule of it is broken" is an answer."""
        found = {domain for domain, known in DOMAINS.items() if known <= self.covered}
        return frozenset(found - ({"hate"} if "sexism" not in found else set()))


@dataclass(frozen=True)
class Ruling:
    """What people's labels say under a policy; `sure` is false when the rule is a guess."""

    label: str
    rules: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    sure: bool = True


def meaning_of(entry: dict) -> Meaning:
    return Meaning(
        frozenset(entry["covers"]),
        frozenset(entry.get("near", ())) | frozenset(entry.get("not", ())) - frozenset(entry.get("not", ())),
    )


SHIPPED = {entry["shipped"]: meaning_of(entry) for entry in BANK if entry["shipped"]}
DOMAINS: dict[str, frozenset[str]] = {}
for _topic in sorted({topic for meaning in SHIPPED.values() for topic in meaning.covers}):
    DOMAINS[_topic.split(".")[0]] = DOMAINS.get(_topic.split(".")[0], frozenset()) | {_topic}
DOMAINS["sexism"] -= {"sexism.condescending"}
DOMAINS["harassment"] -= {"harassment.doxx", "harassment.target", "harassment.dismissive"}

TOPICS = tuple(
    sorted(
        {topic for meaning in SHIPPED.values() for topic in meaning.covers}
        | {"toxicity.offensive", "toxicity.profane", "dangerous.piracy"}
    )
)
DOMAIN_NAMES = tuple(sorted({topic.split(".")[0] for topic in TOPICS}))


KIND_NAMES = tuple(sorted({kind for kinds in FITTING.values() for kind in kinds} | {"quoted", "reclaimed", "banter", "thread"}))


def targets(example: Example) -> tuple[float, ...]:
    """1 broken, 0 not, -1 unknown: for each domain, each topic, and each kind of excuse or doubt."""
    found = {topic.split(".")[0] for topic in example.broken}
    vague = {topic.split(".")[0] for topic in example.broken if topic.endswith(".any")}
    if "sexism" in found:
        found.add("hate")
    unknown = example.unsure | example.doubt | ({"sexism"} if "hate" in vague else set())
    row = [1.0 if domain in found else -1.0 if domain in unknown else 0.0 for domain in DOMAIN_NAMES]
    for topic in TOPICS:
        domain = topic.split(".")[0]
        row.append(1.0 if topic in example.broken else -1.0 if domain in unknown or domain in vague else 0.0)
    kinds = {ALSO.get(example.excused, example.excused), example.excused, "thread" if example.doubt else ""}
    return (*row, *(float(kind in kinds) for kind in KIND_NAMES))


def coverage(stance: Stance) -> dict[str, tuple[float, ...]]:
    """For each part of a policy, what it is about, in the order of `targets`; -1 for what a rule is near to."""
    found = {}
    for name, meaning in stance.rules.items():
        domains = {topic.split(".")[0] for topic in meaning.covers}
        row = [float(domain in domains) for domain in DOMAIN_NAMES]
        row += [1.0 if topic in meaning.covers else -1.0 if topic in meaning.near else 0.0 for topic in TOPICS]
        found[name] = (*row, *(0.0 for _ in KIND_NAMES))
    for name, kind in stance.kinds.items():
        kinds = {kind, ALSO.get(kind, kind)}
        found[name] = (*(0.0 for _ in (*DOMAIN_NAMES, *TOPICS)), *(float(one in kinds) for one in KIND_NAMES))
    return found


def shipped() -> list[Stance]:
    """The shipped policies, with the meaning of their ids."""
    found = []
    for slug in list_policies():
        policy = load_policy(slug)
        kinds = KINDS.get(slug, {})
        found.append(Stance(policy, {rule.id: SHIPPED[rule.id] for rule in policy.rules if rule.id in SHIPPED}, dict(kinds)))
    return found


def judge(stance: Stance, example: Example) -> Ruling | None:
    """The ruling that follows from the labels; None when they do not settle it."""
    hits = tuple(name for name, meaning in stance.rules.items() if meaning.covers & example.broken)
    sure = True
    vague = {topic.split(".")[0] for topic in example.broken if topic.endswith(".any")}
    if not hits and vague & stance.whole:
        hits, sure = guess(stance, example, (vague & stance.whole).pop()), False
    if hits:
        return excuse(stance, example, hits, sure)
    touched = (
        stance.domains
        | ({"sexism"} if "hate" in stance.domains else set())
        | ({"hate"} if "sexism" in stance.domains else set())
    )
    if vague & touched or example.broken & stance.near:
        return None
    if example.doubt & stance.domains:
        asked = tuple(name for name, kind in stance.kinds.items() if kind == "thread")
        return Ruling("unknown", escalations=asked[:1]) if asked else None
    if example.unsure & stance.domains:
        return None
    return Ruling("none" if example.broken & GRAVE and not example.excused else "no")


def excuse(stance: Stance, example: Example, hits: tuple[str, ...], sure: bool) -> Ruling:
    """A violation, unless an exception of the policy is of the kind that excuses the example."""
    fitting = tuple(
        exception.id for exception in stance.policy.exceptions
        if example.excused and example.excused in (stance.kinds.get(exception.id), ALSO.get(stance.kinds.get(exception.id, "")))
        and all(exception.waives(rule) for rule in hits)
    )  # fmt: skip
    return Ruling("exception", hits[:3], fitting[:1], sure=sure) if fitting else Ruling("yes", hits[:3], sure=sure)


def guess(stance: Stance, example: Example, domain: str) -> tuple[str, ...]:
    """A rule for a violation whose rule nobody named, by key words; its token counts little in training."""
    text = example.text.lower()
    kind = next((kind for kind, signs in WORDS["signs"].items() if any(sign in text for sign in signs)), "derogate")
    inside = [name for name, meaning in stance.rules.items() if any(topic.startswith(domain) for topic in meaning.covers)]
    return tuple([name for name in inside if f"{domain}.{kind}" in stance.rules[name].covers][:1] or inside[:1])


def edited(draw: random.Random, base: Stance) -> Stance:
    """A shipped policy with rules left out and permuted, ids drawn anew, and parts left out."""
    rules = list(base.policy.rules)
    draw.shuffle(rules)
    rules = rules[: draw.randint(1, len(rules))]
    exceptions = [part for part in base.policy.exceptions if draw.random() < 0.6]
    escalations = [part for part in base.policy.escalations if not part.triggers and draw.random() < 0.6]
    title = draw.choice([base.policy.title, *WORDS["titles"]["mixed"]])
    kept = [(rule.title, rule.summary, base.rules[rule.id]) for rule in rules]
    excused = [(part.title, part.summary, base.kinds.get(part.id, "")) for part in exceptions]
    return renamed(draw, title, kept, excused, [(part.title, part.when, base.kinds.get(part.id, "")) for part in escalations])


def written(draw: random.Random, domains: Sequence[str], size: int) -> Stance:
    """A policy of bank rules about these domains; no two of its rules cover the same topic."""
    pool = [entry for entry in BANK if {topic.split(".")[0] for topic in entry["covers"]} & set(domains)]
    draw.shuffle(pool)
    rules, taken = [], set()
    for entry in pool:
        meaning = meaning_of(entry)
        if len(rules) < size and not meaning.covers & taken:
            taken |= meaning.covers
            rules.append((*draw.choice(entry["lines"]).split(": ", 1), meaning))
    kinds = [
        kind for domain in domains for kind in FITTING.get(domain, ("quoted", "fiction", "education", "reclaimed", "banter"))
    ]
    kinds = draw.sample(sorted(set(kinds)), min(len(set(kinds)), draw.choice((0, 0, 1, 1, 2, 3))))
    asked = [kind for kind in ("thread", "other", "other") if draw.random() < 0.35]
    title = draw.choice(WORDS["titles"][domains[0]] if len(domains) == 1 else WORDS["titles"]["mixed"])
    return renamed(draw, title, rules, [(*draw.choice(WORDS["exceptions"][kind]).split(": ", 1), kind) for kind in kinds],
                   [(*draw.choice(WORDS["escalations"][kind]).split(": ", 1), kind) for kind in asked])  # fmt: skip


def renamed(draw: random.Random, title: str, rules: list, exceptions: list, escalations: list) -> Stance:
    """A policy of these parts, with rule ids of any letter, numbered in order or at random."""
    letter, first = draw.choice("ABCDFGHIJKLMNOPQRSTUVWYZ"), draw.choice((1, 1, 1, draw.randint(2, 20)))
    numbers = list(range(first, first + len(rules)))
    if draw.random() < 0.2:
        numbers = draw.sample(range(1, 40), len(rules))
    ids = [f"{letter}{number}" for number in numbers]
    parts = [
        Rule(id=name, title=head, severity="medium", action="remove", text=text)
        for name, (head, text, _) in zip(ids, rules, strict=True)
    ]
    covers = [tuple(ids) if draw.random() < 0.8 else tuple(draw.sample(ids, draw.randint(1, len(ids)))) for _ in exceptions]
    excused = [
        PolicyException(id=f"X{index}", title=head, covers=names, text=text)
        for index, ((head, text, _), names) in enumerate(zip(exceptions, covers, strict=True), 1)
    ]
    asked = [
        Escalation(id=f"E{index}", title=head, when=when, to="team") for index, (head, when, _) in enumerate(escalations, 1)
    ]
    kinds = {part.id: kind for part, (_, _, kind) in zip([*excused, *asked], [*exceptions, *escalations], strict=True)}
    policy = Policy(
        slug="variant", version="1.0.0", title=title, rules=tuple(parts), exceptions=tuple(excused), escalations=tuple(asked)
    )
    return Stance(policy, {name: meaning for name, (_, _, meaning) in zip(ids, rules, strict=True)}, kinds)


CHANCES = {
    "hate": 6,
    "sexism": 4,
    "harassment": 5,
    "toxicity": 2,
    "spam": 3,
    "selfharm": 2,
    "violence": 2,
    "dangerous": 2,
    "sexual": 1.5,
    "privacy": 1,
    "misinformation": 1,
}
SLUGS = {"self-harm": "selfharm"}


def draw_stance(draw: random.Random, known: Sequence[Stance], shares: dict[str, float]) -> Stance:
    """A policy to train on: `shares` of the kinds shipped, edited, written and merged."""
    kind = draw.choices(list(shares), list(shares.values()))[0]
    if kind in ("shipped", "edited"):
        chances = [CHANCES[SLUGS.get(stance.policy.slug, stance.policy.slug)] for stance in known]
        base = draw.choices(known, chances)[0]
        return base if kind == "shipped" else edited(draw, base)
    number = 1 if kind == "written" else draw.randint(2, 4)
    domains = list(dict.fromkeys(draw.choices(list(CHANCES), list(CHANCES.values()), k=number)))
    return written(draw, domains, draw.choice((1, 1, 2, 3, 4, 6)) if kind == "written" else draw.randint(2, 8))
