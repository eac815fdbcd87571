"""What changed between two versions of a policy, by id, and how far its version must move for it.

Major, because some verdict may become stricter or looser:

- a rule added or removed; its severity, action, surfaces, review, text, `Violates` or `Does not violate`;
- an exception added or removed; what it covers, is never for, requires, leaves as outcome; its review or text;
- an escalation added or removed; its `When` or `Automation`;
- the text of a definition, since it is part of the meaning of every rule that uses the term;
- precedence, the order of the rules (it breaks ties), the scope, what the policy applies to, the prefix of the ids.

Minor, because it makes the same line clearer or leads the case to other hands: titles of entries, borderline notes, examples, a
definition added or removed (a rule that begins or ceases to use it has changed itself), `To`, `Within` and prose of an
escalation, status, ground, locale, the overlays that were applied.

Patch, because no verdict rests on it: rationale, notices, reviewer notes, title, owner, dates, taxonomy, order or layout of
what is otherwise the same. A changelog entry needs no bump.

Below 1.0.0 everything counts one step less, as is the custom: a major change needs a minor bump, any other a patch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from moderator.errors import PolicyError, Problem
from moderator.policy.model import Definition, Part, Policy
from moderator.policy.version import Bump, bump_between, number

_RANK: dict[Bump, int] = {bump: rank for rank, bump in enumerate(get_args(Bump))}
_BY_RANK: tuple[Bump, ...] = get_args(Bump)

_BELOW_ONE: dict[Bump, Bump] = {"major": "minor", "minor": "patch", "patch": "patch", "none": "none"}

_RULE: dict[str, Bump] = {
    "title": "minor",
    "severity": "major",
    "action": "major",
    "applies_to": "major",
    "review": "major",
    "text": "major",
    "violates": "major",
    "does_not_violate": "major",
    "borderline": "minor",
    "examples": "minor",
}
_EXCEPTION: dict[str, Bump] = {
    "title": "minor",
    "covers": "major",
    "never_for": "major",
    "requires": "major",
    "outcome": "major",
    "review": "major",
    "text": "major",
}
_ESCALATION: dict[str, Bump] = {
    "title": "minor",
    "when": "major",
    "to": "minor",
    "within": "minor",
    "automation": "major",
    "text": "minor",
}
_DEFINITION: dict[str, Bump] = {"term": "minor", "text": "major"}
_POLICY: dict[str, Bump] = {
    "title": "patch",
    "status": "minor",
    "owner": "patch",
    "effective": "patch",
    "review_by": "patch",
    "locale": "minor",
    "applies_to": "major",
    "prefix": "major",
    "ground": "minor",
    "taxonomy": "patch",
    "variant": "minor",
    "rationale": "patch",
    "scope": "major",
    "precedence": "major",
    "reviewer_notes": "patch",
    "changelog": "none",
}


class Change(BaseModel):
    """One thing that differs: a whole part, or one field of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["added", "removed", "changed"]
    part: Literal["policy", "definition", "rule", "exception", "escalation", "notice"]
    id: str = ""
    """Empty for the policy itself."""
    field: str = ""
    """Empty when the whole part was added or removed."""
    before: Any = None
    after: Any = None
    bump: Bump

    @property
    def subject(self) -> str:
        """What changed, in words: ``rule H4 severity``."""
        return " ".join(word for word in (self.part, self.id, self.field.replace("_", " ")) if word)


