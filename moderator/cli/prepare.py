"""``eval prepare``: public and own data become suites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from moderator.cli import options
from moderator.errors import DataError
from moderator.suite import write_suite
from moderator.suite.prepare import SETS, Mapped, Prepared, Wanted, prepare_custom, prepare_set

_SET = f"custom, or a public set: {', '.join(SETS)}."
_MAP = "custom: which column is which field, text=body,id=post_id,label=toxic,by=rater."
_SPLIT = "A linear model needs both: all. custom without a column for it: all items are test, or four fifths train."
_VIOLATES = "Labels that violate the policy (default: what is known of the set)."
_SHOWN = 20


def command(
    name: Annotated[str, typer.Argument(metavar="SET", help=_SET)],
    source: Annotated[Path, typer.Argument(help="The set's folder or file, on your disk.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The suite to write; its items go into a .jsonl file beside it.")],
    split: Annotated[Wanted, typer.Option("--split", help=_SPLIT)] = "test",
    policy: Annotated[str | None, typer.Option("--policy", "-p", help="Name or path (default: the set's own).")] = None,
    columns: Annotated[list[str] | None, typer.Option("--map", help=_MAP)] = None,
    values: Annotated[list[str] | None, typer.Option("--values", help="custom: all labels, in order if --ordinal.")] = None,
    violates: Annotated[list[str] | None, typer.Option("--violates", help=_VIOLATES)] = None,
    unknown: Annotated[list[str] | None, typer.Option("--unknown", help="custom: labels that say nothing about it.")] = None,
    ordinal: Annotated[bool, typer.Option("--ordinal", help="custom: the labels are grades.")] = False,
    slices: Annotated[list[str] | None, typer.Option("--slices", help="custom: columns to break reports down by.")] = None,
    rules: Annotated[list[str] | None, typer.Option("--rules", help="custom: RULE=COLUMN, says whether it holds.")] = None,
    licence: Annotated[str, typer.Option("--licence", help="custom: what may be done with the data.")] = "not stated",
    force: Annotated[bool, typer.Option("--force", help="Replace a suite that is there.")] = False,
) -> None:
    """Make a suite of a public data set, or of a table of your own; prints its licence and citation."""
    if out.suffix not in (".yaml", ".yml"):
        raise typer.BadParameter(f"{out} is not a .yaml file", param_hint="--out")
    if name == "custom":
        if policy is None:
            raise typer.BadParameter("a suite is for a policy", param_hint="--policy")
        mapped = Mapped(
            columns=options.pairs("--map", columns),
            values=options.listed(values),
            violates=options.listed(violates),
            unknown=options.listed(unknown),
            ordinal=ordinal,
            slices=options.listed(slices),
            rules=options.pairs("--rules", rules),
            policy=policy,
        )
        prepared: tuple[Prepared, ...] = (prepare_custom(source, mapped, slug=_slug(out), licence=licence, split=split),)
    else:
        prepared = prepare_set(name, source, split=split, policy=policy, violates=options.listed(violates))
    paths = [out if len(prepared) == 1 else out.with_stem(f"{out.stem}-{one.name}") for one in prepared]
    if not force and (there := next((path for path in paths if path.exists()), None)):
        raise DataError(f"{there}: exists\n  --force replaces it")
    for one, path in zip(prepared, paths, strict=True):
        write_suite(one.suite, path)
        _tell(one, path)


def _tell(prepared: Prepared, path: Path) -> None:
    """The suite on stdout; on stderr whatever was not taken over, with its number."""
    suite = prepared.suite
    splits = ", ".join(f"{len(found):,} {split}" for split in ("train", "test") if (found := suite.split(split)))
    print(f"{path}: {suite.slug}, policy {suite.policy}, {splits}, {suite.digest}")
    if suite.source:
        print(f"licence: {suite.source.licence}")
        print(f"citation: {suite.source.citation or 'none'}")
    for problem in prepared.problems[:_SHOWN]:
        typer.echo(str(problem), err=True)
    if len(prepared.problems) > _SHOWN:
        typer.echo(f"... and {len(prepared.problems) - _SHOWN:,} more", err=True)
    counts = {"rows or parts of rows could not be read": len(prepared.problems)}
    counts |= {f"rows left out: {why}": number for why, number in prepared.left_out.items()}
    counts["training items dropped: the test has their text"] = prepared.duplicates
    for what, number in counts.items():
        if number:
            typer.echo(f"{number:,} {what}", err=True)
    if prepared.note:
        typer.echo(f"note: {prepared.note}", err=True)


def _slug(path: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "suite"
