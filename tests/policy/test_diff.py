"""What changed, and the bump that it needs."""

from __future__ import annotations

import json

import pytest

from moderator.errors import PolicyError
from moderator.policy import Policy, diff_policies, diff_to_json, diff_to_text, load_policy, parse_policy
from moderator.policy.version import Bump

NEW_RULE = "### H3 Contempt\n- Severity: low\n- Action: label\n\nContempt.\n\n## Exceptions"

CHANGES: list[tuple[str, str, Bump, list[str]]] = [
    ("- Severity: high", "- Severity: low", "major", ["rule H1 severity"]),
    ("- Action: warn", "- Action: hide", "major", ["rule H2 action"]),
    ("- Applies to: post, comment", "- Applies to: post", "major", ["rule H2 applies to"]),
    ("- Review: human\nUsing", "Using", "major", ["rule H2 review"]),
    ("Using *slurs*.", "Using *slurs* at people.", "major", ["rule H2 text"]),
    ('- "All X are rats."\n', "", "major", ["rule H1 violates"]),
    ("one person's conduct.", "one person.", "major", ["rule H1 does not violate"]),
    ("## Exceptions", NEW_RULE, "major", ["rule H3"]),
    ("- Covers: H1", "- Covers: H1, H2", "major", ["exception X1 covers"]),
    ("- Never for: H2\n", "", "major", ["exception X1 never for"]),
    ("rejects what it", "mocks what it", "major", ["exception X1 requires"]),
    ("- Outcome: label", "- Outcome: allow", "major", ["exception X1 outcome"]),
    ("Reports and quotes.", "Reports.", "major", ["exception X1 text"]),
    ("H1 or H2 is found", "H1 is found", "major", ["escalation E1 when"]),
    ("- Automation: none", "- Automation: hold", "major", ["escalation E1 automation"]),
    ("degrades a group", "insults a group", "major", ["definition slur text"]),
    ("1. H1 > H2", "1. H2 > H1", "major", ["policy precedence"]),
    ("Content about people.", "Content about groups.", "major", ["policy scope"]),
    ("[post, comment, dm]", "[post, comment]", "major", ["policy applies to"]),
    ("### H2 Slurs", "### H2 Slur", "minor", ["rule H2 title"]),
    ("- Mascots.", "- Mascots and flags.", "minor", ["rule H1 borderline"]),
    ('- allowed: "my cat is a pig"\n', "", "minor", ["rule H1 examples"]),
    ("- **Slur**", "- **Target** (`target`): a person.\n- **Slur**", "minor", ["definition target"]),
    ("- To: review", "- To: experts", "minor", ["escalation E2 to"]),
    ("- Within: 1h", "- Within: 2h", "minor", ["escalation E1 within"]),
    ("status: active", "status: shadow", "minor", ["policy status"]),
    ("where they are safe", "where they feel safe", "patch", ["policy rationale"]),
    ("We removed your post.", "We took your post down.", "patch", ["notice H1"]),
    ('- H2: "Please mind your "words"."\n', "", "patch", ["notice H2"]),
    ("Look at the thread.", "Look twice.", "patch", ["policy reviewer notes"]),
    ("because of a\n*protected", "because of\na *protected", "patch", ["rule H1 text"]),
    ("[post, comment, dm]", "[dm, post, comment]", "patch", ["policy applies to"]),
    ("review_by: 2027-11-01", "review_by: 2028-11-01", "patch", ["policy review by"]),
    ("(2026-11-01): examples", "(2026-11-01): more examples", "none", ["policy changelog"]),
    ("## Scope", "<!-- scope -->\n## Scope", "none", []),
]


@pytest.fixture
def old(document: str) -> Policy:
    return parse_policy(document)


@pytest.mark.parametrize(("before", "after", "bump", "subjects"), CHANGES)
def test_each_change_has_its_bump(old: Policy, document: str, before: str, after: str, bump: Bump, subjects: list[str]) -> None:
    assert document.count(before) == 1
    compared = diff_policies(old, parse_policy(document.replace(before, after)))
    assert [change.subject for change in compared.changes] == subjects
    assert compared.needed == bump
    assert compared.sufficient is (bump == "none")


def test_a_removed_part_is_one_change(old: Policy, document: str) -> None:
    without = document[: document.index("### E2")] + document[document.index("## Precedence") :]
    compared = diff_policies(old, parse_policy(without.replace('- escalate (E2): "look at them" – needs the thread\n', "")))
    assert [(c.kind, c.subject, c.bump) for c in compared.changes] == [
        ("changed", "rule H1 examples", "minor"),
        ("removed", "escalation E2", "major"),
    ]


