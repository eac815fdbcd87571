"""``finetune calibrate``: a run over labelled contents becomes a calibration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from moderator.calibration import FILE, Calibrations
from moderator.cli import options
from moderator.cli.judging import GATE_HIT
from moderator.engines.folder import digest, weight_files
from moderator.errors import DataError
from moderator.finetuning.calibrating import Calibrating, GoldenSet, Measured, Target, calibrate, golden_of
from moderator.finetuning.rows import read_text_digests
from moderator.metrics import Estimate
from moderator.metrics.abstention import Costs, Guarantee, Inconclusive
from moderator.report import charts
from moderator.runs import Run, load_run

_RUN: Final = "A run over labelled contents that the model has not learned."
_OUT: Final = f"The adapter's (or model's) folder, where engines find it, or a file. Default: {FILE} in the run's folder."
_TARGET: Final = "Leave to people what the model is too unsure of: error<=0.02@0.95 (at most 2 % of decisions wrong)."
_COSTS: Final = "Leave to people what costs less so: miss=10,alarm=3,review=1."
_PLOT: Final = "Draw the reliability diagram, .svg or .png."


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help=_OUT)] = None,
    policy: Annotated[str | None, typer.Option("--policy", "-p", help="Slug, where the run has several.")] = None,
    target: Annotated[str | None, typer.Option("--target", help=_TARGET)] = None,
    cost: Annotated[list[str] | None, typer.Option("--cost", help=_COSTS)] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help=_PLOT)] = None,
) -> None:
    """Fit a calibration, and limits of automatic decision; print what it comes to, and the file."""
    wanted, costs = _target(target), _costs(cost)
    if plot:
        charts.require()
    if wanted and costs:
        raise typer.BadParameter("--target and --cost exclude each other", param_hint="--target")
    loaded = load_run(run)
    slug = _policy(loaded, policy)
    path = _file(out or run, loaded, slug)
    golden = golden_of(loaded, slug, learned=read_text_digests(path.parent))
    found = calibrate(golden.items, target=wanted, costs=costs)
    if plot:
        charts.write(charts.recalibration(found.before.bins, found.after.bins), plot)
    _print(found, golden)
    if found.calibration is None:
        print("nothing was written: without a guarantee every decision would be taken", file=sys.stderr)
        raise typer.Exit(GATE_HIT)
    before = Calibrations.read(path) if path.is_file() else Calibrations()
    before.with_one(found.calibration).write(path)
    print(path)


def _target(text: str | None) -> Target | None:
    try:
        return Target.parse(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not like error<=0.02@0.95", param_hint="--target") from None


def _costs(values: list[str] | None) -> Costs | None:
    given = options.typed_pairs("--cost", [part for value in values or [] for part in value.split(",")])
    if not given:
        return None
    try:
        return Costs(**given)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{error}; write miss=10,alarm=3,review=1", param_hint="--cost") from None


def _policy(run: Run, slug: str | None) -> str:
    there = list(run.manifest.policies)
    if slug is None and len(there) > 1:
        raise DataError(f"{run.path}: judged under {', '.join(there)}\n  name one with --policy")
    if slug is not None and slug not in there:
        raise DataError(f"{run.path}: not judged under {slug!r}\n  it has {', '.join(there)}")
    return slug or there[0]


def _file(out: Path, run: Run, slug: str) -> Path:
    """The file to write. In a folder of weights they must be those that the run was made with. Raises `DataError`."""
    if not out.is_dir():
        return out
    if weights := weight_files(out):
        made = run.manifest.provenances[slug]
        found, wanted = digest(weights), made.adapter_digest or made.model.rpartition("@")[2]
        if not found.startswith(wanted):
            raise DataError(f"{out}: holds weights {found[:12]}, and the run was made with {wanted[:12]}")
    return out / FILE


def _print(found: Calibrating, golden: GoldenSet) -> None:
    console = Console(highlight=False)
    if golden.learned:
        print(f"{golden.learned:,} texts that the adapter has learned were left out", file=sys.stderr)
    if golden.unscored:
        what = "labelled contents have no score and are in none of these numbers: a person decides about such"
        print(f"{golden.unscored:,} {what}", file=sys.stderr)
    held = "the same, each fitted without its fold" if found.promise is None else f"{found.measured:,} others"
    console.print(f"{found.choice.recalibration.method}, fitted on {found.fitted:,} items and measured on {held}")
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in found.choice.losses.items())
    console.print(f"log loss on folds left out: {losses}")
    table = Table(box=None, pad_edge=False)
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in (
        ("expected calibration error", (found.before.error, found.after.error)),
        ("Brier score", (found.before.brier, found.after.brier)),
    ):
        table.add_row(name, *map(_estimate, values))
    table.add_row("Spiegelhalter's p", *map(_p_value, (found.before, found.after)))
    console.print(table)
    match found.promise:
        case Guarantee() as kept:
            console.print(
                f"error at most {kept.limit:.1%} with {kept.confidence:.0%} confidence: decisions with a doubt below "
                f"{kept.threshold:.4f}; {kept.errors:,} of {kept.n:,} were wrong"
            )
        case Inconclusive() as open_:
            console.print(f"inconclusive: no limit keeps the error at {open_.limit:.1%} with {open_.confidence:.0%} confidence")
            few = f"at least {open_.needed:,} decided items are needed, there are {open_.n:,}"
            console.print(f"  {few}" if open_.too_few else f"  too many of {open_.n:,} decisions are wrong, also of the surest")
    if found.decided is not None:
        console.print(f"decided without a person: {_estimate(found.decided)}")


def _estimate(of: Estimate) -> str:
    return "n/a" if of.value is None else f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"


def _p_value(measured: Measured) -> str:
    return "n/a" if measured.spiegelhalter is None else f"{measured.spiegelhalter:.3g}"
