"""``eval gate``: whether a run is good enough."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from moderator.cli.comparison_table import console, print_gate
from moderator.cli.comparisons import write
from moderator.comparing.gate import Terms, gate
from moderator.comparing.junit import junit as junit_xml
from moderator.comparing.junit import of_gate
from moderator.comparing.model import GATE
from moderator.metrics import Resampling
from moderator.runs import load_run
from moderator.suite import Targets

_LEAST = "A target, METRIC=VALUE or RULE:METRIC=VALUE; in addition to the suite's, or instead of one of them."
_METRIC = "What may not fall behind the baseline, METRIC or RULE:METRIC; several may be given."
_MARGIN = "By how much it may fall behind: shown by the whole interval of the paired difference."
_CONFIDENT = "A target is reached when the whole interval is above it, not the value alone."
_BASELINE = "The run's folder that this one must not fall behind."


def command(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    baseline: Annotated[Path | None, typer.Option("--baseline", "-b", help=_BASELINE)] = None,
    least: Annotated[list[str] | None, typer.Option("--least", help=_LEAST)] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help=f"{_METRIC} (default: f1)")] = None,
    margin: Annotated[float, typer.Option("--margin", min=0, help=_MARGIN)] = 0.02,
    minimum: Annotated[
        int | None, typer.Option("--minimum", min=1, help="Items a number must rest on (default: the suite's).")
    ] = None,
    failures: Annotated[float, typer.Option("--failures", min=0, max=1, help="The share that may fail.")] = 0.01,
    confident: Annotated[bool, typer.Option("--confident", help=_CONFIDENT)] = False,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="Checks that cannot be decided do not keep the gate shut.")
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="For intervals.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
) -> None:
    """Hold a run against its suites' targets, and against a baseline run.

    Exits with 100 when a check falls short or, without --allow-inconclusive, cannot be decided.

    Besides targets and the baseline, the share of failures is checked, and that no item is missing.
    """
    terms = Terms(
        least=_targets(least),
        metrics=[_named("--metric", name) for name in metric or ["f1"]],
        margin=margin,
        failures=failures,
        minimum=minimum,
        confident=confident,
        allow_inconclusive=allow_inconclusive,
    )
    how = Resampling(resamples=resamples, index_resamples=min(resamples, 1_000), seed=seed)
    opened = load_run(run, partial=True), load_run(baseline) if baseline else None
    gates = gate(*opened, terms, how)
    code = max(one.exit_code for one in gates)
    if json:
        found = [{**GATE.dump_python(one, mode="json"), "passed": one.passed, "exit_code": one.exit_code} for one in gates]
        print(json_.dumps({"schema": "gate/1", "exit_code": code, "gates": found}, ensure_ascii=False, indent=1))
    else:
        out = console()
        for one in gates:
            print_gate(out, one)
    if junit:
        write(junit, junit_xml(map(of_gate, gates)))
    if code:
        raise typer.Exit(code)


def _targets(values: list[str] | None) -> Targets:
    metrics: dict[str, float] = {}
    rules: dict[str, dict[str, float]] = {}
    for value in values or []:
        name, equals, number = value.partition("=")
        try:
            least = float(number)
        except ValueError:
            equals = ""
        if not equals or not -1 <= least <= 1:
            raise typer.BadParameter(f"{value!r} is not METRIC=VALUE or RULE:METRIC=VALUE", param_hint="--least")
        rule, metric = _named("--least", name)
        (rules.setdefault(rule, {}) if rule else metrics)[metric] = least
    return Targets(metrics=metrics, rules=rules)


def _named(option: str, name: str) -> tuple[str | None, str]:
    """``H3:recall`` or ``f1``. Raises `typer.BadParameter`."""
    rule, colon, metric = name.rpartition(":")
    if not metric or (colon and not rule):
        raise typer.BadParameter(f"{name!r} is not METRIC or RULE:METRIC", param_hint=option)
    return rule or None, metric
