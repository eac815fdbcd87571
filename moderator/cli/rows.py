"""``finetune rows``: labelled contents become rows to learn from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from moderator.cli import options
from moderator.cli.show import plain
from moderator.errors import DataError
from moderator.finetuning.building import Dealt, Posing, Shares, deal, pose
from moderator.finetuning.rows import write_rows
from moderator.finetuning.sources import Source, open_source
from moderator.finetuning.summary import Summary, summarise, write_summary
from moderator.finetuning.variants import VARIANTS
from moderator.policy import Policy
from moderator.prompt import load_family
from moderator.suite import open_suite, write_suite

_SOURCES = "Suites (.yaml), runs (folders), files of decisions (.jsonl)."
_POLICY = "The policy that is learned, by name or path, where it is not the suite's own; for decisions one is needed."
_FAMILY = "Prompt family: the one that the trained model is asked with."
_SPLIT = "Which items of suites may be learned: their training items, or all (then set some aside with --test)."
_DEV = "Share of contents that training stops on, drawn by a hash of their text."
_TEST = "Share of contents set aside, as suites to evaluate on."
_AGAINST = "More suites that are evaluated on: nothing of their test items, nor nearly, is learned. Several may be given."
_VARIANTS = f"The policy changes under which contents are posed once more: none, all, or some of {', '.join(VARIANTS)}."


def command(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help=_SOURCES)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The rows, .jsonl; report, dev and test suites go beside it.")],
    family: Annotated[str, typer.Option("--family", help=_FAMILY)] = "default",
    mode: options.ModeName = "fast",
    policy: Annotated[str | None, typer.Option("--policy", "-p", help=_POLICY)] = None,
    split: Annotated[Literal["train", "all"], typer.Option("--split", help=_SPLIT)] = "train",
    dev: Annotated[float, typer.Option("--dev", min=0, max=0.9, help=_DEV)] = 0.15,
    test: Annotated[float, typer.Option("--test", min=0, max=0.9, help=_TEST)] = 0.0,
    against: Annotated[list[Path] | None, typer.Option("--against", help=_AGAINST)] = None,
    variants: Annotated[list[str] | None, typer.Option("--variants", help=_VARIANTS)] = None,
    each: Annotated[int, typer.Option("--each", min=0, help="Rows of a content under variants, beside the plain one.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="For what variants draw.")] = 1,
) -> None:
    """Make rows to learn from: the turns that serving would make, with answers as far as they are known. Prints the file."""
    if out.suffix != ".jsonl":
        raise typer.BadParameter("rows are written as .jsonl", param_hint="--out")
    named = options.choices("--variants", variants, ("all", "none", *VARIANTS))
    chosen = () if "none" in named else tuple(VARIANTS) if not named or "all" in named else tuple(dict.fromkeys(named))
    posing = Posing(load_family(family), mode, chosen, each, seed)
    given = [source for path in sources for source in open_source(path, policy, every=split == "all")]
    golds = [gold for source in given for gold in source.golds]
    evaluated = [text for source in given for text in source.evaluated]
    evaluated += [item.text for path in against or [] for item in open_suite(path).split("test")]
    dealt = deal(golds, evaluated, Shares(dev, test))
    if elsewhere := sum(source.elsewhere for source in given):
        dealt.left_out["about other policies"] = elsewhere
    policies = _policies(given)
    rows = list(pose(dealt, policies, posing))
    if not any(row.split == "train" for row in rows):
        raise DataError(_nothing(sources, dealt, every=split == "all"))
    digest = write_rows(rows, out)
    summary = summarise(rows, digest, dealt, {slug: [rule.id for rule in one.rules] for slug, one in policies.items()})
    write_summary(summary, out)
    _set_aside(given, dealt, out)
    _tell(summary)
    print(out)


def _policies(given: Sequence[Source]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for source in given:
        if found.setdefault(source.policy.slug, source.policy).digest != source.policy.digest:
            raise DataError(f"policy {source.policy.slug}: two documents have this name\n  make rows of each by itself")
    return found


def _nothing(paths: Sequence[Path], dealt: Dealt, *, every: bool) -> str:
    names = ", ".join(map(str, paths))
    if dealt.left_out:
        reasons = ", ".join(f"{count:,} {why}" for why, count in dealt.left_out.most_common())
        return f"{names}: nothing to learn: {reasons}"
    hint = "label some contents" if every else "mark items `split: train`, or take all with --split all --test 0.3"
    return f"{names}: nothing to learn: there are no training items with a known label\n  {hint}"


def _set_aside(given: Sequence[Source], dealt: Dealt, out: Path) -> None:
    """Suites of what training stops on and of what is evaluated, in the folders ``NAME.dev`` and ``NAME.test``."""
    for place in ("dev", "test"):
        ids = {gold.content.id for gold in dealt.by_place[place]}
        for source in given:
            folder = out.with_suffix(f".{place}")
            if (suite := source.aside(ids, folder)) is not None:
                write_suite(suite, folder / f"{suite.slug}.yaml")


def _tell(summary: Summary) -> None:
    rows = ", ".join(f"{count:,} {split}" for split, count in summary.rows.items())
    labels = ", ".join(f"{count:,} {label}" for label, count in summary.labels["train"].items())
    print(f"rows: {rows}; labels learned: {labels}; answers known to their end: {summary.whole:,}", file=sys.stderr)
    print("rows by variant: " + ", ".join(f"{count:,} {name}" for name, count in summary.variants.items()), file=sys.stderr)
    for rule, signs in summary.rules.items():
        counted = ", ".join(f"{signs.get(sign, 0):,} {sign}" for sign in ("yes", "no", "unknown"))
        print(f"{plain(rule)}: {counted}", file=sys.stderr)
    if summary.left_out:
        print("left out: " + ", ".join(f"{count:,} {why}" for why, count in summary.left_out.items()), file=sys.stderr)
