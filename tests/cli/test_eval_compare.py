"""``eval compare``, ``gate`` and ``replay`` as users run them, with an engine that reads the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Command, Done
from tests.cli.shop import LOOSENED, Judged, Shop, judged, shop

__all__ = ["judged", "shop"]


def one(done: Done) -> dict[str, Any]:
    (found,) = json.loads(done.out)["comparisons"]
    assert isinstance(found, dict)
    return found


def test_a_one_word_edit_that_loosens_a_rule_is_under_enforcement_of_that_rule(
    command: Command, shop: Shop, judged: Judged, tmp_path: Path
) -> None:
    """“any” becomes “all”, the engine reads it in its prompt, and a pipeline stops."""
    first, second = judged(shop(), "a"), judged(shop("loose", LOOSENED), "b")
    done = command("eval", "compare", first, second, "--json", "--junit", "out.xml", "--markdown", "out.md")
    assert done.code == 100
    found = one(done)
    rules = {shift["rule"]: shift for shift in found["rules"]}
    assert (rules["T1"]["conclusion"], rules["T1"]["lost"], rules["T1"]["gained"]) == ("under-enforcement", 20, 0)
    assert rules["T1"]["title"] == "Hand tools"
    assert rules["T2"]["conclusion"] != "under-enforcement"
    assert (found["verdict"], found["exit_code"]) == ("worse", 100)
    assert {flip["change"] for flip in found["flips"]} == {"under"}
    assert {flip["id"].partition("-")[0] for flip in found["flips"]} == {"hammer", "saw"}
    assert [line.partition(":")[0] for line in found["differs"]] == ["policy", "prompt"]
    cases = ElementTree.parse(tmp_path / "out.xml").iter("testcase")
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failed == ["verdict", "enforcement of policy", "enforcement of T1"]
    assert "under-enforcement" in (tmp_path / "out.md").read_text(encoding="utf-8")
    # the other way round it is caught too, unless it was meant
    assert command("eval", "compare", second, first).code == 100
    assert command("eval", "compare", second, first, "--allow-shift").code == 0


def test_a_run_again_is_no_difference_shown(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    folder = shop()
    first, second = judged(folder, "a"), judged(folder, "b")
    done = command("eval", "compare", first, second)
    assert done.code == 0
    assert "no difference shown: identical outcomes on 60 items" in done.out
    assert "differs in nothing that is recorded" in done.out


def test_the_table_fits_a_hundred_columns_and_texts_are_shown_when_asked_for(
    command: Command, shop: Shop, judged: Judged
) -> None:
    first, second = judged(shop(), "a"), judged(shop("loose", LOOSENED), "b")
    plain, told = (command("eval", "compare", first, second, "--show", 3, *more) for more in ((), ("--texts",)))
    assert max(len(line.rstrip()) for line in plain.out.splitlines() if "/" not in line) <= 100
    assert "under-enforcement" in plain.out
    assert "20 changed: 20 no longer flagged" in plain.out
    assert "... and 17 more" in plain.out
    assert "for sale" not in plain.out
    assert "hammer-0: number 0: a hammer for sale" in told.out
    assert "for sale" not in command("eval", "compare", first, second, "--json").out
    assert "for sale" in command("eval", "compare", first, second, "--json", "--texts").out


def test_texts_cannot_act_on_a_terminal(command: Command, tmp_path: Path) -> None:
    line = (
        '{{"schema":"outcome/1","kind":"verdict","content_id":"x\\u001b[2J","policy":"p","outcome":"{}","score":{{"value":null,'
        '"method":"none"}},"provenance":{{"policy":"p@1","policy_digest":"1","prompt_digest":"2","engine":"e","model":"\\u001b"}}}}'
    )
    for name, outcome in (("a", "allowed"), ("b", "violates")):
        (tmp_path / f"{name}.jsonl").write_text(line.format(outcome) + "\n", encoding="utf-8")
    done = command("eval", "compare", "a.jsonl", "b.jsonl")
    assert (done.code, "\x1b" in done.out, "newly flagged" in done.out) == (0, False, True)


def test_files_of_outcomes_are_compared_and_a_suite_brings_labels(
    command: Command, shop: Shop, judged: Judged, tmp_path: Path
) -> None:
    folder = shop()
    first, second = judged(folder, "a"), judged(shop("loose", LOOSENED), "b")
    files = first / "outcomes.jsonl", second / "outcomes.jsonl"
    bare = one(command("eval", "compare", *files, "--json"))
    assert (bare["verdict"], bare["suite"], bare["metrics"], bare["exit_code"]) == ("inconclusive", None, [], 100)
    labelled = one(command("eval", "compare", *files, "--suite", folder / "shop.yaml", "--json", "--texts"))
    assert (labelled["verdict"], labelled["suite"]) == ("worse", "shop")
    assert labelled["flips"][0]["text"].endswith("for sale")


def test_one_log_is_compared_under_two_policies_without_the_model(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(), "a")
    shop("strict", ("- Severity: low\n- Action: label", "- Severity: high\n- Action: remove"))
    done = command("eval", "compare", run, "--policy", "tools/tools.md", "--policy", "strict/tools.md", "--json")
    assert done.code == 0, done.err
    found = one(done)
    assert {flip["change"] for flip in found["flips"]} == {"action"}
    assert len(found["flips"]) == 20
    assert (found["flips"][0]["before"]["action"], found["flips"][0]["after"]["action"]) == ("label", "remove")
    assert found["first"]["name"] != found["second"]["name"]
    shop("loose", LOOSENED)
    done = command("eval", "compare", run, "--policy", "tools/tools.md", "--policy", "loose/tools.md")
    assert done.code == 1
    assert "asks the model otherwise than tools@1.0.0 did" in done.err


def test_what_cannot_be_compared_is_said(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    folder = shop()
    run, half = judged(folder, "a"), judged(folder, "half", "--limit", 20)
    found = one(command("eval", "compare", run, half, "--json"))
    assert (found["coverage"]["joined"], len(found["coverage"]["missing"]), found["exit_code"]) == (20, 40, 0)
    assert "suite: 1.0.0" in found["differs"][0]
    for arguments, code, said in (
        ((run,), 2, "two runs or files"),
        ((run, run, "--policy", "x"), 2, "two runs or files"),
        ((run, "nowhere"), 1, "nowhere"),
        ((run, run, "--suite", "other"), 1, "has no suite 'other'"),
        ((run, run, "--metric", "f2"), 1, "metric 'f2': cannot be compared"),
        ((run, folder / "tools.md"), 1, "not an outcome"),
    ):
        done = command("eval", "compare", *arguments)
        assert (done.code, said in done.err) == (code, True), done.err
    twice = tmp_path / "twice.jsonl"
    twice.write_text(2 * (run / "outcomes.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    assert "was judged before" in command("eval", "compare", run, twice).err


def test_a_page_is_written(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    run = judged(shop(), "a")
    assert command("eval", "compare", run, run, "--html", "out.html").code == 0
    assert "<html" in (tmp_path / "out.html").read_text(encoding="utf-8")
