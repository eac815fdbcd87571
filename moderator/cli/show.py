"""What the command line prints for people: verdicts, tables, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from moderator.content import Content
from moderator.quoting import visible
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
_PLAIN_EVERY: Final = 10.0


def print_verdict(verdict: Verdict, text: str) -> None:
    """One verdict in a few lines."""
    console = Console()
    score = "" if verdict.score.value is None else f"   p(violates) {verdict.score.value:.2f}"
    console.print(f"[bold {_COLOURS[verdict.outcome]}]{verdict.outcome}[/]  under {verdict.provenance.policy}{score}")
    if verdict.rules:
        console.print(_marked(verdict, text))
    for rule in verdict.rules:
        quotes = "; ".join(f"“{e.quote}”{'' if e.match == 'exact' else f' ({e.match})'}" for e in rule.evidence)
        console.print(f"  {rule.id}  {rule.severity}  {escape(quotes)}")
    for name in ("exceptions", "escalations", "missing"):
        if values := getattr(verdict, name):
            console.print(f"  {name}: {', '.join(values)}")
    if verdict.action != "none":
        console.print(f"  action: {verdict.action}")
    if verdict.rationale:
        console.print(f"  rationale: {escape(verdict.rationale)}")
    if verdict.notice:
        console.print(f"  notice: {escape(verdict.notice)}")


def _marked(verdict: Verdict, text: str, width: int | None = None) -> Text:
    """The text with the quoted spans marked."""
    marked = Text(text)
    for evidence in (e for rule in verdict.rules for e in rule.evidence):
        if evidence.start is not None and evidence.end is not None:
            marked.stylize("bold underline", evidence.start, evidence.end)
    return marked


class Table:
    """The outcomes of a run, a row each, up to a few hundred."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._rows: list[tuple[str, Verdict | Failure]] = []
        self._more = 0

    def remember(self, contents: Iterable[Content]) -> Iterator[Content]:
        """Passes contents on and keeps the texts that will be shown."""
        for content in contents:
            if len(self._texts) < _MAX_ROWS:
                self._texts[content.id] = content.text
            yield content

    def add(self, outcome: Verdict | Failure) -> None:
        if len(self._rows) < _MAX_ROWS:
            self._rows.append((self._texts.get(outcome.content_id, ""), outcome))
        else:
            self._more += 1

    def print(self) -> None:
        console = Console(width=None if sys.stdout.isatty() else 150)
        table = RichTable(show_lines=False, pad_edge=False, box=None, header_style="bold", padding=(0, 1))
        for name in ("id", "policy", "outcome", "p", "rules", "action"):
            table.add_column(name, no_wrap=True)
        table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
        for text, outcome in self._rows:
            table.add_row(*_cells(text, outcome))
        console.print(table)
        if self._more:
            console.print(f"... and {self._more:,} more")


def _cells(text: str, outcome: Verdict | Failure) -> tuple[Text | str, ...]:
    # what a terminal would act on (escape sequences, zero-width characters) is not printed
    plain = "".join(c if c.isprintable() else " " for c in visible(text))
    if isinstance(outcome, Failure):
        return (outcome.content_id, outcome.policy, Text("failure", "bold red"), "", outcome.reason, "", Text(outcome.detail))
    rules = " ".join((*(rule.id for rule in outcome.rules), *outcome.exceptions, *outcome.escalations))
    score = "n/a" if outcome.score.value is None else f"{outcome.score.value:.2f}"
    shown = _marked(outcome, plain) if len(plain) == len(text) else Text(plain)
    action = "" if outcome.action == "none" else outcome.action
    return (outcome.content_id, outcome.policy, Text(outcome.outcome, _COLOURS[outcome.outcome]), score, rules, action, shown)


def summary(tally: Tally, out: Path | None) -> str:
    """What a run came to, in one line."""
    counts = ", ".join(f"{count:,} {name}" for name, count in tally.outcomes.most_common()) or "nothing judged"
    before = f"; {tally.before:,} were there before" if tally.before else ""
    return f"{counts}{before}{f'; in {out}' if out else ''}"


class Meter:
    """Progress on stderr: a bar on a terminal, else a line now and then. With rate and, where the end is known, time left."""

    def __init__(self, reading: Reading):
        self._reading = reading
        self._started = self._printed = time.monotonic()
        self._bar = Progress(
            TextColumn("judging"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        ) if sys.stderr.isatty() else None  # fmt: skip
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
        if now - self._printed < (0.2 if self._bar else _PLAIN_EVERY):
            return
        self._printed = now
        rate = tally.total / (now - self._started)
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._reading.done(), rate=f"{tally.total:,}  {rate:,.0f}/s")
        else:
            print(f"judged {tally.total:,}, {rate:,.0f}/s{self._left(now)}", file=sys.stderr)

    def _left(self, now: float) -> str:
        done = self._reading.done()
        if not self._reading.total or not done:
            return ""
        seconds = (now - self._started) * (self._reading.total / done - 1)
        return f", {seconds:,.0f} s left"
