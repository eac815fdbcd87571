"""Moderators for tools that call a function once for each batch or text: opened at the first call, kept for the others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

from moderator.engines import open_engine
from moderator.errors import DataError
from moderator.judge import Moderator

OPTIONS: Final = ("family", "mode", "plan", "samples", "context", "budget")
"""What `Moderator` takes beside a policy and an engine, as plain values."""

_opened: Final[dict[str, Moderator]] = {}
_lock: Final = Lock()


def open_once(policy: Any, engine: Any = "nano", engine_options: Mapping[str, Any] | None = None, **options: Any) -> Moderator:
    """The process's moderator for these settings. Raises `DataError` for settings that are no plain values or that are unknown,
    and what `Moderator` raises."""
    if unknown := [name for name in options if name not in OPTIONS]:
        raise DataError(
            f"{unknown[0]}: no such option\n  options are {', '.join(('policy', 'engine', 'engine_options', *OPTIONS))}"
        )
    try:
        key = json.dumps([policy, engine, engine_options, options], sort_keys=True)
    except TypeError as error:
        raise DataError(f"settings: {error}\n  give names and paths, or open a `Moderator` yourself") from None
    with _lock:
        if key not in _opened:
            _opened[key] = Moderator(policy, _engine(engine, engine_options or {}), **options)
        return _opened[key]


def _engine(spec: str, options: Mapping[str, Any]) -> Any:
    if "." in spec.partition(":")[0] and os.getcwd() not in sys.path:
        # an engine of one's own may lie in the working folder
        sys.path.append(os.getcwd())
    return open_engine(spec, **options)
