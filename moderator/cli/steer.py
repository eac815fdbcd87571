"""``eval steer``: whether verdicts follow from the policy."""

from __future__ import annotations

import json as json_
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from moderator.cli import options
from moderator.cli.judging import GATE_HIT, open_checked
from moderator.engines import close
from moderator.errors import DataError
from moderator.junit import junit as junit_xml
from moderator.metrics import Resampling
from moderator.policy import Policy, list_policies, load_policy, load_source
from moderator.steering import (
    FAMILIES,
    Labelled,
    Limits,
    Probe,
    Steerability,
    cases,
    examples_of,
    of_suite,
    pooled,
    sampled,
    steer,
    to_markdown,
)
from moderator.steering.report import COLUMNS, TOTAL, base_line, rows
from moderator.suite import open_suite, policy_of

_ALL = "all"
_POLICIES = "Policy by name or path, or all (the shipped ones); several may be given."
_PROBES = f"Only these: {', '.join(FAMILIES)}."
_SUITES = "A suite or a file of functional tests for one of the policies: its contents are judged too."
_LEAST = "Another limit for a probe that must flip, deletion=0.95."
_MOST = "Another limit for a probe that must stay or pass, order=0.05."
_EVERY = 10.0


def command(
    policy: Annotated[list[str], typer.Option("--policy", "-p", help=_POLICIES)],
    engine: options.EngineSpec = "nano",
    engine_option: options.EngineOptions = None,
    family: options.FamilyName = None,
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    context: options.Context = None,
    suite: Annotated[list[Path] | None, typer.Option("--suite", help=_SUITES)] = None,
    examples: Annotated[bool, typer.Option(help="Judge the examples of the policies.")] = True,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many contents for each policy, drawn.")
    ] = None,
    probe: Annotated[list[str] | None, typer.Option("--probe", help=_PROBES)] = None,
    unrelated: Annotated[str | None, typer.Option("--unrelated", help="The policy about something else.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn: shuffles, ids, rules, samples.")] = 0,
    minimum: Annotated[int, typer.Option("--minimum", min=1, help="Contents below which a probe is inconclusive.")] = 30,
    least: Annotated[list[str] | None, typer.Option("--least", help=_LEAST)] = None,
    most: Annotated[list[str] | None, typer.Option("--most", help=_MOST)] = None,
    gate: Annotated[bool, typer.Option("--gate", help=f"Exit with {GATE_HIT} when a probe does not pass.")] = False,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="A gate lets probes through that show nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the whole result instead of tables.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write a report here.")] = None,
) -> None:
    """Change the policy and see whether verdicts follow: inversion, deletion, carve-outs, order, ids, wording, injection."""
    limits = _limits(least, most)
    chosen = options.choices("--probe", probe, FAMILIES) or FAMILIES
    facts = options.facts("--context", context)
    names = _named(policy)
    for path in (path for path in (junit, markdown) if path):
        _prepare(path)
    if unrelated:
        load_source(unrelated)
    resolved = {name: load_policy(name, facts) for name in names}
    contents = _contents(resolved, suite or [], examples=examples, limit=limit, seed=seed)
    opened = open_checked(engine, options.typed_pairs("--engine-option", engine_option), names, family)
    measured = partial(
        steer, engine=opened, probes=[one for one in FAMILIES if one in chosen], unrelated=unrelated, seed=seed,
        how=Resampling(minimum=minimum), family=family, mode=mode, plan=plan, context=facts,
    )  # fmt: skip
    meter = _Meter()
    try:
        results = [measured(one, contents=contents[name], progress=meter.of(one.name)) for name, one in resolved.items()]
    finally:
        close(opened)
    print(json_.dumps(_value(results, limits), ensure_ascii=False, indent=2)) if json else _print(results, limits)
    if junit:
        _write_junit(junit, results, limits, allow_inconclusive)
    if markdown:
        markdown.write_text(to_markdown(results, limits, shlex.join(["moderator", *sys.argv[1:]])), encoding="utf-8")
    if gate and not all(limits.holds(one.probes, allow_inconclusive=allow_inconclusive) for one in results):
        print(_verdict(results, limits), file=sys.stderr)
        raise typer.Exit(GATE_HIT)


