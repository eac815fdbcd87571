"""The same content under changed policies: what is known of it changes with them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from moderator.answer import AnswerFormat
from moderator.finetuning.gold import Gold
from moderator.finetuning.lessons import lesson
from moderator.finetuning.variants import VARIANTS, Posed
from moderator.policy import Policy
from moderator.prompt import compile_prompt
from moderator.resolution import Reported, resolve


def posed(name: str, policy: Policy, golds: Sequence[Gold]) -> list[Posed]:
    tried = (VARIANTS[name](policy, gold, random.Random(f"{number}")) for number, gold in enumerate(golds))
    return [one for one in tried if one]


@pytest.fixture(scope="module")
def known(golds: Sequence[Gold]) -> list[Gold]:
    """Contents of which everything is known."""
    return [Gold(gold.policy, gold.content, gold.violates, gold.rules, gold.quotes, (), ()) for gold in golds]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_variant_teaches_comes_to_what_it_says(name: str, policy: Policy, known: list[Gold]) -> None:
    """The answer, read and resolved under the changed policy as at serving, violates just where the variant says so."""
    found = posed(name, policy, known)
    assert found
    for changed, gold in found:
        compiled = compile_prompt(changed, "nano")
        taught = lesson(compiled, gold)
        assert taught
        assert taught.whole
        finding = compiled.format.read("".join(part.text for part in taught.parts))
        outcome = resolve(changed, [Reported(finding, certain=True)], gold.content).outcome
        assert (outcome == "violates") == (gold.violates == "yes"), (outcome, gold)


def test_a_verdict_follows_a_policy_both_ways(policy: Policy, known: list[Gold]) -> None:
    """Without the rule that is broken nothing is, and of carved-out contents some are excused and some are not."""
    assert {gold.violates for _, gold in posed("without", policy, known)} == {"no"}
    assert {gold.violates for _, gold in posed("turned-round", policy, known)} == {"no"}
    carved = [gold for _, gold in posed("carved-out", policy, known) if gold.broken]
    assert {gold.violates for gold in carved} == {"yes", "no"}
    assert {gold.violates for _, gold in posed("alone", policy, known)} == {"yes", "no"}


def test_new_ids_are_cited_instead_of_old_ones(policy: Policy, known: list[Gold]) -> None:
    for changed, gold in posed("other-ids", policy, known):
        assert set(gold.rules) == {rule.id for rule in changed.rules}
        assert not set(gold.rules) & {rule.id for rule in policy.rules}
        assert set(gold.quotes) <= set(gold.broken)


def test_what_is_unknown_stays_unknown(policy: Policy, golds: Sequence[Gold]) -> None:
    """Of a content of which only the verdict is known, no variant says which rule it broke."""
    bare = [Gold(gold.policy, gold.content, gold.violates) for gold in golds]
    for name in VARIANTS:
        for _, gold in posed(name, policy, bare):
            assert gold.violates == "no" or not gold.rules, name
    assert posed("without", policy, bare) == []


def test_a_carved_out_content_carries_a_mark_and_its_own_words(policy: Policy, known: list[Gold]) -> None:
    for changed, gold in posed("carved-out", policy, known):
        mark = changed.exceptions[-1].title.removeprefix("Marked ")
        excused = gold.violates == "no" and bool(gold.broken)
        assert (mark in gold.content.text) >= excused
        if gold.violates == "yes":
            assert mark not in gold.content.text


def test_forms_are_those_of_the_changed_policy(policy: Policy, known: list[Gold]) -> None:
    (changed, _), *_ = posed("other-ids", policy, known)
    form: AnswerFormat = compile_prompt(changed, "nano").format
    assert set(form.rules) == {rule.id for rule in changed.rules}
