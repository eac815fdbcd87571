"""``finetune train`` and ``finetune merge``: rows become an adapter, and an adapter part of a model."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from moderator.cli.judging import INTERRUPTED
from moderator.engines.folder import split_adapter
from moderator.errors import DataError, EngineError
from moderator.finetuning.config import Config, base_of, load_config

_PLAIN_EVERY = 10.0


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training, .yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure a pack, say what it would all take, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the adapter's folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start anew, whatever the adapter's folder holds.")] = False,
) -> None:
    """Learn an adapter from rows. Prints its folder."""
    if resume and force:
        raise typer.BadParameter("--resume and --force exclude each other", param_hint="--resume")
    told = load_config(config)
    if not dry_run:
        _check_out(told.out, resume=resume, force=force)
    training = _heavy("moderator.finetuning.training").Training(told, resume=resume)
    _tell_plan(told, training)
    if dry_run:
        _tell_rehearsal(training.rehearse())
        return
    try:
        trained = training.run(_Line().tell, _tell_entry)
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    weights = _heavy("moderator.finetuning.writing").write_adapter(trained)
    print(f"kept step {trained.kept.step:,}; adapter {weights[:12]} for {trained.base.name}", file=sys.stderr)
    print(told.out)


def merge(
    model: Annotated[str, typer.Argument(metavar="MODEL+ADAPTER", help="Folders; nano+ADAPTER for the embedded model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The merged model's folder.")],
) -> None:
    """Add an adapter to the weights of its model: a model folder that every engine runs, nano among them. Prints the folder."""
    base, adapter = split_adapter(model)
    if not adapter:
        raise typer.BadParameter("no adapter: MODEL+ADAPTER is wanted", param_hint="MODEL+ADAPTER")
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: exists\n  give the name of a new folder with --out")
    _heavy("moderator.engines.adapters").merge(base_of(base), adapter, out)
    print(out)


def _heavy(module: str) -> Any:
    """A module that needs torch, imported now. Raises `EngineError` that says what to install."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise EngineError(f"finetune: {error.name} is not installed\n  pip install 'moderator[finetune]'") from None


def _check_out(out: Path, *, resume: bool, force: bool) -> None:
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and not resume and not force:
        raise DataError(f"{out}: exists\n  --resume goes on with it, --force starts anew")
    if resume and "adapter_config.json" in there and "checkpoint.pt" not in there:
        raise DataError(f"{out}: the training has ended\n  --force starts anew")


def _tell_plan(config: Config, training: Any) -> None:
    base, rows = training.base, len(training.rows)
    print(
        f"{base.name}: {training.parameters:,} numbers to learn (rank {config.lora.rank}) from {rows:,} rows, "
        f"{len(training.steps):,} steps" + ("" if base.together else "; its rows cannot share their policy: one at a time"),
        file=sys.stderr,
    )
    if not training.watched:
        print("no suites to stop on: the last adapter is kept", file=sys.stderr)


def _tell_rehearsal(found: Any) -> None:
    speed = found.tokens / found.seconds
    print(f"{found.steps:,} steps over {found.tokens:,} tokens at {speed:,.0f} tokens/s: about {_span(found.seconds)}", end="")
    print(f", and evaluations on top; memory {found.memory / 2**30:.1f} GiB")


def _tell_entry(entry: Any) -> None:
    told = [] if entry.loss is None else [f"loss {entry.loss:.4f}"]
    if (agreed := entry.agreement) is not None:
        told.append(f"macro F1 {agreed.macro_f1:.3f}")
        told += [] if agreed.rules_macro_f1 is None else [f"of rules {agreed.rules_macro_f1:.3f}"]
        told.append(f"log loss {agreed.log_loss:.3f}")
    told.append(_span(entry.seconds) + (" (best)" if entry.best and agreed else ""))
    print(f"step {entry.step:,}: {', '.join(told)}", file=sys.stderr)


class _Line:
    """A line of progress now and then."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def tell(self, progress: Any) -> None:
        if time.monotonic() - self._printed < _PLAIN_EVERY:
            return
        self._printed = time.monotonic()
        done = f"step {progress.step:,} of {progress.steps:,}"
        print(f"{done}: loss {progress.loss:.4f}, {progress.tokens_per_second:,.0f} tokens/s", file=sys.stderr)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
