"""Options that several commands share, and the reading of ``key=value`` lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from moderator.answer import Mode
from moderator.calibration import Calibrations
from moderator.judge import Plan
from moderator.records import FACTS

ENGINES = "nano, local:MODEL[+ADAPTER], vllm:MODEL[+ADAPTER...], server:URL\\[#MODEL] or package.module:Class."
_PLANS = "policy: all rules in a call; rule: each in its own; auto: those with exceptions."
_CONTEXT = f"A fact about all contents, KEY=VALUE ({', '.join(FACTS)}); selects policy variants."

Policies = Annotated[list[str], typer.Option("--policy", "-p", help="Policy by name or path; several may be given.")]
EngineSpec = Annotated[str, typer.Option("--engine", "-e", help=ENGINES)]
EngineOptions = Annotated[
    list[str] | None, typer.Option("--engine-option", "-E", help="An option of the engine, NAME=VALUE; several may be given.")
]
FamilyName = Annotated[str | None, typer.Option("--family", help="Prompt family (default: the one the model was made for).")]
ModeName = Annotated[Mode, typer.Option("--mode", help="fast: label first; reasoned: rationale first.")]
PlanName = Annotated[Plan, typer.Option("--plan", help=_PLANS)]
_CALIBRATION = "A file of calibrations, or none (default: the one beside the adapter or model, if there is one)."
CalibrationFile = Annotated[str | None, typer.Option("--calibration", help=_CALIBRATION)]
Context = Annotated[list[str] | None, typer.Option("--context", "-c", help=_CONTEXT)]


def calibrations(value: str | None) -> Calibrations | None:
    """The calibrations of a file; ``none``: no calibrations; not given: whatever lies beside the model. Raises `DataError`."""
    return None if value is None else Calibrations() if value == "none" else Calibrations.read(Path(value))


def pairs(option: str, values: list[str] | None) -> dict[str, str]:
    """``["a=1,b=2", "c=3"]`` as a mapping. Raises `typer.BadParameter`."""
    return dict(_pair(option, part) for value in values or [] for part in value.split(",") if part.strip())


def facts(option: str, values: list[str] | None) -> dict[str, str]:
    """As `pairs`, with the names of facts that can select a variant. Raises `typer.BadParameter`."""
    found = pairs(option, values)
    choices(option, list(found), FACTS)
    return found


def typed_pairs(option: str, values: list[str] | None) -> dict[str, Any]:
    """One pair to each value, with numbers and booleans read as such. Raises `typer.BadParameter`."""
    try:
        return {name: yaml.safe_load(value) for name, value in (_pair(option, one) for one in values or [])}
    except yaml.YAMLError as error:
        raise typer.BadParameter(" ".join(str(error).split()), param_hint=option) from None


def choices(option: str, values: list[str] | None, allowed: Sequence[str]) -> list[str]:
    """A list of names, each one of those allowed. Raises `typer.BadParameter`."""
    found = listed(values)
    for name in found:
        if name not in allowed:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(allowed)}", param_hint=option)
    return found


def listed(values: list[str] | None) -> list[str]:
    """``["a,b", "c"]`` as a list of three."""
    return [name.strip() for value in values or [] for name in value.split(",") if name.strip()]


def _pair(option: str, part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{part!r} is not NAME=VALUE", param_hint=option)
    return name.strip(), value.strip()
