"""From labelled examples and policies to training groups: one prompt prefix, many contents, each with its answer."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import yaml

from finetune.nano import policies
from finetune.nano.policies import HERE, WORDS, Ruling, Stance
from finetune.nano.prepare import Example
from moderator.answer import Finding, RuleFinding
from moderator.content import Content, Turn
from moderator.prompt import Family, Prompt, Question, compile_prompt
from moderator.quoting import chunks, literal, visible

SURFACES = ("post", "comment", "message", "profile", "livestream")
SLOT = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Mark:
    """Where an id that people settled stands in an answer; `head`: 0 for a rule, 1 for an exception, 2 for an escalation."""

    start: int
    end: int
    name: str
    head: int


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


@dataclass(frozen=True)
class Group:
    system: str
    items: tuple[Item, ...]


def written_lines() -> list[tuple[Example, str]]:
    """The written texts as (example, line with slots); a quarter of the lines is of the test split."""
    found = []
    for entry in yaml.safe_load((HERE / "written.yaml").read_text()):
        broken, excused = frozenset(entry["broken"]), entry.get("excused", "")
        doubt = policies.ATTACK if entry.get("doubt") else frozenset()
        domains = {topic.split(".")[0] for topic in broken}
        grey = (policies.ATTACK if domains & {"hate", "harassment", "violence", "sexual"} else frozenset()) - domains
        for line in entry["lines"]:
            test = int(hashlib.sha256(line.encode()).hexdigest(), 16) % 4 == 0
            found.append(
                (
                    Example("", "written", "test" if test else "train", broken, frozenset(grey), excused=excused, doubt=doubt),
                    line,
                )
            )
    return found


def fill(draw: random.Random, line: str) -> str:
    """The line with one of the alternatives of each slot."""
    return " ".join(SLOT.sub(lambda slot: draw.choice(slot[1].split("|")), line).split())


def filled(draw: random.Random, times: int) -> list[Example]:
    """The written texts of the training split, each filled a few times."""
    lines = [(example, line) for example, line in written_lines() if example.split == "train"]
    return [replace(example, text=fill(draw, line)) for example, line in lines for _ in range(times)]


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


def quote_of(example: Example, limit: int = 160) -> str:
    """What to quote: the people's span, else a short text whole, else one of its sentences."""
    text = visible(example.text)
    spans = [snap(visible(span), text) for span in example.quotes]
    pieces = [
        *spans,
        *([text.strip()] if len(text) <= 120 else []),
        *re.split(r"(?<=[.!?\n]) +|\n", text),
        " ".join(text.split(" ")[:15]),
    ]
    shown = literal(example.text)[1:-1]
    for piece in pieces:
        piece = piece.strip()
        written = literal(piece)[1:-1]
        if (
            (piece in spans or len(piece) > 15 or piece == text.strip())
            and piece
            and len(written) <= limit
            and written in shown
            and set(chunks(written)) <= set(chunks(shown))
        ):
            return piece
    return ""


def rationale(draw: random.Random, stance: Stance, example: Example, ruling: Ruling, quote: str) -> str:
    """One short sentence that says why, at most 160 characters."""
    words = quote.split()
    short = " ".join(words[:6]) if len(quote) > 48 else quote
    short = short[:60]
    domain = next((topic.split(".")[0] for topic in sorted(example.broken)), "")
    match ruling.label:
        case "yes":
            said = f'"{short}" fits {ruling.rules[0]}, {stance.policy.rule(ruling.rules[0]).title}.'
        case "exception":
            excuse = stance.policy.exception(ruling.exceptions[0])
            said = f'"{short}" fits {ruling.rules[0]}, but {excuse.id}, {excuse.title}, covers it.'
        case "unknown":
            said = "It depends on earlier messages that are not shown."
        case "none":
            said = f"Harmful, but no rule covers {WORDS['names'][domain]}."
        case _ if domain:
            said = "No rule fits: " + draw.choice(WORDS["reasons"]["other"]).format(WORDS["names"][domain])
        case _:
            said = "No rule fits: " + draw.choice(WORDS["reasons"]["plain"])
    return said[:160]


ID = re.compile(r'"id":"(\w+)"|(?<=[\[,])"([XE]\d+)"')


def answer(draw: random.Random, question: Question, stance: Stance, example: Example, ruling: Ruling, cut: float) -> Item:
    """The content under the policy with its answer written out."""
    form = question.compiled.format
    quote = quote_of(example) if ruling.rules else ""
    finding = Finding(
        label=ruling.label, rules=tuple(RuleFinding(name, quote) for name in ruling.rules), exceptions=ruling.exceptions,
        escalations=ruling.escalations, missing=("thread",) if ruling.label == "unknown" else (),
        rationale=rationale(draw, stance, example, ruling, quote) if form.mode == "reasoned" else "",
    )  # fmt: skip
    text = form.write(finding)
    start = text.rindex(f'"violates":"{ruling.label}"') + len('"violates":"')
    marks = []
    for found in ID.finditer(text, start):
        group = 1 if found[1] else 2
        head = 0 if group == 1 else 1 if found[2].startswith("X") else 2
        if ruling.sure or group == 2:
            marks.append(Mark(*found.span(group), found[group], head))
    meant = ruling.rules if ruling.sure else stance.about(example)
    points = (meant, ruling.exceptions, ruling.escalations)
    short = form.mode == "fast" and draw.random() < cut
    return Item(example, question.label(), text, (start, start + len(ruling.label)), tuple(marks), points, short)


