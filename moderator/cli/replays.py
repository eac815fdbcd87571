"""``eval replay``: a log of outcomes under another policy, model or prompt."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from moderator.answer import Mode
from moderator.cli import comparisons, options
from moderator.cli.judging import check_samples, open_checked
from moderator.comparing.logs import Log, compare_logs, open_log
from moderator.comparing.replay import Replay, made_by, moderator_like, replay, under
from moderator.comparing.written import check_written, write_log
from moderator.engines import Engine
from moderator.engines.cached import CachedEngine
from moderator.judge import Moderator, Plan
from moderator.metrics import Resampling
from moderator.policy import load_source

_ENGINE = f"{options.ENGINES} Without it nothing is judged: the new policy must ask the model what the log's did."
_OUT = "The outcomes now: a .jsonl file or, of a run, the folder of a new run."


def command(
    log: Annotated[Path, typer.Argument(help="A file of outcome lines, or the folder of a run.")],
    policy: Annotated[str, typer.Option("--policy", "-p", help="By name or path.")],
    engine: Annotated[str | None, typer.Option("--engine", "-e", help=_ENGINE)] = None,
    contents: comparisons.Contents = None,
    columns: comparisons.Columns = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help=_OUT)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what --out names.")] = False,
    suite: comparisons.Suites = None,
    engine_option: options.EngineOptions = None,
    family: Annotated[str | None, typer.Option("--family", help="Prompt family (default: the log's).")] = None,
    mode: Annotated[Mode | None, typer.Option("--mode", help="fast or reasoned (default: the log's).")] = None,
    plan: Annotated[Plan | None, typer.Option("--plan", help="policy, rule or auto (default: the log's).")] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Votes a content (default: the log's).")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Take answers from this file, and keep them in it.")] = None,
    metric: comparisons.MetricName = "f1",
    allow_shift: comparisons.AllowShift = False,
    show: comparisons.Show = 20,
    texts: comparisons.Texts = False,
    resamples: comparisons.Resamples = 10_000,
    seed: comparisons.Seed = 0,
    as_json: comparisons.AsJson = False,
    junit: comparisons.Junit = None,
    markdown: comparisons.Markdown = None,
    html: comparisons.Html = None,
) -> None:
    """Decide a log again under another policy, model or prompt, and compare the outcomes with those of the log.

    Where the model would be asked the same, outcomes are resolved from what it reported, without it.

    Exits as `compare` does.
    """
    wanted = {"family": family, "mode": mode, "plan": plan, "samples": samples}
    _check_usage(engine, {**wanted, "cache": cache})
    slugs, labels = comparisons.suites_of(suite)
    source = load_source(policy)
    before = under(open_log(log, suites=slugs), source)
    if out:
        check_written(out, before, force=force)
    at_hand = comparisons.contents_of(contents, columns)
    started, clock = datetime.now(UTC), time.monotonic()
    if engine is None:
        done = replay(before, source, at_hand)
    else:
        settings = options.typed_pairs("--engine-option", engine_option)
        opened = partial(open_checked, engine, settings, [policy], family)
        with _like_before(before, policy, wanted, opened, cache) as moderator:
            done = replay(before, source, at_hand, moderator)
    seconds = time.monotonic() - clock
    if out:
        write_log(done.log, source.rules(), out, started=started, arguments=sys.argv[1:])
    _tell(done, seconds, out)
    compared = compare_logs(
        before, _named(done.log, before, out), suite=labels, metric=metric, contents=at_hand, texts=texts,
        how=Resampling(resamples=resamples, seed=seed), allow_shift=allow_shift,
    )  # fmt: skip
    comparisons.finish(
        compared, show=show, texts=texts, as_json=as_json, junit_file=junit, markdown=markdown, html=html,
        more={"replay": _account(done, seconds)},
    )  # fmt: skip


def _check_usage(engine: str | None, asked: Mapping[str, object]) -> None:
    if engine is None and (given := next((name for name, value in asked.items() if value is not None), None)):
        raise typer.BadParameter("needs --engine: without one nothing is judged", param_hint=f"--{given}")


def _account(done: Replay, seconds: float) -> dict[str, Any]:
    """What was done, and what it cost, as JSON."""
    told = {"resolved": done.resolved, "judged": done.judged, "left_out": list(done.left_out)}
    return {**told, "cost": {**done.usage.model_dump(), "seconds": round(seconds, 3)}}


def _like_before(
    log: Log, policy: str, wanted: Mapping[str, Any], opened: Callable[[], Engine], cache: Path | None
) -> Moderator:
    """A moderator that asks as was asked for the log, but for what is wanted otherwise."""
    like = moderator_like(made_by(log)) | {name: value for name, value in wanted.items() if value is not None}
    check_samples(like["samples"], like["mode"])
    engine = opened()
    return Moderator(policy, CachedEngine(engine, cache) if cache else engine, **like)


def _tell(done: Replay, seconds: float, out: Path | None) -> None:
    """What was done, and what it took, in a line."""
    used = done.usage
    tokens = (
        f"{used.prompt_tokens:,} prompt tokens ({used.cached_tokens:,} cached), {used.completion_tokens:,} completion tokens"
    )
    cost = f"{tokens}, {seconds:,.1f} s" if done.judged else f"no tokens, {seconds:,.1f} s"
    print(f"re-resolved {done.resolved:,}, judged {done.judged:,}: {cost}{f'; in {out}' if out else ''}", file=sys.stderr)
    if done.left_out:
        print(f"left out {len(done.left_out):,} whose contents were not given", file=sys.stderr)


def _named(after: Log, before: Log, out: Path | None) -> Log:
    return replace(after, name=str(out) if out else f"{before.name}, replayed")
