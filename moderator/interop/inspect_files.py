"""Inspect logs on disk. The one module of the command line that needs inspect_ai, imported when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from moderator.errors import DataError

SUFFIXES: Final = (".json", ".eval")

Log = Any
"""An `inspect_ai.log.EvalLog`."""


def log_of(values: Mapping[str, Any]) -> Log:
    """Plain data as a log. Raises `DataError` without inspect_ai."""
    return _inspect_log().EvalLog.model_validate(values)


def read_log(path: Path) -> Log:
    """The log in a ``.json`` or ``.eval`` file, its attachments put back in their places. Raises `DataError`."""
    inspect_log = _inspect_log()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: not an Inspect log\n  give a {' or '.join(SUFFIXES)} file")
    try:
        return inspect_log.read_eval_log(str(path), resolve_attachments="full")
    except Exception as error:  # whatever the readers of zip, JSON and pydantic raise for what is no log
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise DataError(f"{path}: not an Inspect log: {reason}") from None


def write_log(log: Log, path: Path) -> None:
    """Writes the log as ``.json`` or ``.eval``, in one step. Raises `DataError`."""
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _inspect_log().write_eval_log(log, str(partial))
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None


def log_name(log: Log, suffix: str = ".json") -> str:
    """A file name that Inspect finds in a folder of logs: ``2026-11-23T10-00-00+00-00_moderator-hate_ID.json``."""
    task = str(log.eval.task).replace("/", "-")
    return f"{str(log.eval.created).replace(':', '-')}_{task}_{log.eval.task_id}{suffix}"


def _inspect_log() -> Any:
    try:
        from inspect_ai import log
    except ModuleNotFoundError as error:
        raise DataError(f"inspect: {error.name} is not installed\n  pip install 'moderator[inspect]'") from None
    return log