class Pools:
    """Examples by source and by what their labels say, each drawn round and round in a shuffled order."""

    def __init__(self, examples: Sequence[Example], draw: random.Random, caps: dict[str, int]) -> None:
        self.draw = draw
        self.lines = [pair for pair in written_lines() if pair[0].split == "train"]
        buckets: dict[tuple, list[Example]] = defaultdict(list)
        shuffled = draw.sample(list(examples), len(examples))
        left = dict(caps)
        for example in shuffled:
            if len(example.text) > 420 or left.get(example.source, 1) <= 0:
                continue
            if example.source in left and not example.broken:
                left[example.source] -= 1
            buckets[(example.source, example.broken, example.unsure, example.excused, example.doubt)].append(example)
        self.buckets = {key: (members, iter(self._round(members))) for key, members in buckets.items()}
        for index, (example, line) in enumerate(self.lines):
            self.buckets["written", index] = ([replace(example, text=line)], iter(self._written(example, line)))

    def _round(self, members: list[Example]) -> Iterator[Example]:
        while True:
            yield from self.draw.sample(members, len(members))

    def _written(self, example: Example, line: str) -> Iterator[Example]:
        while True:
            yield replace(example, text=fill(self.draw, line))

    def sides(self, stance: Stance) -> dict[str, dict[str, list[tuple]]]:
        """For a policy: by source and by label, the buckets of that label."""
        found: dict[str, dict[str, list[tuple]]] = defaultdict(lambda: defaultdict(list))
        for key, (members, _) in self.buckets.items():
            if ruling := policies.judge(stance, members[0]):
                found[members[0].source][ruling.label].append(key)
        return found

    def take(self, keys: list[tuple]) -> Example:
        """An example of these buckets, large ones more often, but less than their size says."""
        sizes = [len(self.buckets[key][0]) ** 0.75 for key in keys]
        return next(self.buckets[self.draw.choices(keys, sizes)[0]][1])


TRUST = {
    "hatexplain": 1.5,
    "edos": 1.5,
    "hatemoji": 0.7,
    "davidson": 0.6,
    "written": 0.5,
    "toxic-spans": 1.3,
    "misogyny": 1.0,
    "convabuse": 1.0,
    "context-toxicity": 0.5,
}


def choose(draw: random.Random, pools: Pools, sides: dict, size: int, elsewhere: float) -> list[Example]:
    """Contents for a policy: a source of violations gives as many innocents; the share `elsewhere` breaks other rules only."""
    able = [source for source, labels in sides.items() if labels["yes"]]
    reach = {
        source: sum(len(pools.buckets[key][0]) for key in sides[source]["yes"]) ** 0.4 * TRUST.get(source, 1.0)
        for source in able
    }
    chosen = []
    anything = [key for labels in sides.values() for key in (*labels["no"], *labels["none"])]
    innocent = [key for key in anything if key[0] == "written"] or anything
    other = [key for key in anything if pools.buckets[key][0][0].broken]
    doubtful = [key for labels in sides.values() for key in labels["unknown"]]
    excused = [key for labels in sides.values() for key in labels["exception"]]
    for _ in range(size):
        if other and draw.random() < elsewhere:
            chosen.append(pools.take(other))
            continue
        roll = draw.random()
        source = draw.choices(able, [reach[name] for name in able])[0] if able else ""
        if roll < 0.08 and doubtful:
            chosen.append(pools.take(doubtful))
        elif roll < 0.11 and excused:
            chosen.append(pools.take(excused))
        elif roll < 0.55 and source:
            chosen.append(pools.take(sides[source]["yes"]))
        elif roll < 0.85 and source:
            chosen.append(pools.take(sides[source]["no"] or innocent))
        elif innocent and roll < 0.9:
            chosen.append(pools.take(innocent))
        elif anything:
            chosen.append(pools.take(anything))
    return chosen


def dressed(draw: random.Random, example: Example) -> Example:
    """Sometimes the example in quotation, fiction or lesson; sometimes in other letters."""
    if not example.doubt and not example.excused and len(example.text) < 140 and not example.thread and draw.random() < 0.16:
        kind = draw.choice(("quoted", "quoted", "quoted", "fiction", "education", "endorsed"))
        text = draw.choice(WORDS["wraps"][kind]).format(example.text)
        return replace(example, text=text, excused="" if kind == "endorsed" else kind)
    if draw.random() < 0.25:
        change = draw.choice((str.lower, str.capitalize))
        return replace(
            example,
            text=change(example.text),
            quotes=tuple(change(quote) if change is str.lower else quote for quote in example.quotes),
        )
    return example


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
    forms = {mode: compile_prompt(stance.policy, family, mode) for mode in ("fast", "reasoned")}
    items = []
    for example in {example.text: example for example in choose(draw, pools, pools.sides(stance), size, elsewhere)}.values():
        example = dressed(draw, example)
        ruling = policies.judge(stance, example)
        if ruling is None or (ruling.label in ("yes", "exception") and not quote_of(example)):
            continue
        compiled = forms["reasoned" if draw.random() < reasoned else "fast"]
        facts = {"surface": draw.choice(SURFACES)} if draw.random() < 0.3 else {}
        thread = tuple(Turn(text=turn) for turn in example.thread) if draw.random() < 0.8 else ()
        question = compiled.ask(Content(id="x", text=example.text, thread=thread, facts=facts))
        items.append(answer(draw, question, stance, example, ruling, cut))
    return Group(forms["fast"].system, tuple(items)) if items else None
