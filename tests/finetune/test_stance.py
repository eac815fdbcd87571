"""What follows from people's labels under a policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finetune.nano import stance as stances
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import Meaning, Stance, judge

SEXIST = Example("they are all criminals, every one", "edos", broken=topics("sexism.derogate"))


def test_a_policy_without_the_rule_allows(hate):
    assert judge(hate, SEXIST).rules == ("H4",)
    without = Stance(hate.policy.slice(["H1", "H3", "H6"]), {name: hate.rules[name] for name in ("H1", "H3", "H6")}, hate.kinds)
    assert judge(without, SEXIST).label == "no"


def test_unlabelled_is_left_out_and_vague_needs_the_whole_policy(hate, known):
    harassment = next(stance for stance in known if stance.policy.slug == "harassment")
    assert judge(harassment, replace(SEXIST, unsure=topics("harassment"))) is None
    vague = Example("deport them", "hatexplain", broken=topics("hate.any"))
    assert judge(hate, vague).rules == ("H6",)
    part = Stance(hate.policy.slice(["H4"]), {"H4": hate.rules["H4"]}, {})
    assert judge(part, vague) is None


def test_quotation_needs_an_exception(hate):
    quoted = replace(SEXIST, excused="quoted")
    ruling = judge(hate, quoted)
    assert (ruling.label, ruling.exceptions) == ("exception", ("X1",))
    bare = Stance(hate.policy.replace(exceptions=()), hate.rules, hate.kinds)
    assert judge(bare, quoted).label == "yes"


def test_every_bank_rule_and_shipped_rule_has_a_meaning(known):
    assert all(set(stance.rules) == {rule.id for rule in stance.policy.rules} for stance in known)
    assert all(": " in line for entry in stances.BANK for line in entry["lines"])


def test_every_exception_of_a_shipped_policy_has_a_kind(known):
    for stance in known:
        assert {exception.id for exception in stance.policy.exceptions} <= set(stance.kinds), stance.policy.slug


def test_topic_targets_keep_what_is_unknown():
    names = (*stances.DOMAIN_NAMES, *stances.TOPICS, *stances.KIND_NAMES, *stances.SETS)
    found = stances.targets(replace(SEXIST, unsure=topics("harassment"), excused="correction"))
    row = dict(zip(names, found, strict=True))
    assert (row["hate"], row["sexism.derogate"], row["harassment"], row["spam"]) == (1.0, 1.0, -1.0, 0.0)
    assert (row["correction"], row["quoted"], row["fiction"]) == (1.0, 1.0, 0.0)


def test_a_rule_is_about_what_it_covers_and_silent_on_what_it_is_near_to(hate):
    names = (*stances.DOMAIN_NAMES, *stances.TOPICS, *stances.KIND_NAMES, *stances.SETS)
    found = {name: dict(zip(names, row, strict=True)) for name, row in stances.coverage(hate).items()}
    assert (found["H3"]["hate.slur"], found["H3"]["hate.dehumanise"], found["H3"]["spam.promote"]) == (1.0, -1.0, 0.0)
    assert (found["X1"]["quoted"], found["X1"]["hate.slur"]) == (1.0, 0.0)


class Says:
    """A test that always says the same."""

    def __init__(self, answer):
        self.answer = answer

    def holds(self, example):
        return self.answer


def decided(stance, answer):
    """The stance with a test for its first rule."""
    first = stance.policy.rules[0].id
    return replace(stance, rules={**stance.rules, first: Meaning(frozenset(), frozenset(), Says(answer))})


def test_a_rule_that_is_a_test_decides_beside_the_labels(hate):
    calm = Example("see you at lunch", "toxic-spans")
    assert judge(decided(hate, True), calm).rules == ("H1",)
    assert judge(decided(hate, False), calm).label == "no"
    assert judge(decided(hate, None), calm) is None
    assert judge(decided(hate, None), SEXIST).rules == ("H4",)


@pytest.mark.parametrize(("answer", "label"), [(True, "exception"), (False, "yes")])
def test_an_exception_that_is_a_test_excuses_a_violation_only(hate, answer, label):
    carved = replace(hate, kinds={}, waivers={"X3": Says(answer)})
    assert judge(carved, SEXIST).label == label
    assert judge(carved, Example("see you at lunch", "toxic-spans")).label == "no"


def inverted(hate):
    return Stance(hate.policy.slice(["H4"]).replace(exceptions=()), {"H4": hate.rules["H4"]}, {}, inverted=True)


def test_under_an_inverted_policy_the_calm_text_on_its_subject_breaks_the_rule(hate):
    turned = inverted(hate)
    assert judge(turned, SEXIST).label == "no"
    praise = Example("the women I know are brave", "templates", about=topics("hate", "sexism"))
    assert (judge(turned, praise).label, judge(turned, praise).rules) == ("yes", ("H4",))
    assert judge(turned, Example("buy pills now", "sms-spam", broken=topics("spam.promote"))).label == "no"
    assert judge(turned, replace(SEXIST, excused="quoted")) is None


def test_a_calm_text_of_a_labelled_set_is_on_the_subject_by_a_word_of_it(hate):
    turned = inverted(hate)
    assert judge(turned, Example("my wife drives the bus", "edos")).label == "yes"
    assert judge(turned, Example("great game tonight", "edos")) is None
    assert judge(turned, Example("my wife drives the bus", "sms-spam")).label == "no"


def test_a_topic_may_be_open_while_the_rest_of_its_domain_is_not(hate):
    open_slur = Example("that one is late", "edos", unsure=topics("hate.slur"))
    slurs = Stance(hate.policy.slice(["H3"]), {"H3": hate.rules["H3"]}, {})
    threats = Stance(hate.policy.slice(["H1"]), {"H1": hate.rules["H1"]}, {})
    assert judge(slurs, open_slur) is None
    assert judge(threats, open_slur).label == "no"
    names = (*stances.DOMAIN_NAMES, *stances.TOPICS, *stances.KIND_NAMES, *stances.SETS)
    row = dict(zip(names, stances.targets(open_slur), strict=True))
    assert (row["hate.slur"], row["hate.threat"], row["hate"]) == (-1.0, 0.0, 0.0)
