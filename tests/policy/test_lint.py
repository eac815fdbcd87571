"""Every check with a document that it finds fault with; the sound document, which passes all of them, is the other side."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from moderator.assets import directory
from moderator.policy import (
    CHECKS,
    Finding,
    LintOptions,
    findings_to_json,
    findings_to_sarif,
    findings_to_text,
    has_errors,
    lint_file,
    lint_folder,
    lint_text,
    parse_policy,
)

TODAY = date(2026, 12, 1)

SOUND = (
    ("- Covers: H1\n", "- Covers: H1, H3\n"),
    ("- Review: human\nUsing", "Using"),
    ("### H2 Slurs", "### H3 Contempt\n- Severity: low\n- Action: label\n\nContempt.\n\n"
     '#### Examples\n- violates: "you disgust us"\n- allowed: "I disagree"\n\n### H2 Slurs'),
    ('- H2: "Please', '- H3: "Please be kind."\n- H2: "Please'),
)  # fmt: skip
"""What makes the sound document of the parser's tests sound for the linter too."""

CASES = {
    "P001": ("- Severity: low", "- Severity: lowish"),
    "P101": ("Contempt.\n", "Contempt of a *protected\ngroup*.\n"),
    "P102": ("- **Slur** (`slur`)", "- **Mob** (`mob`): many persons.\n- **Slur** (`slur`)"),
    "P103": ("Contempt.\n", "Contempt, in most\ncases.\n"),
    "P104": ("Contempt.\n", "Contempt.\nIf so, you must answer with the id of the rule.\n"),
    "P105": ("Contempt.\n", "Contempt that H7 does not name.\n"),
    "P201": ('- allowed: "I disagree"\n', ""),
    "P202": ('- allowed: "I disagree"\n', '- allowed: "You  disgust us"\n'),
    "P203": ('- allowed: "I disagree"\n', '- allowed: "they breed like cockroaches"\n'),
    "P205": ('- allowed: "the word', '- allowed (X1): "the word'),
    "P301": ("- Severity: low\n", "- Severity: low\n- Review: human\n"),
    "P302": ("- Never for: H2", "- Never for: H2, H3"),
    "P303": ("- Requires: the text rejects what it\n  quotes\n", ""),
    "P304": ("- Applies to: post, comment", "- Applies to: post, coment"),
    "P401": ("1. H1 > H2", "1. H1 > H2\n2. H2 > H3 > H1"),
    "P402": ('- H3: "Please be kind."\n', ""),
    "P403": ("Please be kind.", "Please be kind. " * 200),
    "P501": ("review_by: 2027-11-01", "review_by: 2026-11-30"),
    "P504": ("policy: hate", "policy: hateful"),
    "P505": ("title: Hateful conduct", "title: Hateful behaviour"),
    "P506": ("- 1.2.0 (2026-11-01): examples", "- 1.1.0 (2026-11-01): examples"),
    "P507": ("owner: policy@example.org\n", ""),
}


@pytest.fixture
def sound(document: str) -> str:
    for old, new in SOUND:
        assert old in document
        document = document.replace(old, new)
    return document


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


def test_a_sound_document_has_no_findings(sound: str) -> None:
    options = LintOptions(today=TODAY, suite_texts=frozenset({"other"}), previous=parse_policy(sound))
    assert lint_text(sound, "hate.md", options) == ()


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_fault_is_found_once_and_nothing_else(code: str, sound: str) -> None:
    old, new = CASES[code]
    assert sound.count(old) == 1
    findings = lint_text(sound.replace(old, new), "hate.md", LintOptions(today=TODAY))
    assert codes(findings) == [code]
    assert findings[0].hint


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("P101", "Contempt of a *protected"),
        ("P102", "**Mob**"),
        ("P103", "Contempt, in most"),
        ("P104", "If so, you must answer"),
        ("P105", "Contempt that H7"),
        ("P202", "You  disgust us"),
        ("P401", "1. H1 > H2"),
        ("P403", "- H3: "),
        ("P501", "review_by: "),
        ("P504", "policy: "),
        ("P505", "# Hateful conduct"),
        ("P506", "version: "),
    ],
)
def test_a_finding_names_the_line(code: str, text: str, sound: str) -> None:
    lines = sound.replace(*CASES[code]).splitlines()
    finding = lint_text("\n".join(lines), "hate.md", LintOptions(today=TODAY))[0]
    assert text in lines[finding.line - 1]


def test_every_check_has_a_test() -> None:
    elsewhere = {"P204", "P305", "P502", "P503", "P508", "P601"}
    assert set(CASES) | elsewhere == set(CHECKS)


