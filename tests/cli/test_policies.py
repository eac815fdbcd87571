"""``policy``: what the commands print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command

POLICIES = Path(__file__).parents[2] / "policies"


def changed(tmp_path: Path, old: str, new: str) -> str:
    """A copy of the hate policy with one passage replaced."""
    text = (POLICIES / "hate.md").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "hate.md"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return str(path)


def test_list_names_every_shipped_policy_and_overlay(command: Command) -> None:
    done = command("policy", "list")
    assert done.code == 0
    for name in ("hate@1.0.0", "spam@1.0.0", "misinformation@1.0.0", "teen", "livestream"):
        assert name in done.out


def test_show_applies_the_overlays_of_a_context(command: Command) -> None:
    plain, teen = command("policy", "show", "hate"), command("policy", "show", "hate", "-c", "audience=teen")
    assert (plain.code, teen.code) == (0, 0)
    assert "### H7" not in plain.out
    assert "### H7" in teen.out


def test_show_json_is_the_policys_value(command: Command) -> None:
    assert json.loads(command("policy", "show", "spam", "--json").out)["slug"] == "spam"


def test_lint_finds_nothing_in_the_shipped_policies(command: Command) -> None:
    done = command("policy", "lint", "--strict", "--today", "2026-11-23")
    assert (done.code, done.out) == (0, "nothing found\n")


def test_lint_tells_file_line_and_a_right_form(command: Command, tmp_path: Path) -> None:
    path = changed(tmp_path, "- Severity: critical", "- Severity: huge")
    done = command("policy", "lint", path)
    line = next(n for n, text in enumerate(Path(path).read_text().splitlines(), start=1) if "huge" in text)
    assert done.code == 1
    assert f"{path}:{line}: error P001" in done.out
    assert "critical" in done.out


def test_lint_speaks_json_and_sarif(command: Command, tmp_path: Path) -> None:
    path = changed(tmp_path, "- Severity: critical", "- Severity: huge")
    findings = json.loads(command("policy", "lint", path, "--format", "json").out)
    assert findings[0]["code"] == "P001"
    sarif = json.loads(command("policy", "lint", path, "--format", "sarif").out)
    assert sarif["runs"][0]["results"][0]["ruleId"] == "P001"


def test_lint_finds_an_example_that_is_in_a_suite(command: Command, tmp_path: Path) -> None:
    shipped = json.loads(command("policy", "show", "spam", "--json").out)
    suite = tmp_path / "suite.txt"
    suite.write_text(shipped["rules"][0]["examples"][0]["text"] + "\n", encoding="utf-8")
    done = command("policy", "lint", "spam", "--suite", str(suite))
    assert done.code == 1
    assert "P204" in done.out


def test_compile_prints_the_same_bytes_twice_and_the_digest_aside(command: Command) -> None:
    first, second = command("policy", "compile", "hate"), command("policy", "compile", "hate")
    assert first.out == second.out
    assert first.err == second.err
    assert "sha256:" in first.err
    assert "Reviewer notes" not in first.out


def test_compile_says_what_a_budget_leaves_out(command: Command) -> None:
    whole = command("policy", "compile", "hate")
    tokens = int(whole.err.split("about ")[1].split()[0].replace(",", ""))
    tight = command("policy", "compile", "hate", "--budget", str(tokens - 1))
    assert tight.code == 0
    assert "left out: rationale" in tight.err
    assert command("policy", "compile", "hate", "--budget", "100").code == 1


def test_diff_names_the_bump_a_change_needs(command: Command, tmp_path: Path) -> None:
    path = changed(tmp_path, "- Severity: critical", "- Severity: low")
    done = command("policy", "diff", "hate", path)
    assert done.code == 1
    assert "needs major, is none (too little)" in done.out
    assert "rule H1 severity" in done.out
    assert command("policy", "diff", "hate", "hate").code == 0


def test_what_is_not_there_is_one_line(command: Command, tmp_path: Path) -> None:
    for arguments in (
        ("show", "hat"),
        ("lint", "nowhere.md"),
        ("compile", "hate", "--family", "none"),
        ("lint", "hate", "--suite", "x.txt"),
    ):
        done = command("policy", *arguments)
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err
    assert "hate" in command("policy", "show", "hat").err
    assert command("policy", "lint", "--today", "yesterday").code == 2
    assert command("policy", "show", "hate", "-c", "audiance=teen").code == 2
