"""A comparison and a gate, for people to read in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moderator.cli.show import plain
from moderator.comparing.compare import interval, number, shift_name, signed
from moderator.comparing.model import Comparison, Flip, Gate, GateCheck, MetricDifference, Shift, Side
from moderator.report import words

_WIDTH: Final = 100
_TEXT: Final = 2_000
_STYLES: Final = {
    "better": "bold green",
    "worse": "bold red",
    "no difference shown": "bold",
    "inconclusive": "bold yellow",
    "under-enforcement": "red",
    "over-enforcement": "red",
    "reached": "green",
    "short": "bold red",
}


def console() -> Console:
    """For stdout; as wide as a terminal, or a hundred columns."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False, soft_wrap=False)


def print_comparison(out: Console, comparison: Comparison, show: int) -> None:
    """The verdict first, then what it rests on, then flips."""
    about = f"suite {comparison.suite}, " if comparison.suite else ""
    out.print(Text(plain(f"{about}policy {comparison.policy}"), "bold"))
    for letter, side in (("A", comparison.first), ("B", comparison.second)):
        out.print(Text(plain(f"{letter}  {_side(side)}")))
    for line in comparison.differs or ("nothing that is recorded",):
        out.print(Text(plain(f"differs in {line}")))
    out.print(Text(_coverage(comparison)))
    out.print(Text(comparison.verdict, _STYLES[comparison.verdict]) + Text(plain(f": {comparison.because}"), ""))
    out.print(Text(words.shift_words(comparison), "red" if comparison.shifted else ""))
    if comparison.metrics:
        _table(out, "Against the labels", "lrrrllr", ("", "A", "B", "B - A", "", "", "p"), map(_metric, comparison.metrics))
    if comparison.slices:
        rows = ((f"{one.key}={one.value}", f"{one.items:,}", *_metric(one.difference)[1:]) for one in comparison.slices)
        level = comparison.slices[0].difference.difference.level
        title = f"{words.name(comparison.metric)} by slice, intervals at {100 * level:.4g} % for their number"
        _table(out, title, "lrrrrllr", ("", "items", "A", "B", "B - A", "", "", "p"), rows)
    _print_shifts(out, comparison)
    _print_transitions(out, comparison)
    _print_flips(out, comparison.flips, show)
    _print_cost(out, comparison)
    out.print()


def print_gate(out: Console, gate: Gate) -> None:
    """Every check, and whether the gate opens."""
    against = f", against {gate.baseline}" if gate.baseline else ""
    out.print(Text(plain(f"suite {gate.suite}: {gate.run}{against}"), "bold"))
    _table(out, "", "llll", ("", "", "", ""), map(_check, gate.checks))
    short = len(gate.stopping)
    told = f"passed: {len(gate.checks)} checks" if gate.passed else f"fell short: {short} of {len(gate.checks)} checks"
    out.print(Text(told, "bold green" if gate.passed else "bold red"))
    out.print()


def _side(side: Side) -> str:
    made = side.made_by
    if made is None:
        return f"{side.name}: no outcomes"
    variants = f" and {len(side.provenances) - 1} more" if len(side.provenances) > 1 else ""
    return f"{side.name}: {made.model} under {made.policy}{variants}"


def _coverage(comparison: Comparison) -> str:
    cover = comparison.coverage
    said = [f"{cover.joined:,} items compared", f"{cover.labelled:,} with a known label"]
    if cover.clusters is not None:
        said.append(f"in {cover.clusters:,} groups")
    for ids, what in (
        (cover.missing, "only in A"),
        (cover.new, "only in B"),
        (cover.changed, "with another content, left out"),
    ):
        if ids:
            said.append(f"{len(ids):,} {what}")
    return ", ".join(said)


def _metric(one: MetricDifference) -> tuple[str | Text, ...]:
    return (
        words.name(one.metric),
        number(one.first),
        number(one.second),
        signed(one.difference.value),
        interval(one.difference),
        Text(one.conclusion, _STYLES[one.conclusion]),
        "" if one.p_value is None else _p(one.p_value),
    )