class PolicyDiff(BaseModel):
    """All changes between two versions of one policy, and what they ask of the version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str
    old: str
    new: str
    """Versions."""
    changes: tuple[Change, ...]
    needed: Bump
    """The least bump that says enough."""
    actual: Bump | None
    """How far the version moved; None: backwards."""

    @property
    def sufficient(self) -> bool:
        """Whether the version moved at least as far as it must."""
        return self.actual is not None and _RANK[self.actual] >= _RANK[self.needed]


def diff_policies(old: Policy, new: Policy) -> PolicyDiff:
    """What changed from the old to the new version. Raises `PolicyError` when they are not versions of one policy."""
    if old.slug != new.slug:
        what = f"is not a version of `{old.slug}`"
        raise PolicyError([Problem(new.name, 0, what, "compare two versions of one policy; a slug never changes")])
    changes = (
        *_policy_changes(old, new),
        *_part_changes("definition", old.definitions, new.definitions, _DEFINITION, whole="minor"),
        *_part_changes("rule", old.rules, new.rules, _RULE, ordered="major"),
        *_part_changes("exception", old.exceptions, new.exceptions, _EXCEPTION),
        *_part_changes("escalation", old.escalations, new.escalations, _ESCALATION),
        *_notice_changes(old.notices, new.notices),
    )
    needed = _BY_RANK[max((_RANK[change.bump] for change in changes), default=0)]
    if number(old.version)[0] == 0 and number(new.version)[0] == 0:
        needed = _BELOW_ONE[needed]
    actual = bump_between(old.version, new.version)
    return PolicyDiff(policy=new.slug, old=old.version, new=new.version, changes=changes, needed=needed, actual=actual)


def diff_to_text(compared: PolicyDiff) -> str:
    """The diff for a person to read: the bump first, then the changes, the weightiest first."""
    verdict = "enough" if compared.sufficient else "too little"
    moved = compared.actual or "backwards"
    head = f"{compared.policy} {compared.old} -> {compared.new}: needs {compared.needed}, is {moved} ({verdict})"
    ordered = sorted(compared.changes, key=lambda change: -_RANK[change.bump])
    return "\n".join([head, *(line for change in ordered for line in _lines(change))])


def diff_to_json(compared: PolicyDiff) -> str:
    """The diff for a program to read."""
    value = {**compared.model_dump(mode="json"), "sufficient": compared.sufficient}
    return json.dumps(value, ensure_ascii=False, indent=2)


def _policy_changes(old: Policy, new: Policy) -> Iterator[Change]:
    for field, bump in _POLICY.items():
        if change := _field_change("policy", "", field, getattr(old, field), getattr(new, field), bump):
            yield change


def _part_changes(
    part: Literal["definition", "rule", "exception", "escalation"],
    old: Sequence[Any],
    new: Sequence[Any],
    fields: Mapping[str, Bump],
    *,
    whole: Bump = "major",
    ordered: Bump = "patch",
) -> Iterator[Change]:
    """Changes of parts that have ids. `whole`: of adding or removing one; `ordered`: of putting them in another order."""
    before, after = {item.id: item for item in old}, {item.id: item for item in new}
    for part_id, item in before.items():
        if part_id not in after:
            yield Change(kind="removed", part=part, id=part_id, before=_title(item), bump=whole)
    for part_id, item in after.items():
        if part_id not in before:
            yield Change(kind="added", part=part, id=part_id, after=_title(item), bump=whole)
            continue
        for field, bump in fields.items():
            values = getattr(before[part_id], field), getattr(item, field)
            if change := _field_change(part, part_id, field, *values, bump):
                yield change
    common = [part_id for part_id in before if part_id in after], [part_id for part_id in after if part_id in before]
    if common[0] != common[1]:
        yield Change(kind="changed", part=part, field="order", before=common[0], after=common[1], bump=ordered)


def _notice_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for rule_id in dict.fromkeys((*old, *new)):
        before, after = old.get(rule_id), new.get(rule_id)
        if before != after:
            kind: Literal["added", "removed", "changed"]
            kind = "added" if before is None else "removed" if after is None else "changed"
            yield Change(kind=kind, part="notice", id=rule_id, before=before, after=after, bump="patch")


def _field_change(part: Any, part_id: str, field: str, old: Any, new: Any, bump: Bump) -> Change | None:
    before, after = _plain(old), _plain(new)
    if before == after:
        return None
    weight: Bump = "patch" if bump != "none" and _same_meaning(field, before, after) else bump
    return Change(kind="changed", part=part, id=part_id, field=field, before=before, after=after, bump=weight)


def _same_meaning(field: str, before: Any, after: Any) -> bool:
    """Whether two values differ in layout or in the order of a list only; the order of precedence is its meaning."""
    if isinstance(before, str) and isinstance(after, str):
        return before.split() == after.split()
    if isinstance(before, dict) and isinstance(after, dict):
        return all(before[key] == after[key] or _same_meaning(key, before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list) and field not in ("precedence", "variant"):
        return sorted(map(_key, before)) == sorted(map(_key, after))
    return False


def _key(value: Any) -> str:
    return " ".join(json.dumps(value, sort_keys=True, ensure_ascii=False).split())


def _plain(value: Any) -> Any:
    """A value as JSON has it, without the lines it was read from."""
    if isinstance(value, Part):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _title(item: Any) -> str:
    return item.term if isinstance(item, Definition) else str(item.title)


def _lines(change: Change) -> Iterator[str]:
    head = f"{change.bump:5}  {change.subject}"
    if change.kind != "changed":
        yield f"{head} {change.kind}: {_shown(change.before or change.after)}"
    elif isinstance(change.before, list) and isinstance(change.after, list) and change.field not in ("order", "precedence"):
        yield head
        yield from (f"         - {_shown(item)}" for item in change.before if item not in change.after)
        yield from (f"         + {_shown(item)}" for item in change.after if item not in change.before)
    elif _is_short(change.before) and _is_short(change.after):
        yield f"{head}: {_shown(change.before)} -> {_shown(change.after)}"
    else:
        yield head
        yield f"         - {_shown(change.before)}"
        yield f"         + {_shown(change.after)}"


def _is_short(value: Any) -> bool:
    return len(_shown(value)) <= 40


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    if isinstance(value, dict) and {"label", "text"} <= value.keys():
        decided = f" ({value['decided_by']})" if value["decided_by"] else ""
        note = f" – {value['note']}" if value["note"] else ""
        return f'{value["label"]}{decided}: "{value["text"]}"{note}'
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return _joined(value)
    return " ".join(str(value).split())


def _joined(items: Iterable[Any]) -> str:
    """Chains of precedence are lists in a list."""
    return "; ".join(" > ".join(item) if isinstance(item, list) else str(item) for item in items) or "(none)"
