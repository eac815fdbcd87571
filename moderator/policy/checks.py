"""Checks of what a policy says: its rules, examples, exceptions, precedence and notices against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from itertools import pairwise

from moderator.policy.document import Document, Line, nearest
from moderator.policy.findings import Finding
from moderator.policy.model import Example, Policy, Rule

NOTICE_CHARS = 2000
"""What a statement of reasons may hold."""
_REUSED_BELOW = 0.3
_CONDITION_WORDS = 5
"""Prose of fewer words does not say when an exception applies."""


def check_policy(file: str, policy: Policy, document: Document | None = None) -> Iterator[Finding]:
    """All checks that need the policy alone; the document, if there is one, gives the lines of what has none in the value."""
    yield from _examples(file, policy)
    yield from _exceptions(file, policy)
    yield from _surfaces(file, policy, document)
    yield from _precedence(file, policy, document)
    yield from _notices(file, policy, document)


def check_leaks(file: str, rules: Iterable[Rule], suite_texts: Iterable[str]) -> Iterator[Finding]:
    """Examples that are also suite items: a suite measures nothing on a text that the prompt answers."""
    held_out = {normalised(text) for text in suite_texts}
    for rule in rules:
        for example in rule.examples:
            if normalised(example.text) in held_out:
                what = f"example of `{rule.id}` is also in a suite: `{example.text[:40]}`"
                yield Finding(file, example.line, "P204", what, "replace one of the two")


def check_reused(file: str, policy: Policy, previous: Policy) -> Iterator[Finding]:
    """Ids that the previous version gave to a rule with another title and a text that has little in common."""
    before = {rule.id: rule for rule in previous.rules}
    for rule in policy.rules:
        old = before.get(rule.id)
        if old is None or normalised(old.title) == normalised(rule.title):
            continue
        alike = SequenceMatcher(None, normalised(old.text).split(), normalised(rule.text).split(), autojunk=False).ratio()
        if alike < _REUSED_BELOW:
            what = f"`{rule.id}` was `{old.title}` in {previous.version}, here `{rule.title}`"
            yield Finding(file, rule.line, "P508", what, "give the new rule a new id: old decisions and suites name this one")


def line_of(document: Document | None, section: str, text: str) -> int:
    """The first line of a section that holds the text; 0 where there is none."""
    blocks = [inner for block in document.blocks for inner in (block, *block.blocks)] if document else []
    body: Iterable[Line] = (line for block in blocks if block.title == section for line in block.body)
    return next((line.number for line in body if text in line.text), 0)


def normalised(text: str) -> str:
    """A text as it is compared: without case and white space."""
    return " ".join(text.split()).casefold()


def _examples(file: str, policy: Policy) -> Iterator[Finding]:
    first: dict[str, tuple[Rule, Example]] = {}
    for rule in policy.rules:
        labels = {example.label for example in rule.examples}
        if missing := [label for label in ("violates", "allowed") if label not in labels]:
            what = f"rule `{rule.id}` has no example with the label {' or '.join(f'`{label}`' for label in missing)}"
            yield Finding(file, rule.line, "P201", what, f'add `- {missing[0]}: "text"` to `#### Examples`, near the line')
        for example in rule.examples:
            other, seen = first.setdefault(normalised(example.text), (rule, example))
            if seen.label != example.label:
                where = f"{seen.label} under `{other.id}`" + (f" in line {seen.line}" if seen.line else "")
                what = f"example `{example.text[:40]}` is {example.label} under `{rule.id}`, {where}"
                code = "P202" if other.id == rule.id else "P203"
                yield Finding(file, example.line, code, what, "change the text of one of the two, or its label")
        yield from _deciders(file, policy, rule)


def _deciders(file: str, policy: Policy, rule: Rule) -> Iterator[Finding]:
    for example in rule.examples:
        if example.label == "allowed" and example.decided_by:
            exception = policy.exception(example.decided_by)
            if not exception.waives(rule.id):
                what = f"example of `{rule.id}` is allowed by `{exception.id}`, which does not cover `{rule.id}`"
                yield Finding(file, example.line, "P205", what, f"`{exception.id}` covers {_listed(exception.covers)}")


def _exceptions(file: str, policy: Policy) -> Iterator[Finding]:
    for exception in policy.exceptions:
        for rule_id in exception.covers:
            if rule_id in exception.never_for:
                what = f"exception `{exception.id}` covers `{rule_id}` and is never for it"
                yield Finding(file, exception.line, "P302", what, "name the rule in one of the two")
            elif policy.rule(rule_id).review == "human":
                what = f"exception `{exception.id}` covers `{rule_id}`, which only a person decides"
                hint = f"take `{rule_id}` out of `Covers`; what speaks for the author is for the person to weigh"
                yield Finding(file, exception.line, "P301", what, hint)
        if not exception.requires and len(exception.text.split()) < _CONDITION_WORDS:
            what = f"exception `{exception.id}` has no condition: nothing of {_listed(exception.covers)} is sure to be enforced"
            yield Finding(file, exception.line, "P303", what, "write `- Requires: what must be seen in the content`")


def _surfaces(file: str, policy: Policy, document: Document | None) -> Iterator[Finding]:
    surfaces = policy.applies_to.surfaces
    for rule in policy.rules:
        for surface in rule.applies_to:
            if surfaces and surface not in surfaces:
                what = f"rule `{rule.id}` applies to `{surface}`, the policy does not{nearest(surface, surfaces)}"
                yield Finding(file, rule.line, "P304", what, f"surfaces of the policy are {_listed(surfaces)}")
    if all(rule.applies_to for rule in policy.rules):
        covered = {surface for rule in policy.rules for surface in rule.applies_to}
        for surface in (surface for surface in surfaces if surface not in covered):
            hint = "take it out of `applies_to`, or leave `Applies to` out of a rule that holds everywhere"
            yield Finding(file, front_line(document, "applies_to"), "P305", f"no rule applies to the surface `{surface}`", hint)


def front_line(document: Document | None, key: str) -> int:
    """The line of a key of the front matter; 0 where there is none."""
    lines = (document.front or ()) if document else ()
    return next((line.number for line in lines if line.text.split(":")[0].strip() == key), 0)


def _precedence(file: str, policy: Policy, document: Document | None) -> Iterator[Finding]:
    below: dict[str, set[str]] = {}
    for chain in policy.precedence:
        for leading, led in pairwise(chain):
            below.setdefault(leading, set()).add(led)
            if circle := _path(below, led, leading):
                what = f"precedence goes in a circle: {' > '.join((leading, *circle))}"
                line = line_of(document, "Precedence", chain[0])
                yield Finding(file, line, "P401", what, "decide which of them leads, and say it once")
                return


def _path(below: Mapping[str, Collection[str]], start: str, goal: str) -> tuple[str, ...]:
    """A way from start down to goal, both included; empty where there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        for led in sorted(below.get(way[-1], ())):
            if led not in seen or led == goal:
                seen.add(led)
                ways.append((*way, led))
    return ()


def _notices(file: str, policy: Policy, document: Document | None) -> Iterator[Finding]:
    for rule in policy.rules:
        if rule.id not in policy.notices:
            hint = f'add `- {rule.id}: "We removed your post because …"` to `## Notices`'
            yield Finding(file, rule.line, "P402", f"rule `{rule.id}` has no notice", hint)
    for rule_id, text in policy.notices.items():
        if len(text) > NOTICE_CHARS:
            what = f"notice of `{rule_id}` has {len(text):,} characters"
            line = line_of(document, "Notices", f"{rule_id}:")
            yield Finding(file, line, "P403", what, f"at most {NOTICE_CHARS:,}; say what was found and how to appeal")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
