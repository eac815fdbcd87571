"""``eval export``, ``eval import``: runs go to other evaluation tools and come from them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from moderator.cli import options
from moderator.errors import DataError
from moderator.interop.inspect_export import to_log
from moderator.interop.inspect_files import SUFFIXES, log_name, read_log, write_log
from moderator.interop.inspect_import import Imported, from_log, is_ours
from moderator.interop.inspect_mapped import FIELDS, LogMapping
from moderator.metrics import Resampling
from moderator.runs import check_folder, load_run, write_run
from moderator.scoring import Scoring, score_run
from moderator.suite import write_suite

Format = Literal["inspect"]

_FORMAT = "The other tool's; needs the extra of that name."
_EXPORT_OUT = "A .json or .eval file for one suite; else a folder with a log for each, which `inspect view --log-dir` shows."
_IMPORT_OUT = "The folder of the run, or a .yaml file for the suite alone."
_MAP = f"Another tool's log: where a field is, decision=scores.NAME.answer,labels=metadata.KEY. Fields: {', '.join(FIELDS)}."


def export_run(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    format: Annotated[Format, typer.Option("--format", help=_FORMAT)],
    out: Annotated[Path, typer.Option("--out", "-o", help=_EXPORT_OUT)],
    suite: Annotated[list[str] | None, typer.Option("--suite", help="Only these suites of the run.")] = None,
    linear: Annotated[bool, typer.Option(help="Fit the linear model that a moderator should beat.")] = True,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="For intervals; 0: none but Wilson's.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a log that is there.")] = False,
) -> None:
    """Export a run with its statistics for another evaluation tool; prints what was written. Never needs the model."""
    opened = load_run(run)
    wanted = suite or [one.slug for one in opened.suites]
    if out.suffix in SUFFIXES and len(wanted) > 1:
        raise typer.BadParameter(f"{len(wanted)} suites need a folder, or one of them by --suite", param_hint="--out")
    if out.suffix in SUFFIXES and out.exists() and not force:
        raise DataError(f"{out}: exists\n  --force replaces it")
    scoring = Scoring(how=Resampling(resamples=resamples, index_resamples=min(resamples, 1_000), seed=seed))
    for report in score_run(opened, scoring, suites=wanted, linear=linear):
        log = to_log(opened, report)
        path = out if out.suffix in SUFFIXES else out / log_name(log)
        if path.exists() and not force:
            raise DataError(f"{path}: exists\n  --force replaces it")
        write_log(log, path)
        print(path)


def import_run(
    file: Annotated[Path, typer.Argument(help="The log, .json or .eval.")],
    format: Annotated[Format, typer.Option("--format", help=_FORMAT)],
    out: Annotated[Path, typer.Option("--out", "-o", help=_IMPORT_OUT)],
    policy: Annotated[str | None, typer.Option("--policy", "-p", help="Another tool's log: the policy of the labels.")] = None,
    violates: Annotated[list[str] | None, typer.Option("--violates", help="Labels and answers that violate it.")] = None,
    values: Annotated[list[str] | None, typer.Option("--values", help="All labels (default: those in the log).")] = None,
    unknown: Annotated[list[str] | None, typer.Option("--unknown", help="Labels that say nothing about it.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help=_MAP)] = None,
    slices: Annotated[list[str] | None, typer.Option("--slices", help="Metadata to break reports down by.")] = None,
    epoch: Annotated[int, typer.Option("--epoch", min=1, help="Which of several epochs is read.")] = 1,
    licence: Annotated[str, typer.Option("--licence", help="What may be done with the data.")] = "not stated",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Import another tool's log as a run, which `eval score`, `compare` and `gate` take, or as a suite."""
    as_suite = out.suffix in (".yaml", ".yml")
    if as_suite and out.exists() and not force:
        raise DataError(f"{out}: exists\n  --force replaces it")
    if not as_suite:
        check_folder(out, resume=False, force=force)
    log = read_log(file)
    mapping = None
    if not is_ours(log) and policy:
        mapping = LogMapping(
            policy=policy,
            violates=options.listed(violates),
            fields=options.pairs("--map", fields),
            values=options.listed(values),
            unknown=options.listed(unknown),
            slices=options.listed(slices),
            licence=licence,
        )
    elif is_ours(log) and (policy or violates or values or unknown or fields or slices):
        raise typer.BadParameter("this package wrote the log: it is read as it is", param_hint="--map")
    imported = from_log(log, re.sub(r"[^a-z0-9]+", "-", out.stem.lower()).strip("-") or "imported", mapping, epoch=epoch)
    if as_suite:
        write_suite(imported.suite, out)
    else:
        write_run(imported.run(out), force=force)
    _tell(imported)
    print(out)


def _tell(imported: Imported) -> None:
    record = imported.manifest.suites[0]
    counts = {str(name): count for name, count in record.outcomes.items()}
    counts |= {f"failed ({reason})": count for reason, count in record.failures.items()}
    listed = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
    print(f"{record.slug}: {record.items:,} items of policy {record.policy}: {listed}", file=sys.stderr)
    for why, count in imported.left_out.items():
        print(f"{count:,} samples left out: {why}", file=sys.stderr)
