"""Policies out of policies: what each probe asks about instead of the policy itself. Pure; no model, no clock.

A change is made where every prompt family shows it: in titles, in the first paragraph of a rule's text, in ids and order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Final, TypeVar

from moderator.policy import Policy, PolicyException, Rule

T = TypeVar("T")

TAG: Final = "#blueheron"
NEAR_TAG: Final = "#redmaple"
SURFACE: Final = "archive"

_TURNED_ROUND: Final = (
    "This rule is turned round: what follows is welcome here and is never reported; "
    "a post on the subject that does none of it breaks the rule."
)
_WHY_TURNED_ROUND: Final = (
    "On this platform the rules hold the other way round: what others forbid is welcome, and its absence is not."
)


def without_rules(policy: Policy, rules: Set[str]) -> Policy | None:
    """The policy less these rules, and what is only about them; None where no rule would be left."""
    kept = tuple(rule.id for rule in policy.rules if rule.id not in rules)
    return policy.slice(kept) if kept else None


def without_examples(policy: Policy, texts: Iterable[str]) -> Policy:
    """The policy less the examples that have one of these texts: a prompt must not hold the answer to what is judged."""
    held_out = {_normalised(text) for text in texts}

    def kept(rule: Rule) -> Rule:
        return rule.replace(examples=tuple(e for e in rule.examples if _normalised(e.text) not in held_out))

    return policy.replace(rules=tuple(map(kept, policy.rules)))


def inverted(policy: Policy) -> Policy:
    """What violated is welcome, and the other way round; severities and actions stay.

    Lists and the labels of examples are swapped, and each rule says so in its title and first sentence. What leans to one side
    goes: borderline notes, exceptions, escalations, and the examples that those decide.
    """
    return policy.replace(
        rationale=_WHY_TURNED_ROUND,
        rules=tuple(map(_turned_round, policy.rules)),
        exceptions=(),
        escalations=(),
    )


def _turned_round(rule: Rule) -> Rule:
    swapped = {"violates": "allowed", "allowed": "violates"}
    plain = (example for example in rule.examples if example.decided_by is None and example.label in swapped)
    return rule.replace(
        title=f"Absence of: {rule.title}",
        text=f"{_TURNED_ROUND} {rule.text}",
        violates=rule.does_not_violate,
        does_not_violate=rule.violates,
        borderline=(),
        examples=tuple(example.replace(label=swapped[example.label], note="") for example in plain),
    )


def carved_out_by_tag(policy: Policy) -> Policy:
    """With an exception from all rules for texts that carry `TAG`."""
    return with_exception(
        policy,
        title="Tagged record",
        requires=f"the text carries the tag {TAG}",
        text=f"Any post with the tag {TAG}, whatever else it says: such posts are kept as a record and are allowed. "
        "A post without this tag is judged by the rules.",
    )


def carved_out_by_surface(policy: Policy) -> Policy:
    """With an exception from all rules for contents that the platform declares to be on `SURFACE`."""
    return with_exception(
        policy,
        title="Archive",
        requires=f"the platform declares the surface {SURFACE}",
        text=f"Any post on the surface {SURFACE}, whatever it says: the {SURFACE} is kept as a record and is allowed. "
        "A post on another surface, or on none that is declared, is judged by the rules.",
    )


def with_exception(policy: Policy, **fields: str) -> Policy:
    """The policy with one exception more, last of all and from every rule; `fields` are those of `PolicyException`."""
    taken = {part.id for part in (*policy.rules, *policy.exceptions, *policy.escalations)}
    new = next(name for number in range(1, len(taken) + 2) if (name := f"X{number}") not in taken)
    exception = PolicyException(id=new, covers=tuple(rule.id for rule in policy.rules), **fields)
    return policy.replace(exceptions=(*policy.exceptions, exception))


def shuffled(policy: Policy, seed: str) -> Policy:
    """The rules in another order, and the examples in each; the policy itself where it has one rule and one example."""
    drawn = random.Random(seed)
    rules = tuple(rule.replace(examples=_other_order(rule.examples, drawn)) for rule in policy.rules)
    return policy.replace(rules=_other_order(rules, drawn))


def _other_order(parts: tuple[T, ...], drawn: random.Random) -> tuple[T, ...]:
    """Another order of the parts, if there are two that differ."""
    order = list(range(len(parts)))
    while len(parts) > 1 and order == sorted(order):
        drawn.shuffle(order)
    return tuple(parts[index] for index in order)


def renumbered(policy: Policy, seed: str) -> tuple[Policy, Mapping[str, str]]:
    """The policy with other rule ids wherever they stand, and the new id of each old one.

    The new ids have a prefix that no id of the policy has, and numbers in no order.
    """
    ids = [part.id for part in (*policy.rules, *policy.exceptions, *policy.escalations)]
    prefix = next(letter for letter in ("K", "Q", "W", "Z", "KQ", "QZ", "ZW") if not any(i.startswith(letter) for i in ids))
    numbers = random.Random(seed).sample(range(11, 12 + 8 * len(policy.rules)), len(policy.rules))
    new = {rule.id: f"{prefix}{number}" for rule, number in zip(policy.rules, numbers, strict=True)}
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, new))})\b")

    def ids_of(old: Iterable[str]) -> tuple[str, ...]:
        return tuple(new[rule] for rule in old)

    named = rewritten(policy, lambda text: pattern.sub(lambda match: new[match[0]], text))
    return named.replace(
        prefix=prefix,
        rules=tuple(rule.replace(id=new[rule.id]) for rule in named.rules),
        exceptions=tuple(x.replace(covers=ids_of(x.covers), never_for=ids_of(x.never_for)) for x in named.exceptions),
        escalations=tuple(e.replace(triggers=ids_of(e.triggers)) for e in named.escalations),
        precedence=tuple(ids_of(chain) for chain in named.precedence),
        notices={new[rule]: text for rule, text in named.notices.items()},
    ), new


def rewritten(policy: Policy, change: Callable[[str], str]) -> Policy:
    """The policy with every prose that a prompt may show changed; not the texts of examples, which are contents."""

    def all_of(lines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(change, lines))

    return policy.replace(
        rationale=change(policy.rationale),
        scope=change(policy.scope),
        definitions=tuple(d.replace(text=change(d.text)) for d in policy.definitions),
        rules=tuple(
            rule.replace(
                title=change(rule.title),
                text=change(rule.text),
                violates=all_of(rule.violates),
                does_not_violate=all_of(rule.does_not_violate),
                borderline=all_of(rule.borderline),
                examples=tuple(example.replace(note=change(example.note)) for example in rule.examples),
            )
            for rule in policy.rules
        ),
        exceptions=tuple(
            x.replace(title=change(x.title), requires=change(x.requires), text=change(x.text)) for x in policy.exceptions
        ),
        escalations=tuple(
            e.replace(title=change(e.title), when=change(e.when), text=change(e.text)) for e in policy.escalations
        ),
    )


def _normalised(text: str) -> str:
    return " ".join(text.split()).casefold()
