"""``eval run``: suites in, a run's folder out; taken up after kills as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moderator.runs import load_run
from moderator.suite import Annotation, Item, Scale, Suite, write_suite
from tests.cli.conftest import ENVIRONMENT, Command, interruptible

ENGINE = ("--engine", "playback.engines:Flags")
TEXTS = ("hello", "please buy now", "perhaps", "good day", "broken", "fine weather", "nice")


def written(path: Path, count: int = 7, **fields: Any) -> Path:
    """A suite of the spam policy: posts of every kind, some of them for training."""
    items = tuple(
        Item(
            id=f"{path.stem}-{number}",
            text=f"{TEXTS[number % len(TEXTS)]} {number}",
            labels=(Annotation(by="ann", value="ok"),),
        )
        for number in range(count)
    )
    items += (Item(id=f"{path.stem}-train", text="train"),)
    items = (*items[:-1], items[-1].model_copy(update={"split": "train"}))
    scale = Scale(values=("ok", "spam"), violates=("spam",))
    write_suite(Suite(**{"slug": path.stem, "title": "T", "policy": "spam", "scale": scale, "items": items, **fields}), path)
    return path


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return written(tmp_path / "posts.yaml")


def timeless(folder: Path) -> list[str]:
    """The outcome lines, sorted, apart from what was measured."""
    found = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in found:
        line.get("usage", {}).pop("latency_ms", None)
    return sorted(json.dumps(line, sort_keys=True) for line in found)


def test_a_run_says_where_it_is_and_what_came_out(command: Command, posts: Path, tmp_path: Path) -> None:
    written(tmp_path / "more.yaml", 2, policy="hate")
    done = command("eval", "run", posts, "more.yaml", *ENGINE, "--out", "run")
    assert (done.code, done.out) == (0, "run\n")
    assert done.err.splitlines() == [
        "posts: 7 items under spam@1.0.0: 4 allowed, 1 violates, 1 needs_review, 1 failed (timeout)",
        "more: 2 items under hate@1.0.0: 1 allowed, 1 violates",
    ]
    run = load_run(tmp_path / "run")
    assert [record.policy for record in run.manifest.suites] == ["spam", "hate"]
    assert run.manifest.arguments[:2] == ("eval", "run")
    assert run.manifest.selection.split == "test"


def test_functional_tests_are_suites_too(command: Command, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "evals" / "functional" / "spam.yaml"
    done = command("eval", "run", shipped, *ENGINE, "--out", "run", "--limit", 12, "--perturb", "upper-case")
    assert done.code == 0
    run = load_run(tmp_path / "run")
    assert run.suites[0].slug == "spam-functional"
    assert len(run.suites[0].items) == 24
    assert {item.slices["perturbation"] for item in run.suites[0].items} == {"none", "upper-case"}


def test_another_policy_for_all_suites(command: Command, posts: Path, tmp_path: Path) -> None:
    done = command("eval", "run", posts, *ENGINE, "--out", "run", "--policy", "hate", "--split", "all", "--plan", "rule")
    assert "posts: 8 items under hate@1.0.0: " in done.err
    run = load_run(tmp_path / "run")
    assert run.suites[0].policy == "spam"
    assert run.manifest.provenances["hate"].parameters["plan"] == "rule"


def test_a_policy_beside_the_suite(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    shipped = Path(__file__).parents[2] / "policies" / "spam.md"
    (tmp_path / "mine.md").write_text(shipped.read_text(encoding="utf-8").replace("policy: spam", "policy: mine"))
    written(tmp_path / "sub" / "posts.yaml", policy="../mine.md")
    done = command("eval", "run", "sub/posts.yaml", *ENGINE, "--out", "run")
    assert "posts: 7 items under mine@1.0.0: " in done.err
    assert load_run(tmp_path / "run").manifest.suites[0].policy == "mine"


def test_a_cache_answers_the_second_time(command: Command, posts: Path, tmp_path: Path) -> None:
    command("eval", "run", posts, *ENGINE, "--out", "a", "--cache", "answers.sqlite")
    done = command("eval", "run", posts, *ENGINE, "--out", "b", "--cache", "answers.sqlite")
    assert done.err.endswith("8 answers came from the cache\n")
    assert load_run(tmp_path / "b").manifest.cache_hits == 8
    command("eval", "run", posts, *ENGINE, "--out", "c", "--cache", "posts.jsonl")
    broken = command("eval", "run", posts, *ENGINE, "--out", "c", "--cache", "posts.jsonl")
    assert (broken.code, broken.err.startswith("error: posts.jsonl: not a cache of answers")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["posts.yaml", "--out", "run", *ENGINE, "--resume", "--force"], 2, "exclude each other"),
        (["posts.yaml", "--out", "run", *ENGINE, "--samples", "3"], 2, "needs --mode reasoned"),
        (["posts.yaml", "--out", "run", *ENGINE, "--perturb", "nope"], 2, "'nope' is not one of all, spelling"),
        (["posts.yaml", "--out", "run", *ENGINE, "--limit", "0"], 2, "--limit"),
        (["posts.yaml", "--out", "run"], 2, "--engine"),
        (["posts.yaml", *ENGINE], 2, "--out"),
        (["--out", "run", *ENGINE], 2, "SUITE"),
        (["none.yaml", "--out", "run", *ENGINE], 1, "error: none.yaml: cannot be read"),
        (["posts.jsonl", "--out", "run", *ENGINE], 1, "error: posts.jsonl:"),
        (["posts.yaml", "--out", "posts.yaml", *ENGINE], 1, "error: posts.yaml: Not a directory\n  --out is a folder"),
        (["posts.yaml", "--out", ".", *ENGINE], 1, "error: .: exists"),
        (["posts.yaml", "--out", "run", "--engine", "nope"], 1, "error: nope: unknown engine kind"),
        (["posts.yaml", "--out", "run", *ENGINE, "--policy", "nope"], 1, "error: nope: no policy of this name"),
        (["posts.yaml", "posts.yaml", "--out", "run", *ENGINE], 1, "error: suite posts: given twice"),
    ],
)
def test_bad_usage_is_said(command: Command, posts: Path, arguments: list[str], code: int, says: str) -> None:
    done = command("eval", "run", *arguments)
    assert done.code == code
    assert says in " ".join(done.err.split()) or says in done.err
    assert done.out == ""


def test_an_engine_that_gives_up_leaves_a_run_to_go_on_with(command: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "posts.yaml", 300)
    whole = path.with_suffix(".jsonl").read_text(encoding="utf-8")
    path.with_suffix(".jsonl").write_text(whole.replace("hello 280", "die"), encoding="utf-8")
    dies = ("--engine", "playback.engines:Dies")
    done = command("eval", "run", path, *dies, "--out", "run")
    assert (done.code, done.out, done.err) == (1, "", "error: dies: gave up\n  start it again\n")
    assert not (tmp_path / "run" / "manifest.json").exists()
    path.with_suffix(".jsonl").write_text(whole, encoding="utf-8")
    again = command("eval", "run", path, *dies, "--out", "run", "--resume")
    assert "begun with another suite posts (digest)" in again.err


def start(tmp_path: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "moderator", "eval", "run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=ENVIRONMENT,
        preexec_fn=interruptible,
    )


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 60
    while not holds() and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.002)


def test_interrupted_by_hand(tmp_path: Path) -> None:
    posts = written(tmp_path / "posts.yaml", 3_000)
    slow = (posts, "--engine", "playback.engines:Slow", "-E", "seconds=0.05", "--out", "run")
    process = start(tmp_path, *slow)
    journal = tmp_path / "run" / "outcomes.jsonl"
    until(lambda: journal.exists() and journal.stat().st_size > 0, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    assert err.decode().startswith("interrupted: ")
    assert err.decode().endswith("; go on with --resume\n")
    assert load_run(tmp_path / "run", partial=True).missing("posts")


def killed_and_resumed(tmp_path: Path, count: int, kills: int, seconds: float, seed: int) -> None:
    """A run that is killed so many times at random moments, and then left to finish, equals one that nobody disturbed."""
    posts = written(tmp_path / "posts.yaml", count)
    slow = (posts, "--engine", "playback.engines:Slow", "-E", f"seconds={seconds}")
    draw = random.Random(seed)
    journal = tmp_path / "run" / "outcomes.jsonl"

    def size() -> int:
        return journal.stat().st_size if journal.exists() else 0

    for number in range(kills):
        process = start(tmp_path, *slow, "--out", "run", *(["--resume"] if number else []))
        before = size()
        if draw.random() < 0.8:
            # once it is at work: some time into it, or in the moment in which a batch is written
            until(lambda before=before: size() != before, process)  # type: ignore[misc]
            time.sleep(draw.choice((0.0, draw.random() * 4 * seconds)))
        else:
            time.sleep(draw.random())  # while it starts
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
        assert not (tmp_path / "run" / "manifest.json").exists()
        if (tmp_path / "run" / "manifest.partial.json").exists():
            load_run(tmp_path / "run", partial=True)

    for arguments in (("run", "--resume"), ("whole", "-E", "seconds=0")):
        process = start(tmp_path, *slow, "--out", *arguments)
        out, err = process.communicate(timeout=600)
        assert (process.returncode, out.decode()) == (0, f"{arguments[0]}\n"), err.decode()
    assert timeless(tmp_path / "run") == timeless(tmp_path / "whole")
    ids = [outcome.content_id for outcome in load_run(tmp_path / "run").outcomes("posts").values()]
    assert ids == [f"posts-{number}" for number in range(count)]
    run, whole = (load_run(tmp_path / name).manifest for name in ("run", "whole"))
    assert run.suites == whole.suites
    assert 1 < run.passes <= kills + 1


def test_a_run_killed_now_and_then_comes_to_the_same(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=300, kills=2, seconds=0.03, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_twenty_times_comes_to_the_same(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=4000, kills=20, seconds=0.02, seed=int(time.time()))


@pytest.mark.slow
def test_ten_thousand_items_take_seconds_and_little_memory(tmp_path: Path) -> None:
    posts = written(tmp_path / "posts.yaml", 10_000)
    began = time.monotonic()
    process = start(tmp_path, posts, *ENGINE, "--out", "run")
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == 0
    assert time.monotonic() - began < 120
    assert peak < 600_000, f"{peak} KiB"
    assert load_run(tmp_path / "run").manifest.suites[0].items == 10_000
