"""The items that both sides judged, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from moderator.metrics.intervals import Ints, group_indices
from moderator.scoring.labels import Known, decision, gold
from moderator.scoring.model import Decision
from moderator.suite import Item, Suite
from moderator.verdict import Failure, Provenance, Usage, Verdict

Booleans = NDArray[np.bool_]
Outcome = Verdict | Failure
Outcomes = Mapping[str, Outcome]
"""By the id of the item, under one policy."""


@dataclass(frozen=True)
class Joined:
    """What both sides said about the same items, in the order of the suite, then of the first side."""

    ids: tuple[str, ...]
    first: tuple[Outcome, ...]
    second: tuple[Outcome, ...]
    items: tuple[Item | None, ...]
    """None: the suite does not have it, or there is none."""
    labels: tuple[Known | None, ...]
    decisions: tuple[tuple[Decision, ...], tuple[Decision, ...]]
    """Of the first side, and of the second."""

    @cached_property
    def groups(self) -> list[str | None] | None:
        """What is resampled together; None where no item belongs to a group."""
        groups = [item.group or None if item else None for item in self.items]
        return groups if any(groups) else None

    @cached_property
    def clusters(self) -> Ints | None:
        """The number of each item's group; None as for `groups`."""
        return None if self.groups is None else group_indices(self.groups, len(self.ids))

    def part(self, places: Sequence[int]) -> Joined:
        """The items at these places."""
        if len(places) == len(self.ids):
            return self
        return Joined(
            ids=_taken(self.ids, places),
            first=_taken(self.first, places),
            second=_taken(self.second, places),
            items=_taken(self.items, places),
            labels=_taken(self.labels, places),
            decisions=(_taken(self.decisions[0], places), _taken(self.decisions[1], places)),
        )

    @cached_property
    def labelled(self) -> Joined:
        """Those whose label says yes or no."""
        return self.part([place for place, label in enumerate(self.labels) if label is not None])


T = TypeVar("T")


def _taken(column: tuple[T, ...], places: Sequence[int]) -> tuple[T, ...]:
    return tuple([column[place] for place in places])


def join(suite: Suite | None, first: Outcomes, second: Outcomes, *, changed: Collection[str] = ()) -> Joined:
    """The ids that both have, less those that stand for different contents."""
    by_id = {item.id: item for item in suite.items} if suite else {}
    left_out = frozenset(changed)
    of_suite = [id for id in by_id if id in first and id in second and id not in left_out]
    others = [id for id in first if id in second and id not in by_id and id not in left_out]
    ids = (*of_suite, *others)
    items = tuple(by_id.get(id) for id in ids)
    a, b = tuple(first[id] for id in ids), tuple(second[id] for id in ids)
    return Joined(
        ids=ids,
        first=a,
        second=b,
        items=items,
        decisions=(tuple(map(decision, a)), tuple(map(decision, b))),
        labels=tuple(gold(suite, item) if suite and item else None for item in items),
    )


def changed_contents(first: Suite | None, second: Suite | None) -> list[str]:
    """The ids under which the second suite has another content than the first."""
    if first is None or second is None or first.digest == second.digest:
        return []
    before = {item.id: item.content() for item in first.items}
    return [item.id for item in second.items if item.id in before and before[item.id] != item.content()]


def provenances(outcomes: Iterable[Outcome]) -> tuple[Provenance, ...]:
    """What made the outcomes, the most frequent first."""
    distinct: list[Provenance] = []
    found: Counter[int] = Counter()
    for outcome in outcomes:
        made = outcome.provenance
        number = next((number for number, other in enumerate(distinct) if vars(other) == vars(made)), len(distinct))
        if number == len(distinct):
            distinct.append(made)
        found[number] += 1
    return tuple(distinct[number] for number, _ in found.most_common())


def differences_between(first: Sequence[Provenance], second: Sequence[Provenance]) -> tuple[str, ...]:
    """In what two sides were made differently, in words; what most of their outcomes say counts."""
    if not first or not second:
        return ()
    a, b = first[0], second[0]
    said = []
    if a.policy_digest != b.policy_digest:
        said.append(f"policy: {a.policy} ({short(a.policy_digest)}) -> {b.policy} ({short(b.policy_digest)})")
    if a.prompt_digest != b.prompt_digest:
        said.append(f"prompt: {short(a.prompt_digest)} -> {short(b.prompt_digest)}")
    said += [f"{name}: {x} -> {y}" for name, x, y in (("engine", a.engine, b.engine), ("model", a.model, b.model)) if x != y]
    if a.adapter_digest != b.adapter_digest:
        said.append(f"adapter: {short(a.adapter_digest or 'none')} -> {short(b.adapter_digest or 'none')}")
    for name in dict.fromkeys((*a.parameters, *b.parameters)):
        x, y = a.parameters.get(name), b.parameters.get(name)
        if x != y:
            said.append(f"{name}: {x} -> {y}")
    return tuple(said)


def short(digest: str) -> str:
    """Enough of a digest to tell it by."""
    return digest.removeprefix("sha256:")[:12]


def spent(outcomes: Iterable[Outcome]) -> Usage:
    """What the verdicts took, together."""
    used = [outcome.usage for outcome in outcomes if isinstance(outcome, Verdict)]
    return Usage(
        prompt_tokens=sum(one.prompt_tokens for one in used),
        cached_tokens=sum(one.cached_tokens for one in used),
        completion_tokens=sum(one.completion_tokens for one in used),
        latency_ms=sum(one.latency_ms for one in used),
    )


def balance(lost: Booleans, gained: Booleans, clusters: Ints | None) -> tuple[int, int]:
    """How many units lost more than they gained, and how many gained more: items or, where those belong together, clusters.

    `mcnemar` of the two is McNemar's exact test for items, and the sign test for clusters: each counts once, however many of
    its items changed, so that the p-value holds for items that depend on each other.
    """
    if clusters is None:
        return int(lost.sum()), int(gained.sum())
    net = np.bincount(clusters, gained.astype(float) - lost.astype(float))
    return int((net < 0).sum()), int((net > 0).sum())