def test_the_order_of_rules_breaks_ties(old: Policy) -> None:
    compared = diff_policies(old, old.replace(rules=old.rules[::-1], escalations=old.escalations[::-1]))
    assert [(change.subject, change.bump) for change in compared.changes] == [
        ("rule order", "major"),
        ("escalation order", "patch"),
    ]


@pytest.mark.parametrize(
    ("version", "change", "enough"),
    [
        ("2.0.0", {"scope": "All."}, True),
        ("1.3.0", {"scope": "All."}, False),
        ("1.3.0", {"status": "draft"}, True),
        ("1.2.1", {"status": "draft"}, False),
        ("1.2.1", {"rationale": "Why."}, True),
        ("1.2.0", {"rationale": "Why."}, False),
        ("1.2.0", {}, True),
        ("2.0.0", {}, True),
        ("1.1.9", {}, False),
    ],
)
def test_the_version_must_move_far_enough(old: Policy, version: str, change: dict[str, str], enough: bool) -> None:
    assert diff_policies(old, old.replace(version=version, **change)).sufficient is enough


def test_below_one_everything_counts_one_step_less(old: Policy) -> None:
    early = old.replace(version="0.2.0")
    assert diff_policies(early, early.replace(version="0.3.0", scope="All.")).sufficient
    assert not diff_policies(early, early.replace(version="0.2.1", scope="All.")).sufficient
    assert diff_policies(early, early.replace(version="0.2.1", status="draft")).sufficient
    assert diff_policies(early, early.replace(version="1.0.0", scope="All.")).sufficient


def test_another_policy_is_no_version(old: Policy) -> None:
    with pytest.raises(PolicyError, match="is not a version of `hate`"):
        diff_policies(old, load_policy("spam"))


def test_a_diff_as_text(old: Policy, document: str) -> None:
    text = document.replace("1.2.0", "1.3.0").replace("- Severity: high", "- Severity: low").replace("Look at", "See")
    text = text.replace('- allowed: "my cat is a pig"', '- allowed: "my dog is a pig" – pet').replace("1. H1 > H2\n", "")
    assert diff_to_text(diff_policies(old, parse_policy(text))) == "\n".join(
        [
            "hate 1.2.0 -> 1.3.0: needs major, is minor (too little)",
            "major  policy precedence: H1 > H2 -> (none)",
            "major  rule H1 severity: high -> low",
            "minor  rule H1 examples",
            '         - allowed: "my cat is a pig"',
            '         + allowed: "my dog is a pig" – pet',
            "patch  policy reviewer notes: Look at the thread. -> See the thread.",
            "none   policy changelog",
            "         - 1.2.0 (2026-11-01): examples",
            "         + 1.3.0 (2026-11-01): examples",
        ]
    )


def test_every_kind_of_value_can_be_shown(old: Policy, document: str) -> None:
    text = document.replace("roost: hate_speech", "roost: hate").replace("H1 or H2 is found", "H2 is found, or more than one")
    text = (
        text.replace("- allowed (X1): ", "- allowed: ")
        .replace("## Exceptions", NEW_RULE)
        .replace("owner: policy@example.org\n", "")
    )
    shown = diff_to_text(diff_policies(old, parse_policy(text.replace("1. H1 > H2", "1. H1 > H3\n2. H2 > H3"))))
    assert "major  rule H3 added: Contempt\n" in shown
    assert "major  escalation E1 when: H1 or H2 is found -> H2 is found, or more than one\n" in shown
    assert "major  policy precedence: H1 > H2 -> H1 > H3; H2 > H3\n" in shown
    assert '         - allowed (X1): "He said "you rat" to me" – condemns\n' in shown
    assert "patch  policy owner: policy@example.org -> (none)\n" in shown
    assert (
        "         + dsa: STATEMENT, ailuminate: (none), openai: hate; hate/threatening, llama_guard: (none), roost: hate"
        in shown
    )


def test_a_diff_of_equals_as_text(old: Policy) -> None:
    assert diff_to_text(diff_policies(old, old)) == "hate 1.2.0 -> 1.2.0: needs none, is none (enough)"


def test_a_diff_as_json(old: Policy) -> None:
    value = json.loads(diff_to_json(diff_policies(old, old.replace(scope="All."))))
    assert (value["policy"], value["needed"], value["actual"], value["sufficient"]) == ("hate", "major", "none", False)
    assert value["changes"] == [
        {
            "kind": "changed",
            "part": "policy",
            "id": "",
            "field": "scope",
            "before": "Content about people.",
            "after": "All.",
            "bump": "major",
        }
    ]
