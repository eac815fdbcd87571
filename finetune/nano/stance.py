"""What the parts of a policy mean, and the ruling that follows from people's labels about a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import yaml

from finetune.nano.prepare import Example
from finetune.nano.subjects import on_subject
from moderator.policy.model import Policy

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
    "privacy": {"X1": "own", "X2": "wrongdoing", "X3": "emergency"},
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


class Test(Protocol):
    """What a rule or an exception asks of a content, where code or the teacher decides; None: neither."""

    def holds(self, example: Example) -> bool | None: ...

    def evidence(self, example: Example) -> str:
        """The passage that shows it; empty: the whole text."""
        ...


@dataclass(frozen=True)
class Meaning:
    """What a rule covers, and what it is so near to that neither yes nor no is safe; or what else it asks of a content."""

    covers: frozenset[str]
    near: frozenset[str]
    test: Test | None = None


@dataclass(frozen=True)
class Stance:
    """A policy, and what its ids mean: rules in topics or tests, exceptions in kinds or tests, escalations in kinds."""

    policy: Policy
    rules: Mapping[str, Meaning]
    kinds: Mapping[str, str]
    waivers: Mapping[str, Test] = field(default_factory=dict)
    """Exceptions that code decides."""
    inverted: bool = False
    """What the rules describe is welcome, and the rest of what is said on their subject breaks them."""
    kind: str = "shipped"
    """How the policy was drawn."""

    @cached_property
    def covered(self) -> frozenset[str]:
        return frozenset().union(*(meaning.covers for meaning in self.rules.values()))

    @cached_property
    def near(self) -> frozenset[str]:
        return frozenset().union(*(meaning.near for meaning in self.rules.values())) - self.covered

    def about(self, example: Example) -> tuple[str, ...]:
        """The rules of the domains that the example breaks, whatever the kind."""
        return self.of(example.domains)

    def of(self, domains: frozenset[str]) -> tuple[str, ...]:
        """The rules of these domains."""
        return tuple(
            name for name, meaning in self.rules.items() if domains & {topic.split(".")[0] for topic in meaning.covers}
        )

    @cached_property
    def domains(self) -> frozenset[str]:
        return frozenset(topic.split(".")[0] for topic in self.covered)

    @cached_property
    def touched(self) -> frozenset[str]:
        """Its domains, and those that they are parts of or have parts in."""
        pair = frozenset({"hate", "sexism"})
        return self.domains | pair if self.domains & pair else self.domains

    @cached_property
    def whole(self) -> frozenset[str]:
        """Domains that are covered in full, so that "some rule of it is broken" is an answer."""
        found = {domain for domain, known in DOMAINS.items() if known <= self.covered}
        return frozenset(found - ({"hate"} if "sexism" not in found else set()))

    @cached_property
    def tests(self) -> dict[str, Test]:
        """The rules that mean a test."""
        return {name: meaning.test for name, meaning in self.rules.items() if meaning.test}


@dataclass(frozen=True)
class Ruling:
    """What people's labels say under a policy; `sure` is false when the rule is a guess."""

    label: str
    rules: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    sure: bool = True


def meaning_of(entry: dict) -> Meaning:
    return Meaning(frozenset(entry["covers"]), frozenset(entry.get("near") or ()) - frozenset(entry.get("not") or ()))


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
KIND_NAMES = tuple(
    sorted(
        {kind for kinds in FITTING.values() for kind in kinds} | {kind for kinds in KINDS.values() for kind in kinds.values()}
    )
)
SETS = (
    ("hatexplain", "hate"), ("hatexplain", "toxicity"), ("edos", "sexism"), ("misogyny", "sexism"), ("hatemoji", "hate"),
    ("davidson", "hate"), ("davidson", "toxicity"), ("convabuse", "harassment"), ("toxic-spans", "harassment"),
    ("toxic-spans", "toxicity"), ("sms-spam", "spam"), ("youtube-spam", "spam"), ("ailuminate", "dangerous"),
    ("ailuminate", "sexual"),
)  # fmt: skip
"""Sets with a domain that they label both ways, each by its own lights: what one of them calls hate, another may not."""


def targets(example: Example) -> tuple[float, ...]:
    """1 broken, 0 not, -1 unknown: for each domain, each topic, each kind of excuse or doubt, each of `SETS`."""
    found = set(example.domains)
    vague = {topic.split(".")[0] for topic in example.broken if topic.endswith(".any")}
    if "sexism" in found:
        found.add("hate")
    unknown = example.unsure | example.doubt | ({"sexism"} if "hate" in vague else set())
    row = [1.0 if domain in found else -1.0 if domain in unknown else 0.0 for domain in DOMAIN_NAMES]
    for topic in TOPICS:
        domain = topic.split(".")[0]
        row.append(1.0 if topic in example.broken else -1.0 if {domain, topic} & unknown or domain in vague else 0.0)
    kinds = {ALSO.get(example.excused, example.excused), example.excused, "thread" if example.doubt else ""}
    own = [row[DOMAIN_NAMES.index(domain)] if source == example.source else -1.0 for source, domain in SETS]
    return (*row, *(float(kind in kinds) for kind in KIND_NAMES), *own)


