"""What the command line prints for people: verdicts, tables, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from moderator.content import Content
from moderator.records import Progress as Reading
from moderator.running import Tally
from moderator.verdict import Failure, Outcome, Verdict

_COLOURS: Final[dict[Outcome, str]] = {
    "allowed": "green",
    "allowed_by_exception": "cyan",
    "violates": "red",
    "needs_review": "yellow",
    "not_covered": "magenta",
}
_MAX_ROWS: Final = 500
_REMEMBERED: Final = 10_000
_CHECK_SHOWS: Final = 2_000
_PIPE_WIDTH: Final = 150
_PLAIN_EVERY: Final = 10.0

_COLUMNS: Final = ("id", "policy", "outcome", "p", "rules", "action")
_WIDEST: Final = {"id": 20, "policy": 20, "rules": 16}
_NARROW: Final = {"id": 10, "policy": 8, "rules": 8, "action": 0}
"""The widths of columns where their natural ones would leave too little for the text; 0: left out."""
_LEAST_TEXT: Final = 24
_GAP: Final = 2


def plain(text: str, keep: str = "") -> str:
    """The text as a terminal may have it, one character for one: what it would act on, or not show, is replaced.

    Hidden ASCII (tag characters) is shown as what it spells. Characters in `keep` stay as they are.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else _stand_in(c) for c in text)


def _stand_in(character: str) -> str:
    if character in "\u200c\u200d":
        return character  # joiners spell emoji and several scripts
    if character.isspace():
        return " "
    if "\U000e0020" <= character <= "\U000e007e":
        return chr(ord(character) - 0xE0000)
    return chr(0x2400 + ord(character)) if character < " " else "\ufffd"


def print_verdict(verdict: Verdict, text: str) -> None:
    """One verdict in a few lines."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    score = "" if verdict.score.value is None else f"   p(violates) {verdict.score.value:.2f}"
    outcome = Text(verdict.outcome, f"bold {_COLOURS[verdict.outcome]}")
    console.print(outcome + Text(f"  under {verdict.provenance.policy}{score}", ""))
    if verdict.rules:
        console.print(_marked(verdict, text, _CHECK_SHOWS, keep="\n"))
    for rule in verdict.rules:
        quotes = "; ".join(f"“{e.quote}”{'' if e.match == 'exact' else f' ({e.match})'}" for e in rule.evidence)
        console.print(Text(plain(f"  {rule.id}  {rule.severity}  {quotes}")))
    said = {name: ", ".join(getattr(verdict, name)) for name in ("exceptions", "escalations", "missing")}
    action = "" if verdict.action == "none" else verdict.action
    withheld = f"{verdict.withheld}, too doubtful for a machine to decide" if verdict.withheld else ""
    for name, value in {
        "withheld": withheld,
        **said,
        "action": action,
        "rationale": verdict.rationale,
        "notice": verdict.notice,
    }.items():
        if value:
            console.print(Text(plain(f"  {name}: {value}")))


def _marked(verdict: Verdict, text: str, width: int, keep: str = "") -> Text:
    """As much of the text as `width` holds, with the quoted spans marked and the first of them in it."""
    found = (e for rule in verdict.rules for e in rule.evidence)
    spans = [(e.start, e.end) for e in found if e.start is not None and e.end is not None and e.start < len(text)]
    first, end = min(spans, default=(0, 0))
    begin = max(0, first - width // 4) if end > width - 2 else 0
    cut = text[begin : begin + width]
    marked = Text(plain(cut, keep))
    for start, stop in spans:
        marked.stylize("bold underline", max(0, start - begin), max(0, stop - begin))
    return Text("…" if begin else "") + marked + Text("…" if begin + width < len(text) else "")


class Table:
    """The outcomes of a run, a row each, up to a few hundred."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._rows: list[tuple[str, Verdict | Failure]] = []
        self._more = 0

    def remember(self, content: Content) -> None:
        """Keeps the text, as much of it as will be shown."""
        if len(self._texts) < _MAX_ROWS:
            self._texts[content.id] = content.text[:_REMEMBERED]

    def add(self, outcome: Verdict | Failure) -> None:
        if len(self._rows) < _MAX_ROWS:
            self._rows.append((self._texts.get(outcome.content_id, ""), outcome))
        else:
            self._more += 1

    def print(self) -> None:
        console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
        cells = [_cells(outcome) for _, outcome in self._rows]
        widths = _widths(cells, console.width)
        left = console.width - sum(width + _GAP for width in widths if width)
        table = RichTable(show_lines=False, pad_edge=False, box=None, header_style="bold", padding=(0, _GAP, 0, 0))
        for name, width in zip(_COLUMNS, widths, strict=True):
            if width:
                table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        table.add_column("text", width=max(left, 1), no_wrap=True, overflow="ellipsis")
        for (text, outcome), row in zip(self._rows, cells, strict=True):
            said = _marked(outcome, text, left) if isinstance(outcome, Verdict) else Text(plain(outcome.detail))
            table.add_row(*(cell for cell, width in zip(row, widths, strict=True) if width), said)
        console.print(table)
        if self._more:
            console.print(f"... and {self._more:,} more")


