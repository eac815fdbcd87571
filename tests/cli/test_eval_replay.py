"""``eval replay``: a log under another policy, without the model where that can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moderator.records import read_outcomes
from moderator.runs import load_run
from tests.cli.conftest import Command
from tests.cli.shop import ENGINE, LOOSENED, Judged, Shop, judged, shop

__all__ = ["judged", "shop"]

STRICTER = ("- Severity: low\n- Action: label", "- Severity: critical\n- Action: remove")


def test_another_severity_is_resolved_without_the_model(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    run = judged(shop(), "run")
    shop("stricter", STRICTER)
    done = command("eval", "replay", run, "--policy", "stricter/tools.md", "--out", "again", "--json")
    assert done.code == 0, done.err
    assert done.err.startswith("re-resolved 60, judged 0: no tokens")
    found = json.loads(done.out)
    assert (found["replay"]["resolved"], found["replay"]["judged"]) == (60, 0)
    assert {flip["change"] for flip in found["comparisons"][0]["flips"]} == {"action"}
    # what was written is the run that judging anew gives
    anew = load_run(judged(tmp_path / "stricter", "anew"))
    again = load_run(tmp_path / "again")
    for id, outcome in anew.outcomes("shop").items():
        # time is what the log's calls took
        assert again.outcomes("shop")[id] == outcome.model_copy(update={"usage": again.outcomes("shop")[id].usage})  # type: ignore[union-attr]
    assert again.manifest.policies == anew.manifest.policies
    assert command("eval", "gate", "again", "--baseline", run).code == 0


def test_another_prompt_needs_an_engine_and_is_judged(command: Command, shop: Shop, judged: Judged, tmp_path: Path) -> None:
    run = judged(shop(), "run")
    shop("loose", LOOSENED)
    asked = "eval", "replay", run, "--policy", "loose/tools.md"
    done = command(*asked)
    assert done.code == 1
    assert "asks the model otherwise" in done.err
    assert "--engine SPEC judges" in done.err
    done = command(*asked, "--engine", ENGINE, "--json", "--texts")
    assert done.code == 100
    found = json.loads(done.out)
    assert (found["replay"]["resolved"], found["replay"]["judged"]) == (0, 60)
    assert found["replay"]["cost"]["prompt_tokens"] == 60 * 100
    assert found["comparisons"][0]["verdict"] == "worse"
    assert found["comparisons"][0]["flips"][0]["text"].endswith("for sale")


def test_the_same_engine_is_not_asked_again_but_another_is(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(words=("hammer", "flower", "broken")), "run")
    again = "eval", "replay", run, "--policy", "tools/tools.md"
    done = command(*again)
    assert (done.code, done.err.partition(":")[0]) == (0, "re-resolved 30, judged 0")
    done = command(*again, "--engine", ENGINE)
    assert done.err.startswith("re-resolved 20, judged 10"), "failures are tried again"
    done = command(*again, "--engine", f"{ENGINE}:other")
    assert done.err.startswith("re-resolved 0, judged 30")
    assert "engine: reader -> other" in done.out
    done = command(*again, "--engine", ENGINE, "--mode", "reasoned")
    assert done.err.startswith("re-resolved 0, judged 30")


def test_a_log_of_judge_is_replayed_with_its_contents(command: Command, shop: Shop, tmp_path: Path) -> None:
    folder = shop()
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(json.dumps({"id": f"p{n}", "text": f"a drill {n}"}) + "\n" for n in range(5)), encoding="utf-8")
    command("judge", posts, "--policy", folder / "tools.md", "--engine", ENGINE, "--out", "log.jsonl")
    shop("stricter", STRICTER)
    asked = "eval", "replay", "log.jsonl", "--policy", "stricter/tools.md"
    assert "--contents SOURCE says where they are" in command(*asked).err
    done = command(*asked, "--contents", posts, "--out", "new.jsonl", "--texts")
    assert (done.code, done.err.partition(":")[0]) == (0, "re-resolved 5, judged 0")
    assert "p3: a drill 3" in done.out
    actions = {outcome.content_id: getattr(outcome, "action", "") for outcome in read_outcomes(tmp_path / "new.jsonl")}
    assert actions == {f"p{n}": "remove" for n in range(5)}
    posts.write_text(posts.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
    done = command(*asked, "--contents", posts, "--out", "new.jsonl", "--force")
    assert "left out 4 whose contents were not given" in done.err


def test_answers_are_kept_in_a_cache(command: Command, shop: Shop, judged: Judged) -> None:
    run = judged(shop(), "run")
    shop("loose", LOOSENED)
    asked = "eval", "replay", run, "--policy", "loose/tools.md", "--engine", ENGINE, "--cache", "cache.db", "--json"
    costs = [json.loads(command(*asked).out)["replay"]["cost"]["prompt_tokens"] for _ in range(2)]
    assert costs == [6000, 0]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--mode", "reasoned"), 2, "needs --engine"),
        (("--out", "run"), 1, "is the run that is replayed"),
        (("--out", "there.jsonl"), 1, "exists"),
        (("--suite", "other"), 1, "has no suite 'other'"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    command: Command, shop: Shop, judged: Judged, tmp_path: Path, more: tuple[Any, ...], code: int, said: str
) -> None:
    run = judged(shop(), "run")
    (tmp_path / "there.jsonl").touch()
    done = command("eval", "replay", run, "--policy", "tools/tools.md", *more)
    assert (done.code, said in done.err) == (code, True), done.err
