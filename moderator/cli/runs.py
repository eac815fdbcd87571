"""``eval run``: suites are judged into a folder."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from moderator.cli import options
from moderator.cli.judging import INTERRUPTED, check_samples, open_checked, tell_not_calibrated
from moderator.cli.show import Meter, summary
from moderator.engines.cached import CachedEngine
from moderator.judge import Moderator
from moderator.policy import load_source
from moderator.records import Progress
from moderator.running import Tally
from moderator.runs import Run, Selection, check_folder, execute
from moderator.suite import Suite, open_suite, policy_of
from moderator.suite.perturb import PERTURBATIONS
from moderator.verdict import Failure, Verdict

_SUITES = "Suites or functional tests, .yaml."
_POLICY = "Judge all suites under this policy, by name or path, instead of their own."
_LIMIT = "At most so many items of each suite: a sample by hashed id, not the first."
_PERTURB = f"Add perturbed copies of all items: all, or some of {', '.join(PERTURBATIONS)}."
_CACHE = "Keep answers in this file, and take from it what was answered before. Without it nothing is kept between runs."


def run(
    suites: Annotated[list[Path], typer.Argument(metavar="SUITE...", help=_SUITES)],
    engine: options.EngineSpec,
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
    policy: Annotated[str | None, typer.Option("--policy", "-p", help=_POLICY)] = None,
    split: Annotated[Literal["test", "train", "all"], typer.Option("--split", help="Which items are judged.")] = "test",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help=_LIMIT)] = None,
    perturb: Annotated[list[str] | None, typer.Option("--perturb", help=_PERTURB)] = None,
    seed: Annotated[int, typer.Option("--seed", help="For --limit and --perturb.")] = 0,
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Votes for each item; needs --mode reasoned.")] = 1,
    context: options.Context = None,
    calibration: options.CalibrationFile = None,
    cache: Annotated[Path | None, typer.Option("--cache", help=_CACHE)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start the run in the folder anew.")] = False,
) -> None:
    """Judge suites into a folder: copies of the suites, outcomes, and a manifest when all is done. Prints the folder."""
    if resume and force:
        raise typer.BadParameter("--resume and --force exclude each other", param_hint="--resume")
    check_samples(samples, mode)
    facts = options.facts("--context", context)
    settings = options.typed_pairs("--engine-option", engine_option)
    names = options.choices("--perturb", perturb, ("all", *PERTURBATIONS))
    chosen = tuple(PERTURBATIONS) if "all" in names else tuple(dict.fromkeys(names))
    calibrations = options.calibrations(calibration)
    check_folder(out, resume=resume, force=force)
    given = [open_suite(path) for path in suites]
    policies = {suite.slug: policy or policy_of(suite, path) for suite, path in zip(given, suites, strict=True)}
    under = {slug: load_source(named).slug for slug, named in policies.items()}
    distinct = list(dict.fromkeys(policies.values()))
    opened = open_checked(engine, settings, distinct, family)
    if cache:
        opened = CachedEngine(opened, cache)
    asked: dict[str, Any] = {"family": family, "mode": mode, "plan": plan, "samples": samples, "context": facts}
    with Moderator(distinct, opened, **asked, calibrations=calibrations) as moderator:
        tell_not_calibrated(moderator)
        selection = Selection(split=split, limit=limit, perturb=chosen, seed=seed)
        done = _execute(given, moderator, out, under, selection, resume=resume, force=force)
    _tell(done)
    print(out)


def _execute(
    suites: Sequence[Suite],
    moderator: Moderator,
    out: Path,
    under: Mapping[str, str],
    selection: Selection,
    *,
    resume: bool,
    force: bool,
) -> Run:
    tally, progress = Tally(), Progress(None)
    meter = Meter(progress)

    def each(outcome: Verdict | Failure, tally: Tally) -> None:
        meter.update(tally)

    try:
        with meter:
            return execute(
                suites,
                moderator,
                out,
                under=under,
                selection=selection,
                resume=resume,
                force=force,
                arguments=sys.argv[1:],
                progress=progress,
                tally=tally,
                each=each,
            )
    except KeyboardInterrupt:
        print(f"interrupted: {summary(tally)}; go on with --resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _tell(done: Run) -> None:
    """A line for each suite; failures by their reasons."""
    for record in done.manifest.suites:
        counts: Counter[str] = Counter(record.outcomes)
        counts.update({f"failed ({reason})": count for reason, count in record.failures.items()})
        listed = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
        judged = done.manifest.policies[record.policy].name
        print(f"{record.slug}: {record.items:,} items under {judged}: {listed}", file=sys.stderr)
    if done.manifest.cache_hits:
        print(f"{done.manifest.cache_hits:,} answers came from the cache", file=sys.stderr)
