"""``eval compare``: what two runs, two files of outcomes, or two policies on one log differ in."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from moderator.cli import options
from moderator.cli.comparison_table import console, print_comparison
from moderator.comparing import junit
from moderator.comparing.compare import METRICS
from moderator.comparing.logs import Log, compare_logs, only_one_has, open_log
from moderator.comparing.model import COMPARISON, Comparison
from moderator.comparing.replay import replay, under
from moderator.content import Content
from moderator.errors import DataError
from moderator.metrics import Resampling
from moderator.policy import load_source
from moderator.records import open_source
from moderator.report import comparison_markdown, report_html
from moderator.suite import Suite, open_suite

_LOGS = "Folders of runs, or files of outcome lines; one of them with two --policy."
_POLICY = "Given twice: the log is resolved under both, without the model; their prompts must be the log's."
_SUITE = "Of runs: only this suite. For files of outcomes: the suite file (.yaml) that brings labels and texts."
_CONTENTS = "The contents of a file of outcomes, as for judge; a run has its own."
_METRIC = f"What the verdict rests on where there are labels: {', '.join(METRICS)}."
_SHIFT = "A shift of enforcement alone does not fail: for policies that are meant to change it."
_TEXTS = "Show the texts of flips, and put them into JSON and HTML."

Suites = Annotated[list[str] | None, typer.Option("--suite", help=_SUITE)]
Contents = Annotated[list[str] | None, typer.Option("--contents", help=_CONTENTS)]
Columns = Annotated[list[str] | None, typer.Option("--map", help="Of --contents: text=body,id=post_id.")]
MetricName = Annotated[str, typer.Option("--metric", help=_METRIC)]
Show = Annotated[int, typer.Option("--show", min=0, help="How many flips to print.")]
Texts = Annotated[bool, typer.Option("--texts", help=_TEXTS)]
AllowShift = Annotated[bool, typer.Option("--allow-shift", help=_SHIFT)]
Resamples = Annotated[int, typer.Option("--resamples", min=100, help="For intervals.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the resampling.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write Markdown, for a pull request.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write one self-contained page; needs the extra `report`.")]


def command(
    logs: Annotated[list[Path], typer.Argument(metavar="A [B]", help=_LOGS)],
    policy: Annotated[list[str] | None, typer.Option("--policy", "-p", help=_POLICY)] = None,
    suite: Suites = None,
    contents: Contents = None,
    columns: Columns = None,
    metric: MetricName = "f1",
    allow_shift: AllowShift = False,
    show: Show = 20,
    texts: Texts = False,
    resamples: Resamples = 10_000,
    seed: Seed = 0,
    as_json: AsJson = False,
    junit: Junit = None,
    markdown: Markdown = None,
    html: Html = None,
) -> None:
    """Compare B with A, item by item: flips by direction and rule, and whether B is shown to be better or worse.

    Exits with 100 when B is worse: in its metric, or by more failures;

    and, without --allow-shift, when enforcement of the policy or of a rule is shown to have shifted.

    Exits with 0 otherwise, also when it is inconclusive.
    """
    if (len(logs), len(policy or [])) not in ((2, 0), (1, 2)):
        raise typer.BadParameter("two runs or files, or one with two --policy", param_hint="A [B]")
    slugs, labels = suites_of(suite)
    opened = [open_log(path, suites=slugs) for path in logs]
    at_hand = contents_of(contents, columns)
    if policy:
        sources = [load_source(name) for name in policy]
        opened = [replay(under(opened[0], source), source, at_hand).log for source in sources]
        opened = _told_apart(opened, policy)
    compared = compare_logs(
        opened[0],
        opened[1],
        suite=labels,
        metric=metric,
        how=Resampling(resamples=resamples, seed=seed),
        texts=texts,
        contents=at_hand,
        allow_shift=allow_shift,
    )
    for line in only_one_has(opened[0], opened[1]):
        print(f"not compared: {line}", file=sys.stderr)
    finish(compared, show=show, texts=texts, as_json=as_json, junit_file=junit, markdown=markdown, html=html)


def suites_of(values: list[str] | None) -> tuple[list[str], Suite | None]:
    """Slugs of a run's suites, and the suite that was given as a file. Raises `typer.BadParameter`."""
    files = [Path(value) for value in values or [] if value.endswith((".yaml", ".yml"))]
    if len(files) > 1:
        raise typer.BadParameter("one file brings the labels", param_hint="--suite")
    slugs = [value for value in values or [] if not value.endswith((".yaml", ".yml"))]
    return slugs, open_suite(files[0]) if files else None


def contents_of(names: list[str] | None, columns: list[str] | None) -> dict[str, Content]:
    """The contents of sources, by id."""
    if not names:
        return {}
    return {content.id: content for content in open_source(names, mapping=options.pairs("--map", columns))}


def finish(
    comparisons: Sequence[Comparison],
    *,
    show: int,
    texts: bool,
    as_json: bool,
    junit_file: Path | None,
    markdown: Path | None,
    html: Path | None,
    more: dict[str, Any] | None = None,
) -> None:
    """Prints and writes comparisons, and exits as they say: all from the same values. `more` is said in the JSON as well."""
    if as_json:
        print(json.dumps({**document(comparisons), **(more or {})}, ensure_ascii=False, indent=1))
    else:
        out = console()
        for comparison in comparisons:
            print_comparison(out, comparison, show)
    if junit_file:
        write(junit_file, junit.junit(map(junit.of_comparison, comparisons)))
    if markdown:
        write(markdown, "\n".join(map(comparison_markdown, comparisons)))
    if html:
        write(html, report_html((), comparisons, texts=texts))
    if code := max(comparison.exit_code for comparison in comparisons):
        raise typer.Exit(code)


def document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The comparisons and the exit code, as JSON values."""
    found = [{**COMPARISON.dump_python(one, mode="json"), "exit_code": one.exit_code} for one in comparisons]
    return {
        "schema": "comparison/1",
        "exit_code": max((one.exit_code for one in comparisons), default=0),
        "comparisons": found,
    }


def write(path: Path, text: str) -> None:
    """Raises `DataError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _told_apart(logs: Sequence[Log], policies: Sequence[str]) -> list[Log]:
    """Two versions of a policy may bear one name: then they are called as they were given."""
    if len({log.name for log in logs}) == len(logs):
        return list(logs)
    return [Log(given, log.parts, log.contents, log.run) for log, given in zip(logs, policies, strict=True)]
