"""``eval report``: a run as a page to decide by, or as Markdown for a pull request."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from moderator.cli import scoring
from moderator.comparing.logs import compare_logs, only_one_has, open_log
from moderator.comparing.model import Comparison
from moderator.content import well_formed
from moderator.errors import DataError
from moderator.metrics import Resampling
from moderator.report import report_html, report_markdown
from moderator.runs import load_run
from moderator.scoring import score_run
from moderator.suite import open_suite

_OUT: Final = "Where to write: FILE.html, FILE.md, or one of each."
_BASELINE: Final = "The last run: what flipped since, and whether that is shown to be better or worse."
_TEXTS: Final = "Put the texts of errors into the page, blurred until asked for. Markdown never has any."
_HTML: Final = (".html", ".htm")
_MARKDOWN: Final = (".md", ".markdown")


def command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[list[Path], typer.Option("--out", "-o", help=_OUT)],
    baseline: Annotated[Path | None, typer.Option("--baseline", help=_BASELINE)] = None,
    suite: scoring.Suites = None,
    texts: Annotated[bool, typer.Option(help=_TEXTS)] = True,
    annotators: scoring.AnnotatorsName = "crowd",
    prices: scoring.Prices = None,
    stream: scoring.Stream = None,
    linear: scoring.Linear = True,
    linear_from: scoring.LinearFrom = None,
    resamples: scoring.Resamples = 10_000,
    seed: scoring.Seed = 0,
    partial: Annotated[bool, typer.Option("--partial", help="Report on a run that is not finished.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write what a run is worth: one HTML file with everything in it, or a short Markdown. Prints the paths."""
    _check_paths(out, force=force)
    how = scoring.scoring(annotators, prices, stream, resamples, seed)
    other = open_suite(linear_from) if linear_from else None
    reports = score_run(load_run(run, partial=partial), how, suites=suite or (), linear=linear, linear_from=other)
    slugs = [report.judged.suite for report in reports]
    comparisons = _comparisons(baseline, run, slugs, how.how, partial=partial) if baseline else ()
    page = next((path for path in out if path.suffix in _HTML), None)
    for path in out:
        if path == page:
            written = report_html(reports, comparisons, texts=texts)
        else:
            link = os.path.relpath(page, path.parent) if page else ""
            written = report_markdown(reports, comparisons, link=link)
        _write(path, written)
        print(path)


def _check_paths(paths: list[Path], *, force: bool) -> None:
    for path in paths:
        if path.suffix not in (*_HTML, *_MARKDOWN):
            raise typer.BadParameter(f"{path} is neither .html nor .md", param_hint="--out")
        if path.exists() and not force:
            raise DataError(f"{path}: exists\n  --force replaces it")
    if len({path.suffix in _HTML for path in paths}) < len(paths):
        raise typer.BadParameter("one .html and one .md at most", param_hint="--out")


def _comparisons(baseline: Path, run: Path, suites: list[str], how: Resampling, *, partial: bool) -> tuple[Comparison, ...]:
    """With the same suites of the run before; those that it does not have are told on stderr."""
    before, now = open_log(baseline), open_log(run, suites=suites, partial=partial)
    found = compare_logs(before, now, how=how, texts=True)
    for missing in only_one_has(before, now):
        if missing.startswith(f"only {now.name} "):
            print(f"not compared: {missing}", file=sys.stderr)
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(well_formed(text), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
