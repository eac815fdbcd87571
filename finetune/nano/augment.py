"""From labelled examples and policies to training groups: one prompt prefix, many contents, each with its answer."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from finetune.nano import policies
from finetune.nano.dress import dressed, under
from finetune.nano.pools import Choice, Pools
from finetune.nano.prepare import Example
from finetune.nano.stance import Ruling, Stance, judge
from finetune.nano.templates import fill, written_lines
from finetune.nano.topical import About, Closeness, unknown
from moderator.answer import Finding, RuleFinding
from moderator.content import Content, Turn
from moderator.prompt import Family, Prompt, Question, compile_prompt
from moderator.quoting import chunks, literal, visible

__all__ = ["Group", "Item", "Mark", "Pools", "answer", "dressed", "fill", "groups", "make_group", "quote_of", "written_lines"]


@dataclass(frozen=True)
class Mark:
    """Where an id stands in an answer; `kind`: 0 for a rule, 1 for an exception, 2 for an escalation; `sure`: whether people's
    labels settle that it is this one."""

    start: int
    end: int
    name: str
    kind: int
    sure: bool


@dataclass(frozen=True)
class Item:
    """A content under a policy, and its answer; `label` is where the label stands in it."""

    example: Example
    prompt: Prompt
    answer: str
    label: tuple[int, int]
    marks: tuple[Mark, ...]
    points: tuple[tuple[str, ...], ...]
    """The rules, exceptions and escalations that the label follows from."""
    cut: bool
    """Train on the answer up to its label only."""
    rest: str = ""
    """The grammar of what follows the label, as serving asks for it; empty where the answer is cut."""

    @property
    def said(self) -> str:
        """The label."""
        return self.answer[slice(*self.label)]


@dataclass(frozen=True)
class Group:
    """Contents behind one system turn; `twin`: the same contents came just before, with a rule more."""

    system: str
    items: tuple[Item, ...]
    stance: Stance
    twin: bool = False


def snap(quote: str, text: str) -> str:
    """The quote, grown to whole words of the text; empty when it is not there."""
    start = text.find(quote)
    if start < 0 or not quote:
        return ""
    end = start + len(quote)
    while start and (text[start - 1].isalnum() or text[start - 1] == "_") and text[start].isalnum():
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_") and text[end - 1].isalnum():
        end += 1
    return text[start:end].strip()


def stands(wanted: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether these pieces follow each other somewhere in the whole, which is what may be quoted."""
    return any(list(whole[start : start + len(wanted)]) == list(wanted) for start in range(len(whole) - len(wanted) + 1))


def quote_of(example: Example, limit: int = 160, shown: str = "") -> str:
    """What to quote: what is known to show it, the people's span, else a short text whole, else one of its sentences.

    A space before it is quoted too (serving takes it off again): so the tokens of a quote are those of the content.
    """
    text = visible(example.text)
    core = core if (core := visible(example.core)) and core in text else text
    spans = [snap(visible(span), text) for span in (shown, *example.quotes)]
    pieces = [
        *spans,
        *([core.strip()] if len(core) <= 120 else []),
        *re.split(r"(?<=[.!?\n]) +|\n", core),
        " ".join(core.split(" ")[:15]),
    ]
    whole = chunks(literal(example.text)[1:-1])
    for piece in pieces:
        piece = piece.strip()
        written = literal(piece)[1:-1]
        if (
            (piece in spans or len(piece) > 15 or piece == core.strip())
            and piece
            and len(written) <= limit
            and stands(chunks(written), whole)
        ):
            spaced = len(written) < limit and stands(chunks(f" {written}"), whole)
            return f" {piece}" if spaced else piece
    return ""


def quote_for(stance: Stance, name: str, example: Example) -> str:
    """What to quote for a rule."""
    test = stance.tests.get(name)
    return quote_of(example, shown=test.evidence(example) if test else "")


ID = re.compile(r'"id":"(\w+)"|(?<=[\[,])"([XE]\d+)"')


def answer(draw: random.Random, question: Question, stance: Stance, example: Example, ruling: Ruling, cut: float) -> Item:
    """The content under the policy with its answer written out."""
    form = question.compiled.format
    quotes = [quote_for(stance, name, example) for name in ruling.rules]
    finding = Finding(
        label=ruling.label, rules=tuple(map(RuleFinding, ruling.rules, quotes)), exceptions=ruling.exceptions,
        escalations=ruling.escalations, missing=("thread",) if ruling.label == "unknown" else (),
    )  # fmt: skip
    text = form.write(finding)
    start = text.rindex(f'"violates":"{ruling.label}"') + len('"violates":"')
    marks = []
    for found in ID.finditer(text, start):
        group = 1 if found[1] else 2
        kind = 0 if group == 1 else 1 if found[2].startswith("X") else 2
        marks.append(Mark(*found.span(group), found[group], kind, ruling.sure or group == 2))
    short = form.mode == "fast" and draw.random() < cut
    label = (start, start + len(ruling.label))
    rest = "" if short else question.rest(ruling.label).task.grammar
    return Item(example, question.label(), text, label, tuple(marks), points(stance, example, ruling), short, rest)


def points(stance: Stance, example: Example, ruling: Ruling) -> tuple[tuple[str, ...], ...]:
    """The rules, exceptions and escalations that the label follows from."""
    return (ruling.rules if ruling.sure else stance.about(example), ruling.exceptions, ruling.escalations)


def settled(stance: Stance, example: Example) -> Ruling | None:
    """The ruling, if there is one and what it points at can be quoted."""
    ruling = judge(stance, example)
    return None if ruling and ruling.rules and not quote_of(example) else ruling


