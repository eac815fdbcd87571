"""The commands and their exit codes: 0 done, 1 error, 2 usage, 100 a gate was hit, 130 interrupted."""

from __future__ import annotations

import io
import os
import sys
from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from moderator import __version__
from moderator.cli import engines, judging, policies
from moderator.cli.show import plain
from moderator.errors import ModeratorError

app = typer.Typer(
    name="moderator",
    help="Judge content under written policies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(judging.check)
app.command("judge")(judging.judge)
app.add_typer(policies.app, name="policy")


class _Late(TyperGroup):
    """The commands of a module that takes long to import: it is imported when one of them is wanted."""

    module: str

    @cached_property
    def _group(self) -> TyperGroup:
        return typer.main.get_group(import_module(self.module).app)

    def list_commands(self, ctx: Any) -> list[str]:
        return self._group.list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._group.get_command(ctx, cmd_name)


class _Eval(_Late):
    module = "moderator.cli.eval"


class _Finetune(_Late):
    module = "moderator.cli.finetune"


app.add_typer(
    typer.Typer(cls=_Eval, help="Measure moderators against labelled content.", no_args_is_help=True, callback=lambda: None),
    name="eval",
)
app.add_typer(
    typer.Typer(cls=_Finetune, help="Train and calibrate a model on your cases.", no_args_is_help=True, callback=lambda: None),
    name="finetune",
)
app.command("engines")(engines.engines)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moderator {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    pass


def main() -> None:
    """Runs the command line; errors that this package raises become one message and exit code 1."""
    _write_utf8()
    try:
        try:
            app()
        finally:
            # now, while what goes wrong can still be said in one line
            sys.stdout.flush()
    except ModeratorError as error:
        _fail(str(error))
    except BrokenPipeError:
        # whoever read stdout is gone; Python would complain once more when it flushes at exit
        _drop_stdout()
        sys.exit(1)
    except OSError as error:
        _drop_stdout()
        _fail(f"{error.filename or 'stdout'}: {error.strerror or error}")


def _fail(message: str) -> None:
    print("error:", plain(message, keep="\n"), file=sys.stderr)
    sys.exit(1)


def _write_utf8() -> None:
    """JSON lines are UTF-8 whatever the locale says; on a terminal, what it cannot show is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
