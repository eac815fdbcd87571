"""``eval report`` as a user runs it: a run, a baseline, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moderator.suite import Annotation, Item, Scale, Suite, Targets, write_suite
from tests.cli.conftest import Command

SCALE = Scale(values=("spam", "fine"), violates=("spam",))


def posts(slug: str = "shop") -> Suite:
    """Eighty of which half say ``buy``; of ten the label says otherwise."""
    items = tuple(
        Item(
            id=f"{slug}-{number}",
            text=f"please buy lamp {number}!" if number % 2 else f"a quiet walk {number}",
            labels=(Annotation(value="spam" if (number % 2 == 1) != (number % 8 == 0) else "fine"),),
        )
        for number in range(80)
    )
    return Suite(
        slug=slug, title=f"Posts of a {slug}", policy="spam", scale=SCALE, targets=Targets(metrics={"f1": 0.5}), items=items
    )


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Path:
    return judged(command, tmp_path, "run", posts())


def judged(command: Command, folder: Path, name: str, *suites: Suite) -> Path:
    for suite in suites:
        write_suite(suite, folder / f"{suite.slug}.yaml")
    files = [folder / f"{suite.slug}.yaml" for suite in suites]
    done = command("eval", "run", *files, "--engine", "playback.engines:Flags", "--out", folder / name)
    assert done.code == 0, done.err
    return folder / name


def test_a_page_and_a_markdown_are_written_at_once(command: Command, run: Path, tmp_path: Path) -> None:
    done = command("eval", "report", run, "--out", "r.html", "--out", "r.md", "--resamples", 50)
    assert (done.code, done.out.split()) == (0, ["r.html", "r.md"]), done.err
    page, markdown = (tmp_path / "r.html").read_text(), (tmp_path / "r.md").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Reaches its 1 target" in page
    assert "reaches its 1 target" in markdown
    assert "(<r.html>)" in markdown
    assert "a quiet walk 8" in page
    assert "quiet walk" not in markdown


def test_with_a_baseline_it_says_what_changed(command: Command, run: Path, tmp_path: Path) -> None:
    done = command("eval", "report", run, "--out", "r.html", "--baseline", run, "--resamples", 50)
    assert done.code == 0, done.err
    page = (tmp_path / "r.html").read_text()
    assert "Identical outcomes" in page
    assert "No last run was given" not in page


def test_texts_can_be_left_out(command: Command, run: Path, tmp_path: Path) -> None:
    assert command("eval", "report", run, "--out", "r.html", "--no-texts", "--resamples", 0).code == 0
    assert "quiet walk" not in (tmp_path / "r.html").read_text()


def test_several_suites_share_a_page_and_one_can_be_picked(command: Command, tmp_path: Path) -> None:
    both = judged(command, tmp_path, "both", posts(), posts("club"))
    assert command("eval", "report", both, "--out", "r.html", "--resamples", 0).code == 0
    page = (tmp_path / "r.html").read_text()
    assert "2 suites" in page
    assert "Posts of a club" in page
    assert command("eval", "report", both, "--out", "one.html", "--suite", "club", "--resamples", 0).code == 0
    assert "Posts of a shop" not in (tmp_path / "one.html").read_text()


def test_a_baseline_without_a_suite_is_told(command: Command, run: Path, tmp_path: Path) -> None:
    both = judged(command, tmp_path, "both", posts(), posts("club"))
    done = command("eval", "report", both, "--baseline", run, "--out", "r.html", "--resamples", 0)
    assert done.code == 0
    assert "not compared: only " in done.err
    assert "has suite club" in done.err
    other = judged(command, tmp_path, "other", posts("club"))
    done = command("eval", "report", other, "--baseline", run, "--out", "s.html", "--resamples", 0)
    assert done.code == 1
    assert "nothing in common" in done.err


def test_contents_that_changed_under_their_id_are_not_compared(command: Command, run: Path, tmp_path: Path) -> None:
    suite = posts()
    edited = suite.model_copy(update={"items": (suite.items[0].model_copy(update={"text": "please buy"}), *suite.items[1:])})
    again = judged(command, tmp_path, "again", edited)
    assert command("eval", "report", again, "--baseline", run, "--out", "r.html", "--resamples", 0).code == 0
    assert "1 with another content, left out" in (tmp_path / "r.html").read_text()


def test_files_that_are_there_stay_unless_told_otherwise(command: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("mine")
    done = command("eval", "report", run, "--out", "r.html")
    assert (done.code, done.err) == (1, "error: r.html: exists\n  --force replaces it\n")
    assert (tmp_path / "r.html").read_text() == "mine"
    assert command("eval", "report", run, "--out", "r.html", "--force", "--resamples", 0).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--out", "r.txt"), 2, "neither .html nor .md"),
        (("--out", "r.html", "--out", "s.html"), 2, "one .html and one .md"),
        (("--out", "no/r.html", "--resamples", 0), 1, "no/r.html: No such file"),
        (("--out", "r.html", "--suite", "zoo"), 1, "has no suite 'zoo'"),
        (("--out", "r.html", "--price", "prompt=cheap"), 2, "cheap"),
        ((), 2, "--out"),
    ],
)
def test_what_cannot_be_written_is_told(
    command: Command, run: Path, arguments: tuple[object, ...], code: int, said: str
) -> None:
    done = command("eval", "report", run, *arguments)
    assert done.code == code
    assert said in done.err


def test_a_run_that_is_not_finished_wants_to_be_asked_for(command: Command, run: Path, tmp_path: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text()) | {"finished": None}
    (run / "manifest.json").unlink()
    (run / "manifest.partial.json").write_text(json.dumps(manifest))
    lines = (run / "outcomes.jsonl").read_text().splitlines(keepends=True)
    (run / "outcomes.jsonl").write_text("".join(lines[:-5]))
    assert "incomplete" in command("eval", "report", run, "--out", "r.html").err
    assert command("eval", "report", run, "--out", "r.html", "--partial", "--resamples", 0).code == 0
    assert "5 items of the suite were not judged" in (tmp_path / "r.html").read_text()