def coverage(stance: Stance) -> dict[str, tuple[float, ...]]:
    """For each part of a policy, what it is about, in the order of `targets`; -1 for what a rule is near to, or for all that a
    test may touch, and for `SETS`."""
    found, sets = {}, [-1.0] * len(SETS)
    for name, meaning in stance.rules.items():
        domains = {topic.split(".")[0] for topic in meaning.covers}
        none = -1.0 if meaning.test else 0.0
        row = [1.0 if domain in domains else none for domain in DOMAIN_NAMES]
        row += [1.0 if topic in meaning.covers else -1.0 if topic in meaning.near else none for topic in TOPICS]
        found[name] = (*row, *(0.0 for _ in KIND_NAMES), *sets)
    for name, kind in stance.kinds.items():
        kinds = {kind, ALSO.get(kind, kind)}
        found[name] = (*(0.0 for _ in (*DOMAIN_NAMES, *TOPICS)), *(float(one in kinds) for one in KIND_NAMES), *sets)
    return found


def judge(stance: Stance, example: Example) -> Ruling | None:
    """The ruling that follows from the labels and the tests; None when they do not settle it."""
    if stance.inverted:
        return judge_inverted(stance, example)
    hits = tuple(name for name, meaning in stance.rules.items() if meaning.covers & example.broken)
    told = {name: test.holds(example) for name, test in stance.tests.items()}
    hits += tuple(name for name, held in told.items() if held)
    sure = True
    vague = {topic.split(".")[0] for topic in example.broken if topic.endswith(".any")}
    if not hits and vague & stance.whole:
        hits, sure = guess(stance, example, min(vague & stance.whole)), False
    if hits:
        return excuse(stance, example, hits, sure)
    if None in told.values() or vague & stance.touched or example.broken & stance.near:
        return None
    if example.doubt & stance.domains:
        asked = tuple(name for name, kind in stance.kinds.items() if kind == "thread")
        return Ruling("unknown", escalations=asked[:1]) if asked else None
    if example.unsure & (stance.domains | stance.covered):
        return None
    return Ruling("none" if example.broken & GRAVE and not example.excused else "no")


def judge_inverted(stance: Stance, example: Example) -> Ruling | None:
    """`no` for what the rules describe, `yes` for the rest of what is said on their subject, `no` for everything else."""
    if example.broken & stance.covered:
        return None if example.excused else Ruling("no")
    vague = {topic.split(".")[0] for topic in example.broken if topic.endswith(".any")}
    if vague & stance.whole and not example.excused:
        return Ruling("no")
    if (
        vague & stance.touched
        or example.broken & stance.near
        or (example.unsure | example.doubt) & (stance.domains | stance.covered)
    ):
        return None
    domains = on_subject(example, stance.domains)
    if domains:
        rules = stance.of(domains)
        return Ruling("yes", rules[:3], sure=len(rules) == 1)
    beside = (example.domains | example.about) & stance.touched
    return None if domains is None or beside else Ruling("no")


def excuse(stance: Stance, example: Example, hits: tuple[str, ...], sure: bool) -> Ruling | None:
    """A violation, unless an exception of the policy is of the kind that excuses the example, or its test holds."""
    fitting = []
    for exception in stance.policy.exceptions:
        kind = stance.kinds.get(exception.id, "")
        waiver = stance.waivers.get(exception.id)
        applies = waiver.holds(example) if waiver else bool(example.excused) and example.excused in (kind, ALSO.get(kind))
        if applies is None:
            return None
        if applies and all(exception.waives(rule) for rule in hits):
            fitting.append(exception.id)
    return Ruling("exception", hits[:3], tuple(fitting[:1]), sure=sure) if fitting else Ruling("yes", hits[:3], sure=sure)


def guess(stance: Stance, example: Example, domain: str) -> tuple[str, ...]:
    """A rule for a violation whose rule nobody named, by key words; its token counts little in training."""
    text = example.text.lower()
    kind = next((kind for kind, signs in WORDS["signs"].items() if any(sign in text for sign in signs)), "derogate")
    inside = [name for name, meaning in stance.rules.items() if any(topic.startswith(domain) for topic in meaning.covers)]
    return tuple([name for name in inside if f"{domain}.{kind}" in stance.rules[name].covers][:1] or inside[:1])
