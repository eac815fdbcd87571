"""``check`` one text, ``judge`` files."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from moderator.cli import options
from moderator.cli.show import Meter, Table, print_verdict, summary
from moderator.content import Content
from moderator.engines import open_engine
from moderator.errors import DataError, NoVerdictError
from moderator.judge import Moderator
from moderator.records import Journal, Source, convert, open_source
from moderator.records.journal import journal_path
from moderator.running import Tally, run
from moderator.verdict import Failure, Verdict, to_line

Show = Literal["auto", "table", "lines", "none"]
FAIL_ON: Final = ("violates", "needs_review", "failure")
GATE_HIT: Final = 100


def check(
    text: Annotated[str, typer.Argument(help="The text to judge.")],
    policy: options.Policies,
    engine: options.EngineSpec = "nano",
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    context: options.Context = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome line instead.")] = False,
) -> None:
    """Judge one text and print the verdict for a person to read."""
    opened = open_engine(engine, **options.typed_pairs("--engine-option", engine_option))
    facts = options.pairs("--context", context)
    with Moderator(policy, opened, family=family, mode=mode, plan=plan, context=facts) as moderator:
        outcomes = list(moderator.judge_all([Content.of(text)]))
    for outcome in outcomes:
        if json:
            print(to_line(outcome))
        elif isinstance(outcome, Verdict):
            print_verdict(outcome, text)
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            raise NoVerdictError(outcome)


def judge(
    source: Annotated[list[str], typer.Argument(help="Files (JSONL, CSV, Parquet, TXT; .gz), folders, or - for stdin.")],
    policy: options.Policies,
    engine: options.EngineSpec = "nano",
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Votes for each content; needs --mode reasoned.")] = 1,
    context: options.Context = None,
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
    if resume and force:
        raise typer.BadParameter("--resume and --force exclude each other", param_hint="--resume")
    path = Path(out) if out and out != "-" else None
    if path is None and (resume or force):
        raise typer.BadParameter("needs --out FILE", param_hint="--resume" if resume else "--force")
    lines = show == "lines" or out == "-" or (show == "auto" and path is None and not sys.stdout.isatty())
    table = Table() if show == "table" or (show == "auto" and not lines and sys.stdout.isatty()) else None
    gates = options.choices("--fail-on", fail_on, FAIL_ON)
    kept = [name.strip() for part in keep or [] for name in part.split(",") if name.strip()]
    contents = open_source(source, mapping=options.pairs("--map", map), keep=kept)
    target = journal_path(path) if path else None
    if target and target.exists() and not (resume or force):
        raise DataError(f"{target}: exists\n  --resume goes on with it, --force starts anew")
    opened = open_engine(engine, **options.typed_pairs("--engine-option", engine_option))
    facts = options.pairs("--context", context)
    with Moderator(policy, opened, family=family, mode=mode, plan=plan, samples=samples, context=facts) as moderator:
        journal = Journal(target, resume=resume, force=force, expected=moderator.provenances()) if target else None
        tally = _run(moderator, contents, journal, limit, lines=lines, table=table)
    if path and target:
        convert(target, path)
    if table:
        table.print()
    print(summary(tally, path), file=sys.stderr)
    if any(tally.outcomes[outcome] for outcome in gates):
        raise typer.Exit(GATE_HIT)


def _run(
    moderator: Moderator, contents: Source, journal: Journal | None, limit: int | None, *, lines: bool, table: Table | None
) -> Tally:
    with Meter(contents.progress) as meter:

        def each(outcome: Verdict | Failure, tally: Tally) -> None:
            if lines:
                print(to_line(outcome))
            if table:
                table.add(outcome)
            meter.update(tally)

        shown = table.remember(contents) if table else contents
        if journal is None:
            return run(moderator, shown, limit=limit, each=each)
        with closing(journal):
            return run(moderator, shown, journal=journal, limit=limit, each=each)