def _cells(outcome: Verdict | Failure) -> list[Text]:
    """What stands in the columns before the text."""
    name, policy = Text(plain(outcome.content_id)), Text(plain(outcome.policy))
    if isinstance(outcome, Failure):
        return [name, policy, Text("failure", "bold red"), Text(), Text(outcome.reason), Text()]
    rules = " ".join((*(rule.id for rule in outcome.rules), *outcome.exceptions, *outcome.escalations))
    score = "n/a" if outcome.score.value is None else f"{outcome.score.value:.2f}"
    action = "" if outcome.action == "none" else outcome.action
    return [name, policy, Text(outcome.outcome, _COLOURS[outcome.outcome]), Text(score), Text(rules), Text(action)]


def _widths(rows: Sequence[Sequence[Text]], console: int) -> list[int]:
    """The width of each column before the text: its natural one, bounded; where little is left for the text, a narrow one."""
    widths = []
    for index, name in enumerate(_COLUMNS):
        natural = max((cell_len(row[index].plain) for row in rows), default=0)
        widths.append(min(max(natural, len(name)), _WIDEST.get(name, natural + len(name))))
    if console - sum(widths) - _GAP * len(widths) < _LEAST_TEXT:
        widths = [min(width, _NARROW.get(name, width)) for name, width in zip(_COLUMNS, widths, strict=True)]
    return widths


def summary(tally: Tally, out: Path | None = None) -> str:
    """What a run came to, in one line."""
    nothing = "nothing left to judge" if tally.before else "0 contents"
    counts = ", ".join(f"{count:,} {name}" for name, count in tally.outcomes.most_common()) or nothing
    before = f"; {tally.before.total():,} were there before" if tally.before else ""
    return f"{counts}{before}{f'; in {out}' if out else ''}"


class Meter:
    """Progress on stderr: a bar on a terminal, else a line now and then. With rate and, where the end is known, time left."""

    def __init__(self, reading: Reading, *, bar: bool = True):
        self._reading = reading
        self._skipped: int | None = None
        self._started = self._printed = time.monotonic()
        # rich would send what is printed on stdout to the console of the bar, which is stderr
        self._bar = Progress(
            TextColumn("judging"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False,
        ) if bar and sys.stderr.isatty() else None  # fmt: skip
        self._task = self._bar.add_task("", total=reading.total, rate="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, tally: Tally) -> None:
        now = time.monotonic()
        if self._skipped is None:
            self._skipped = self._reading.done() if tally.before else 0
        if now - self._printed < (0.2 if self._bar else _PLAIN_EVERY):
            return
        self._printed = now
        rate = tally.total / (now - self._started)
        if self._bar and self._task is not None:
            self._bar.update(
                self._task, total=self._reading.total, completed=self._reading.done(), rate=f"{tally.total:,}  {rate:,.0f}/s"
            )
        else:
            print(f"judged {tally.total:,}, {rate:,.0f}/s{self._left(now)}", file=sys.stderr)

    def _left(self, now: float) -> str:
        done = self._reading.done()
        judged = done - (self._skipped or 0)
        if not self._reading.total or judged <= 0:
            return ""
        seconds = (now - self._started) * (self._reading.total - done) / judged
        return f", {seconds:,.0f} s left"
