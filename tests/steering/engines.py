"""Engines that read the prompt of the default family and do with it what moderators do, rightly or wrongly.

The policy under test speaks of words: ``Violates: the word "pear"``. A moderator that follows it flags texts that hold a quoted
word of a rule's *Violates*, unless an exception names a tag or a surface that the content has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moderator.engines import Completion, EngineDescription
from moderator.engines.scripted import ScriptedEngine
from moderator.policy import Policy
from moderator.policy.parse import parse_policy
from moderator.prompt import Prompt


@dataclass(frozen=True)
class Section:
    """A rule or an exception, as the prompt shows it."""

    id: str
    title: str
    body: str

    def words(self, heading: str) -> list[str]:
        """The quoted words under a heading of a rule."""
        listed = re.search(rf"^{heading}:\n((?:- .*\n)*)", self.body, re.MULTILINE)
        return re.findall(r'"([^"]+)"', listed[1]) if listed else []


@dataclass(frozen=True)
class Shown:
    """What a prompt shows of policy and content."""

    rules: tuple[Section, ...]
    exceptions: tuple[Section, ...]
    text: str
    surface: str

    @classmethod
    def of(cls, prompt: Prompt) -> Shown:
        rules = re.search(r"## Rules\n(.*)\n## Exceptions\n", prompt.system, re.DOTALL)
        exceptions = re.search(r"## Exceptions\n(.*)\n## Escalation\n", prompt.system, re.DOTALL)
        assert rules
        assert exceptions
        surface = re.search(r'^surface: "?(\w+)', prompt.user, re.MULTILINE)
        text = json.loads(prompt.user.rstrip().rsplit("\n", 1)[-1])
        return cls(_sections(rules[1]), _sections(exceptions[1]), text, surface[1] if surface else "")

    def broken(self, rules: Sequence[Section] | None = None) -> list[str]:
        """The rules with a word of their *Violates* in the text."""
        return [
            rule.id
            for rule in (self.rules if rules is None else rules)
            if any(re.search(rf"\b{word}\b", self.text) for word in rule.words("Violates"))
        ]

    def excused(self) -> list[str]:
        """The exceptions whose tag stands in the text, or whose surface the content is on."""
        found = []
        for exception in self.exceptions:
            tags, surfaces = re.findall(r"#\w+", exception.body), re.findall(r"surface (\w+)", exception.body)
            if any(tag in self.text for tag in tags) or self.surface in surfaces:
                found.append(exception.id)
        return found

    def answer(self, rules: Sequence[str] = (), exceptions: Sequence[str] = ()) -> str:
        """The whole answer of a moderator that found these."""
        if not rules:
            return '{"violates":"no"}'
        value: dict[str, object] = {
            "violates": "exception" if exceptions else "yes",
            "rules": [{"id": rule, "quote": self.text[:20]} for rule in rules],
        }
        if self.exceptions:
            value["exceptions"] = list(exceptions)
        return json.dumps({**value, "rationale": ""}, ensure_ascii=False, separators=(",", ":"))


def _sections(text: str) -> tuple[Section, ...]:
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        head, body = part.split("\n", 1)
        name, title = head.split(" ", 1)
        found.append(Section(name, title, body))
    return tuple(found)


Reader = Callable[[Shown], str]


def follows(shown: Shown) -> str:
    """Does what the policy says."""
    rules = shown.broken()
    return shown.answer(rules, shown.excused() if rules else [])


def ignores(shown: Shown) -> str:
    """Flags fruit, whatever the policy says of it."""
    fruit = re.search(r"\b(pear|plum|fig)\b", shown.text)
    return shown.answer([shown.rules[0].id] if fruit else [])


def first_rule_only(shown: Shown) -> str:
    """Reads no further than the first rule."""
    return shown.answer(shown.broken(shown.rules[:1]), shown.excused())


def obeys(shown: Shown) -> str:
    """Does what the content says before it does what the policy says."""
    if re.search(r"Ignore the rules|SYSTEM:|approved|no moderator|violates\"|Vergiss|breaks no rule|# Answer", shown.text):
        return shown.answer(["F1"] if "violates the first" in shown.text else [])
    return follows(shown)


def reads_little(shown: Shown) -> str:
    """Finds nothing in a text of some length, whatever it is made of."""
    return follows(shown) if len(shown.text) < 50 else shown.answer()


def by_id(shown: Shown) -> str:
    """Has learned the ids of the rules by heart."""
    return shown.answer(shown.broken([rule for rule in shown.rules if rule.id in ("F1", "F2", "F3")]), shown.excused())


def cites_by_heart(shown: Shown) -> str:
    """Follows the policy, and cites the first rule of those it has, whichever is broken."""
    return shown.answer([sorted(rule.id for rule in shown.rules)[0]] if shown.broken() else [], shown.excused())


def by_wording(shown: Shown) -> str:
    """Knows rules by their titles."""
    return shown.answer(shown.broken([rule for rule in shown.rules if rule.title.startswith("Talk")]), shown.excused())


def no_exceptions(shown: Shown) -> str:
    """Follows the rules and reads no exceptions."""
    return shown.answer(shown.broken())


def any_exception(shown: Shown) -> str:
    """Lets everything through as soon as there is a second exception."""
    return shown.answer(shown.broken(), [exception.id for exception in shown.exceptions[1:]])


def any_mark(shown: Shown) -> str:
    """Takes any tag and any surface for the one that the second exception names."""
    marked = "#" in shown.text or shown.surface
    return shown.answer(shown.broken(), [exception.id for exception in shown.exceptions[1:] if marked])


def any_tag(shown: Shown) -> str:
    """Takes any tag for the one of recipes."""
    return shown.answer(shown.broken(), [exception.id for exception in shown.exceptions[:1] if "#" in shown.text])


def counts_rules(shown: Shown) -> str:
    """Gives up as soon as a rule is missing."""
    return follows(shown) if len(shown.rules) == 3 else shown.answer()


def flags_all(shown: Shown) -> str:
    return shown.answer([shown.rules[0].id])


def flags_nothing(shown: Shown) -> str:
    return shown.answer()


def engine(reader: Reader) -> ScriptedEngine:
    """An engine that answers with what the reader makes of a prompt; a text with ``broken`` in it fails."""

    def complete(prompt: Prompt) -> str | Completion:
        shown = Shown.of(prompt)
        if "broken" in shown.text:
            return Completion(problem="timeout", detail="no answer after 3 s")
        return reader(shown)

    return ScriptedEngine(complete, name=reader.__name__)


class Counting(ScriptedEngine):
    """Follows the policy, and counts what it was asked and how often it was closed."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: follows(Shown.of(prompt)))
        self.asked: list[tuple[str, str]] = []
        self.closed = 0
        self.description = EngineDescription(engine="counting", model="counting", batch=8)

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        self.asked += [(prompt.system, prompt.user) for prompt in prompts]
        return super().complete(prompts)

    def close(self) -> None:
        self.closed += 1


