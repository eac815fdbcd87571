"""Variants."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.errors import PolicyError
from moderator.policy import Overlay, Policy, load_source, parse_overlay, parse_policy, resolve

SMALL = "---\nextends: hate@^1\nwhen: {audience: teen}\n---\n# Teens\n"


@pytest.fixture
def policy(document: str) -> Policy:
    return parse_policy(document)


@pytest.fixture
def teen(overlay_document: str) -> Overlay:
    return parse_overlay(overlay_document, "hate.teen.md")


def test_an_overlay_applies_when_all_of_its_conditions_match(policy: Policy, teen: Overlay) -> None:
    assert resolve(policy, [teen], {"audience": "teen", "surface": "post"}).name == "hate@1.2.0+teen"
    assert resolve(policy, [teen], {"audience": "teen", "surface": "comment"}).variant == ("teen",)
    for context in ({}, {"audience": "teen"}, {"audience": "adult", "surface": "post"}, {"audience": "teen", "surface": "dm"}):
        assert resolve(policy, [teen], context).variant == ()


def test_an_overlay_adds_changes_and_disables(policy: Policy, teen: Overlay) -> None:
    variant = resolve(policy, [teen], {"audience": "teen", "surface": "post"})
    assert [rule.id for rule in variant.rules] == ["H1", "H2", "H3"]
    changed = variant.rule("H2")
    assert (changed.severity, changed.action, changed.applies_to) == ("high", "warn", ("post",))
    assert changed.text == policy.rule("H2").text
    assert [exception.id for exception in variant.exceptions] == ["X2"]
    assert [e.decided_by for e in variant.rule("H1").examples] == [None, None, "E2"]
    assert variant.escalations[0].within == "10m"
    assert variant.notices["H3"] == "We hid your post."
    assert variant.definitions[-1].id == "bullying"
    assert variant.reviewer_notes == "Look at the thread.\n\nBe gentle."
    assert variant.digest != policy.digest


def test_rules_of_other_surfaces_are_dropped(policy: Policy) -> None:
    variant = resolve(policy, [], {"surface": "dm"})
    assert [rule.id for rule in variant.rules] == ["H1"]
    assert variant.escalations[0].triggers == ("H1",)
    assert len(resolve(policy, [], {"surface": "post"}).rules) == 2


def test_an_unknown_surface_drops_no_rule(policy: Policy) -> None:
    assert resolve(policy, [], {"surface": "coment"}) == policy


def test_a_surface_without_rules_is_an_error(document: str) -> None:
    everywhere = document.replace("- Severity: high\n", "- Severity: high\n- Applies to: post\n")
    with pytest.raises(PolicyError, match="no rule applies to the surface `dm`"):
        resolve(parse_policy(everywhere), [], {"surface": "dm"})


def test_other_facts_are_not_looked_at(policy: Policy, teen: Overlay) -> None:
    assert resolve(policy, [teen], {"language": "de", "author_age": "12"}) == policy


def test_two_overlays_apply_in_order(policy: Policy, teen: Overlay) -> None:
    late = parse_overlay(SMALL + "## Rules\n### H2\n- Severity: low\n", "hate.z.md")
    variant = resolve(policy, [teen, late], {"audience": "teen", "surface": "post"})
    assert variant.name == "hate@1.2.0+teen+z"
    assert variant.rule("H2").severity == "low"


@pytest.mark.parametrize(("caret", "fits"), [("^1", True), ("^1.2.0", True), ("^1.3", False), ("^2", False), ("^0", False)])
def test_the_version_must_be_in_the_range(policy: Policy, overlay_document: str, caret: str, fits: bool) -> None:
    overlay = parse_overlay(overlay_document.replace("^1.1", caret), "hate.teen.md")
    context = {"audience": "teen", "surface": "post"}
    if fits:
        assert resolve(policy, [overlay], context).variant == ("teen",)
    else:
        with pytest.raises(PolicyError, match=r"which `1\.2\.0` is not in"):
            resolve(policy, [overlay], context)


def test_an_escalation_with_a_changed_trigger_is_triggered_by_it(policy: Policy) -> None:
    text = SMALL + "## Escalation\n### E1\n- When: H2 is found\n"
    variant = resolve(policy, [parse_overlay(text, "hate.teen.md")], {"audience": "teen"})
    assert variant.escalations[0].triggers == ("H2",)


def test_disabling_a_rule_leaves_no_trace_of_it(policy: Policy) -> None:
    text = SMALL + "## Rules\n### H1\n- Disabled: yes\n"
    variant = resolve(policy, [parse_overlay(text, "hate.teen.md")], {"audience": "teen"})
    assert [rule.id for rule in variant.rules] == ["H2"]
    assert variant.exceptions == ()
    assert variant.precedence == ()
    assert set(variant.notices) == {"H2"}


def test_a_source_knows_the_context_keys_that_matter(folder: Path, document: str) -> None:
    source = load_source(folder / "hate.md")
    assert source.slug == "hate"
    assert source.context_keys == {"audience", "surface"}
    assert source.resolve({"audience": "teen", "surface": "post"}).name == "hate@1.2.0+teen"
    plain = load_source(parse_policy(document.replace("- Applies to: post, comment\n", "")))
    assert plain.context_keys == frozenset()
