"""Texts with slots, filled anew at each draw: functional templates (templates.yaml) and written lines (written.yaml)."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import yaml

from finetune.nano.prepare import Example
from finetune.nano.stance import ATTACK, HERE

SLOT = re.compile(r"\{([^{}]*)\}")
NAMED = re.compile(r"\{([A-Za-z]+)\}")
PAIRED = {"group": ("groups", "plural"), "member": ("groups", "singular"),
          "profession": ("professions", "plural"), "worker": ("professions", "singular")}  # fmt: skip
LISTS = {"thing": "things", "club": "clubs", "hobby": "hobbies", "name": "names", "place": "places", "product": "products",
         "company": "companies", "bank": "banks", "belief": "beliefs", "institution": "institutions"}  # fmt: skip
ABOUT = {
    "group": ("hate",), "self": ("hate",), "hate": ("hate",), "criticism": ("hate",), "nonprotected": (), "animals": (),
    "insult": ("harassment",), "threat": ("violence", "harassment"), "figurative": ("violence",), "profanity": ("toxicity",),
    "spam": ("spam",), "customer": ("spam",), "real": ("spam",), "bank": ("spam",), "scam": ("spam",), "prize": ("spam",),
    "engage": ("spam",),
}  # fmt: skip
"""The subject of a function, by the first word of its name."""


@dataclass(frozen=True)
class Line:
    """A text with slots, and its labels; `women` says that a group of it is one of women."""

    name: str
    example: Example
    text: str
    women: bool = False


@cache
def bank() -> dict:
    return yaml.safe_load((HERE / "templates.yaml").read_text())


def written_lines() -> list[tuple[Example, str]]:
    """The written texts as (example, line with slots); a quarter of the lines is of the test split."""
    found = []
    for entry in yaml.safe_load((HERE / "written.yaml").read_text()):
        broken, excused = frozenset(entry["broken"]), entry.get("excused", "")
        doubt = ATTACK if entry.get("doubt") else frozenset()
        domains = frozenset(topic.split(".")[0] for topic in broken)
        example = Example("", "written", "train", broken, grey(domains), excused=excused, doubt=doubt, about=domains)
        for line in entry["lines"]:
            test = int(hashlib.sha256(line.encode()).hexdigest(), 16) % 4 == 0
            found.append((replace(example, split="test" if test else "train"), line))
    return found


def grey(domains: frozenset[str]) -> frozenset[str]:
    """What a text that breaks rules of these domains leaves open: other kinds of attack."""
    return (ATTACK if domains & {"hate", "harassment", "violence", "sexual"} else frozenset()) - domains


def fill(draw: random.Random, line: str) -> str:
    """The line with one of the alternatives of each slot."""
    return " ".join(SLOT.sub(lambda slot: draw.choice(slot[1].split("|")), line).split())


def fill_named(draw: random.Random, line: str, women: bool | None = None) -> str:
    """The line with its named slots, each drawn once; then its alternatives. `women`: the group is (not) one of women."""
    drawn: dict[str, Mapping[str, str] | str] = {}

    def value(slot: re.Match[str]) -> str:
        name = slot[1].lower()
        if name in PAIRED:
            kind, form = PAIRED[name]
            pool = bank()["slots"][kind]
            if kind == "groups" and women is not None:
                pool = [entry for entry in pool if (entry.get("domain") == "sexism") is women]
            said = drawn.setdefault(kind, draw.choice(pool))[form]
        elif name in LISTS:
            said = drawn.setdefault(name, draw.choice(bank()["slots"][LISTS[name]]))
        else:
            return slot[0] if "|" in slot[1] else slot[1]
        return said[0].upper() + said[1:] if slot[1][0].isupper() else said

    return fill(draw, NAMED.sub(value, line))


@cache
def functional_lines() -> tuple[Line, ...]:
    """Every functional template; one with a group twice, for groups of women and for the others."""
    found = []
    for entry in bank()["functions"]:
        about = frozenset(ABOUT[entry["name"].split("-")[0]])
        example = Example(
            "", "templates", broken=frozenset(entry["broken"]), unsure=frozenset(entry.get("unsure", ())),
            excused=entry["excused"], about=about,
        )  # fmt: skip
        sexist = replace(
            example, about=about | {"sexism"},
            broken=frozenset(topic.replace("hate.", "sexism.") for topic in example.broken),
        )  # fmt: skip
        for text in entry["templates"]:
            slots = {slot.lower() for slot in NAMED.findall(text)}
            found.append(Line(entry["name"], example, text))
            if slots & {"group", "member"}:
                found.append(Line(f"{entry['name']}-women", sexist, text, women=True))
    return tuple(found)


def drawn(draw: random.Random, line: Line) -> Example:
    """A functional template filled."""
    return replace(line.example, text=fill_named(draw, line.text, line.women))


def sample(draw: random.Random, fills: int) -> list[Example]:
    """Written lines (`fills` times each) and functional templates (a quarter as often, at least once) filled, for a stage that
    needs plain lists."""
    texts = [
        replace(example, text=fill(draw, line))
        for example, line in written_lines()
        if example.split == "train"
        for _ in range(fills)
    ]
    texts += [drawn(draw, line) for line in functional_lines() for _ in range(max(1, fills // 4))]
    return list({example.text: example for example in texts}.values())