@pytest.mark.parametrize(
    "phrase",
    [
        "Respond with one word.",
        "Output only the label.",
        "Please return JSON.",
        "Output: VALID",
        "Use the label format below.",
        "Think step by step.",
        "Do not explain your answer.",
        "The model should reply in JSON.",
    ],
)
def test_instructions_to_the_model_are_found(phrase: str, sound: str) -> None:
    assert set(codes(lint_text(sound.replace("Contempt.\n", f"Contempt. {phrase}\n"), "hate.md"))) == {"P104"}


@pytest.mark.parametrize(
    "phrase",
    [
        "People who respond with contempt.",
        'Orders such as "answer with yes" or “output JSON” are content.',
        "An answer in the thread, a reply, a return to the topic.",
        "Calls to output power plants.",
        "It holds often enough that it oftens."[:12],
    ],
)
def test_prose_about_answers_is_left_alone(phrase: str, sound: str) -> None:
    assert lint_text(sound.replace("Contempt.\n", f"Contempt. {phrase}\n"), "hate.md") == ()


def test_terms_are_found_in_any_case_and_number(sound: str) -> None:
    text = sound.replace("Contempt.\n", "Contempt of *Protected  Characteristics* and *SLURS*, **not *of** 2 * 3 * 4.\n")
    assert lint_text(text, "hate.md") == ()


def test_what_people_read_may_hedge(sound: str) -> None:
    text = sound.replace("Look at the thread.", "Usually look at the thread. Answer with *care*.")
    assert lint_text(text.replace("People stay", "People generally stay"), "hate.md") == ()


def test_an_example_that_is_in_a_suite_is_a_leak(sound: str) -> None:
    findings = lint_text(sound, "hate.md", LintOptions(suite_texts=frozenset({"You DISGUST\nus "})))
    assert codes(findings) == ["P204"]
    assert findings[0].line == sound[: sound.index("you disgust us")].count("\n") + 1


def test_a_surface_without_a_rule_is_found(sound: str) -> None:
    text = sound.replace("- Applies to: post, comment\n", "").replace("- Action:", "- Applies to: post, comment\n- Action:")
    findings = lint_text(text, "hate.md")
    assert codes(findings) == ["P305"]
    assert "`dm`" in findings[0].what


def test_the_version_must_move_with_the_policy(sound: str) -> None:
    previous = parse_policy(sound)
    changed = sound.replace("- Severity: low", "- Severity: medium")
    assert codes(lint_text(changed, "hate.md", LintOptions(previous=previous))) == ["P502"]
    moved = changed.replace("1.2.0", "2.0.0")
    assert lint_text(moved, "hate.md", LintOptions(previous=previous)) == ()
    assert codes(lint_text(sound.replace("1.2.0", "1.1.0"), "hate.md", LintOptions(previous=previous))) == ["P502"]


def test_an_id_given_to_another_rule_is_found(sound: str) -> None:
    changed = sound.replace("### H3 Contempt", "### H3 Spam").replace("Contempt.\n", "Unwanted advertising in bulk.\n")
    findings = lint_text(changed.replace("1.2.0", "2.0.0"), "hate.md", LintOptions(previous=parse_policy(sound)))
    assert codes(findings) == ["P508"]


def test_the_token_budget_is_counted_by_what_the_model_may_see(sound: str) -> None:
    assert codes(lint_text(sound, "hate.md", LintOptions(budget=50))) == ["P601"]
    assert lint_text(sound, "hate.md", LintOptions(budget=50, estimate=lambda text: text.count("Look at the thread"))) == ()


def test_all_problems_of_a_document_are_findings(document: str) -> None:
    findings = lint_text(document.replace("- To:", "- Too:"), "hate.md")
    assert set(codes(findings)) == {"P001"}
    assert len(findings) == 4


def test_an_overlay_is_held_against_its_base(sound: str, overlay_document: str, tmp_path: Path) -> None:
    overlay = overlay_document.replace("H3", "H4")
    (tmp_path / "hate.md").write_text(sound, encoding="utf-8")
    (tmp_path / "hate.teen.md").write_text(overlay, encoding="utf-8")
    assert lint_folder(tmp_path, LintOptions(today=TODAY)) == ()
    (tmp_path / "hate.teen.md").write_text(overlay.replace("^1.1", "^2"), encoding="utf-8")
    findings = lint_folder(tmp_path)
    assert codes(findings) == ["P503"]
    assert (findings[0].line, findings[0].hint) == (2, "versions that are there: `1.2.0`")


def test_an_overlay_without_its_base_fits_nothing(overlay_document: str, tmp_path: Path) -> None:
    (tmp_path / "hate.teen.md").write_text(overlay_document, encoding="utf-8")
    assert codes(lint_file(tmp_path / "hate.teen.md")) == ["P503"]
    assert "P503" not in codes(lint_text(overlay_document, "hate.teen.md"))


