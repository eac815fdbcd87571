"""A policy as a document again: for the flat text of a variant, and for policies that come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from moderator.policy.model import Escalation, Example, Policy, PolicyException, Rule


def write_policy(policy: Policy) -> str:
    """The document that parses to this policy (but for `variant`, which only overlays give)."""
    blocks = [
        f"---\n{_front(policy)}---",
        f"# {policy.title}",
        *_section("Rationale", [policy.rationale]),
        *_section("Scope", [policy.scope]),
        *_section("Definitions", [_bullets(f"**{d.term}** (`{d.id}`): {d.text}" for d in policy.definitions)]),
        *_section("Rules", [block for rule in policy.rules for block in _rule(rule)]),
        *_section("Exceptions", [block for exception in policy.exceptions for block in _exception(exception)]),
        *_section("Escalation", [block for escalation in policy.escalations for block in _escalation(escalation)]),
        *_section("Precedence", ["\n".join(f"{i}. {' > '.join(ids)}" for i, ids in enumerate(policy.precedence, start=1))]),
        *_section("Notices", [_bullets(f"{rule_id}: {_quoted(text)}" for rule_id, text in policy.notices.items())]),
        *_section("Reviewer notes", [policy.reviewer_notes]),
        *_section("Changelog", [_bullets(policy.changelog)]),
    ]
    return "\n\n".join(blocks) + "\n"


def _front(policy: Policy) -> str:
    value = policy.model_dump(mode="json", exclude_defaults=True)
    keys = (
        "version",
        "title",
        "status",
        "owner",
        "effective",
        "review_by",
        "locale",
        "applies_to",
        "prefix",
        "ground",
        "taxonomy",
    )
    front: dict[str, Any] = {"policy": policy.slug, **{key: value[key] for key in keys if key in value}}
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, default_flow_style=None, width=2**20)


def _section(title: str, blocks: Sequence[str]) -> Iterator[str]:
    filled = [block for block in blocks if block]
    if filled:
        yield "\n\n".join([f"## {title}", *filled])


def _rule(rule: Rule) -> Iterator[str]:
    yield f"### {rule.id} {rule.title}"
    yield _keys({"Severity": rule.severity, "Action": rule.action, "Applies to": rule.applies_to, "Review": rule.review})
    yield rule.text
    lists = {"Violates": rule.violates, "Does not violate": rule.does_not_violate, "Borderline": rule.borderline}
    for title, items in {**lists, "Examples": tuple(map(_example, rule.examples))}.items():
        if items:
            yield f"#### {title}"
            yield _bullets(items)


def _exception(exception: PolicyException) -> Iterator[str]:
    yield f"### {exception.id} {exception.title}"
    yield _keys(
        {
            "Covers": exception.covers,
            "Never for": exception.never_for,
            "Requires": exception.requires,
            "Outcome": "allow" if exception.outcome == "none" else exception.outcome,
            "Review": exception.review,
        }
    )
    yield exception.text


def _escalation(escalation: Escalation) -> Iterator[str]:
    yield f"### {escalation.id} {escalation.title}"
    yield _keys(
        {
            "When": escalation.when,
            "To": escalation.to,
            "Within": escalation.within,
            "Automation": escalation.automation,
        }
    )
    yield escalation.text


def _keys(values: dict[str, str | tuple[str, ...] | None]) -> str:
    shown = {key: ", ".join(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return _bullets(f"{key}: {value}" for key, value in shown.items() if value)


def _example(example: Example) -> str:
    decided_by = f" ({example.decided_by})" if example.decided_by else ""
    note = example.note.replace('"', '\\"')
    return f"{example.label}{decided_by}: {_quoted(example.text)}" + (f" – {note}" if note else "")


def _quoted(text: str) -> str:
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
