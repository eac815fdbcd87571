"""Whether the policy and its rules are enforced less, or more, than before: exact tests, corrected for their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from moderator.comparing.joining import Booleans, Joined, Outcome, balance
from moderator.comparing.model import Change, Enforcement, Flip, Shift
from moderator.metrics import Resampling, holm, mcnemar
from moderator.policy.model import Severity
from moderator.scoring import PolicyRule
from moderator.scoring.labels import Known, cited, rule_gold
from moderator.verdict import Verdict


def shifts(
    joined: Joined, flips: Iterable[Flip], rules: Iterable[PolicyRule], how: Resampling
) -> tuple[Shift, tuple[Shift, ...]]:
    """Of the whole policy, and of every rule that is named in `rules` or was cited; in the order of `rules`, then by id."""
    both = [
        place
        for place, pair in enumerate(zip(joined.first, joined.second, strict=True))
        if all(isinstance(outcome, Verdict) for outcome in pair)
    ]
    judged = joined if len(both) == len(joined.ids) else joined.part(both)
    changes = {flip.id: flip.change for flip in flips}
    first, second = (_cited(side) for side in (judged.first, judged.second))
    severities = _severities(judged)
    named: dict[str, tuple[str, Severity]] = {rule.id: (rule.title, rule.severity) for rule in rules}
    named |= {rule: ("", severities[rule]) for rule in sorted({*first, *second} - named.keys())}

    before, after = (np.array(decisions, dtype=object) for decisions in judged.decisions)
    reviewed = (before == "review") | (after == "review")
    whole = _shift(None, ("", None), judged, (before == "yes", after == "yes"), reviewed, changes)
    nobody = np.zeros(len(judged.ids), dtype=bool)
    each = [
        _shift(rule, title, judged, (first.get(rule, nobody), second.get(rule, nobody)), nobody, changes)
        for rule, title in named.items()
    ]
    whole, *each = _concluded([whole, *each], how)
    return whole, tuple(each)


def _cited(side: Sequence[Outcome]) -> dict[str, Booleans]:
    """For every rule that is cited, which of the items cite it."""
    found: dict[str, Booleans] = {}
    for place, outcome in enumerate(side):
        for rule in cited(outcome):
            if rule not in found:
                found[rule] = np.zeros(len(side), dtype=bool)
            found[rule][place] = True
    return found


def _shift(
    rule: str | None,
    named: tuple[str, Severity | None],
    judged: Joined,
    sides: tuple[Booleans, Booleans],
    left_out: Booleans,
    changes: Mapping[str, Change],
) -> Shift:
    before, after = sides
    lost, gained = before & ~after & ~left_out, ~before & after & ~left_out
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
        lost_wrongly=sum(_holds(judged, place, rule) == "yes" for place in np.flatnonzero(lost).tolist()),
        gained_wrongly=sum(_holds(judged, place, rule) == "no" for place in np.flatnonzero(gained).tolist()),
        changes=Counter(changes[judged.ids[place]] for place in changed),
        balance=down_and_up,
        p_value=mcnemar(*down_and_up),
        adjusted=1.0,
        conclusion="inconclusive",
    )


def _holds(judged: Joined, place: int, rule: str | None) -> Known | None:
    """Whether the rule holds, or the policy is violated, by the labels."""
    item = judged.items[place]
    return judged.labels[place] if rule is None else rule_gold(item, rule) if item else None


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
