"""Options that several commands share, and the reading of ``key=value`` lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml

from moderator.answer import Mode
from moderator.judge import Plan

Policies = Annotated[list[str], typer.Option("--policy", "-p", help="Policy by name or path; several may be given.")]
EngineSpec = Annotated[
    str,
    typer.Option("--engine", "-e", help="nano, local:MODEL[+ADAPTER], vllm:MODEL[+ADAPTER], server:URL[#MODEL] or package.module:Class."),
]
EngineOptions = Annotated[
    list[str] | None, typer.Option("--engine-option", "-E", help="An option of the engine, NAME=VALUE; several may be given.")
]
FamilyName = Annotated[str | None, typer.Option("--family", help="Prompt family (default: the one the model was made for).")]
ModeName = Annotated[Mode, typer.Option("--mode", help="fast: label first; reasoned: rationale first.")]
PlanName = Annotated[Plan, typer.Option("--plan", help="policy: all rules in a call; rule: each in its own; auto: those with exceptions.")]
Context = Annotated[list[str] | None, typer.Option("--context", "-c", help="A fact about all contents, KEY=VALUE; selects policy variants.")]


def pairs(option: str, values: list[str] | None) -> dict[str, str]:
    """``["a=1,b=2", "c=3"]`` as a mapping. Raises `typer.BadParameter`."""
    found: dict[str, str] = {}
    for part in (part for value in values or [] for part in value.split(",") if part.strip()):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{part!r} is not NAME=VALUE", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def typed_pairs(option: str, values: list[str] | None) -> dict[str, Any]:
    """As `pairs`, one pair to each value, with numbers and booleans read as such."""
    return {name: yaml.safe_load(value) for one in values or [] for name, value in pairs(option, [one]).items()}


def choices(option: str, values: list[str] | None, allowed: Sequence[str]) -> list[str]:
    """A list of names, each one of those allowed. Raises `typer.BadParameter`."""
    found = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    for name in found:
        if name not in allowed:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(allowed)}", param_hint=option)
    return found
