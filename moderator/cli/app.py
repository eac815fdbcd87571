"""The commands and their exit codes: 0 done, 1 error, 2 usage, 100 a gate was hit."""

from __future__ import annotations

import os
import sys

import typer

from moderator import __version__
from moderator.cli import engines, judging, policies
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
    try:
        app()
    except ModeratorError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # whoever read stdout is gone; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
