"""The values themselves."""

from __future__ import annotations

from moderator.policy import Policy, parse_policy


def test_a_slice_names_nothing_that_it_does_not_hold(document: str) -> None:
    policy = parse_policy(document).slice(["H1"])
    assert [rule.id for rule in policy.rules] == ["H1"]
    assert policy.exception("X1").covers == ("H1",)
    assert policy.exception("X1").never_for == ()
    assert [(e.id, e.triggers) for e in policy.escalations] == [("E1", ("H1",)), ("E2", ())]
    assert policy.precedence == ()
    assert set(policy.notices) == {"H1"}


def test_a_slice_without_the_covered_rule_has_no_exception_and_no_example_of_it(document: str) -> None:
    policy = parse_policy(document.replace("- Never for: H2\n", "")).slice(["H2"])
    assert policy.exceptions == ()
    assert [rule.id for rule in policy.rules] == ["H2"]


def test_a_slice_keeps_the_examples_that_what_is_left_decides(document: str) -> None:
    policy = parse_policy(document.replace("- Covers: H1", "- Covers: H2").replace("- Never for: H2\n", ""))
    assert [e.decided_by for e in policy.rule("H1").examples] == [None, None, "X1", "E2"]
    assert [e.decided_by for e in policy.slice(["H1"]).rule("H1").examples] == [None, None, "E2"]


def test_replacing_carries_no_cached_value_over(document: str) -> None:
    policy = parse_policy(document)
    before = policy.digest
    changed = policy.replace(title="Other")
    assert changed.digest != before
    assert policy.digest == before


def test_the_digest_is_deaf_to_lines_and_stable(document: str) -> None:
    policy = parse_policy(document)
    assert Policy.model_validate(policy.model_dump()).digest == policy.digest
    assert Policy.model_validate_json(policy.model_dump_json()).digest == policy.digest
    assert policy.digest.startswith("sha256:")
