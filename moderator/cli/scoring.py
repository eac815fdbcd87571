"""How runs are scored: the options that ``eval score`` and ``eval report`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from moderator.cli import options
from moderator.metrics import Resampling
from moderator.records import read_outcomes
from moderator.scoring import Annotators, Scoring

_PRICES: Final = ("prompt", "cached", "completion")
_ANNOTATORS: Final = "Who gave the labels, for the alternative annotator test: a crowd is the hardest to stand in for."
_STREAM: Final = (
    "Outcomes of contents as the platform meets them: corrects the share of violations for the errors measured here."
)
_PRICE: Final = "Of a million tokens, prompt=0.10,cached=0.02,completion=0.40."
_LINEAR_FROM: Final = "Fit the linear model on the training items of this suite: for suites that have none."
_INDEX_RESAMPLES: Final = 1_000

Suites = Annotated[list[str] | None, typer.Option("--suite", help="Only these suites of the runs.")]
AnnotatorsName = Annotated[Annotators, typer.Option("--annotators", help=_ANNOTATORS)]
Prices = Annotated[list[str] | None, typer.Option("--price", help=_PRICE)]
Stream = Annotated[Path | None, typer.Option("--stream", help=_STREAM)]
Linear = Annotated[bool, typer.Option(help="Fit the linear model that a moderator should beat.")]
LinearFrom = Annotated[Path | None, typer.Option("--linear-from", help=_LINEAR_FROM)]
Resamples = Annotated[int, typer.Option("--resamples", min=0, help="For intervals; 0: none but Wilson's.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the resampling.")]


def scoring(annotators: Annotators, prices: list[str] | None, stream: Path | None, resamples: int, seed: int) -> Scoring:
    """As the options say. Raises `typer.BadParameter` for prices that are none, `DataError` for a stream that is none."""
    return Scoring(
        how=Resampling(resamples=resamples, index_resamples=min(resamples, _INDEX_RESAMPLES), seed=seed),
        annotators=annotators,
        prices=_prices(prices),
        stream=list(read_outcomes(stream)) if stream else (),
    )


def _prices(values: list[str] | None) -> dict[str, float]:
    found = options.pairs("--price", values)
    options.choices("--price", list(found), _PRICES)
    try:
        return {kind: float(value) for kind, value in found.items()}
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--price") from None
