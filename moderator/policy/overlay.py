"""Variants: a policy resolved for a context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moderator.errors import PolicyError, Problem
from moderator.policy.document import Reading, nearest
from moderator.policy.entries import triggers_of
from moderator.policy.model import Amendment, Definition, Entry, EntryT, Overlay, Policy
from moderator.policy.references import Ids, report_dangling
from moderator.policy.version import satisfies


def resolve(policy: Policy, overlays: Sequence[Overlay], context: Mapping[str, str]) -> Policy:
    """The policy with every overlay applied whose `when` the context matches, less the rules of other surfaces.

    The keys of a context are `audience`, `surface`, `jurisdiction` and `locale`; others are not looked at. A surface that the
    policy does not list (a slip of the pen, or a new one) drops no rule. Raises `PolicyError` when an overlay does not fit the
    policy, or when no rule is left for the surface.
    """
    for overlay in overlays:
        if overlay.matches(context):
            policy = apply(policy, overlay)
    surface = context.get("surface")
    return policy if surface is None else _on_surface(policy, surface)


def apply(policy: Policy, overlay: Overlay) -> Policy:
    """The policy changed by the overlay, whatever the context. Raises `PolicyError` with all that does not fit."""
    reading = Reading(overlay.file or overlay.name, references=list(overlay.references))
    _check_base(policy, overlay, reading)
    _check_amendments(policy, overlay, reading)
    _check_additions(policy, overlay, reading)
    rules = _merged(policy.rules, overlay.rules, overlay.amendments)
    exceptions = _merged(policy.exceptions, overlay.exceptions, overlay.amendments)
    escalations = _merged(policy.escalations, overlay.escalations, overlay.amendments)
    if not rules:
        reading.report(0, f"disables every rule of `{policy.name}`", "leave one rule, or do not use the policy here")
    changed = policy.replace(
        rules=rules,
        exceptions=exceptions,
        escalations=tuple(e.replace(triggers=triggers_of(e.when)) for e in escalations),
        definitions=policy.definitions + overlay.definitions,
        notices={**policy.notices, **overlay.notices},
        reviewer_notes="\n\n".join(notes for notes in (policy.reviewer_notes, overlay.reviewer_notes) if notes),
        applies_to=overlay.applies_to or policy.applies_to,
        variant=(*policy.variant, overlay.name),
    )
    report_dangling(reading, Ids.of(changed))
    reading.raise_problems()
    return changed.slice(rule.id for rule in rules)


def _on_surface(policy: Policy, surface: str) -> Policy:
    if policy.applies_to.surfaces and surface not in policy.applies_to.surfaces:
        return policy
    kept = [rule.id for rule in policy.rules if not rule.applies_to or surface in rule.applies_to]
    if not kept:
        what = f"no rule applies to the surface `{surface}`"
        raise PolicyError([Problem(policy.name, 0, what, "name another surface, or do not use the policy here")])
    return policy.slice(kept) if len(kept) < len(policy.rules) else policy


def _merged(base: Sequence[EntryT], added: Sequence[EntryT], amendments: Sequence[Amendment]) -> tuple[EntryT, ...]:
    """The base's entries, changed or left out, then the added ones."""
    by_id = {amendment.id: amendment for amendment in amendments}
    entries: list[EntryT] = []
    for entry in base:
        amendment = by_id.get(entry.id)
        if amendment is None:
            entries.append(entry)
        elif not amendment.disabled:
            entries.append(entry.replace(line=amendment.line, **amendment.changes))
    entries.extend(added)
    return tuple(entries)


def _check_base(policy: Policy, overlay: Overlay, reading: Reading) -> None:
    wanted = f"{overlay.base}@{overlay.compatible}"
    if overlay.base != policy.slug:
        reading.report(0, f"extends `{wanted}`, not `{policy.slug}`", f"write `extends: {policy.slug}@^{policy.version}`")
    elif not satisfies(policy.version, overlay.compatible):
        what = f"extends `{wanted}`, which `{policy.version}` is not in"
        reading.report(0, what, f"read what changed in the policy, then write `extends: {policy.slug}@^{policy.version}`")


def _check_amendments(policy: Policy, overlay: Overlay, reading: Reading) -> None:
    parts: tuple[Entry, ...] = (*policy.rules, *policy.exceptions, *policy.escalations)
    entries = {entry.id: entry for entry in parts}
    for amendment in overlay.amendments:
        entry = entries.get(amendment.id)
        if entry is None:
            what = f"`{amendment.id}` is not in `{policy.name}`{nearest(amendment.id, tuple(entries))}"
            reading.report(amendment.line, what, "to add an entry, write its text under the keys")
        elif amendment.title not in ("", entry.title):
            what = f"`{amendment.id}` is titled `{entry.title}` in `{policy.name}`, here `{amendment.title}`"
            reading.report(amendment.line, what, f"write `### {amendment.id}`; an overlay changes keyed values only")


def _check_additions(policy: Policy, overlay: Overlay, reading: Reading) -> None:
    kinds: tuple[tuple[str, Sequence[Entry | Definition], Sequence[Entry | Definition]], ...] = (
        ("rule", overlay.rules, policy.rules),
        ("exception", overlay.exceptions, policy.exceptions),
        ("escalation", overlay.escalations, policy.escalations),
        ("definition", overlay.definitions, policy.definitions),
    )
    letters = {"rule": policy.prefix, "exception": "X", "escalation": "E"}
    for kind, added, base in kinds:
        taken = {part.id for part in base}
        for part in added:
            if part.id in taken:
                hint = "take a new id" + (f", or write `### {part.id}` and keyed values only" if kind in letters else "")
                reading.report(part.line, f"{kind} `{part.id}` is already in `{policy.name}`", hint)
            elif kind in letters and part.id.rstrip("0123456789") != letters[kind]:
                hint = f"write `### {letters[kind]}9 Title`, with a new number"
                reading.report(part.line, f"id of {kind} `{part.id}` does not begin with `{letters[kind]}`", hint)