def candidate(draw: random.Random, choice: Choice, stance: Stance, elsewhere: float, breaks: bool) -> Example | None:
    """A content for the policy, dressed, that should (not) break one of its rules."""
    tested = bool(stance.tests) and (not stance.covered or draw.random() < 0.4)
    if not tested:
        example = choice.breaking(draw) if breaks else choice.keeping(draw, elsewhere)
        return example and under(draw, stance, example, False)
    topics = [test for test in stance.tests.values() if isinstance(test, About)]
    example = choice.pools.on_topic(draw.choice(topics)) if breaks and topics else choice.pools.anything()
    return example and under(draw, stance, example, breaks)


def contents(
    draw: random.Random, pools: Pools, stance: Stance, size: int, elsewhere: float, share: float
) -> list[tuple[Example, Ruling]]:
    """Contents for a policy, dressed, each with the ruling that follows; about the given share breaks a rule, no text twice."""
    choice, found, seen = Choice.of(pools, stance), {}, set()
    for _ in range(size):
        breaks = draw.random() < share
        for _ in range(5):
            example = candidate(draw, choice, stance, elsewhere, breaks)
            ruling = settled(stance, example) if example else None
            known = example and (example.origin or example.text) in seen
            if ruling and (ruling.label in ("yes", "exception")) is breaks and not known:
                found[example.text] = (example, ruling)
                seen.add(example.origin or example.text)
                break
    return list(found.values())


def share_of(stance: Stance) -> float:
    """How many contents should break a rule; more where an exception excuses half of them."""
    return 0.68 if stance.waivers else 0.5


def group_of(
    draw: random.Random, stance: Stance, judged: Sequence[tuple[Example, Ruling]], family: Family, reasoned: float, cut: float,
    twin: bool = False,
) -> Group:  # fmt: skip
    """The contents under the policy, with their answers written out."""
    forms = {mode: compile_prompt(stance.policy, family, mode) for mode in ("fast", "reasoned")}
    items = []
    for example, ruling in judged:
        compiled = forms["reasoned" if draw.random() < reasoned else "fast"]
        facts = {"surface": example.surface} if example.surface else {}
        thread = tuple(Turn(text=turn) for turn in example.thread)
        question = compiled.ask(Content(id="x", text=example.text, thread=thread, facts=facts))
        items.append(answer(draw, question, stance, example, ruling, cut))
    return Group(forms["fast"].system, tuple(items), stance, twin)


def make_group(
    draw: random.Random,
    pools: Pools,
    stance: Stance,
    family: Family,
    size: int,
    reasoned: float,
    cut: float,
    elsewhere: float = 0.0,
) -> Group | None:
    """A training group for one policy."""
    judged = contents(draw, pools, stance, size, elsewhere, share_of(stance))
    for example, ruling in judged:
        pools.note(example, ruling)
    return group_of(draw, stance, judged, family, reasoned, cut) if judged else None


def twin(draw: random.Random, stance: Stance, judged: Sequence[tuple[Example, Ruling]], closeness: Closeness) -> Stance | None:
    """The policy without the rule that most of the contents break, and mostly with one instead that others of them
    break; None where no rule is broken."""
    broken = Counter(rule for _, ruling in judged if ruling.label == "yes" and ruling.sure for rule in ruling.rules[:1])
    if not broken:
        return None
    lost = broken.most_common(1)[0][0]
    kept = Counter(topic for example, ruling in judged if ruling.label in ("no", "none") for topic in example.broken)
    wanted = draw.choices(list(kept), list(kept.values()))[0] if kept and draw.random() < 0.9 else ""
    return policies.without(draw, stance, lost, wanted, closeness)


def make_twins(
    draw: random.Random, pools: Pools, stance: Stance, family: Family, size: int, reasoned: float, cut: float,
    elsewhere: float, closeness: Closeness,
) -> list[Group]:  # fmt: skip
    """Two groups with the same contents, the second under the policy's `twin`. One group where no rule is broken."""
    judged = contents(draw, pools, stance, size, elsewhere, share_of(stance))
    less = twin(draw, stance, judged, closeness)
    if not less:
        return [group] if (group := make_group(draw, pools, stance, family, size, reasoned, cut, elsewhere)) else []
    both = [(example, ruling, other) for example, ruling in judged if (other := settled(less, example))]
    for example, ruling, other in both:
        pools.note(example, ruling)
        pools.note(example, other)
    if not both:
        return []
    return [
        group_of(draw, stance, [(example, ruling) for example, ruling, _ in both], family, reasoned, cut),
        group_of(draw, less, [(example, other) for example, _, other in both], family, reasoned, cut, twin=True),
    ]


def groups(
    draw: random.Random, pools: Pools, known: Sequence[Stance], family: Family, config: Mapping, closeness: Closeness = unknown
) -> Iterator[Group]:
    """Groups without end. `config`: `group` (contents), `reasoned`, `cut`, `elsewhere`; `shares` of the kinds of policies and
    `twins`, the share of policies that are followed by themselves without a rule, may be left out."""
    while True:
        stance = policies.draw_stance(draw, known, config.get("shares"), closeness)
        given = (config["group"], config["reasoned"], config["cut"], config["elsewhere"])
        if not stance.inverted and draw.random() < config.get("twins", 0.3):
            yield from make_twins(draw, pools, stance, family, *given, closeness)
        elif group := make_group(draw, pools, stance, family, *given):
            yield group
