"""Policies to train on."""

from __future__ import annotations

import random
import re

import pytest

from finetune.nano import policies
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import judge
from moderator.prompt import compile_prompt


@pytest.mark.parametrize("kind", policies.SHARES)
def test_every_kind_of_policy_can_be_compiled_and_all_its_ids_mean_something(known, kind):
    draw = random.Random(kind)
    for _ in range(20):
        stance = policies.draw_stance(draw, known, {kind: 1.0})
        assert stance.kind == kind
        assert set(stance.rules) == {rule.id for rule in stance.policy.rules}
        assert all(meaning.covers or meaning.test for meaning in stance.rules.values())
        excused = set(stance.kinds) | set(stance.waivers)
        assert excused >= {exception.id for exception in stance.policy.exceptions}
        compile_prompt(stance.policy, "nano")


def test_ids_are_one_or_two_letters_and_a_number_below_a_hundred():
    drawn = [name for seed in range(300) for name in policies.ids(random.Random(seed), 4)]
    assert all(re.fullmatch(r"[A-Z]{1,2}\d{1,2}", name) for name in drawn)
    assert {len(re.sub(r"\d", "", name)) for name in drawn} == {1, 2}
    assert not any(name[0] in "XE" for name in drawn if len(name) < 4)  # those are exceptions and escalations
    assert all(len(set(policies.ids(random.Random(seed), 8))) == 8 for seed in range(200))


def test_shares_are_followed(known):
    draw = random.Random(0)
    kinds = [policies.draw_stance(draw, known).kind for _ in range(400)]
    for kind, share in policies.SHARES.items():
        assert abs(kinds.count(kind) / 400 - share) < 0.06, kind


@pytest.mark.parametrize("seed", range(20))
def test_a_policy_without_a_rule_lets_pass_what_only_that_rule_forbids(known, seed):
    draw = random.Random(seed)
    stance = policies.draw_stance(draw, known, {"edited": 1, "written": 1, "merged": 1})
    lost = stance.policy.rules[0]
    less = policies.without(draw, stance, lost.id)
    assert len(less.rules) == max(1, len(stance.rules) - 1)
    topic = min(stance.rules[lost.id].covers)
    ruling = judge(less, Example("something", "written", broken=topics(topic)))
    assert ruling is None or ruling.label in ("no", "none")
    assert judge(stance, Example("something", "written", broken=topics(topic))).label == "yes" or topic.endswith(".any")


def test_an_inverted_policy_says_so_in_each_rule(known):
    stance = policies.draw_stance(random.Random(2), known, {"inverted": 1})
    heads = [
        re.escape(way["text"].split("{text}")[0] or way["text"].split("{text}")[1]) for way in policies.WORDS["inversions"]
    ]
    assert all(any(re.search(head, rule.text) for head in heads) for rule in stance.policy.rules)


def test_no_carve_out_covers_the_rule_about_minors(known):
    for seed in range(200):
        stance = policies.draw_stance(random.Random(seed), known, {"carveout": 1})
        named = {name for name, meaning in stance.rules.items() if "sexual.minors" in meaning.covers}
        for exception in stance.policy.exceptions:
            assert not named & set(exception.covers) or named == set(stance.rules)
