"""Whether the policy and its rules are enforced less, or more, than before: exact tests, corrected for their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from moderator.comparing.joining import Booleans, Joined, balance
from moderator.comparing.model import Change, Enforcement, Flip, Shift
from moderator.metrics import Resampling, holm, mcnemar
from moderator.policy.model import Severity
from moderator.scoring.labels import Known, cited, rule_gold
from moderator.verdict import Verdict

RuleNames = Mapping[str, tuple[str, Severity]]
"""Title and severity of the rules, by id."""


def shifts(joined: Joined, flips: Iterable[Flip], rules: RuleNames, how: Resampling) -> tuple[Shift, tuple[Shift, ...]]:
    """Of the whole policy, and of every rule that is named in `rules` or was cited; in the order of `rules`, then by id."""
    both = [
        place
        for place, pair in enumerate(zip(joined.first, joined.second, strict=True))
        if all(isinstance(outcome, Verdict) for outcome in pair)
    ]
    judged = joined if len(both) == len(joined.ids) else joined.part(both)
    changes = {flip.id: flip.change for flip in flips}
    first, second = ([frozenset(cited(outcome)) for outcome in side] for side in (judged.first, judged.second))
    found = sorted(frozenset().union(*first, *second) - set(rules))
    severities = _severities(judged)
    named = {**rules, **{rule: ("", severities[rule]) for rule in found}}

    before, after = (np.array(decisions) for decisions in judged.decisions)
    answered = ~((before == "review") | (after == "review"))
    whole = _shift(None, ("", None), judged, (before == "yes", after == "yes"), answered, list(judged.labels), changes)
    each = [
        _shift(
            rule,
            title,
            judged,
            (np.array([rule in one for one in first], dtype=bool), np.array([rule in one for one in second], dtype=bool)),
            np.ones(len(judged.ids), dtype=bool),
            [rule_gold(item, rule) if item else None for item in judged.items],
            changes,
        )
        for rule, title in named.items()
    ]
    whole, *each = _concluded([whole, *each], how)
    return whole, tuple(each)


def _shift(
    rule: str | None,
    named: tuple[str, Severity | None],
    judged: Joined,
    sides: tuple[Booleans, Booleans],
    counted: Booleans,
    labels: list[Known | None],
    changes: Mapping[str, Change],
) -> Shift:
    before, after = sides
    lost, gained = before & ~after & counted, ~before & after & counted
    changed = np.flatnonzero(lost | gained)
    down_and_up = balance(lost, gained, judged.clusters)
    return Shift(
        rule=rule,
        title=named[0],
        severity=named[1],
        n=len(judged.ids),
        before=int(before.sum()),
        after=int(after.sum()),
        lost=int(lost.sum()),
        gained=int(gained.sum()),
        lost_wrongly=sum(labels[place] == "yes" for place in np.flatnonzero(lost)),
        gained_wrongly=sum(labels[place] == "no" for place in np.flatnonzero(gained)),
        changes=Counter(changes[judged.ids[place]] for place in changed),
        balance=down_and_up,
        p_value=mcnemar(*down_and_up),
        adjusted=1.0,
        conclusion="inconclusive",
    )


def _concluded(found: list[Shift], how: Resampling) -> list[Shift]:
    """With Holm's correction over those that changed at all: what did not cannot be rejected, however it is corrected."""
    changed = [number for number, shift in enumerate(found) if shift.lost or shift.gained]
    for number, adjusted in zip(changed, holm([found[number].p_value for number in changed]), strict=True):
        found[number] = replace(found[number], adjusted=adjusted)
    return [replace(shift, conclusion=_conclusion(shift, how)) for shift in found]


def _conclusion(shift: Shift, how: Resampling) -> Enforcement:
    """An exact test holds however few the items are; that nothing is shown says something only of enough of them."""
    if shift.adjusted < 1 - how.level:
        down, up = shift.balance
        return "under-enforcement" if down > up else "over-enforcement"
    few = shift.n < how.minimum or (max(shift.before, shift.after) < how.minimum and (shift.lost or shift.gained))
    return "inconclusive" if few else "no difference shown"


def _severities(judged: Joined) -> dict[str, Severity]:
    """Of the rules that were found; what the second side says stands."""
    return {
        rule.id: rule.severity
        for side in (judged.first, judged.second)
        for outcome in side
        if isinstance(outcome, Verdict)
        for rule in outcome.rules
    }
