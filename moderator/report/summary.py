"""Several suites at a glance: a row each, the model beside a linear model and beside people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from moderator.metrics import Estimate
from moderator.report import words
from moderator.report.markdown import escaped, table
from moderator.scoring.model import Agreement, Anchor, Report

FEW: Final = "*"
"""Behind a number that rests on too few items to conclude anything from it."""
_COMPARED: Final = ("f1", "macro_f1", "auroc")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of words and numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def brief(estimate: Estimate | None, digits: int = 3, *, signed: bool = False) -> str:
    """Value and interval, with a star where too few items stand behind them; ``n/a``."""
    if estimate is None or estimate.value is None:
        return words.MISSING
    star = FEW if estimate.inconclusive else ""
    return f"{words.number(estimate.value, digits, signed=signed)} {words.interval(estimate, digits, signed=signed)}{star}"


def summary(reports: Sequence[Report]) -> tuple[Grid, ...]:
    """The tables that have rows; names of suites as they are, not made safe for any form of display."""
    linear = (
        "suite",
        "known",
        "answered",
        *(name for one in _COMPARED for name in (words.name(one), "linear", "difference")),
        "McNemar",
    )
    people = ("suite", "items", "alpha", "a person, held out", "model", "difference")
    native = ("suite", "labels", "items", "alpha", "alpha, ordinal", "constant", "a person, held out", "oracle")
    quotes = ("suite", "items", "people in pairs", "a person, held out", "model", "difference")
    grids = (
        Grid("Against the labels, beside a linear model of character n-grams", linear, tuple(map(_linear, reports))),
        Grid("Whether it violates: accuracy against the majority of the other annotators", people, tuple(_people(reports))),
        Grid("People on the set's own labels: accuracy against the majority of the others", native, tuple(_native(reports))),
        Grid(
            "Quotes: character F1 against what the majority of the others marked", quotes, tuple(map(_quotes, _marked(reports)))
        ),
    )
    return tuple(grid for grid in grids if grid.rows)


def summary_markdown(reports: Sequence[Report]) -> str:
    """The same as Markdown, with what the model and the policies were."""
    made = sorted({f"{report.judged.provenance['model']}, {report.judged.provenance['policy']}" for report in reports})
    blocks = ["\n".join(f"- {escaped(one)}" for one in made)]
    for grid in summary(reports):
        blocks += [f"## {grid.title}", table(grid.columns, [tuple(map(escaped, row)) for row in grid.rows])]
    few = f"{escaped(FEW)} too few items to conclude from. " if any(FEW in cell for cell in _cells(reports)) else ""
    blocks.append(f"{few}Intervals are at 95 %; a difference is the model less the other, over the items that both judged.")
    return "\n\n".join(blocks) + "\n"


def _cells(reports: Sequence[Report]) -> Iterator[str]:
    return (cell for grid in summary(reports) for row in grid.rows for cell in row)


def _linear(report: Report) -> tuple[str, ...]:
    linear = _anchor(report.anchors, "linear")
    p_value = next((pair.p_value for pair in linear.paired if pair.p_value is not None), None)
    cells = (cell for metric in _COMPARED for cell in _beside(report, linear, metric))
    head = report.judged.suite, f"{report.counts.known:,}", words.number(report.metrics["answered"].value)
    return *head, *cells, words.MISSING if p_value is None else words.p_value(p_value)


def _beside(report: Report, linear: Anchor, metric: str) -> tuple[str, str, str]:
    """The model, the linear model, and what lies between, all over the items that both judged."""
    if metric not in linear.metrics:
        return brief(report.metrics[metric]), words.MISSING, words.MISSING
    of, more = linear.metrics[metric].value, next(pair.difference for pair in linear.paired if pair.metric == metric)
    model = None if of is None or more.value is None else of + more.value
    return words.number(model), words.number(of), brief(more, signed=True)


def _people(reports: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    for report, agreement in _agreements(reports, "violates"):
        human, model = (_anchor(agreement.anchors, name) for name in ("human", "model"))
        less = next((pair.difference for pair in human.paired if pair.metric == "accuracy"), None)
        values = brief(human.metrics["accuracy"]), brief(model.metrics["accuracy"]), brief(less, signed=True)
        yield report.judged.suite, f"{agreement.panel:,}", brief(agreement.alpha), *values


def _native(reports: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    for report, agreement in _agreements(reports, "native"):
        of = (_anchor(agreement.anchors, name).metrics["accuracy"] for name in ("constant", "human", "oracle"))
        ordinal = brief(agreement.alpha) if agreement.alpha_level == "ordinal" else words.MISSING
        counts = f"{len(agreement.labels):,}", f"{agreement.panel:,}"
        yield report.judged.suite, *counts, brief(agreement.alpha_nominal), ordinal, *map(brief, of)


def _agreements(reports: Sequence[Report], scale: str) -> Iterator[tuple[Report, Agreement]]:
    return ((report, one) for report in reports for one in report.agreement if one.scale == scale and one.anchors)


def _marked(reports: Sequence[Report]) -> Iterator[Report]:
    return (report for report in reports if report.evidence and report.evidence.held_out_human)


def _quotes(report: Report) -> tuple[str, ...]:
    of = report.evidence
    assert of is not None
    held_out = brief(of.held_out_human), brief(of.held_out_model), brief(of.held_out_difference, signed=True)
    return report.judged.suite, f"{of.n:,}", brief(of.people), *held_out


def _anchor(anchors: Sequence[Anchor], name: str) -> Anchor:
    return next(anchor for anchor in anchors if anchor.name == name)
