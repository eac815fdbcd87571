"""Values to documents and back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderator.policy import (
    AppliesTo,
    Definition,
    Escalation,
    Example,
    Policy,
    PolicyException,
    Rule,
    Taxonomy,
    list_policies,
    load_policy,
    parse_policy,
    write_policy,
)


def _one_line(text: str) -> str:
    return " ".join(f"a{text}z".replace("<!--", "").split())


LINES = st.text(st.sampled_from("abcXYZ àß漢🐀0-–:;,.!?*_()[]'<>#&\\/"), min_size=1).map(_one_line)
FLAT = st.text(st.sampled_from("abc àß漢🐀 0–-:;,.!?*_()[]'\"<>#&/“”"), min_size=1).map(_one_line)
PROSE = st.one_of(st.just(""), st.lists(LINES, min_size=1, max_size=3).map("\n\n".join))
LISTS = st.lists(LINES, max_size=2).map(tuple)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies whose parts are all consistent and whose texts are of the awkward kind."""
    ids = [f"H{number}" for number in range(1, draw(st.integers(1, 4)) + 1)]
    some = st.lists(st.sampled_from(ids), min_size=1, unique=True).map(tuple)
    exceptions = tuple(
        PolicyException(
            id=f"X{number}",
            title=draw(LINES),
            covers=draw(some),
            never_for=draw(some),
            requires=draw(LINES),
            outcome=draw(st.sampled_from(("none", "label"))),
            review=draw(st.sampled_from((None, "human"))),
            text=draw(PROSE),
        )
        for number in range(1, draw(st.integers(0, 2)) + 1)
    )
    escalations = (
        Escalation(id="E1", title=draw(LINES), when=f"{ids[0]} is found", triggers=(ids[0],), to="desk", within="2d"),
        Escalation(id="E2", title=draw(LINES), when=draw(LINES), to=draw(LINES), automation="none", text=draw(PROSE)),
    )
    decided = [("violates", None), ("allowed", None), ("escalate", "E1"), *(("allowed", x.id) for x in exceptions)]
    rules = tuple(
        Rule(
            id=rule_id,
            title=draw(LINES),
            severity=draw(st.sampled_from(("low", "critical"))),
            action=draw(st.sampled_from(("remove", "age_restrict"))),
            applies_to=draw(st.sampled_from(((), ("post", "dm")))),
            review=draw(st.sampled_from((None, "human"))),
            text=draw(PROSE.filter(bool)),
            violates=draw(LISTS),
            does_not_violate=draw(LISTS),
            borderline=draw(LISTS),
            examples=tuple(
                Example(label=label, decided_by=by, text=draw(FLAT), note=draw(st.one_of(st.just(""), FLAT)))
                for label, by in draw(st.lists(st.sampled_from(decided), max_size=3))
            ),
        )
        for rule_id in ids
    )
    return Policy(
        slug="any-policy",
        version="1.10.0",
        title=draw(LINES),
        owner=draw(st.one_of(st.just(""), LINES)),
        effective=draw(st.sampled_from((None, "2026-02-28"))),
        applies_to=AppliesTo(surfaces=draw(st.sampled_from(((), ("post", "dm"))))),
        prefix="H",
        taxonomy=Taxonomy(openai=("hate/threatening",)),
        rationale=draw(PROSE),
        scope=draw(PROSE),
        definitions=(Definition(id="a-term", term="A term", text=draw(LINES)),),
        rules=rules,
        exceptions=exceptions,
        escalations=escalations,
        precedence=(tuple(reversed(ids)),) if len(ids) > 1 else (),
        notices={rule_id: draw(FLAT) for rule_id in ids},
        reviewer_notes=draw(PROSE),
        changelog=("1.10.0 (2026-11-23): first",),
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(policies())
def test_a_written_policy_parses_to_the_same_value(policy: Policy) -> None:
    assert parse_policy(write_policy(policy)).model_dump() == policy.model_dump()


@pytest.mark.parametrize("slug", list_policies())
def test_shipped_policies_survive_writing(slug: str) -> None:
    policy = load_policy(slug)
    assert parse_policy(write_policy(policy)).digest == policy.digest
