"""``moderator judge``: what comes out where, with which exit code, and what its mistakes look like."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moderator.records import read_outcomes

Command = Callable[..., Any]
ENGINE = ("--policy", "spam", "--engine", "playback.engines:Flags")


class TestOutput:
    def test_json_lines_when_stdout_is_not_a_terminal(self, command: Command, posts: Path) -> None:
        """One line for each content, in order, of the published form; the tally on stderr."""
        done = command("judge", posts, *ENGINE)
        assert done.code == 0
        assert [(line["content_id"], line.get("outcome", line["kind"])) for line in done.lines] == [
            ("p1", "allowed"),
            ("p2", "violates"),
            ("p3", "needs_review"),
            ("p4", "failure"),
        ]
        assert all(line["schema"] == "outcome/1" for line in done.lines)
        assert done.err == "1 allowed, 1 violates, 1 needs_review, 1 failure\n"

    def test_a_line_for_each_policy(self, command: Command, posts: Path) -> None:
        done = command("judge", posts, *ENGINE, "--policy", "hate", "--limit", 2)
        assert [(line["content_id"], line["policy"]) for line in done.lines] == [
            ("p1", "spam"),
            ("p1", "hate"),
            ("p2", "spam"),
            ("p2", "hate"),
        ]

    def test_out_writes_a_file_and_nothing_on_stdout(self, command: Command, posts: Path, tmp_path: Path) -> None:
        done = command("judge", posts, *ENGINE, "--out", "out/a.jsonl")
        assert (done.code, done.out) == (0, "")
        assert done.err.endswith("; in out/a.jsonl\n")
        assert [outcome.content_id for outcome in read_outcomes(tmp_path / "out/a.jsonl")] == ["p1", "p2", "p3", "p4"]

    @pytest.mark.parametrize("arguments", [("--out", "-"), ("--show", "lines"), ("--out", "out.jsonl", "--show", "lines")])
    def test_lines_on_demand(self, command: Command, posts: Path, arguments: tuple[str, ...]) -> None:
        assert len(command("judge", posts, *ENGINE, *arguments).lines) == 4

    def test_nothing_on_demand(self, command: Command, posts: Path) -> None:
        assert command("judge", posts, *ENGINE, "--show", "none").out == ""

    def test_csv(self, command: Command, posts: Path, tmp_path: Path) -> None:
        assert command("judge", posts, *ENGINE, "--out", "out.csv").code == 0
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
            assert [row["outcome"] or row["reason"] for row in csv.DictReader(file)] == [
                "allowed",
                "violates",
                "needs_review",
                "timeout",
            ]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "posts.jsonl"]

    def test_map_and_keep(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("post_id,body,lang,where\n7,buy,en,comment\n")
        done = command(
            "judge", "a.csv", *ENGINE, "--map", "text=body,id=post_id", "--map", "surface=where", "--keep", "lang, where"
        )
        assert [(line["content_id"], line["metadata"]) for line in done.lines] == [("7", {"lang": "en", "where": "comment"})]

    def test_empty_file(self, command: Command, tmp_path: Path) -> None:
        """Nothing to do is not a mistake, but it is said."""
        (tmp_path / "empty.jsonl").touch()
        done = command("judge", "empty.jsonl", *ENGINE, "--out", "out.csv", "--fail-on", "violates")
        assert (done.code, done.out, done.err) == (0, "", "0 contents; in out.csv\n")
        assert (tmp_path / "out.csv").read_text().startswith("content_id,policy,")

    def test_stdin(self, process: Command) -> None:
        assert [line["outcome"] for line in process("judge", "-", *ENGINE, stdin=b"hello\nbuy now\n").lines] == [
            "allowed",
            "violates",
        ]
        done = process(
            "judge", "-", *ENGINE, stdin='{"text": "grüße: buy", "id": "ü"}\n'.encode(), env={"PYTHONIOENCODING": "ascii"}
        )
        assert [line["content_id"] for line in done.lines] == ["ü"]

    def test_a_million_characters(self, process: Command, tmp_path: Path) -> None:
        """Judged whole: the quote at the very end is found."""
        (tmp_path / "long.jsonl").write_text(json.dumps({"id": "long", "text": "word " * 200_000 + "buy"}) + "\n")
        (line,) = process("judge", "long.jsonl", *ENGINE).lines
        assert (line["outcome"], line["rules"][0]["evidence"][0]["end"]) == ("violates", 1_000_003)

    def test_half_a_surrogate_pair(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "odd.jsonl").write_text('{"id": "\\udfff", "text": "buy \\ud800", "note": "\\ud800"}\n')
        done = command("judge", "odd.jsonl", *ENGINE, "--keep", "note", "--out", "out.jsonl", "--show", "lines")
        assert [(line["content_id"], line["outcome"], line["metadata"]) for line in done.lines] == [
            ("\ufffd", "violates", {"note": "\ufffd"})
        ]
        assert command("judge", "odd.jsonl", *ENGINE, "--keep", "note", "--out", "out.jsonl", "--resume").err == (
            "nothing left to judge; 1 were there before; in out.jsonl\n"
        )


class TestResume:
    def test_goes_on_where_it_stopped(self, command: Command, posts: Path) -> None:
        command("judge", posts, *ENGINE, "--out", "out.jsonl", "--limit", 3)
        done = command("judge", posts, *ENGINE, "--out", "out.jsonl", "--resume")
        assert done.err == "1 failure; 3 were there before; in out.jsonl\n"

    def test_a_table_is_made_of_all_parts(self, command: Command, posts: Path, tmp_path: Path) -> None:
        (tmp_path / "more.jsonl").write_text('{"id": "p5", "text": "die"}\n')
        failed = command(
            "judge", posts, "more.jsonl", "--policy", "spam", "--engine", "playback.engines:Dies", "--out", "out.csv"
        )
        assert failed.code == 1
        assert not (tmp_path / "out.csv").exists()
        (tmp_path / "more.jsonl").write_text('{"id": "p5", "text": "lives"}\n')
        arguments = ("judge", posts, "more.jsonl", "--policy", "spam", "--engine", "playback.engines:Dies", "--out", "out.csv")
        assert command(*arguments, "--resume").code == 0
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 6

    def test_an_existing_file_is_not_touched(self, command: Command, posts: Path, tmp_path: Path) -> None:
        for name in ("out.jsonl", "out.csv"):
            command("judge", posts, *ENGINE, "--out", name)
            before = (tmp_path / name).read_bytes()
            done = command("judge", posts, *ENGINE, "--out", name)
            assert (done.code, done.err) == (1, f"error: {name}: exists\n  --resume goes on with it, --force starts anew\n")
            assert (tmp_path / name).read_bytes() == before

    def test_force_starts_anew(self, command: Command, posts: Path, tmp_path: Path) -> None:
        for name in ("out.jsonl", "out.csv"):
            command("judge", posts, *ENGINE, "--out", name)
            assert command("judge", posts, *ENGINE, "--out", name, "--force", "--limit", 1).code == 0
            assert len((tmp_path / name).read_text().splitlines()) == (2 if name == "out.csv" else 1)

    def test_force_spares_the_file_when_the_rest_is_wrong(self, command: Command, posts: Path, tmp_path: Path) -> None:
        command("judge", posts, *ENGINE, "--out", "out.jsonl")
        before = (tmp_path / "out.jsonl").read_bytes()
        for wrong in (("--family", "nope"), ("--policy", "nope"), ("--map", "nope=1"), ("--engine", "nope")):
            assert command("judge", posts, *ENGINE, "--out", "out.jsonl", "--force", *wrong).code == 1
        assert (tmp_path / "out.jsonl").read_bytes() == before

    def test_the_contents_are_never_overwritten(self, command: Command, posts: Path) -> None:
        before = posts.read_bytes()
        for option in ("--force", "--resume"):
            done = command("judge", posts, *ENGINE, "--out", posts, option)
            assert (done.code, done.err) == (1, f"error: {posts}: is to be read and to be written\n  write to another file\n")
        assert posts.read_bytes() == before

    def test_outcomes_beside_the_contents_are_not_read(self, command: Command, posts: Path, tmp_path: Path) -> None:
        assert command("judge", ".", *ENGINE, "--out", "out.jsonl").code == 0
        assert command("judge", ".", *ENGINE, "--out", "out.jsonl", "--resume").err.startswith("nothing left to judge; 4 were")

    def test_another_engine_is_refused(self, command: Command, posts: Path) -> None:
        command("judge", posts, *ENGINE, "--out", "out.jsonl")
        done = command(
            "judge", posts, "--policy", "spam", "--engine", "playback.engines:Flags:other", "--out", "out.jsonl", "--resume"
        )
        assert done.code == 1
        assert done.err.startswith("error: out.jsonl:1: made with another engine: 'flags', now 'other'\n")


class TestGate:
    @pytest.mark.parametrize(
        ("limit", "fail_on", "code"),
        [
            (1, "violates,needs_review,failure", 0),
            (2, "violates", 100),
            (2, "needs_review,failure", 0),
            (3, "needs_review", 100),
            (4, "failure", 100),
        ],
    )
    def test_an_outcome_that_is_named_makes_100(
        self, command: Command, posts: Path, limit: int, fail_on: str, code: int
    ) -> None:
        done = command("judge", posts, *ENGINE, "--limit", limit, "--fail-on", fail_on)
        assert (done.code, len(done.lines)) == (code, limit)

    def test_what_was_there_before_counts(self, command: Command, posts: Path) -> None:
        """A run that was killed and resumed passes no gate that it would not have passed in one go."""
        command("judge", posts, *ENGINE, "--out", "out.jsonl", "--limit", 2)
        assert command("judge", posts, *ENGINE, "--out", "out.jsonl", "--resume", "--fail-on", "violates").code == 100

    def test_an_unknown_name_is_usage(self, command: Command, posts: Path) -> None:
        done = command("judge", posts, *ENGINE, "--fail-on", "violation")
        assert done.code == 2
        assert "'violation' is not one of violates, needs_review, failure" in done.err


class TestErrors:
    """Exit code 1 and ``error: where: what`` on stderr: no traceback, and nothing on stdout."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("no.jsonl", *ENGINE), "no.jsonl: no such file or folder"),
            (("posts.jsonl", *ENGINE, "--policy", "hat"), "hat: no policy of this name"),
            (("posts.jsonl", *ENGINE, "--policy", "no.md"), "no.md: no such file"),
            (("posts.jsonl", *ENGINE, "--family", "none"), "none: no such prompt family\n  one of default"),
            (("posts.jsonl", *ENGINE, "--map", "body=text"), "map: no field 'body'\n  fields are id, text"),
            (("posts.jsonl", *ENGINE, "--map", "text=body"), "posts.jsonl:1: no field 'body'; fields are id, text"),
            (("posts.jsonl", *ENGINE, "--keep", "body"), "posts.jsonl:1: no field 'body'; fields are id, text"),
            (("posts.jsonl", *ENGINE, "--out", "x.txt"), "x.txt: outcomes are written as .jsonl, .csv or .parquet"),
            (("posts.jsonl", *ENGINE, "--out", "posts.jsonl/x.csv"), "posts.jsonl: is not a folder\n"),
            (
                ("posts.jsonl", "-p", "spam", "-e", "none"),
                "none: unknown engine kind 'none'\n  one of nano, local, vllm, server",
            ),
            (("posts.jsonl", "-p", "spam", "-e", "no.such:Engine"), "no.such:Engine: there is no module 'no.such'"),
            (
                ("posts.jsonl", "-p", "spam", "-e", "playback.engines:No"),
                "playback.engines:No: module playback.engines has no 'No'",
            ),
            (
                ("posts.jsonl", "-p", "spam", "-e", "playback.engines:NoEngine"),
                "playback.engines:NoEngine: NoEngine is not an engine",
            ),
            (
                ("posts.jsonl", "-p", "spam", "-e", "playback.engines:NeedsModel"),
                "playback.engines:NeedsModel: missing a required arg",
            ),
            (
                ("posts.jsonl", *ENGINE, "-E", "colour=red"),
                "playback.engines:Flags: got an unexpected keyword argument 'colour'",
            ),
            (("dies.jsonl", "-p", "spam", "-e", "playback.engines:Dies"), "dies: gave up\n  start it again\n"),
            (("named.jsonl", *ENGINE), "content n1: policy 'hate' was not given\n  given: spam\n"),
        ],
    )
    def test_error(self, command: Command, posts: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
        (tmp_path / "dies.jsonl").write_text('{"text": "die"}\n')
        (tmp_path / "named.jsonl").write_text('{"id": "n1", "text": "a", "policies": ["hate"]}\n')
        done = command("judge", *arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {message}")
        assert "Traceback" not in done.err

    def test_a_policy_with_mistakes_names_them_all(self, command: Command, posts: Path, tmp_path: Path) -> None:
        (tmp_path / "own.md").write_text("---\npolicy: own\ncolour: red\n---\n# Own\n\n## Rulez\n")
        done = command("judge", posts, "--policy", "own.md", "--engine", "playback.engines:Flags")
        assert done.code == 1
        assert done.err.startswith("error: own.md:")
        assert "own.md:3: " in done.err
        assert "own.md:7: " in done.err

    def test_a_broken_line_keeps_what_was_judged_before(self, command: Command, tmp_path: Path) -> None:
        lines = [json.dumps({"id": f"p{i}", "text": "hello"}) for i in range(40)]
        (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{"]))
        done = command("judge", "a.jsonl", "-p", "spam", "-e", "playback.engines:Slow", "--out", "out.jsonl")
        assert (done.code, done.err.startswith("error: a.jsonl:41: not JSON: ")) == (1, True)
        assert len(list(read_outcomes(tmp_path / "out.jsonl"))) == 32

    def test_an_engine_beside_the_contents_is_found(self, process: Command, posts: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "engines.py").write_text("from playback.engines import Flags as Mine\n")
        run = "import sys; sys.path.remove(''); from moderator.cli import main; main()"
        done = process(run, "judge", posts, "-p", "spam", "-e", "mine.engines:Mine", python="-c")
        assert (done.code, len(done.lines)) == (0, 4)

    def test_control_characters_of_names_do_not_reach_the_terminal(self, command: Command) -> None:
        done = command("judge", "a\x1b[31m\u202eb.jsonl", *ENGINE)
        assert done.err == "error: a␛[31m\ufffdb.jsonl: no such file or folder\n"

    def test_a_full_disk_under_stdout(self, process: Command, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("hello\n" * 100)
        for limit in (1, 100):
            with Path("/dev/full").open("wb") as full:
                done = process("judge", "a.txt", *ENGINE, "--limit", limit, stdout=full)
            assert done.code == 1
            assert done.err.splitlines()[-1] == "error: stdout: No space left on device"
            assert "Traceback" not in done.err


class TestUsage:
    """Exit code 2, for what no file and no engine could make right."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("posts.jsonl",), "Missing option '--policy'"),
            (ENGINE, "Missing argument"),
            (("posts.jsonl", *ENGINE, "--colour"), "No such option: --colour"),
            (("posts.jsonl", *ENGINE, "--samples", "3"), "needs --mode reasoned"),
            (("posts.jsonl", *ENGINE, "--samples", "0"), "'--samples'"),
            (("posts.jsonl", *ENGINE, "--limit", "0"), "'--limit'"),
            (("posts.jsonl", *ENGINE, "--mode", "slow"), "'slow' is not one of"),
            (("posts.jsonl", *ENGINE, "--plan", "all"), "'all' is not one of"),
            (("posts.jsonl", *ENGINE, "--resume"), "needs --out FILE"),
            (("posts.jsonl", *ENGINE, "--out", "-", "--force"), "needs --out FILE"),
            (("posts.jsonl", *ENGINE, "--out", "a.csv", "--force", "--resume"), "exclude each other"),
            (("posts.jsonl", *ENGINE, "--context", "audiense=teen"), "'audiense' is not one of surface, audience"),
            (("posts.jsonl", *ENGINE, "--context", "teen"), "'teen' is not NAME=VALUE"),
            (("posts.jsonl", *ENGINE, "--map", "text"), "'text' is not NAME=VALUE"),
            (("posts.jsonl", *ENGINE, "-E", "a=["), "Invalid value for --engine-option"),
        ],
    )
    def test_usage(self, command: Command, posts: Path, arguments: tuple[str, ...], message: str) -> None:
        done = command("judge", *arguments)
        assert (done.code, done.out) == (2, "")
        assert message in done.err

    def test_samples_with_reasoned(self, command: Command, posts: Path) -> None:
        """The engine cannot reason: what is meant is that the options go together."""
        assert command("judge", posts, *ENGINE, "--samples", 3, "--mode", "reasoned").code == 0

    def test_options_of_the_engine_are_typed_and_may_hold_commas(self, command: Command, posts: Path) -> None:
        done = command("judge", posts, *ENGINE, "-E", "name=a,b=c", "--limit", 1)
        assert done.lines[0]["provenance"]["engine"] == "a,b=c"
        slow = command("judge", posts, "-p", "spam", "-e", "playback.engines:Slow", "-E", "seconds=0.0")
        assert slow.code == 0


class TestTable:
    def test_a_row_each(self, command: Command, posts: Path) -> None:
        done = command("judge", posts, *ENGINE, "--show", "table")
        rows = [line.split() for line in done.out.splitlines()]
        assert rows[0] == ["id", "policy", "outcome", "p", "rules", "action", "text"]
        assert rows[1:] == [
            ["p1", "spam", "allowed", "0.02", "hello"],
            ["p2", "spam", "violates", "0.92", "P1", "hide", "please", "buy", "now"],
            ["p3", "spam", "needs_review", "0.02", "escalate", "perhaps"],
            ["p4", "spam", "failure", "timeout", "no", "answer", "after", "3", "s"],
        ]

    def test_rows_of_a_resumed_run_show_their_own_texts(self, command: Command, posts: Path) -> None:
        command("judge", posts, *ENGINE, "--out", "out.jsonl", "--limit", 1)
        done = command("judge", posts, *ENGINE, "--out", "out.jsonl", "--resume", "--show", "table")
        assert done.out.splitlines()[1].split()[-3:] == ["please", "buy", "now"]

    def test_what_a_terminal_would_act_on_is_not_printed(self, command: Command, tmp_path: Path) -> None:
        """Escape sequences, carriage returns, direction overrides; and the markup of the table's library, in texts and ids."""
        odd = {"id": "\x1b[2J[red]x[/]", "text": "\x1b]0;owned\x07 [bold]buy[/bold]\r\n\u202egnp.exe\u200b [/]"}
        (tmp_path / "odd.jsonl").write_text(json.dumps(odd) + "\n")
        out = command("judge", "odd.jsonl", *ENGINE, "--show", "table").out
        assert "␛[2J[red]x[/]" in out
        assert "␛]0;owned␇ [bold]buy[/bold]  \ufffdgnp.exe\ufffd [/]" in out
        assert all(character.isprintable() or character == "\n" for character in out)

    def test_only_the_first_rows_are_shown(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "many.txt").write_text("hello\n" * 600)
        out = command("judge", "many.txt", *ENGINE, "--show", "table").out
        assert len(out.splitlines()) == 502
        assert out.endswith("... and 100 more\n")

    def test_a_long_text_is_shown_around_what_was_quoted(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("word " * 300 + "then buy it " + "word " * 100_000)
        done = command("judge", "a.txt", *ENGINE, "--show", "table")
        assert "then buy it" in done.out
        assert max(map(len, done.out.splitlines())) <= 150

    def test_a_quote_beyond_what_is_kept_leaves_the_beginning(self, command: Command, tmp_path: Path) -> None:
        """Of each text no more than some pages are kept for the table."""
        (tmp_path / "a.txt").write_text("word " * 10_000 + "buy it")
        assert "hide    word word word" in command("judge", "a.txt", *ENGINE, "--show", "table").out
