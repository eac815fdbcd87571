"""The table and the meter as they look on a terminal: a real one, of a known width."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from rich.cells import cell_len

from moderator.cli.show import plain, summary
from moderator.running import Tally

ENGINES = Path(__file__).parent
PATH = os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))
LONG = "0190f2a4-7c1e-7b3a-9d55-0123456789ab"
RECORDS = [
    {"id": LONG, "text": "please buy now, " + "and again " * 40},
    {"id": "p2", "text": "perhaps"},
    {"id": "p3", "text": "\x1b[31mhello 👨\u200d👩\u200d👧 日本語のテキスト\r\nsecond"},
    {"id": "p4", "text": "broken"},
]


def on_terminal(folder: Path, width: int, *arguments: str, stdout: int | None = None) -> tuple[str, str]:
    """What ``moderator judge`` shows on a terminal of this width (no control sequences), and on stdout if that is elsewhere."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "moderator", "judge", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal if stdout is None else stdout,
        stderr=terminal,
        cwd=folder,
        env=environment | {"PYTHONPATH": PATH, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    shown: list[bytes] = []

    def watch() -> None:
        try:
            while data := os.read(main, 65536):
                shown.append(data)
        except OSError:
            pass  # the terminal is closed

    reader = threading.Thread(target=watch)
    reader.start()
    out = process.communicate()[0] or b""
    reader.join()
    os.close(main)
    assert process.returncode == 0, b"".join(shown).decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(shown).decode()), out.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return tmp_path


ENGINE = ("posts.jsonl", "--policy", "spam", "--policy", "self-harm", "--engine", "playback.engines:Flags")


@pytest.mark.parametrize("width", [80, 120, 150])
def test_the_table_fits_the_terminal(folder: Path, width: int) -> None:
    """No line is wider, the short columns keep their words, and the text has room, the quote in sight."""
    shown, _ = on_terminal(folder, width, *ENGINE)
    lines = [line.strip("\r") for line in shown.split("\n")]
    start = next(index for index, line in enumerate(lines) if "outcome" in line)
    table = lines[start : start + 9]
    assert all(cell_len(line) <= width for line in table)
    for name in ("id", "policy", "outcome", "p ", "rules", "text"):
        assert name in table[0]
    assert "needs_review" in table[3]
    assert "buy" in table[1]
    assert len(table[0]) - table[0].index("text") >= 24
    assert ("action" in table[0]) is (width >= 120)
    assert table[1].startswith(LONG[:19] + "…" if width >= 120 else LONG[:9] + "…")


def test_content_cannot_act_on_the_terminal(folder: Path) -> None:
    """The only control sequences are those of the table and the bar: the content's own would have been left out above."""
    shown, _ = on_terminal(folder, 150, *ENGINE)
    assert "␛[31mhello 👨\u200d👩\u200d👧 日本語のテキスト  second" in shown


def test_lines_go_to_stdout_while_the_bar_is_on_the_terminal(folder: Path, tmp_path: Path) -> None:
    """``moderator judge ... | jq`` at a terminal: what is printed under a live bar must not be drawn on stderr with it."""
    (tmp_path / "many.txt").write_text("".join(f"hello {number}\n" for number in range(400)))
    slow = ("many.txt", "--policy", "spam", "--engine", "playback.engines:Slow", "-E", "seconds=0.05")
    shown, out = on_terminal(folder, 100, *slow, stdout=subprocess.PIPE)
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["allowed"] * 400
    assert "judging" in shown
    assert "schema" not in shown
    assert shown.rstrip().endswith("400 allowed")


def test_progress_without_a_terminal_is_lines_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from moderator.cli import show
    from moderator.records import Progress

    monkeypatch.setattr(show, "_PLAIN_EVERY", 0.0)
    with show.Meter(Progress(1000, current=lambda: 250)) as meter:
        tally = Tally()
        tally.outcomes["allowed"] = 1234
        meter.update(tally)
    done = capfd.readouterr()
    assert done.out == ""
    assert re.fullmatch(r"judged 1,234, [\d,]+/s, \d+ s left\n", done.err)


class TestPlain:
    @pytest.mark.parametrize("text", ["hello", "grüße", "日本語", "😀", "👨\u200d👩\u200d👧", "❤\ufe0f"])
    def test_text_stays_as_it_is(self, text: str) -> None:
        assert plain(text) == text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("\x1b\x00\x7f\x9b", "␛␀\ufffd\ufffd"),
            ("a\tb\nc\r\x0b\u2028\xa0", "a b c    "),
            ("\u202e\u2066\u200b\ufeff\u00ad\ud800\ue000", "\ufffd" * 7),
            ("\U000e0068\U000e0069", "hi"),
        ],
    )
    def test_the_rest_is_replaced_one_for_one(self, text: str, shown: str) -> None:
        assert plain(text) == shown

    def test_every_character(self) -> None:
        """For all of Unicode: one character for one, and none that a terminal acts on."""
        every = "".join(map(chr, range(0x110000)))
        shown = plain(every)
        assert len(shown) == len(every)
        assert {character for character in shown if not character.isprintable()} == {"\u200c", "\u200d"}


def test_summaries() -> None:
    tally = Tally()
    assert summary(tally) == "0 contents"
    tally.before["allowed"] = 1000
    assert summary(tally, Path("a.jsonl")) == "nothing left to judge; 1,000 were there before; in a.jsonl"
    tally.outcomes.update({"allowed": 2000, "failure": 1})
    assert summary(tally) == "2,000 allowed, 1 failure; 1,000 were there before"
