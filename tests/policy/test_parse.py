"""Documents to values."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.errors import PolicyError
from moderator.policy import Definition, Escalation, Example, Overlay, Policy, list_policies, load_policy
from moderator.policy.parse import SECTIONS, parse_document, parse_overlay, parse_policy

DOCUMENT, OVERLAY = (
    (Path(__file__).parent / "documents" / name).read_text(encoding="utf-8") for name in ("hate.md", "hate.teen.md")
)
MARKS = ["---", "```", "<!--", "-->", "#", "\n", "-", "*", ":", '"', "“", "–", ">", "1.", "**", "(`a`)", "H1", "X1", "\\"]
PIECES = st.sampled_from(
    [f"{line}\n" for line in (*DOCUMENT.splitlines(), *OVERLAY.splitlines())]
    + [f"## {name}\n" for name in SECTIONS]
    + [f"{mark}{end}" for mark in MARKS for end in (" ", "\n")]
)


def test_front_matter_is_read(document: str) -> None:
    policy = parse_policy(document)
    assert (policy.slug, policy.version, policy.title, policy.status) == ("hate", "1.2.0", "Hateful conduct", "active")
    assert (policy.owner, policy.effective, policy.review_by) == ("policy@example.org", "2026-11-01", "2027-11-01")
    assert policy.applies_to.surfaces == ("post", "comment", "dm")
    assert policy.taxonomy.openai == ("hate", "hate/threatening")
    assert policy.name == "hate@1.2.0"


def test_prose_is_verbatim_and_comments_are_dropped(document: str) -> None:
    policy = parse_policy(document)
    assert policy.scope == "Content about people."
    assert policy.rule("H1").text == (
        "Comparing people to animals because of a\n*protected characteristic*.\n\nA second paragraph."
    )
    assert policy.rule("H1").summary == "Comparing people to animals because of a *protected characteristic*."


def test_rules_are_read_with_their_lists(document: str) -> None:
    first, second = parse_policy(document).rules
    assert (first.id, first.title, first.severity, first.action, first.line) == ("H1", "Dehumanisation", "high", "remove", 34)
    assert first.violates == ('"All X are rats."', "Images that do the same:\n  - as a cartoon\n  - as a photo")
    assert (first.does_not_violate, first.borderline) == (("Comparisons of one person's conduct.",), ("Mascots.",))
    assert (second.applies_to, second.review, second.text) == (("post", "comment"), "human", "Using *slurs*.")


def test_examples_are_read(document: str) -> None:
    examples = parse_policy(document).rule("H1").examples
    assert [example.model_dump() for example in examples] == [
        Example(label="violates", text="they breed like cockroaches", note="about a group").model_dump(),
        Example(label="allowed", text="my cat is a pig").model_dump(),
        Example(label="allowed", text='He said "you rat" to me', note="condemns", decided_by="X1").model_dump(),
        Example(label="escalate", text="look at them", note="needs the thread", decided_by="E2").model_dump(),
    ]
    assert parse_policy(document).rule("H2").examples[1].text == 'the word "[slur]" – is old'


def test_exceptions_escalations_and_the_rest_are_read(document: str) -> None:
    policy = parse_policy(document)
    exception = policy.exception("X1")
    assert (exception.covers, exception.never_for, exception.outcome, exception.review) == (("H1",), ("H2",), "label", "human")
    assert exception.requires == "the text rejects what it quotes"
    assert [e.model_dump() for e in policy.escalations] == [
        Escalation(
            id="E1",
            title="Both",
            when="H1 or H2 is found",
            triggers=("H1", "H2"),
            to="trust-desk",
            within="1h",
            automation="none",
        ).model_dump(),
        Escalation(
            id="E2", title="Context", when="the target is not in the text", to="review", text="Only when it matters."
        ).model_dump(),
    ]
    assert policy.precedence == (("H1", "H2"),)
    assert policy.notices == {"H1": "We removed your post.", "H2": 'Please mind your "words".'}
    assert policy.reviewer_notes == "Look at the thread."
    assert policy.changelog == ("1.2.0 (2026-11-01): examples",)
    assert policy.definitions[1] == Definition(line=30, id="slur", term="Slur", text="a word that degrades a group.")


def test_outcome_allow_leaves_no_action(document: str) -> None:
    assert parse_policy(document.replace("- Outcome: label", "- Outcome: allow")).exception("X1").outcome == "none"
    assert parse_policy(document.replace("- Outcome: label\n", "")).exception("X1").outcome == "none"


@pytest.mark.parametrize(
    ("when", "triggers"),
    [
        ("H1 is found", ("H1",)),
        ("H1, H2 are found.", ("H1", "H2")),
        ("H1, or H2 is found", ("H1", "H2")),
        ("H1 and H2 are found", ()),
        ("H1 is found, or a plan is named", ()),
    ],
)
def test_only_the_machine_form_triggers(document: str, when: str, triggers: tuple[str, ...]) -> None:
    policy = parse_policy(document.replace("- When: H1 or H2 is found", f"- When: {when}"))
    assert policy.escalations[0].triggers == triggers
    assert policy.escalations[0].when == when


def test_prefix_comes_from_the_rules_when_it_is_left_out(document: str) -> None:
    assert parse_policy(document.replace("prefix: H\n", "")).prefix == "H"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_newlines_and_a_byte_order_mark_make_no_difference(document: str, newline: str) -> None:
    assert parse_policy("\ufeff" + document.replace("\n", newline)).digest == parse_policy(document).digest


def test_layout_is_not_part_of_the_digest_and_text_is(document: str) -> None:
    policy = parse_policy(document)
    assert parse_policy(document.replace("## Scope", "<!-- note -->\n\n\n## Scope   ")).digest == policy.digest
    assert parse_policy(document.replace("about people", "on people")).digest != policy.digest


def test_headings_in_a_fence_are_text(document: str) -> None:
    fenced = "```\n## Rules\n### H9\n```"
    assert parse_policy(document.replace("Content about people.", fenced)).scope == fenced


def test_keys_may_stand_apart_and_wrap(document: str) -> None:
    text = document.replace("- Severity: medium\n- Action: warn", "\n- Severity: medium\n\n- Action:\n  warn")
    assert parse_policy(text).rule("H2").action == "warn"


@pytest.mark.parametrize("dash", ["–", "—", "-", "--"])
def test_every_dash_begins_a_note(document: str, dash: str) -> None:
    policy = parse_policy(document.replace('cockroaches" – about', f'cockroaches" {dash} about'))
    assert policy.rule("H1").examples[0].note == "about a group"


def test_an_example_may_have_typographic_quotation_marks(document: str) -> None:
    policy = parse_policy(document.replace('"my cat is a pig"', '“my “cat” is a pig” – says "pig"'))
    assert policy.rule("H1").examples[1].text == "my “cat” is a pig"
    assert policy.rule("H1").examples[1].note == 'says "pig"'


def test_a_fault_in_a_rule_makes_no_reference_dangle(document: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document.replace("- Severity: high", "- Severity: huge"))
    assert len(caught.value.problems) == 1


def test_all_problems_come_at_once(document: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document.replace("H2 is found", "H7 is found").replace("1. H1 > H2", "1. H1 > H8"), "hate.md")
    assert [problem.line for problem in caught.value.problems] == [81, 92]
    assert str(caught.value).startswith("hate.md:81: `When` names the rule `H7`, which is not defined")


def test_an_overlay_is_read(overlay_document: str) -> None:
    overlay = parse_overlay(overlay_document, "hate.teen.md")
    assert (overlay.name, overlay.base, overlay.compatible) == ("teen", "hate", "^1.1")
    assert overlay.when == {"audience": ("teen",), "surface": ("post", "comment")}
    assert [rule.id for rule in overlay.rules] == ["H3"]
    assert [(a.id, a.disabled, dict(a.changes)) for a in overlay.amendments] == [
        ("H2", False, {"severity": "high", "applies_to": ("post",)}),
        ("X1", True, {}),
        ("E1", False, {"within": "10m"}),
    ]


def test_a_document_is_a_policy_or_an_overlay(document: str, overlay_document: str) -> None:
    assert isinstance(parse_document(document, "hate.md"), Policy)
    assert isinstance(parse_document(overlay_document, "hate.teen.md"), Overlay)


def test_an_overlay_is_not_a_policy(document: str, overlay_document: str) -> None:
    with pytest.raises(PolicyError, match="is an overlay, not a policy"):
        parse_policy(overlay_document)
    with pytest.raises(PolicyError, match="is a policy, not an overlay"):
        parse_overlay(document, "hate.teen.md")


@pytest.mark.parametrize("slug", list_policies())
def test_shipped_policies_parse(slug: str) -> None:
    assert load_policy(slug).slug == slug


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_arbitrary_text_gives_nothing_but_a_policy_error(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_document(text, "any.md")


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=80).map("".join))
def test_shuffled_documents_give_nothing_but_a_policy_error(text: str) -> None:
    for file in ("any.md", "any.teen.md"):
        try:
            parse_document("---\npolicy: any\nversion: 1.0.0\ntitle: Any\n---\n" + text, file)
        except PolicyError:
            continue


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DOCUMENT)), st.integers(0, 60), st.text(max_size=8))
def test_damaged_documents_give_nothing_but_a_policy_error(start: int, length: int, put: str) -> None:
    with suppress(PolicyError):
        parse_document(DOCUMENT[:start] + put + DOCUMENT[start + length :], "hate.md")
