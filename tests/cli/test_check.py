"""``moderator check``: one text, for a person to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]
ENGINE = ("--policy", "spam", "--engine", "playback.engines:Flags")


def test_a_violation(command: Command) -> None:
    """Outcome, policy and probability; the text; rules with their quotes; what follows."""
    done = command("check", "please buy now", *ENGINE)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == ["violates  under spam@1.0.0   p(violates) 0.92", "please buy now", "  P1  low  “buy now”"]
    assert lines[3:5] == ["  action: hide", "  rationale: it sells"]
    assert lines[5].startswith("  notice: We hid your content because ")


def test_nothing_to_say_about_a_harmless_text(command: Command) -> None:
    assert command("check", "hello", *ENGINE).out == "allowed  under spam@1.0.0   p(violates) 0.02\n"


def test_what_a_person_must_decide_says_what_is_missing(command: Command) -> None:
    assert command("check", "perhaps", *ENGINE).out.splitlines()[1:] == [
        "  missing: thread",
        "  action: escalate",
        "  rationale: it sells",
    ]


def test_several_policies(command: Command) -> None:
    assert [line.split("  ")[1] for line in command("check", "hello", *ENGINE, "--policy", "hate").out.splitlines()] == [
        "under spam@1.0.0",
        "under hate@1.0.0",
    ]


def test_json(command: Command) -> None:
    assert [line["outcome"] for line in command("check", "buy", *ENGINE, "--json").lines] == ["violates"]


def test_context_selects_a_variant(command: Command) -> None:
    assert (
        "under hate@1.0.0+teen" in command("check", "hello", "--policy", "hate", *ENGINE[2:], "--context", "audience=teen").out
    )


@pytest.mark.parametrize(
    ("text", "what"), [("broken", "timeout: no answer after 3 s"), (" ", "unreadable: the content has no text")]
)
def test_a_failure_is_an_error(command: Command, text: str, what: str) -> None:
    """Never a verdict, and never exit code 0; with --json the line is there too."""
    done = command("check", text, *ENGINE)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(f": {what}\n")
    assert done.err.startswith("error: content ")
    with_line = command("check", text, *ENGINE, "--json")
    assert (with_line.code, with_line.lines[0]["kind"]) == (1, "failure")


def test_the_verdicts_that_there_are_come_before_the_error(command: Command) -> None:
    done = command("check", "broken", *ENGINE, "--policy", "hate", "--json")
    assert (done.code, len(done.lines)) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hello", "--policy", "hat", *ENGINE[2:]), "error: hat: no policy of this name"),
        (("hello", *ENGINE, "--family", "none"), "error: none: no such prompt family"),
        (("hello", "--policy", "spam", "--engine", "none"), "error: none: unknown engine kind"),
    ],
)
def test_errors(command: Command, arguments: tuple[str, ...], message: str) -> None:
    done = command("check", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(message)


def test_what_a_terminal_would_act_on_is_not_printed(command: Command) -> None:
    """In the text and in the quote; marks stay where they belong; the text's own line breaks are kept."""
    done = command("check", "\x1b[2J\u202e[red]buy[/red]\x07!\nsecond \U000e0062line\ud83d", *ENGINE)
    assert done.out.splitlines()[1:4] == ["␛[2J\ufffd[red]buy[/red]␇!", "second bline\ufffd", "  P1  low  “buy[/red]␇”"]


def test_bytes_that_are_no_text(process: Command) -> None:
    """An argument that is not UTF-8 is judged with replacement characters, not refused with a traceback."""
    done = process("check", b"buy \xff\xfe".decode("utf-8", "surrogateescape"), *ENGINE)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1] == "buy \ufffd\ufffd"


def test_a_long_text_is_shown_around_the_quote(command: Command) -> None:
    """Arguments of the operating system end at 128 KiB; a screen ends earlier."""
    done = command("check", "word " * 20_000 + "then buy it", *ENGINE)
    assert done.out.splitlines()[1].endswith("word then buy it")
    assert len(done.out) < 3000
