"""Ids that a document names, against the ids that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from moderator.policy.document import Reading, nearest
from moderator.policy.model import Kind, Policy


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of a policy's entries, by kind."""

    by_kind: Mapping[Kind, frozenset[str]]

    @classmethod
    def of(cls, policy: Policy) -> Ids:
        """The ids of a policy that has been read."""
        return cls(
            {
                "rule": frozenset(rule.id for rule in policy.rules),
                "exception": frozenset(exception.id for exception in policy.exceptions),
                "escalation": frozenset(escalation.id for escalation in policy.escalations),
            }
        )


def report_dangling(reading: Reading, ids: Ids) -> None:
    """Report every reference to an entry that is not there, or that is of another kind."""
    for reference in reading.references:
        known = ids.by_kind[reference.kind]
        if reference.id in known:
            continue
        what = f"{reference.where} names the {reference.kind} `{reference.id}`, which is not defined"
        reading.report(reference.line, what + nearest(reference.id, sorted(known)), _listed(reference.kind, known))


def _listed(kind: Kind, known: Iterable[str]) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(known, key=lambda name: (len(name), name)))
    return f"{kind}s are {names}" if names else f"the policy has no {kind}s"