def _write_junit(path: Path, results: Sequence[Steerability], limits: Limits, allow_inconclusive: bool) -> None:
    made = (cases(one, limits, allow_inconclusive=allow_inconclusive) for one in results)
    path.write_text(junit_xml(made), encoding="utf-8")


def _prepare(path: Path) -> None:
    """Finds out before the work whether the file can be written."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder\n  name a file")
    path.parent.mkdir(parents=True, exist_ok=True)


def _verdict(results: Sequence[Steerability], limits: Limits) -> str:
    """Why the gate is closed."""
    found = Counter(limits.result(probe) for one in results for probe in one.probes)
    short = [f"{one.policy} {probe.name}" for one in results for probe in one.probes if limits.result(probe) == "short"]
    return f"gate: {found['pass']} pass, {found['short']} short, {found['inconclusive']} inconclusive" + (
        f"; short: {', '.join(short)}" if short else ""
    )


def _limits(least: list[str] | None, most: list[str] | None) -> Limits:
    try:
        return Limits.of(
            {name: float(value) for name, value in options.pairs("--least", least).items()},
            {name: float(value) for name, value in options.pairs("--most", most).items()},
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--least/--most") from None


def _named(policies: Sequence[str]) -> list[str]:
    """The policies, each once."""
    return list(dict.fromkeys(name for given in policies for name in (list_policies() if given == _ALL else (given,))))


def _contents(
    policies: dict[str, Policy], suites: Sequence[Path], *, examples: bool, limit: int | None, seed: int
) -> dict[str, tuple[Labelled, ...]]:
    """What is judged under each policy: its examples, and the items of the suites that are for it."""
    found = {name: list(examples_of(policy)) if examples else [] for name, policy in policies.items()}
    for path in suites:
        suite = open_suite(path)
        slug = load_source(policy_of(suite, path)).slug
        matching = [name for name, policy in policies.items() if policy.slug == slug]
        if not matching:
            raise DataError(f"{path}: a suite for {slug!r}, which is not among the policies\n  add --policy {slug}")
        for name in matching:
            known = {item.content.id for item in found[name]}
            found[name] += [item for item in of_suite(suite) if item.content.id not in known]
    return {name: sampled(items, limit, seed) for name, items in found.items()}


def _value(results: Sequence[Steerability], limits: Limits) -> dict[str, Any]:
    def judged(probe: Probe) -> dict[str, Any]:
        return {**probe.to_json(), "limit": limits.values[probe.name], "result": limits.result(probe)}

    def total(probe: Probe) -> dict[str, Any]:
        return {key: value for key, value in judged(probe).items() if key != "misbehaved"}

    return {
        "policies": [{**one.to_json(), "probes": [judged(probe) for probe in one.probes]} for one in results],
        "total": [total(probe) for probe in pooled(results)],
    }


def _print(results: Sequence[Steerability], limits: Limits) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    for result in results:
        _print_table(console, result.policy, result.probes, limits)
        console.print(f"  {base_line(result)}\n", soft_wrap=True)
    if len(results) > 1:
        _print_table(console, TOTAL, pooled(results), limits)


def _print_table(console: Console, title: str, probes: Sequence[Probe], limits: Limits) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(
            name, no_wrap=True, justify="right" if name in ("k/n", "units", "rate", "interval", "limit") else "left"
        )
    for row in rows(probes, limits):
        colour = {"pass": "green", "short": "red", "inconclusive": "yellow"}[row[-1]]
        table.add_row(*row[:-1], f"[{colour}]{row[-1]}[/]")
    console.print(table)


@dataclass(slots=True)
class _Meter:
    """A line on stderr now and then."""

    printed: float = field(default_factory=time.monotonic)

    def of(self, name: str) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            now = time.monotonic()
            if now - self.printed >= _EVERY:
                self.printed = now
                print(f"{name}: judged {done:,} of {total:,}", file=sys.stderr)

        return progress
