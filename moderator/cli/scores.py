"""``eval score``: what runs say about their suites, as tables or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moderator.cli import scoring
from moderator.cli.show import plain
from moderator.errors import DataError
from moderator.metrics import Estimate
from moderator.report import summary, summary_markdown, words
from moderator.report.summary import FEW, brief
from moderator.runs import load_run
from moderator.scoring import REPORTS, Reports, score_run, without_texts
from moderator.scoring.model import Agreement, Anchor, Report
from moderator.suite import open_suite

_HEAD: Final = ("f1", "precision", "recall", "missed", "answered", "macro_f1", "mcc", "balanced_accuracy", "accuracy",
                "cohen_kappa", "specificity", "flagged", "base_rate", "auroc", "average_precision")  # fmt: skip
_OF_ANCHOR: Final = ("f1", "macro_f1", "accuracy", "mcc", "auroc")
_OF_RULE: Final = ("precision", "recall", "f1", "mcc")
_OF_SLICE: Final = ("f1", "precision", "recall", "specificity", "accuracy")
_PIPE_WIDTH: Final = 170
_ROWS: Final = 40
_LABELS: Final = 6
"""Native labels, beyond which they are not listed one by one."""


def command(
    run: Annotated[list[Path], typer.Argument(help="Folders of runs; several give a row a suite.")],
    suite: scoring.Suites = None,
    annotators: scoring.AnnotatorsName = "crowd",
    prices: scoring.Prices = None,
    stream: scoring.Stream = None,
    linear: scoring.Linear = True,
    linear_from: scoring.LinearFrom = None,
    resamples: scoring.Resamples = 10_000,
    seed: scoring.Seed = 0,
    partial: Annotated[bool, typer.Option("--partial", help="Score a run that is not finished.")] = False,
    texts: Annotated[bool, typer.Option("--texts", help="JSON with the texts of disagreements.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the row a suite here.")] = None,
) -> None:
    """Score runs against the labels of their suites: agreement, rules, slices, people, anchors, evidence, calibration."""
    how = scoring.scoring(annotators, prices, stream, resamples, seed)
    other = open_suite(linear_from) if linear_from else None
    opened = [load_run(path, partial=partial) for path in run]
    wanted = suite or []
    known = {one.slug for found in opened for one in found.suites}
    if unknown := [name for name in wanted if name not in known]:
        raise DataError(f"--suite: no run has a suite {unknown[0]!r}\n  they have {', '.join(sorted(known))}")
    reports = [
        report
        for found in opened
        if (slugs := [one.slug for one in found.suites if not wanted or one.slug in wanted])
        for report in score_run(found, how, suites=slugs, linear=linear, linear_from=other)
    ]
    if markdown:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(summary_markdown(reports), encoding="utf-8")
    if json:
        shown = reports if texts else [without_texts(report) for report in reports]
        sys.stdout.write(REPORTS.dump_json(Reports(reports=tuple(shown)), indent=2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    for report in reports:
        _print(console, report)
    if len(reports) > 1:
        for grid in summary(reports):
            _table(console, grid.title, grid.columns, [tuple(map(plain, row)) for row in grid.rows])


def _print(console: Console, report: Report) -> None:
    judged, counts = report.judged, report.counts
    console.print(Text(plain(f"{judged.title} ({judged.suite} {judged.version})"), "bold"))
    console.print(Text(plain(f"{judged.provenance['model']} under {judged.provenance['policy']}")))
    outcomes = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.outcomes.items(), key=lambda pair: -pair[1]))
    missing = f", {counts.missing:,} not judged" if counts.missing else ""
    console.print(f"{counts.judged:,} judged{missing}: {outcomes}")
    clustered = f", in {counts.clusters:,} groups that are resampled whole" if counts.clusters else ""
    console.print(f"{counts.known:,} with a known label, {counts.violating:,} of them violating{clustered}")
    _table(console, "Against the labels", ("", "value", "95 % interval", "n", ""), map(_number, _metrics(report)))
    if report.checks:
        rows = (
            (f"{check.rule or 'all'} {words.name(check.metric)}", words.number(check.least), brief(check.estimate),
             words.STATUS[check.status])
            for check in report.checks
        )  # fmt: skip
        _table(console, words.headline(report.checks), ("target", "least", "measured", ""), rows)
    if report.rules:
        _print_rules(console, report)
    _print_anchors(console, "Anchors, against the labels", report.anchors, _OF_ANCHOR)
    if report.native_floor:
        labels = judged.scale.values
        shown = [name for name in report.native_floor if len(labels) <= _LABELS or not name.startswith("f1 ")]
        title = f"Linear model on the {len(labels)} native labels"
        _table(console, title, ("", ""), ((words.name(name), brief(report.native_floor[name])) for name in shown))
    for agreement in report.agreement:
        _print_people(console, agreement)
    _print_rest(console, report)
    _print_slices(console, report)
    console.print(Text(f"{FEW} fewer than {judged.minimum:,}: inconclusive", "dim"))
    for caution in words.cautions(report):
        console.print(Text(plain(f"note: {caution}"), "yellow"))
    console.print()


def _metrics(report: Report) -> Iterator[tuple[str, Estimate]]:
    return ((words.name(name), report.metrics[name]) for name in _HEAD if name in report.metrics)


def _number(row: tuple[str, Estimate]) -> tuple[str, ...]:
    name, of = row
    return name, words.number(of.value), words.interval(of), f"{of.n:,}", "inconclusive" if of.inconclusive else ""


def _print_rules(console: Console, report: Report) -> None:
    rows = (
        (plain(f"{rule.id} {rule.title}"), rule.severity, f"{rule.known:,}", f"{rule.positive:,}", f"{rule.cited:,}",
         *(brief(rule.metrics[metric], 2) for metric in _OF_RULE))
        for rule in report.rules
    )  # fmt: skip
    columns = ("rule", "severity", "known", "hold", "cited", *map(words.name, _OF_RULE))
    _table(console, "Rules, where it is known whether they hold", columns, rows)
    console.print(f"found violations for which a labelled rule was cited: {brief(report.citations)}")
    console.print(f"severity, quadratic kappa: {brief(report.severity)}")


def _print_anchors(console: Console, title: str, anchors: Sequence[Anchor], metrics: Sequence[str]) -> None:
    rows = []
    for anchor in anchors:
        rows.append((words.ANCHORS[anchor.name], *(brief(anchor.metrics.get(metric)) for metric in metrics)))
        if anchor.paired:
            less = {pair.metric: brief(pair.difference, signed=True) for pair in anchor.paired}
            rows.append(("  model less this", *(less.get(metric, "") for metric in metrics)))
    _table(console, title, ("", *map(words.name, metrics)), rows)
    for anchor in anchors:
        p = next((f"McNemar {words.p_value(pair.p_value)}" for pair in anchor.paired if pair.p_value is not None), "")
        if note := "; ".join(filter(None, (plain(anchor.note), p))):
            console.print(Text(f"  {words.ANCHORS[anchor.name]}: {note}", "dim"))


def _print_people(console: Console, agreement: Agreement) -> None:
    on = "whether it violates" if agreement.scale == "violates" else ", ".join(map(plain, agreement.labels))
    rows = [
        ("pairs that agree", brief(agreement.percent)),
        ("alpha", brief(agreement.alpha_nominal)),
        *([("alpha, ordinal", brief(agreement.alpha))] if agreement.alpha_level == "ordinal" else []),
        ("Gwet's AC1", brief(agreement.ac1)),
        *((f"alpha, {plain(label)} against the rest", brief(of)) for label, of in agreement.alpha_of.items()),
    ]
    title = f"People among themselves on: {on} ({agreement.items:,} items, {agreement.raters:.2f} annotators each)"
    _table(console, title, ("", ""), rows)
    if agreement.anchors:
        metrics = ("accuracy", "macro_f1", *(("f1", "mcc") if agreement.scale == "violates" else ()), "cohen_kappa")
        title = f"Against the majority of the others ({agreement.panel:,} items of three annotators or more)"
        _print_anchors(console, title, agreement.anchors, metrics)
    if agreement.alt_test:
        tested = agreement.alt_test
        verdict = {True: "passed", False: "not passed", None: words.MISSING}[tested.passed]
        console.print(
            f"alternative annotator test, epsilon {tested.epsilon}: {verdict}; wins against"
            f" {words.number(tested.winning_rate, 2)} of {len(tested.contests)} annotators,"
            f" advantage {words.number(tested.advantage, 2)}"
        )
    if agreement.consensus:
        console.print(f"F1 against the Dawid-Skene consensus: {brief(agreement.consensus['f1'])}")


def _print_rest(console: Console, report: Report) -> None:
    rows: list[tuple[str, str]] = [("quotes that stand in the text word for word", brief(report.quotes))]
    if of := report.evidence:
        rows += [
            (f"quotes, character F1, majority of {of.annotators:.1f} annotators ({of.n:,} items)", brief(of.majority)),
            ("quotes, character F1, union", brief(of.union)),
            ("quotes, character F1, each annotator", brief(of.each)),
            ("quotes, IOU F1", brief(of.iou_f1)),
        ]
        held_out = of.held_out_human, of.held_out_model, of.held_out_difference
        names = ("a person, held out, character F1", "the model, likewise", "the model less the person")
        rows += [(name, brief(value)) for name, value in zip(names, held_out, strict=True) if value is not None]
        rows += [("people in pairs, character F1", brief(of.people))] if of.people else []
    if calibration := report.calibration:
        rows += [
            ("expected calibration error", brief(calibration.error)),
            ("Brier score", brief(calibration.brier)),
        ]
    rows += [("AURC", brief(report.selective.aurc)), ("AUGRC", brief(report.selective.augrc))]
    for risk, point in report.selective.at_risk.items():
        said = f"{words.percent(point.coverage)} above {point.threshold:.3f}" if point else "none"
        rows.append((f"answered at {float(risk):.0%} errors, on these items", said))
    if report.prevalence:
        rows.append(("violations among the others, corrected", brief(report.prevalence)))
    cost = report.cost
    rows.append(("tokens: prompt, of these cached, written",
                 f"{cost.prompt_tokens:,}, {cost.cached_tokens:,}, {cost.completion_tokens:,}"))  # fmt: skip
    if cost.latency_ms:
        rows.append(("ms a content: mean, p50, p95, p99", ", ".join(f"{value:.1f}" for value in cost.latency_ms.values())))
    if cost.price is not None:
        rows.append(("price", f"{cost.price:.4f}, {1000 * cost.price / report.counts.judged:.4f} a thousand contents"))
    _table(console, "Evidence, probabilities, cost", ("", ""), rows)


def _print_slices(console: Console, report: Report) -> None:
    for key in report.judged.slices:
        of_key = [one for one in report.slices if one.key == key]
        rows = [
            (
                plain(one.value),
                f"{one.n:,}",
                f"{one.violating:,}",
                *(brief(one.metrics[metric], 2) for metric in _OF_SLICE),
            )
            for one in of_key[:_ROWS]
        ]
        _table(console, f"By {plain(key)}", (plain(key), "n", "violating", *map(words.name, _OF_SLICE)), rows)
        if len(of_key) > _ROWS:
            console.print(f"... and {len(of_key) - _ROWS:,} more; all of them: --json")


def _table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print()
    console.print(Text(title, "bold"))
    console.print(table)
