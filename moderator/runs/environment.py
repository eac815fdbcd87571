"""What surrounds a run and may change its numbers: code, packages, machine. No names of users, hosts or home folders."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

PACKAGES: Final = (
    *("moderator", "numpy", "scipy", "scikit-learn", "pydantic", "llguidance", "tokenizers"),
    *("torch", "transformers", "peft", "vllm", "openai"),
)
_SECRET: Final = re.compile(r"((?:key|token(?!s|iz)|secret|password|authorization)[^=\s]*=).+", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/@\s]+(?=@)")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Commit(_Value):
    """The state of a git repository."""

    commit: str
    dirty: bool
    """Whether tracked files differ from the commit."""


class Machine(_Value):
    """A machine, as far as it matters to speed and to arithmetic."""

    platform: str
    processor: str
    """The model; empty where the system does not say."""
    cores: int
    """Those that the process may use."""
    memory_gib: float | None
    accelerators: tuple[str, ...] = ()
    """The models of NVIDIA devices."""


class Environment(_Value):
    """The repository of the working folder (None: there is none), the packages that are installed, and the machine."""

    git: Commit | None
    python: str
    packages: Mapping[str, str]
    """Versions by name, without an import; those that are not installed are left out."""
    machine: Machine


def environment(folder: Path | None = None) -> Environment:
    """What surrounds this process; `folder` is where the repository is looked for (default: the working folder)."""
    return Environment(
        git=_commit(folder or Path()), python=platform.python_version(), packages=_packages(), machine=_machine()
    )


def discreet(arguments: Sequence[str]) -> tuple[str, ...]:
    """Command line arguments as they may be written down: the home folder as ``~``, secrets and credentials as ``***``."""
    home = str(Path.home())
    return tuple(_discreet(argument, home) for argument in arguments)


def _discreet(argument: str, home: str) -> str:
    argument = _CREDENTIALS.sub("***", _SECRET.sub(r"\1***", argument))
    if len(home) < 2:
        return argument
    return re.sub(rf"{re.escape(home)}(?=$|[/\\:,+])", "~", argument)


def _commit(folder: Path) -> Commit | None:
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None or status is None else Commit(commit=commit, dirty=bool(status))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, no repository, or no answer in time."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _machine() -> Machine:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        platform=platform.platform(),
        processor=_after(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        cores=cores,
        memory_gib=_memory(),
        accelerators=tuple(
            model for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")) if (model := _after(card, "Model"))
        ),
    )


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _after(path: Path, key: str) -> str:
    """The value behind the first ``key:`` of a file of the system; empty where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
