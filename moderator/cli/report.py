"""``eval report``: a run as a page to decide by, or as Markdown for a pull request."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from moderator.cli import options
from moderator.comparing.compare import compare
from moderator.comparing.model import Comparison
from moderator.content import well_formed
from moderator.errors import DataError
from moderator.metrics import Resampling
from moderator.records import read_outcomes
from moderator.report import report_html, report_markdown
from moderator.runs import Run, load_run
from moderator.scoring import Annotators, Report, Scoring, score_run

_OUT: Final = "Where to write: FILE.html, FILE.md, or one of each."
_BASELINE: Final = "The last run: what flipped since, and whether that is shown to be better or worse."
_TEXTS: Final = "Put the texts of errors into the page, blurred until asked for. Markdown never has any."
_ANNOTATORS: Final = "Who gave the labels, for the alternative annotator test: a crowd is the hardest to stand in for."
_STREAM: Final = (
    "Outcomes of contents as the platform meets them: corrects the share of violations for the errors measured here."
)
_PRICE: Final = "Of a million tokens, prompt=0.10,cached=0.02,completion=0.40."
_PRICES: Final = ("prompt", "cached", "completion")
_HTML: Final = (".html", ".htm")
_MARKDOWN: Final = (".md", ".markdown")


def command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[list[Path], typer.Option("--out", "-o", help=_OUT)],
    baseline: Annotated[Path | None, typer.Option("--baseline", help=_BASELINE)] = None,
    suite: Annotated[list[str] | None, typer.Option("--suite", help="Only these suites of the run.")] = None,
    texts: Annotated[bool, typer.Option(help=_TEXTS)] = True,
    annotators: Annotated[Annotators, typer.Option("--annotators", help=_ANNOTATORS)] = "crowd",
    prices: Annotated[list[str] | None, typer.Option("--price", help=_PRICE)] = None,
    stream: Annotated[Path | None, typer.Option("--stream", help=_STREAM)] = None,
    linear: Annotated[bool, typer.Option(help="Fit the linear model that a moderator should beat.")] = True,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="For intervals; 0: none but Wilson's.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling.")] = 0,
    partial: Annotated[bool, typer.Option("--partial", help="Report on a run that is not finished.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write what a run is worth: one HTML file with everything in it, or a short Markdown. Prints the paths."""
    _check_paths(out, force=force)
    how = Resampling(resamples=resamples, index_resamples=min(resamples, 1_000), seed=seed)
    scoring = Scoring(
        how=how, annotators=annotators, prices=_prices(prices), stream=list(read_outcomes(stream)) if stream else ()
    )
    judged = load_run(run, partial=partial)
    before = load_run(baseline) if baseline else None
    reports = score_run(judged, scoring, suites=suite or (), linear=linear)
    comparisons = _comparisons(before, judged, reports, how) if before else ()
    page = next((path for path in out if path.suffix in _HTML), None)
    for path in out:
        link = os.path.relpath(page, path.parent) if page else ""
        written = (
            report_html(reports, comparisons, texts=texts)
            if path.suffix in _HTML
            else report_markdown(reports, comparisons, link=link)
        )
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


def _prices(values: list[str] | None) -> dict[str, float]:
    found = options.pairs("--price", values)
    options.choices("--price", list(found), _PRICES)
    try:
        return {kind: float(value) for kind, value in found.items()}
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--price") from None


def _comparisons(before: Run, now: Run, reports: tuple[Report, ...], how: Resampling) -> tuple[Comparison, ...]:
    """With the same suites of the run before; a suite that it does not have is told on stderr."""
    there = {suite.slug for suite in before.suites}
    wanted = [report.judged.suite for report in reports]
    if missing := [slug for slug in wanted if slug not in there]:
        print(f"{before.path}: has no suite {', '.join(missing)}: not compared", file=sys.stderr)
    if len(missing) == len(wanted):
        raise DataError(f"{before.path}: has none of the suites of {now.path}\n  it has {', '.join(sorted(there))}")
    return tuple(_comparison(before, now, slug, how) for slug in wanted if slug in there)


def _comparison(before: Run, now: Run, slug: str, how: Resampling) -> Comparison:
    contents = {item.id: item.content() for item in before.judged(slug)}
    items = now.judged(slug)
    changed = [item.id for item in items if item.id in contents and contents[item.id] != item.content()]
    suite = now.suite(slug)
    return compare(
        suite,
        before.outcomes(slug),
        now.outcomes(slug),
        names=(str(before.path), str(now.path)),
        rules=now.manifest.policies[now.manifest.suite(slug).policy].rules,
        how=Resampling(resamples=how.resamples, index_resamples=how.index_resamples, seed=how.seed, minimum=suite.minimum),
        texts={item.id: item.text for item in items},
        changed=changed,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(well_formed(text), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