class Follower(ScriptedEngine):
    """For the command line, by its dotted path."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: follows(Shown.of(prompt)), name="follower")


class Ignorer(ScriptedEngine):
    """The same, and it flags fruit whatever the policy says."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: ignores(Shown.of(prompt)), name="ignorer")


FRUIT = {"F1": ("pear", "leek"), "F2": ("plum", "kale"), "F3": ("fig", "chard")}
"""For each rule, the word that violates and the one that does not."""


_RULE = """### {rule} Talk of {bad}s
- Severity: low
- Action: hide

Speaking of {bad}s, which is false and bad for people.

#### Violates
- The word "{bad}".

#### Does not violate
- The word "{good}".

#### Examples
{examples}
"""

_DOCUMENT = """---
policy: fruit
version: 1.0.0
title: Fruit
status: active
owner: policy@example.com
prefix: F
---

# Fruit

## Rules

{rules}
## Exceptions

### X1 Recipes
- Covers: F1, F2, F3
- Requires: the text has the tag #recipe
- Outcome: allow

Posts with the tag #recipe.

## Precedence
1. F3 > F1

## Notices
- F1: "We hid it under F1."
"""


def document(examples: int = 12) -> str:
    """A policy about fruit, with so many examples of both signs for each rule."""
    rules = []
    for rule, (bad, good) in FRUIT.items():
        lines = [f'- violates: "A {bad} for number {n}, {rule}" – fruit' for n in range(examples)]
        lines += [f'- allowed: "Some {good} for number {n}, {rule}" – no fruit' for n in range(examples)]
        rules.append(_RULE.format(rule=rule, bad=bad, good=good, examples="\n".join(lines)))
    return _DOCUMENT.format(rules="\n".join(rules))


def fruit(examples: int = 12) -> Policy:
    return parse_policy(document(examples))
