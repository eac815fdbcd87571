"""Changes of a policy: what each changes, that it changes nothing else, and that what comes out is a policy."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.policy import Policy, list_policies, load_policy, parse_policy, write_policy
from moderator.prompt import compile_prompt
from moderator.steering.paraphrase import PARAPHRASES, SYNONYMS
from moderator.steering.posts import SPOILERS, UNRELATED
from moderator.steering.transform import (
    carved_out_by_surface,
    carved_out_by_tag,
    inverted,
    renumbered,
    shuffled,
    without_examples,
    without_rules,
)
from tests.small import house
from tests.steering.engines import fruit

SHIPPED = [load_policy(slug) for slug in list_policies()]
POLICIES = [*SHIPPED, house(), fruit(2), SPOILERS]
CHANGES: dict[str, Callable[[Policy], Policy | None]] = {
    "deleted": lambda policy: without_rules(policy, {policy.rules[-1].id}),
    "inverted": inverted,
    "tag": carved_out_by_tag,
    "surface": carved_out_by_surface,
    "shuffled": lambda policy: shuffled(policy, "1"),
    "renumbered": lambda policy: renumbered(policy, "1")[0],
    **PARAPHRASES,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.slug)
def test_a_changed_policy_is_a_policy_that_the_model_sees_otherwise(policy: Policy, change: str) -> None:
    """It can be written and read again, so nothing in it names what is not there; both families show it for shipped ones."""
    changed = CHANGES[change](policy)
    assert changed is not None
    assert parse_policy(write_policy(changed)).digest == changed.digest
    for family in ("default", "nano") if policy in SHIPPED else ():
        assert compile_prompt(changed, family).system != compile_prompt(policy, family).system


def test_deleted_rules_are_named_nowhere() -> None:
    changed = without_rules(house(), {"H1", "H3"})
    assert changed is not None
    assert [rule.id for rule in changed.rules] == [rule.id for rule in house().rules if rule.id not in ("H1", "H3")]
    named = {rule for x in changed.exceptions for rule in (*x.covers, *x.never_for)} | {
        r for c in changed.precedence for r in c
    }
    assert not named & {"H1", "H3"}


def test_no_policy_is_left_without_rules() -> None:
    assert without_rules(house(), {rule.id for rule in house().rules}) is None


def test_examples_that_are_judged_are_taken_out_whatever_their_case_and_space() -> None:
    policy = fruit(2)
    first = policy.rules[0].examples[0].text
    kept = without_examples(policy, [f"  {first.upper()} "])
    assert [e.text for e in kept.rules[0].examples] == [e.text for e in policy.rules[0].examples[1:]]
    assert kept.rules[1:] == policy.rules[1:]


@pytest.mark.parametrize("policy", SHIPPED, ids=lambda policy: policy.slug)
def test_inversion_swaps_sides_and_keeps_severities(policy: Policy) -> None:
    changed = inverted(policy)
    for old, new in zip(policy.rules, changed.rules, strict=True):
        assert (new.violates, new.does_not_violate) == (old.does_not_violate, old.violates)
        assert (new.id, new.severity, new.action) == (old.id, old.severity, old.action)
        plain = [e for e in old.examples if e.decided_by is None and e.label != "escalate"]
        assert [e.text for e in new.examples] == [e.text for e in plain]
        assert all({a.label, b.label} == {"violates", "allowed"} for a, b in zip(plain, new.examples, strict=True))
        assert old.summary in new.summary
    assert not changed.exceptions
    assert not changed.escalations


@pytest.mark.parametrize("carve", [carved_out_by_tag, carved_out_by_surface])
def test_a_carve_out_adds_one_exception_that_waives_every_rule(carve: Callable[[Policy], Policy]) -> None:
    for policy in POLICIES:
        *old, new = carve(policy).exceptions
        assert tuple(old) == policy.exceptions
        assert all(new.waives(rule.id) for rule in policy.rules)
        assert new.review is None
        assert new.id not in {part.id for part in (*policy.rules, *policy.exceptions, *policy.escalations)}


@given(seed=st.text(max_size=4))
def test_a_shuffle_keeps_every_part_and_is_another_order(seed: str) -> None:
    policy = house()
    changed = shuffled(policy, seed)
    assert changed == shuffled(policy, seed)
    assert [rule.id for rule in changed.rules] != [rule.id for rule in policy.rules]
    for rule in policy.rules:
        other = changed.rule(rule.id)
        assert sorted(e.text for e in other.examples) == sorted(e.text for e in rule.examples)
        assert other.replace(examples=()) == rule.replace(examples=())
        assert len(rule.examples) < 2 or other.examples != rule.examples
    assert changed.replace(rules=policy.rules) == policy


def test_what_has_one_order_only_is_left_as_it_is() -> None:
    alone = without_examples(fruit(1).slice(["F1"]), ["A pear for number 0, F1"])
    assert shuffled(alone, "1") == alone


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.slug)
def test_renumbering_leaves_no_old_id_and_can_be_undone(policy: Policy) -> None:
    changed, new = renumbered(policy, "7")
    old_ids = re.compile(rf"\b({'|'.join(new)})\b")
    assert len(set(new.values())) == len(policy.rules)
    assert not set(new.values()) & {part.id for part in (*policy.rules, *policy.exceptions, *policy.escalations)}
    texts = {e.text for rule in policy.rules for e in rule.examples}
    assert [e.text for rule in changed.rules for e in rule.examples] == [e.text for rule in policy.rules for e in rule.examples]
    shown = compile_prompt(changed).system
    for text in texts:
        shown = shown.replace(text, "")
    assert not old_ids.search(shown)
    assert [new[rule] for chain in policy.precedence for rule in chain] == [r for chain in changed.precedence for r in chain]
    assert {new[rule] for rule in policy.notices} == set(changed.notices)
    assert [tuple(new[rule] for rule in e.triggers) for e in policy.escalations] == [e.triggers for e in changed.escalations]


@pytest.mark.parametrize("policy", SHIPPED, ids=lambda policy: policy.slug)
def test_paraphrases_leave_ids_labels_and_defined_terms_alone(policy: Policy) -> None:
    terms = {term.lower() for d in policy.definitions for term in (d.term, d.id)}
    assert not terms & (set(SYNONYMS) | set(SYNONYMS.values()))
    for reword in PARAPHRASES.values():
        changed = reword(policy)
        assert [rule.id for rule in changed.rules] == [rule.id for rule in policy.rules]
        for old, new in zip(policy.rules, changed.rules, strict=True):
            assert [(e.label, e.text) for e in new.examples] == [(e.label, e.text) for e in old.examples]
            assert len(new.violates) == len(old.violates)
        assert changed.definitions == policy.definitions or reword is not PARAPHRASES["templates"]


def test_synonyms_keep_capitals_and_whole_words() -> None:
    changed = PARAPHRASES["synonyms"](fruit(1))
    assert changed.rules[0].text == "Speaking of pears, which is untrue and bad for persons."
    rule = fruit(1).rules[0].replace(text="People and peoples, FALSE or falsely, such as a person.")
    changed = PARAPHRASES["synonyms"](fruit(1).replace(rules=(rule,)))
    assert changed.rules[0].text == "Persons and peoples, Untrue or falsely, for example an individual."


def test_unrelated_policies_are_shipped_and_are_others() -> None:
    assert set(UNRELATED) == set(list_policies())
    assert all(other in UNRELATED and other != slug for slug, other in UNRELATED.items())
