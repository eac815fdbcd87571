"""A training on disk: all that it needs to go on, in one file that is replaced in one step."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from moderator.errors import DataError

CHECKPOINT: Final = "checkpoint.pt"

State = dict[str, torch.Tensor]
"""An adapter's weights by name, on the CPU."""


@dataclass
class Checkpoint:
    """Where a training stands behind a step."""

    made_by: dict[str, str]
    """Digests of base, rows, suites, configuration and the adapter it began at: it goes on with these alone."""
    step: int = 0
    adapter: State = field(default_factory=dict)
    average: State = field(default_factory=dict)
    best: State = field(default_factory=dict)
    """The average that was best."""
    optimiser: dict[str, Any] = field(default_factory=dict)
    generators: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes the checkpoint into the folder. Raises `DataError`."""
    partial = folder / f"{CHECKPOINT}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(vars(checkpoint), partial)
        partial.replace(folder / CHECKPOINT)
    except OSError as error:
        raise DataError(f"{error.filename or partial}: {error.strerror or error}") from None


def take_up(folder: Path, made_by: dict[str, str]) -> Checkpoint | None:
    """The checkpoint in the folder; None where there is none. Raises `DataError` for one of another training."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError, TypeError, ValueError, EOFError, LookupError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a checkpoint: {' '.join(str(error).split())[:200]}\n  start anew with --force") from None
    for name, digest in made_by.items():
        if checkpoint.made_by.get(name) != digest:
            raise DataError(
                f"{path}: begun with another {name}\n  resume with what it was begun with, or start anew with --force"
            )
    return checkpoint


def generators() -> dict[str, Any]:
    """The states of torch's random generators."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_generators(states: dict[str, Any]) -> None:
    """Sets them again."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
