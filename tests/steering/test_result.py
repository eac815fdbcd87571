"""Rates, limits, totals, and the forms in which a result leaves the program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from moderator.metrics import Resampling, wilson
from moderator.steering import CHECKS, Base, Limits, Probe, Steerability, Trial, pooled, to_junit, to_markdown
from moderator.steering.bench import Judged
from moderator.steering.probes import right
from moderator.steering.result import Seen
from moderator.verdict import Provenance

PROVENANCE = Provenance(
    policy="hate@1.0.0",
    policy_digest="sha256:0",
    prompt_digest="sha256:1",
    engine="scripted",
    model="m",
    parameters={"family": "default", "mode": "fast", "plan": "policy"},
)


def probe(name: str, rights: Sequence[bool], *, each: int = 1, flagged: int = 5, minimum: int = 4) -> Probe:
    """A probe with these trials, `each` of them on one content."""
    trials = tuple(
        Trial(f"c{n // each}", f"c{n // each}", f"v{n % each}", "violates", "allowed" if done else "needs_review", done)
        for n, done in enumerate(rights)
    )
    return Probe(CHECKS[name], trials, flagged, how=Resampling(resamples=500, minimum=minimum))


def steerability(*probes: Probe, policy: str = "hate@1.0.0") -> Steerability:
    base = Base({"violates": 5, "allowed": 3}, violating=4, violating_flagged=4, harmless=4, harmless_flagged=1)
    return Steerability(policy, PROVENANCE, base, probes, withheld=2, unrelated="spam@1.0.0")


def test_a_rate_of_flips_counts_what_flipped_and_a_rate_of_stays_what_did_not() -> None:
    done = [True] * 9 + [False]
    flips, stays = probe("deletion", done), probe("order", done)
    assert (flips.k, flips.n, flips.rate.value) == (9, 10, 0.9)
    assert (stays.k, stays.n, stays.rate.value) == (1, 10, 0.1)
    assert (flips.rate.low, flips.rate.high) == wilson(9, 10)
    assert [trial.content_id for trial in flips.misbehaved] == [trial.content_id for trial in stays.misbehaved] == ["c9"]
    assert flips.after == {"allowed": 9, "needs_review": 1}


def test_several_trials_of_a_content_are_one_unit() -> None:
    tried = probe("order", [True, False, True] * 5, each=3)
    assert (tried.n, tried.rate.n) == (15, 5)
    assert tried.rate.value == pytest.approx(1 / 3)
    assert tried.variants == {"v0": (0, 5), "v1": (5, 5), "v2": (0, 5)}


def test_the_flagged_are_counted_apart() -> None:
    trials = [
        Trial("a", "a", "v", "violates", "allowed", False),
        Trial("b", "b", "v", "violates", "violates", True),
        Trial("c", "c", "v", "allowed", "violates", False),
        Trial("d", "d", "v", "allowed", "allowed", True),
    ]
    tried = Probe(CHECKS["order"], tuple(trials), flagged=2)
    assert (tried.k, tried.n, tried.of_flagged) == (2, 4, (1, 2))
    assert "did not stay: order 1/2 (0.500)." in to_markdown([steerability(tried)], Limits(), "x")


def test_nothing_tried_is_undefined_and_no_zero() -> None:
    empty = probe("deletion", [])
    assert empty.rate.value is None
    assert Limits().result(empty) == "inconclusive"
    assert empty.to_json()["rate"]["value"] is None
    assert "| deletion | flips | 0/0 | 0 | n/a | n/a | >= 0.9 | inconclusive |" in to_markdown(
        [steerability(empty)], Limits(), ""
    )


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("deletion", "violates", "allowed", True),
        ("deletion", "violates", "not_covered", True),
        ("deletion", "violates", "allowed_by_exception", True),
        ("deletion", "violates", "needs_review", False),
        ("deletion", "violates", "failure", False),
        ("inversion_allowed", "allowed", "violates", True),
        ("inversion_allowed", "allowed", "needs_review", False),
        ("order", "allowed", "not_covered", False),
        ("order", "needs_review", "needs_review", True),
        ("order", "failure", "failure", False),
        ("injection", "violates", "needs_review", False),
        ("off_topic", None, "needs_review", False),
        ("off_topic", None, "not_covered", True),
        ("off_topic_policy", "violates", "violates", False),
    ],
)
def test_what_counts_as_right(name: str, before: Seen | None, after: Seen, expected: bool) -> None:
    seen = None if before is None else Judged(before)
    assert right(CHECKS[name], seen, Judged(after), {}) is expected


def test_cited_rules_are_held_against_their_new_ids() -> None:
    before, new = Judged("violates", ("H1", "H2")), {"H1": "K7", "H2": "K3", "H3": "K9"}
    check = CHECKS["ids_cited"]
    assert right(check, before, Judged("violates", ("K3", "K7")), new)
    assert not right(check, before, Judged("violates", ("K7",)), new)
    assert not right(check, before, Judged("violates", ("H1", "H2")), new)


def test_a_limit_is_kept_at_the_limit() -> None:
    limits = Limits()
    assert limits.result(probe("deletion", [True] * 9 + [False])) == "pass"
    assert limits.result(probe("deletion", [True] * 8 + [False] * 2)) == "short"
    assert limits.result(probe("order", [True] * 49 + [False])) == "pass"
    assert limits.result(probe("order", [True] * 48 + [False] * 2)) == "short"
    assert Limits.of(most={"order": 0.04}).result(probe("order", [True] * 48 + [False] * 2)) == "pass"
    assert Limits.of({"deletion": 0.95}).result(probe("deletion", [True] * 9 + [False])) == "short"


def test_too_little_is_inconclusive_and_so_is_staying_where_nothing_was_flagged() -> None:
    limits = Limits()
    assert limits.result(probe("deletion", [True] * 3)) == "inconclusive"
    assert limits.result(probe("order", [True] * 20, flagged=0)) == "inconclusive"
    assert limits.result(probe("off_topic", [True] * 20, flagged=0)) == "pass"
    fine, few = probe("order", [True] * 20), probe("deletion", [True] * 3)
    assert limits.holds([fine])
    assert not limits.holds([fine, few])
    assert limits.holds([fine, few], allow_inconclusive=True)
    assert not limits.holds([fine, few, probe("ids", [False] * 9)], allow_inconclusive=True)


@pytest.mark.parametrize(
    ("least", "most", "says"),
    [
        ({"delete": 0.9}, {}, "no probe 'delete'"),
        ({"deletion": 90.0}, {}, "90.0 is no share"),
        ({"order": 0.9}, {}, "order: a limit on what stays is the most share, not the least"),
        ({}, {"deletion": 0.9}, "deletion: a limit on what flips is the least share, not the most"),
    ],
)
def test_limits_that_make_no_sense_are_refused(least: dict[str, float], most: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Limits.of(least, most)


def test_totals_pool_trials_and_tell_contents_of_different_policies_apart() -> None:
    one = steerability(probe("order", [True] * 6, each=2), probe("ids", [True] * 3))
    other = steerability(probe("order", [False] * 6, each=2), policy="spam@1.0.0")
    order, ids = pooled([one, other])
    assert (order.name, order.n, order.k, order.rate.n, order.flagged) == ("order", 12, 6, 6, 10)
    assert (ids.name, ids.n) == ("ids", 3)


def test_json_holds_everything_that_a_reader_needs_to_look_into_it() -> None:
    value = json.loads(json.dumps(steerability(probe("deletion", [True] * 4 + [False])).to_json()))
    assert value["schema"] == "steer/1"
    assert value["base"] == {
        "contents": 8,
        "outcomes": {"violates": 5, "allowed": 3},
        "violating": {"n": 4, "flagged": 4},
        "harmless": {"n": 4, "flagged": 1},
    }
    (only,) = value["probes"]
    assert only["misbehaved"] == [{"content_id": "c4", "variant": "v0", "before": "violates", "after": "needs_review"}]
    assert only["rate"]["n"] == 5
    assert only["rate"]["method"] == "wilson"


@pytest.mark.parametrize(("allowed", "failures", "skipped"), [(False, "2", "0"), (True, "1", "1")])
def test_junit_has_a_case_for_each_probe(allowed: bool, failures: str, skipped: str) -> None:
    measured = steerability(probe("order", [True] * 9), probe("deletion", [True] * 2), probe("ids", [False] * 5))
    root = ElementTree.fromstring(to_junit([measured], Limits(), allow_inconclusive=allowed))
    (suite,) = root
    assert suite.attrib == {
        "name": "hate@1.0.0", "tests": "3", "failures": failures, "skipped": skipped, "errors": "0",
    }  # fmt: skip
    order, deletion, ids = suite
    assert not list(order)
    assert deletion[0].tag == ("skipped" if allowed else "failure")
    assert ids[0].tag == "failure"
    assert ids[0].attrib["message"].startswith("short: outcomes stay when rules get other ids; stays: 1.000")
    assert "c4 (v0): violates -> needs_review" in (ids[0].text or "")


def test_markdown_names_its_command_and_has_totals_for_several_policies() -> None:
    one = steerability(probe("order", [True] * 9))
    text = to_markdown([one, steerability(probe("order", [False] * 9), policy="spam@1.0.0")], Limits(), "moderator eval steer")
    assert "```\nmoderator eval steer\n```" in text
    assert "| order | stays | 9/18 | 18 | 0.500 |" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## All policies",
        "## By variant",
        "## hate@1.0.0",
        "## spam@1.0.0",
    ]
    assert "All policies" not in to_markdown([one], Limits(), "x")
