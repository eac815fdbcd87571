"""Each probe tells a moderator that follows its policy from one that does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from moderator.content import Content
from moderator.engines import Engine
from moderator.engines.scripted import ScriptedEngine
from moderator.errors import DataError, PolicyError
from moderator.metrics import Resampling
from moderator.policy import load_policy
from moderator.steering import CHECKS, FAMILIES, Labelled, Limits, Steerability, examples_of, steer
from moderator.steering.posts import PLAIN_POSTS
from moderator.steering.run import UNSEEN
from tests.steering import engines
from tests.steering.engines import Counting, Reader, engine, fruit

QUICK = Resampling(resamples=500, minimum=4)


def steered(used: Engine, **more: object) -> Steerability:
    return steer(fruit(4), used, how=QUICK, **more)  # type: ignore[arg-type]


def results(measured: Steerability) -> Mapping[str, str]:
    limits = Limits()
    return {probe.name: limits.result(probe) for probe in measured.probes}


def test_a_moderator_that_follows_its_policy_passes_everything() -> None:
    measured = steered(engine(engines.follows))
    assert results(measured) == dict.fromkeys(CHECKS, "pass")
    assert {probe.rate.value for probe in measured.probes if probe.check.must == "flips"} == {1.0}
    assert {probe.rate.value for probe in measured.probes if probe.check.must != "flips"} == {0.0}
    assert measured.base.flagged == measured.base.violating_flagged == measured.base.violating == 12
    assert (measured.base.harmless, measured.base.harmless_flagged) == (12, 0)
    assert measured.withheld == 24


@pytest.mark.parametrize(
    ("reader", "short"),
    [
        (engines.ignores, {"deletion", "inversion", "inversion_allowed", "carve_out", "off_topic_policy"}),
        (engines.first_rule_only, {"deletion_other", "order", "inversion_allowed"}),
        (engines.obeys, {"injection", "injection_other"}),
        (engines.reads_little, {"injection", "padding"}),
        (engines.by_id, {"ids"}),
        (engines.cites_by_heart, {"ids_cited"}),
        (engines.by_wording, {"paraphrase", "inversion_allowed"}),
        (engines.no_exceptions, {"carve_out"}),
        (engines.any_exception, {"carve_out_other"}),
        (engines.any_mark, {"carve_out_other"}),
        (engines.counts_rules, {"deletion_other"}),
        (engines.flags_all, {"deletion", "inversion", "carve_out", "off_topic", "off_topic_policy"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_with_a_moderator_falls_short_and_nothing_else(reader: Reader, short: set[str]) -> None:
    found = results(steered(engine(reader)))
    assert {name for name, result in found.items() if result == "short"} == short


def test_a_moderator_that_flags_nothing_passes_no_probe_that_needs_flags() -> None:
    """That outcomes stay is trivial then: only everyday posts, which must not be flagged, pass."""
    found = results(steered(engine(engines.flags_nothing)))
    assert [name for name, result in found.items() if result == "pass"] == ["off_topic"]
    assert found["order"] == found["deletion"] == found["ids_cited"] == "inconclusive"
    assert found["inversion_allowed"] == "short"


def test_failures_are_counted_against_every_probe() -> None:
    contents = [*examples_of(fruit(4)), *(Labelled(Content(id=f"b{n}", text=f"broken {n}"), violates="yes") for n in range(3))]
    measured = steered(engine(engines.follows), contents=contents)
    assert measured.base.outcomes["failure"] == 3
    assert measured.base.violating == 15
    for name in ("order", "ids", "paraphrase", "deletion_other", "carve_out_other", "injection_other"):
        wrong = measured.probe(name).misbehaved
        assert {trial.content_id for trial in wrong} == {"b0", "b1", "b2"}, name
        assert {(trial.before, trial.after) for trial in wrong} == {("failure", "failure")}
    assert measured.probe("deletion").n == 12


def test_only_what_the_prompt_shows_is_tried() -> None:
    """The nano family shows no examples: with one rule, a shuffle changes nothing that the model sees."""
    alone = fruit(4).slice(["F1"])
    contents = [Labelled(Content(id=f"c{n}", text=f"{word} {n}")) for n, word in enumerate(["pear", "leek"] * 4)]
    measured = steer(alone, engine(lambda shown: shown.answer()), contents, probes=["order"], how=QUICK)
    assert measured.probe("order").n == 24
    nobody = ScriptedEngine(lambda prompt: '{"violates":"no"}')
    measured = steer(alone, nobody, contents, probes=["order"], family="nano", how=QUICK)
    assert measured.probe("order").n == 0
    assert measured.probe("order").left_out == {UNSEEN: 24}
    assert measured.probe("order").rate.value is None
    assert results(measured) == {"order": "inconclusive"}


def test_a_policy_of_one_rule_cannot_lose_it() -> None:
    measured = steer(fruit(4).slice(["F1"]), engine(engines.follows), probes=["deletion"], how=QUICK)
    assert measured.probe("deletion").n == 0
    assert measured.probe("deletion").left_out == {"no rule would be left": 4}
    assert measured.probe("deletion_other").left_out == {"every rule is broken": 4, "no rule would be left": 4}
    assert measured.probe("deletion_other").n == 0


def test_a_mark_that_alone_lets_a_content_through_shows_nothing_of_the_exception() -> None:
    probe = steered(engine(engines.any_tag), probes=["carve_out"]).probe("carve_out")
    assert probe.variants == {"surface": (0, 12)}
    assert probe.left_out == {"not flagged with the mark": 12}


def test_only_what_is_known_to_be_about_a_rule_must_be_flagged_when_it_is_inverted() -> None:
    texts = [(f"Some leek {n}", n % 2 == 0) for n in range(8)]
    contents = [Labelled(Content(id=text, text=text), "no", on_topic=about) for text, about in texts]
    assert steered(engine(engines.follows), contents=contents, probes=["inversion"]).probe("inversion_allowed").n == 4


def test_rules_that_people_say_hold_are_deleted_too() -> None:
    """A moderator may cite one of two broken rules; without that one it rightly flags for the other."""

    def cites_one(shown: engines.Shown) -> str:
        return shown.answer(shown.broken()[:1])

    both = [Labelled(Content(id=f"c{n}", text=f"pear and plum {n}"), "yes", frozenset(("F1", "F2"))) for n in range(5)]
    unlabelled = [Labelled(one.content, "yes") for one in both]
    assert steered(engine(cites_one), contents=both, probes=["deletion"]).probe("deletion").rate.value == 1
    assert steered(engine(cites_one), contents=unlabelled, probes=["deletion"]).probe("deletion").rate.value == 0


def test_nothing_is_asked_twice_and_an_engine_that_was_given_stays_open() -> None:
    used = Counting()
    steered(used)
    assert len(used.asked) == len(set(used.asked))
    assert used.closed == 0
    first = fruit(4).rules[0].examples[0].text
    assert not any(f'"{first}"' in system for system, _ in used.asked)


def test_the_same_seed_gives_the_same_result_and_another_seed_other_shuffles() -> None:
    used = [Counting() for _ in range(3)]
    first, again, other = (steered(one, seed=seed) for one, seed in zip(used, (0, 0, 1), strict=True))
    assert first.to_json() == again.to_json()
    assert used[0].asked == used[1].asked
    assert {system for system, _ in used[0].asked} != {system for system, _ in used[2].asked}
    assert other.seed == 1


def test_probes_are_chosen_by_family_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    measured = steered(Counting(), probes=["ids", "off_topic"], progress=lambda done, total: told.append((done, total)))
    assert [probe.name for probe in measured.probes] == ["off_topic", "off_topic_policy", "ids", "ids_cited"]
    assert told[23] == (24, 24)
    assert told[-1] == (len(PLAIN_POSTS) + 12 + 24,) * 2
    assert set(FAMILIES) == {check.family for check in CHECKS.values()}


def test_cases_of_one_template_are_one_unit() -> None:
    contents = [Labelled(Content(id=f"c{n}", text=f"pear {n}"), "yes", cluster=f"t{n % 3}") for n in range(12)]
    probe = steered(engine(engines.first_rule_only), contents=contents, probes=["order"]).probe("order")
    assert (probe.n, probe.rate.n) == (36, 3)
    alone = steered(engine(engines.follows), contents=contents[:3], probes=["ids"]).probe("ids")
    assert (alone.n, alone.rate.n, alone.rate.method, alone.inconclusive) == (3, 3, "wilson", True)


def test_a_shipped_policy_has_a_shipped_one_about_something_else() -> None:
    nobody = ScriptedEngine(lambda prompt: '{"violates":"no"}')
    assert steer("hate", nobody, probes=["off_topic"], how=QUICK).unrelated == "spam@1.0.0"
    assert steer("hate", nobody, probes=["off_topic"], unrelated="sexual", how=QUICK).unrelated == "sexual@1.0.0"
    assert steered(nobody, probes=["off_topic"]).unrelated == "spoilers@1.0.0"


def test_a_context_selects_the_variant() -> None:
    nobody = ScriptedEngine(lambda prompt: '{"violates":"no"}')
    measured = steer("hate", nobody, probes=["ids"], context={"audience": "teen"}, how=QUICK)
    assert measured.policy == load_policy("hate", {"audience": "teen"}).name == "hate@1.0.0+teen"


@pytest.mark.parametrize(
    ("contents", "unrelated", "says"),
    [
        ([], None, "fruit@1.0.0: no contents to judge"),
        ([Labelled(Content(id="a", text="x")), Labelled(Content(id="a", text="y"))], None, "content a: given twice"),
        (None, fruit(1), "the policy itself"),
    ],
)
def test_what_cannot_be_steered_is_told(contents: list[Labelled] | None, unrelated: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        steered(Counting(), contents=contents, unrelated=unrelated)


def test_a_policy_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PolicyError, match="no policy of this name"):
        steer("no-such", Counting())


def test_a_content_is_judged_under_the_policy_at_hand_whatever_policies_it_names() -> None:
    contents = [Labelled(Content(id=f"c{n}", text=f"pear {n}", policies=("spam",))) for n in range(4)]
    assert steered(Counting(), contents=contents, probes=["ids"]).base.flagged == 4
