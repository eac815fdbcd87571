"""``policy``: list, show, lint, compile, diff."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from moderator.assets import directory
from moderator.cli import options
from moderator.engines.scripted import ScriptedEngine, always
from moderator.judge import Moderator
from moderator.policy import (
    Finding,
    LintOptions,
    diff_policies,
    diff_to_json,
    diff_to_text,
    findings_to_json,
    findings_to_sarif,
    findings_to_text,
    has_errors,
    lint_file,
    lint_folder,
    list_policies,
    load_policy,
    load_source,
    policy_path,
    write_policy,
)
from moderator.records import open_source

app = typer.Typer(help="Work on policy documents.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A shipped policy's name, or the path of a document.")]
NOT_CLEAN = 1


@app.command("list")
def list_() -> None:
    """List the shipped policies and their overlays."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("policy", "status", "rules", "exceptions", "overlays", "title"):
        table.add_column(name, no_wrap=True)
    for slug in list_policies():
        source = load_source(slug)
        policy = source.policy
        overlays = " ".join(overlay.name for overlay in source.overlays)
        table.add_row(policy.name, policy.status, str(len(policy.rules)), str(len(policy.exceptions)), overlays, policy.title)
    Console().print(table)


@app.command("show")
def show(
    policy: Name,
    context: options.Context = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the policy's value instead.")] = False,
) -> None:
    """Print a policy as it stands in a context, overlays applied."""
    resolved = load_policy(policy, options.facts("--context", context))
    print(resolved.model_dump_json(indent=2) if as_json else write_policy(resolved), end="\n" if as_json else "")


@app.command("lint")
def lint(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Names, documents or folders (default: the shipped policies).")
    ] = None,
    previous: Annotated[
        Path | None, typer.Option("--previous", help="Folder with the last versions, to check bumps and ids.")
    ] = None,
    suite: Annotated[list[str] | None, typer.Option("--suite", help="A file with texts that no example may be.")] = None,
    today: Annotated[str | None, typer.Option("--today", help="Date for `review_by`, YYYY-MM-DD (default: today).")] = None,
    format: Annotated[Literal["text", "json", "sarif"], typer.Option("--format", help="How findings are printed.")] = "text",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Look for what is wrong with policy documents; exit code 1 when there is an error."""
    texts = frozenset(content.text for content in open_source(suite)) if suite else frozenset()
    settings = LintOptions(today=_date(today), suite_texts=texts)
    before = {slug: load_policy(slug, folder=previous) for slug in list_policies(previous)} if previous else {}
    findings: list[Finding] = []
    for name in paths or [str(directory("policies"))]:
        if Path(name).is_dir():
            findings.extend(lint_folder(Path(name), settings, before))
        else:
            findings.extend(lint_file(policy_path(name), settings, before))
    match format:
        case "json":
            print(findings_to_json(findings))
        case "sarif":
            print(json.dumps(findings_to_sarif(findings), ensure_ascii=False, indent=2))
        case "text":
            print(findings_to_text(findings) or "nothing found")
    if has_errors(findings) or (strict and findings):
        raise typer.Exit(NOT_CLEAN)


@app.command("compile")
def compile_(
    policy: Name,
    family: options.FamilyName = "default",
    mode: options.ModeName = "fast",
    plan: options.PlanName = "policy",
    context: options.Context = None,
    budget: Annotated[int | None, typer.Option("--budget", help="Tokens that a system turn may have.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the answer instead.")] = False,
) -> None:
    """Print what the model is given: the system turn, and on stderr its digest and size."""
    nobody = ScriptedEngine(always("no"))
    facts = options.facts("--context", context)
    moderator = Moderator(policy, nobody, family=family, mode=mode, plan=plan, context=facts, budget=budget)
    for prompt in moderator.prompts(moderator.policies[0]):
        print(json.dumps(prompt.format.schema(), indent=2) if schema else prompt.system)
        left_out = f"; left out: {', '.join(prompt.dropped)}" if prompt.dropped else ""
        typer.echo(f"{prompt.policy.name} {prompt.digest} about {prompt.tokens:,} tokens{left_out}", err=True)


@app.command("diff")
def diff(
    old: Name,
    new: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False,
) -> None:
    """Print what changed between two versions, by id, and the version bump it needs; exit code 1 when the bump is too small."""
    compared = diff_policies(load_policy(old), load_policy(new))
    print(diff_to_json(compared) if as_json else diff_to_text(compared))
    if not compared.sufficient:
        raise typer.Exit(NOT_CLEAN)


def _date(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not YYYY-MM-DD", param_hint="--today") from None
