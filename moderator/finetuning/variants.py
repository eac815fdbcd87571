"""The same content under other policies, and what is known of it there: so that an adapter learns to read the policy.

A content that is always seen with one policy teaches what people call a violation, not to look it up. Under a variant the
verdict changes with the policy, or the policy changes and the verdict does not (contradictory examples: arXiv 2512.18027).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from moderator.finetuning.gold import Gold
from moderator.policy import Policy
from moderator.scoring.labels import Known
from moderator.steering.transform import inverted, renumbered, shuffled, with_exception, without_rules

POOL: Final = 4
"""Versions of what a variant draws (orders, ids, marks): each serves many contents, so that these share its prompt."""
_MARKS: Final = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "juniper")

Draw = random.Random
Posed = tuple[Policy, Gold]
"""A policy, and what is known of a content under it."""


def alone(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """One rule by itself: one that is broken, if any is known, or else one that is known not to be."""
    able = [rule.id for rule in policy.rules if rule.id in gold.rules or gold.violates == "no"]
    if len(policy.rules) < 2 or not able:
        return None
    broken = [rule for rule in able if rule in gold.broken]
    rule = draw.choice(broken if broken and draw.random() < 0.5 else able)
    violates = gold.violates if gold.violates == "no" else gold.rules[rule]
    return policy.slice([rule]), replace(gold, violates=violates)


def without(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """Less the rules that are broken: nothing is left to violate. Only where every other rule is known not to be."""
    if gold.violates == "no" or not gold.settles(policy):
        return None
    broken = set(gold.broken)
    less = without_rules(policy, broken)
    return (less, replace(gold, violates="no", rules=_only(gold, less), reason="")) if less else None


def fewer(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """Less one rule that does not matter here: the verdict stays."""
    idle = [rule.id for rule in policy.rules if gold.rules.get(rule.id) == "no" or gold.violates == "no"]
    idle = [rule for rule in idle if rule not in gold.broken]
    less = without_rules(policy, {draw.choice(idle)}) if idle else None
    return (less, replace(gold, rules=_only(gold, less))) if less else None


def other_ids(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """The rules under other ids: ids have to be read."""
    renamed, new = renumbered(policy, str(draw.randrange(POOL)))
    return renamed, replace(
        gold,
        rules={new[rule]: known for rule, known in gold.rules.items() if rule in new},
        quotes={new[rule]: quote for rule, quote in gold.quotes.items() if rule in new},
    )


def other_order(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """The rules in another order."""
    return (shuffled(policy, str(draw.randrange(POOL))), gold) if len(policy.rules) > 1 else None


def turned_round(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """What violated is welcome. Whether a content that did not would be on the subject, and violate now, nobody said."""
    if gold.violates == "no":
        return None
    turned = inverted(policy)
    return turned, replace(gold, violates="no", rules={rule.id: "no" for rule in turned.rules}, reason="")


def carved_out(policy: Policy, gold: Gold, draw: Draw) -> Posed | None:
    """With an exception for texts that carry a mark: what has it is excused, what has another or none is not."""
    if gold.violates == "yes" and not gold.broken:
        return None
    mark, other = (f"#{name}" for name in draw.sample(_MARKS[:POOL], 2))
    carved, exception = _carved_out(policy, mark)
    carried = draw.choice((mark, mark, other, ""))
    marked = gold.content.model_copy(update={"text": f"{gold.content.text} {carried}".strip()})
    excused = carried == mark and gold.violates == "yes"
    exceptions = (exception,) if excused else gold.exceptions
    violates = "no" if excused else gold.violates
    return carved, replace(
        gold, content=marked, violates=violates, exceptions=exceptions, reason="" if excused else gold.reason
    )


VARIANTS: Final[Mapping[str, Callable[[Policy, Gold, Draw], Posed | None]]] = {
    "alone": alone,
    "without": without,
    "fewer": fewer,
    "other-ids": other_ids,
    "other-order": other_order,
    "turned-round": turned_round,
    "carved-out": carved_out,
}
"""By name; each None where a content does not lend itself to it."""


def _only(gold: Gold, policy: Policy) -> dict[str, Known]:
    kept = {rule.id for rule in policy.rules}
    return {rule: known for rule, known in gold.rules.items() if rule in kept}


def _carved_out(policy: Policy, mark: str) -> tuple[Policy, str]:
    """With an exception from every rule for what carries the mark, and the exception's id."""
    carved = with_exception(
        policy,
        title=f"Marked {mark}",
        requires=f"the post is marked {mark}",
        text=f"A post marked {mark} was left standing on purpose and is allowed, whatever it says. No other mark counts.",
    )
    return carved, carved.exceptions[-1].id
