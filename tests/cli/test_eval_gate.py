"""``eval gate`` as a pipeline runs it: targets, a baseline, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Command, Done
from tests.cli.shop import LOOSENED, Judged, Shop, judged, shop

__all__ = ["judged", "shop"]

MANY = ("hammer", "saw", "lathe", "drill", "flower", "book", "tea")


def checks(done: Done) -> dict[str, str]:
    (gate,) = json.loads(done.out)["gates"]
    return {" ".join(filter(None, (one["kind"], one["rule"], one["name"]))): one["status"] for one in gate["checks"]}


def test_targets_of_the_suite_are_reached_or_not(command: Command, shop: Shop, judged: Judged) -> None:
    good = judged(shop(targets=', "targets": {"f1": 0.9, "precision": 0.95}'), "good")
    done = command("eval", "gate", good, "--json")
    assert done.code == 0
    assert checks(done) == {
        "target f1": "reached", "target precision": "reached", "failures failures": "reached", "coverage missing": "reached",
    }  # fmt: skip
    bad = judged(shop("loose", LOOSENED, targets=', "targets": {"f1": 0.9}'), "bad")
    done = command("eval", "gate", bad)
    assert done.code == 100
    assert "fell short: 1 of 3 checks" in done.out
    assert "f1 0.667" in done.out


def test_targets_on_the_command_line_come_over_those_of_the_suite(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop("loose", LOOSENED, targets=', "targets": {"f1": 0.9}'), "run")
    assert command("eval", "gate", run, "--least", "f1=0.6").code == 0
    done = command("eval", "gate", run, "--least", "f1=0.6", "--least", "T1:recall=0.5", "--minimum", 10, "--json")
    assert done.code == 100
    assert checks(done)["target T1 recall"] == "short"
    assert checks(done)["target f1"] == "reached"


def test_few_items_fall_short_unless_that_is_allowed(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(), "run")
    asked = "eval", "gate", run, "--least", "T1:recall=0.5"  # twenty of thirty
    done = command(*asked, "--json")
    assert (done.code, checks(done)["target T1 recall"]) == (100, "inconclusive")
    assert command(*asked, "--allow-inconclusive").code == 0
    done = command(*asked, "--minimum", 20, "--json")
    assert (done.code, checks(done)["target T1 recall"]) == (0, "reached")


def test_confident_asks_for_the_whole_interval(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(), "run")  # 40 of 40 found: Wilson's interval begins at 0.912
    assert command("eval", "gate", run, "--least", "recall=0.95").code == 0
    assert command("eval", "gate", run, "--least", "recall=0.95", "--confident").code == 100
    assert command("eval", "gate", run, "--least", "recall=0.9", "--confident").code == 0


def test_a_run_must_not_fall_behind_its_baseline(command: Command, shop: Shop, judged: Judged) -> None:
    base, worse = judged(shop(), "base"), judged(shop("loose", LOOSENED), "worse")
    done = command("eval", "gate", worse, "--baseline", base, "--json")
    assert (done.code, checks(done)["non-inferiority f1"]) == (100, "short")
    again = judged(shop(), "again")
    done = command("eval", "gate", again, "--baseline", base, "--metric", "f1", "--metric", "T1:recall", "--json")
    assert (done.code, checks(done)["non-inferiority T1 recall"]) == (0, "reached")
    assert command("eval", "gate", base, "--baseline", worse).code == 0
    assert command("eval", "gate", worse, "--baseline", base, "--margin", 0.6).code == 0
    # missed violations are better the fewer they are
    done = command("eval", "gate", worse, "--baseline", base, "--metric", "missed", "--json")
    assert (done.code, checks(done)["non-inferiority missed"]) == (100, "short")
    assert command("eval", "gate", base, "--baseline", worse, "--metric", "missed").code == 0


def test_failures_are_bounded(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(words=(*MANY, "broken")), "run")
    done = command("eval", "gate", run, "--least", "precision=0.5", "--json")
    assert (done.code, checks(done)["failures failures"]) == (100, "short")
    assert command("eval", "gate", run, "--least", "precision=0.5", "--failures", 0.2).code == 0


def test_what_the_baseline_judged_must_be_there(command: Command, shop: Shop, judged: Judged) -> None:
    folder = shop()
    base, half = judged(folder, "base"), judged(folder, "half", "--limit", 40)
    done = command("eval", "gate", half, "--baseline", base, "--json")
    assert (done.code, checks(done)["coverage missing"]) == (100, "short")


def test_a_run_that_is_not_finished_does_not_pass(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(targets=', "targets": {"f1": 0.1}'), "run")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8")) | {"finished": None}
    (run / "manifest.partial.json").write_text(json.dumps(manifest), encoding="utf-8")
    (run / "manifest.json").unlink()
    lines = (run / "outcomes.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "outcomes.jsonl").write_text("".join(lines[:50]), encoding="utf-8")
    done = command("eval", "gate", run, "--json")
    assert (done.code, checks(done)["coverage missing"]) == (100, "short")


def test_junit_has_a_case_for_each_check(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    run = judged(shop("loose", LOOSENED), "run")
    command("eval", "gate", run, "--least", "f1=0.9", "--least", "T1:recall=0.5", "--allow-inconclusive", "--junit", "out.xml")
    (suite,) = ElementTree.parse(tmp_path / "out.xml").getroot()
    found = {str(case.get("name")): [child.tag for child in case] for case in suite}
    assert found == {
        "target f1": ["failure"],
        "target T1 recall": ["skipped"],
        "failures failures": ["system-out"],
        "coverage missing": ["system-out"],
    }
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "4", "failures": "1", "skipped": "1", "errors": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 1, "no targets and no baseline\n  write `targets: {f1: 0.7}`"),
        (("--least", "f1"), 2, "not METRIC=VALUE"),
        (("--least", "f1=7"), 2, "not METRIC=VALUE"),
        (("--least", ":f1=0.7"), 2, "not METRIC"),
        (("--least", "f2=0.7"), 1, "no metric 'f2'"),
        (("--least", "T9:f1=0.7"), 1, "no rule 'T9'"),
        (("--baseline", "run", "--metric", "f2"), 1, "metric 'f2': cannot be compared"),
        (("--baseline", "run", "--metric", "T9:f1"), 1, "no rule 'T9'"),
        (("--baseline", "nowhere"), 1, "no such folder"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    command: Command, shop: Shop, judged: Judged, more: tuple[Any, ...], code: int, said: str
) -> None:
    done = command("eval", "gate", judged(shop(), "run"), *more)
    assert (done.code, said in done.err) == (code, True), done.err