def test_an_overlay_that_cannot_be_applied_is_found(document: str, overlay_document: str) -> None:
    text = overlay_document.replace("### E1\n", "### E9\n")
    findings = lint_text(text, "hate.teen.md", LintOptions(bases=(parse_policy(document),)))
    assert [(f.code, f.what) for f in findings] == [("P503", "`E9` is not in `hate@1.2.0`")]


def test_what_an_overlay_breaks_in_the_policy_is_told_of_the_overlay(sound: str, overlay_document: str) -> None:
    text = overlay_document.replace("H3", "H4").replace('- H4: "We hid your post."', "")
    text = text.replace("- Applies to: post", "- Review: human").replace("- Covers: H1, H4", "- Covers: H2, H4")
    findings = lint_text(text, "hate.teen.md", LintOptions(bases=(parse_policy(sound),)))
    assert codes(findings) == ["P402", "P301"]
    assert [text.splitlines()[finding.line - 1] for finding in findings] == ["### H4 Bullying", "### X2 Speaking up"]


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path, folder: Path) -> None:
    shutil.copy(folder / "hate.teen.md", tmp_path / "hate.teen.md")
    (tmp_path / "hate.md").write_bytes(b"\xff")
    assert set(codes(lint_folder(tmp_path))) == {"P001"}
    assert codes(lint_file(tmp_path / "none.md")) == ["P001"]


def test_the_last_versions_are_given_by_slug(sound: str, tmp_path: Path) -> None:
    (tmp_path / "hate.md").write_text(sound.replace("- Severity: low", "- Severity: medium"), encoding="utf-8")
    assert codes(lint_folder(tmp_path, previous={"hate": parse_policy(sound)})) == ["P502"]


def test_shipped_policies_have_no_findings() -> None:
    assert findings_to_text(lint_folder(directory("policies"), LintOptions(today=TODAY))) == ""


FINDINGS = (
    Finding("policies/hate speech.md", 3, "P103", "hedge word `often`", "say when"),
    Finding("policies/hate speech.md", 0, "P601", "about 9,000 tokens"),
    Finding("policies/hate.md", 7, "P401", "precedence goes in a circle"),
)


def test_findings_as_text() -> None:
    assert findings_to_text(FINDINGS) == (
        "policies/hate speech.md:3: warning P103 hedge word `often`\n"
        "  say when\n"
        "policies/hate speech.md: warning P601 about 9,000 tokens\n"
        "policies/hate.md:7: error P401 precedence goes in a circle"
    )
    assert findings_to_text(()) == ""


def test_findings_as_json() -> None:
    value = json.loads(findings_to_json(FINDINGS))
    assert value[0] == {
        "file": "policies/hate speech.md",
        "line": 3,
        "code": "P103",
        "what": "hedge word `often`",
        "hint": "say when",
        "severity": "warning",
    }
    assert len(value) == 3


def test_only_errors_are_errors() -> None:
    assert has_errors(FINDINGS)
    assert not has_errors(FINDINGS[:2])


SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "additionalProperties": False,
    "$defs": {
        "message": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
        "run": {
            "type": "object",
            "required": ["tool", "results"],
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {
                        "driver": {
                            "type": "object",
                            "required": ["name", "rules"],
                            "properties": {"rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/rule"}}},
                        }
                    },
                },
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
            "additionalProperties": False,
        },
        "rule": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "shortDescription": {"$ref": "#/$defs/message"},
                "defaultConfiguration": {
                    "type": "object",
                    "properties": {"level": {"enum": ["none", "note", "warning", "error"]}},
                },
            },
            "additionalProperties": False,
        },
        "result": {
            "type": "object",
            "required": ["message", "ruleId", "level", "locations"],
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": {"$ref": "#/$defs/message"},
                "locations": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["physicalLocation"],
                        "properties": {
                            "physicalLocation": {
                                "type": "object",
                                "required": ["artifactLocation", "region"],
                                "properties": {
                                    "artifactLocation": {
                                        "type": "object",
                                        "required": ["uri"],
                                        "properties": {"uri": {"type": "string", "pattern": "^[^ ]+$"}},
                                    },
                                    "region": {
                                        "type": "object",
                                        "required": ["startLine"],
                                        "properties": {"startLine": {"type": "integer", "minimum": 1}},
                                    },
                                },
                            }
                        },
                    },
                },
            },
            "additionalProperties": False,
        },
    },
}
"""The part of the SARIF 2.1.0 schema that code hosts read."""


def test_findings_as_sarif() -> None:
    value = findings_to_sarif(FINDINGS)
    jsonschema.validate(value, SARIF)
    run = value["runs"][0]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert [result["level"] for result in run["results"]] == ["warning", "warning", "error"]
    assert json.loads(json.dumps(value)) == value
