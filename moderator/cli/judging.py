"""``check`` one text, ``judge`` files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from moderator.cli import options
from moderator.cli.show import Meter, Table, print_verdict, summary
from moderator.engines import Engine, open_engine
from moderator.errors import NoVerdictError
from moderator.judge import Moderator
from moderator.policy import load_source
from moderator.prompt import load_family
from moderator.records import Journal, Source, check_output, convert, open_source
from moderator.running import Tally, run
from moderator.verdict import Failure, Verdict, to_line

Show = Literal["auto", "table", "lines", "none"]
FAIL_ON: Final = ("violates", "needs_review", "failure")
GATE_HIT: Final = 100
INTERRUPTED: Final = 130


def check(
    text: Annotated[str, typer.Argument(help="The text to judge.")],
    policy: options.Policies,
    engine: options.EngineSpec = "nano",
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    context: options.Context = None,
    calibration: options.CalibrationFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome line instead.")] = False,
) -> None:
    """Judge one text and print the verdict for a person to read."""
    facts = options.facts("--context", context)
    calibrations = options.calibrations(calibration)
    opened = open_checked(engine, options.typed_pairs("--engine-option", engine_option), policy, family)
    settings: dict[str, Any] = {"family": family, "mode": mode, "plan": plan, "context": facts, "calibrations": calibrations}
    with Moderator(policy, opened, **settings) as moderator:
        tell_not_calibrated(moderator)
        outcomes = list(moderator.judge_all([text]))
    for outcome in outcomes:
        if json:
            print(to_line(outcome))
        elif isinstance(outcome, Verdict):
            print_verdict(outcome, text)
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            raise NoVerdictError(outcome)


def judge(
    source: Annotated[list[str], typer.Argument(help="Files (JSONL, CSV, TSV, Parquet, TXT; .gz), folders, or - for stdin.")],
    policy: options.Policies,
    engine: options.EngineSpec = "nano",
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Votes for each content; needs --mode reasoned.")] = 1,
    context: options.Context = None,
    calibration: options.CalibrationFile = None,
    map: Annotated[list[str] | None, typer.Option("--map", help="Where fields are read from, text=body,id=post_id.")] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="Columns copied to the outcomes, a,b.")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Outcomes as .jsonl, .csv or .parquet; - for stdout.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the file given by --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start the file given by --out anew.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read at most so many contents.")] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", help=f"Exit with {GATE_HIT} when an outcome is this: {', '.join(FAIL_ON)}.")
    ] = None,
    show: Annotated[Show, typer.Option("--show", help="On stdout: a table, JSON lines, or nothing.")] = "auto",
) -> None:
    """Judge contents from files; one outcome line for each content and policy."""
    path = Path(out) if out and out != "-" else None
    _check_usage(path, resume=resume, force=force, samples=samples, mode=mode)
    gates = options.choices("--fail-on", fail_on, FAIL_ON)
    facts = options.facts("--context", context)
    settings = options.typed_pairs("--engine-option", engine_option)
    target = check_output(path, resume=resume, force=force) if path else None
    contents = open_source(
        source,
        mapping=options.pairs("--map", map),
        keep=options.listed(keep),
        written=[file for file in (path, target) if file],
    )
    lines = show == "lines" or out == "-" or (show == "auto" and path is None and not sys.stdout.isatty())
    table = Table() if show == "table" or (show == "auto" and not lines and sys.stdout.isatty()) else None
    calibrations = options.calibrations(calibration)
    opened = open_checked(engine, settings, policy, family)
    asked: dict[str, Any] = {"family": family, "mode": mode, "plan": plan, "samples": samples, "context": facts}
    with Moderator(policy, opened, **asked, calibrations=calibrations) as moderator:
        tell_not_calibrated(moderator)
        journal = Journal(target, resume=resume, force=force, expected=moderator.provenances()) if target else None
        tally = _run(moderator, contents, journal, limit, lines=lines, table=table)
    if path and target:
        convert(target, path)
    if table:
        table.print()
    print(summary(tally, path), file=sys.stderr)
    if any(tally.outcomes[outcome] + tally.before[outcome] for outcome in gates):
        raise typer.Exit(GATE_HIT)


def _check_usage(out: Path | None, *, resume: bool, force: bool, samples: int, mode: str) -> None:
    if resume and force:
        raise typer.BadParameter("--resume and --force exclude each other", param_hint="--resume")
    if out is None and (resume or force):
        raise typer.BadParameter("needs --out FILE", param_hint="--resume" if resume else "--force")
    check_samples(samples, mode)


def check_samples(samples: int, mode: str) -> None:
    """Raises `typer.BadParameter` for several samples of what does not vary."""
    if samples > 1 and mode != "reasoned":
        raise typer.BadParameter("needs --mode reasoned: a label read does not vary", param_hint="--samples")


def tell_not_calibrated(moderator: Moderator) -> None:
    """A line on stderr for each policy for which the calibrations that are there are not valid."""
    for slug, why in moderator.not_calibrated().items():
        what = "scores are not calibrated, and nothing is withheld"
        print(f"{slug}: no calibration is valid here ({why}): {what}", file=sys.stderr)


def open_checked(spec: str, settings: Mapping[str, Any], policies: Sequence[str | Path], family: str | None) -> Engine:
    """The engine, once everything that is quick to check is found to be there."""
    for policy in policies:
        load_source(policy)
    if family:
        load_family(family)
    if "." in spec.partition(":")[0] and os.getcwd() not in sys.path:
        # an engine of one's own may lie in the working folder
        sys.path.append(os.getcwd())
    return open_engine(spec, **settings)


def _run(
    moderator: Moderator, contents: Source, journal: Journal | None, limit: int | None, *, lines: bool, table: Table | None
) -> Tally:
    tally = Tally()
    meter = Meter(contents.progress, bar=not (lines and sys.stdout.isatty()))

    def each(outcome: Verdict | Failure, tally: Tally) -> None:
        if lines:
            print(to_line(outcome))
        if table:
            table.add(outcome)
        meter.update(tally)

    drawn = table.remember if table else lambda content: None
    try:
        with meter, closing(journal) if journal is not None else nullcontext():
            return run(moderator, contents, journal=journal, limit=limit, tally=tally, drawn=drawn, each=each)
    except KeyboardInterrupt:
        print(f"interrupted: {summary(tally)}{'; go on with --resume' if journal is not None else ''}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
