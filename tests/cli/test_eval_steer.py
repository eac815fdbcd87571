"""``eval steer``: tables, JSON, JUnit and Markdown of one result, and the exit codes of a gate."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Command
from tests.steering.engines import document

FOLLOWER, IGNORER = "tests.steering.engines:Follower", "tests.steering.engines:Ignorer"
FUNCTIONAL = Path(__file__).parents[2] / "evals" / "functional"


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    path = tmp_path / "fruit.md"
    path.write_text(document(4), encoding="utf-8")
    return path


def test_a_follower_passes_the_gate(command: Command, fruit: Path, tmp_path: Path) -> None:
    done = command(
        "eval", "steer", "-p", fruit, "-e", FOLLOWER, "--minimum", 4, "--gate", "--junit", "out/j.xml", "--markdown", "out/r.md"
    )
    assert done.code == 0, done.err
    first, header, deletion, *_ = done.out.splitlines()
    assert first.strip() == "fruit@1.0.0"
    assert header.split() == ["probe", "must", "k/n", "units", "rate", "interval", "limit", "result"]
    assert deletion.split() == ["deletion", "flips", "12/12", "12", "1.000", "0.758", "to", "1.000", ">=", "0.9", "pass"]
    assert "24 contents: 12 allowed, 12 violates; flagged 12 of 12 that violate, 0 of 12 that do not" in done.out
    suite = ElementTree.parse(tmp_path / "out" / "j.xml").getroot()[0]
    assert suite.attrib["failures"] == "0"
    report = (tmp_path / "out" / "r.md").read_text(encoding="utf-8")
    assert f"moderator eval steer -p {fruit} -e {FOLLOWER} --minimum 4 --gate" in report
    assert "| deletion | flips | 12/12 |" in report


def test_a_moderator_that_ignores_its_policy_does_not(command: Command, fruit: Path) -> None:
    done = command("eval", "steer", "-p", fruit, "-e", IGNORER, "--minimum", 4, "--gate", "--json")
    assert done.code == 100
    assert done.err.splitlines()[-1].startswith("gate: 10 pass, 5 short, 0 inconclusive; short: fruit@1.0.0 deletion, ")
    value = json.loads(done.out)
    found = {probe["probe"]: probe["result"] for probe in value["policies"][0]["probes"]}
    assert found["deletion"] == "short"
    assert found["order"] == "pass"
    assert len(value["total"]) == len(found)
    assert command("eval", "steer", "-p", fruit, "-e", IGNORER, "--minimum", 4).code == 0


def test_inconclusive_does_not_pass_unless_allowed(command: Command, fruit: Path) -> None:
    few = ("eval", "steer", "-p", fruit, "-e", FOLLOWER, "--probe", "deletion,ids", "--gate")
    assert command(*few).code == 100
    done = command(*few, "--allow-inconclusive")
    assert done.code == 0
    assert "order" not in done.out


def test_limits_are_given_by_probe(command: Command, fruit: Path) -> None:
    given = ("eval", "steer", "-p", fruit, "-e", IGNORER, "--minimum", 4, "--probe", "deletion", "--gate")
    assert command(*given, "--least", "deletion=0").code == 0
    assert command(*given, "--least", "deletion=0.01").code == 100


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--least", "order=0.1"), "a limit on what stays is the most share"),
        (("--most", "order=two"), "could not convert"),
        (("--most", "nothing=0.1"), "no probe 'nothing'"),
        (("--probe", "orders"), "'orders' is not one of"),
        (("--minimum", "0"), "--minimum"),
    ],
)
def test_wrong_options_are_usage_errors(command: Command, fruit: Path, arguments: tuple[str, str], says: str) -> None:
    done = command("eval", "steer", "-p", fruit, "-e", FOLLOWER, *arguments)
    assert done.code == 2
    assert says in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-p", "no-such"), "error: no-such: no policy of this name"),
        (("-p", "hate", "--suite", FUNCTIONAL / "spam.yaml"), "a suite for 'spam', which is not among the policies"),
        (("-p", "hate", "--suite", "missing.yaml"), "error: missing.yaml: cannot be read"),
        (("-p", "hate", "--no-examples"), "error: hate@1.0.0: no contents to judge"),
        (("-p", "hate", "--unrelated", "hate"), "the policy about something else is the policy itself"),
        (("-p", "hate", "--markdown", "."), "error: .: is a folder"),
    ],
)
def test_what_cannot_be_done_is_one_message(command: Command, arguments: tuple[object, ...], says: str) -> None:
    done = command("eval", "steer", "-e", FOLLOWER, *arguments)
    assert done.code == 1
    assert says in done.err
    assert done.out == ""


def test_suites_add_contents_and_several_policies_have_totals(command: Command, fruit: Path) -> None:
    done = command(
        "eval", "steer", "-p", fruit, "-p", "spam", "-e", FOLLOWER, "--suite", FUNCTIONAL / "spam.yaml", "--limit", 30,
        "--probe", "ids", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    value = json.loads(done.out)
    assert [(one["policy"], one["base"]["contents"]) for one in value["policies"]] == [("fruit@1.0.0", 24), ("spam@1.0.0", 30)]
    assert {one["probe"]: one["n"] for one in value["total"]}["ids"] == 54


def test_all_means_the_shipped_policies(command: Command) -> None:
    done = command("eval", "steer", "-p", "all", "-e", FOLLOWER, "--limit", 3, "--probe", "order")
    assert done.code == 0, done.err
    assert done.out.count("@1.0.0") == 9
    assert "all policies" in done.out
