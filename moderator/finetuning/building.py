"""From what is known to rows: under the policy as it is and under variants, split so that nothing evaluated is learned."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from moderator.answer import Mode
from moderator.content import well_formed
from moderator.errors import DataError
from moderator.finetuning.gold import Gold
from moderator.finetuning.lessons import lesson
from moderator.finetuning.rows import PLAIN, Row, chat, text_digest
from moderator.finetuning.variants import VARIANTS
from moderator.policy import Policy
from moderator.prompt import CompiledPrompt, Family, compile_prompt
from moderator.suite.near import Held
from moderator.suite.prepare.texts import fingerprint

Place = Literal["train", "dev", "test"]
Why = Literal["evaluated", "nearly evaluated", "given twice", "contradicted", "contradicts itself", "about other policies"]
_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Shares:
    """How contents are dealt out, by a hash of their text: to `dev`, on which training stops; set aside as `test`; the rest
    are learned."""

    dev: float = 0.15
    test: float = 0.0

    def __post_init__(self) -> None:
        if min(self.dev, self.test) < 0 or self.dev + self.test >= 1:
            raise DataError(f"shares: dev {self.dev} and test {self.test} leave nothing to learn from")

    def place(self, gold: Gold) -> Place:
        """Where a content goes; with all of its group, and with every text of the same letters and digits."""
        key = hashlib.sha256((gold.group or fingerprint(gold.content.text)).encode("utf-8", "surrogatepass"))
        share = int(key.hexdigest()[:8], 16) % _PARTS / _PARTS
        return "test" if share < self.test else "dev" if share < self.test + self.dev else "train"


@dataclass(frozen=True)
class Posing:
    """How contents are posed as rows."""

    family: Family
    mode: Mode = "fast"
    variants: tuple[str, ...] = tuple(VARIANTS)
    each: int = 1
    """Rows of a content under variants, beside the one under the policy as it is."""
    seed: int = 1


@dataclass
class Dealt:
    """Contents where they belong, and those left out with the reason."""

    by_place: dict[Place, list[Gold]] = field(default_factory=lambda: {"train": [], "dev": [], "test": []})
    left_out: Counter[Why] = field(default_factory=Counter)


def deal(golds: Sequence[Gold], evaluated: Iterable[str], shares: Shares) -> Dealt:
    """The contents dealt out. What is evaluated, here or by suites whose texts are `evaluated`, is not learned, nor is what has
    nearly its words; what training stops on is not learned either.

    Of equal contents under one policy the first stays; where they contradict each other none does.
    """
    dealt, held = Dealt(), Held(evaluated)
    for gold in _agreeing(golds, dealt.left_out):
        match held.why(gold.content.text):
            case "same":
                dealt.left_out["evaluated"] += 1
            case "alike":
                dealt.left_out["nearly evaluated"] += 1
            case _:
                dealt.by_place[shares.place(gold)].append(gold)
    ahead: list[str] = []
    for place in ("test", "dev", "train"):
        before = Held(ahead)
        apart = [gold for gold in dealt.by_place[place] if not before.why(gold.content.text)]
        if near := len(dealt.by_place[place]) - len(apart):
            dealt.left_out["nearly evaluated"] += near
        dealt.by_place[place] = apart
        ahead += [gold.content.text for gold in apart]
    return dealt


def _agreeing(golds: Sequence[Gold], left_out: Counter[Why]) -> Iterator[Gold]:
    signs: dict[object, set[str]] = {}
    for gold in golds:
        signs.setdefault(_identity(gold), set()).add(gold.violates)
    seen = set()
    for gold in golds:
        key = _identity(gold)
        if len(signs[key]) > 1:
            left_out["contradicted"] += 1
        elif key in seen:
            left_out["given twice"] += 1
        else:
            yield gold
        seen.add(key)


def _identity(gold: Gold) -> object:
    return gold.policy, fingerprint(gold.content.text), tuple(fingerprint(turn.text) for turn in gold.content.thread)


def pose(dealt: Dealt, policies: Mapping[str, Policy], posing: Posing) -> Iterator[Row]:
    """The rows of what is learned and of what training stops on; the latter under the policies as they are."""
    compiled: dict[str, CompiledPrompt] = {}

    def row(policy: Policy, gold: Gold, variant: str, split: Literal["train", "dev"]) -> Row | None:
        if policy.digest not in compiled:
            compiled[policy.digest] = compile_prompt(policy, posing.family, posing.mode)
        made = _row(compiled[policy.digest], gold, variant, split)
        if made is None and variant == PLAIN:
            dealt.left_out["contradicts itself"] += 1
        return made

    for gold in dealt.by_place["dev"]:
        if made := row(policies[gold.policy], gold, PLAIN, "dev"):
            yield made
    for gold in dealt.by_place["train"]:
        policy = policies[gold.policy]
        if not (made := row(policy, gold, PLAIN, "train")):
            continue
        yield made
        draw = random.Random(f"{posing.seed}/{gold.policy}/{gold.content.id}")
        posed = ((name, VARIANTS[name](policy, gold, draw)) for name in draw.sample(posing.variants, len(posing.variants)))
        under = (made for name, one in posed if one and (made := row(*one, name, "train")))
        yield from islice(under, posing.each)


def _row(compiled: CompiledPrompt, gold: Gold, variant: str, split: Literal["train", "dev"]) -> Row | None:
    taught = lesson(compiled, gold)
    if taught is None:
        return None
    question = compiled.ask(gold.content)
    start = question.user.index(f'"{question.shown}"') + 1
    return Row(
        id=f"{well_formed(gold.content.id)}/{variant}",
        split=split,
        label=taught.label,
        policy=compiled.policy.name,
        policy_digest=compiled.policy.digest,
        prompt_digest=compiled.digest,
        family=compiled.family.name,
        format=compiled.format,
        rules={rule: gold.rules[rule] for rule in compiled.format.rules if rule in gold.rules},
        variant=variant,
        source=gold.source,
        text_digest=text_digest(gold.content.text),
        messages=chat(compiled.system, question.user, taught.parts),
        slot=(start, start + len(question.shown)),
        parts=taught.parts,
        whole=taught.whole,
    )