def _print_shifts(out: Console, comparison: Comparison) -> None:
    labelled = comparison.coverage.labelled > 0
    rows = [_shift(shift, labelled=labelled) for shift in (comparison.enforcement, *comparison.rules)]
    head = ("", "", "A", "B", "lost", "gained", "p (Holm)", "")
    _table(out, f"Enforced, of {comparison.enforcement.n:,} items with a verdict on both sides", "llrrrrrl", head, rows)


def _shift(shift: Shift, *, labelled: bool) -> tuple[str | Text, ...]:
    def counted(n: int, wrongly: int) -> str:
        return f"{n:,} ({wrongly:,} wrongly)" if labelled and wrongly else f"{n:,}"

    return (
        shift_name(shift),
        shift.title,
        f"{shift.before:,}",
        f"{shift.after:,}",
        counted(shift.lost, shift.lost_wrongly),
        counted(shift.gained, shift.gained_wrongly),
        _p(shift.adjusted),
        Text(shift.conclusion, _STYLES[shift.conclusion]),
    )


def _print_transitions(out: Console, comparison: Comparison) -> None:
    table = comparison.transitions
    kept = [place for place, name in enumerate(table.rows) if any(table.counts[place]) or any(c[place] for c in table.counts)]
    rows = (
        (table.rows[row], *(f"{table.counts[row][column]:,}" if table.counts[row][column] else "." for column in kept))
        for row in kept
    )
    _table(out, "Outcomes: A in rows, B in columns", "l" + "r" * len(kept), ("", *(table.columns[c] for c in kept)), rows)


def _print_flips(out: Console, flips: Sequence[Flip], show: int) -> None:
    if not flips:
        return
    changed: dict[str, int] = {}
    for flip in flips:
        changed[words.CHANGES[flip.change]] = changed.get(words.CHANGES[flip.change], 0) + 1
    told = ", ".join(f"{count:,} {name}" for name, count in changed.items())
    shown = flips[:show]
    title = f"{len(flips):,} changed: {told}"
    _table(out, title, "lllll", ("", "id", "A", "B", "label"), map(_flip, shown) if shown else ())
    for flip in shown if any(flip.text is not None for flip in shown) else ():
        out.print(Text(plain(f"  {flip.id}: {(flip.text or '')[:_TEXT]}")))
    if len(flips) > show:
        out.print(f"... and {len(flips) - show:,} more: --show {len(flips)}, or --json")


def _flip(flip: Flip) -> tuple[str, ...]:
    def side(which: str) -> str:
        answer = flip.before if which == "before" else flip.after
        rules = " ".join((*answer.rules, *answer.exceptions))
        action = f"{answer.severity} {answer.action}" if flip.change == "action" else ""
        return " ".join(filter(None, (answer.outcome, answer.reason, rules, action)))

    label = {"yes": "violates", "no": "does not", None: ""}[flip.label]
    effect = "" if flip.effect == "unknown" else flip.effect
    return words.CHANGES[flip.change], flip.id, side("before"), side("after"), ", ".join(filter(None, (label, effect)))


def _print_cost(out: Console, comparison: Comparison) -> None:
    def cost(side: Side) -> tuple[str, ...]:
        used = side.usage
        tokens = (f"{n:,}" for n in (used.prompt_tokens, used.cached_tokens, used.completion_tokens))
        return (*tokens, f"{used.latency_ms / 1000:,.1f} s")

    rows = (("A", *cost(comparison.first)), ("B", *cost(comparison.second)))
    _table(out, "Cost", "lrrrr", ("", "prompt tokens", "cached", "completion tokens", "time"), rows)


def _check(check: GateCheck) -> tuple[str | Text, ...]:
    name = " ".join(filter(None, (check.rule, words.name(check.name))))
    kind = "margin" if check.kind == "non-inferiority" else check.kind
    return Text(words.STATUS[check.status], _STYLES[check.status]), kind, name, check.message


def _p(p: float) -> str:
    return words.p_number(p)


def _table(out: Console, title: str, columns: str, head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Rows under a title; columns are ``l`` or ``r``."""
    if title:
        out.print()
        out.print(Text(plain(title), "bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(head), header_style="dim")
    for name, side in zip(head, columns, strict=True):
        table.add_column(name, justify="right" if side == "r" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    if table.row_count:
        out.print(table)
