"""The reports of a run's suites. The linear model is fitted once and kept beside the suites, by their digest."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from moderator.errors import DataError
from moderator.runs import Run
from moderator.scoring.floor import FLOOR, Floor, fit_floor
from moderator.scoring.model import Report
from moderator.scoring.score import Scoring, score
from moderator.suite import LINEAR_MODEL, Suite

_FLOORS: Final = "floors"


def score_run(
    run: Run,
    scoring: Scoring | None = None,
    *,
    suites: Collection[str] = (),
    linear: bool = True,
    linear_from: Suite | None = None,
) -> tuple[Report, ...]:
    """A report for each suite of the run, or for those that are named. Never needs the model.

    `linear`: whether the linear model is asked; it is fitted on the training items that the run's folder holds, or on those of
    the suite `linear_from`. Raises `DataError`, also for the name of a suite that the run does not have.
    """
    slugs = [suite.slug for suite in run.suites]
    if unknown := [name for name in suites if name not in slugs]:
        raise DataError(f"{run.path}: has no suite {unknown[0]!r}\n  it has {', '.join(slugs)}")
    wanted = [suite for suite in run.suites if not suites or suite.slug in suites]
    return tuple(_score(run, suite, scoring or Scoring(), linear=linear, linear_from=linear_from) for suite in wanted)


def _score(run: Run, suite: Suite, scoring: Scoring, *, linear: bool, linear_from: Suite | None) -> Report:
    record = run.manifest.suite(suite.slug)
    floor = _floor(run.path / _FLOORS, suite, linear_from) if linear else None
    return score(
        suite,
        run.outcomes(suite.slug),
        run.manifest.policies[record.policy].rules,
        replace(scoring, floor=floor),
        items=run.judged(suite.slug),
        run=run.manifest.model_dump(mode="json", by_alias=True),
        wall_s=run.manifest.wall_seconds if len(run.suites) == 1 else None,
    )


def _floor(folder: Path, suite: Suite, other: Suite | None) -> Floor:
    """The kept one, if it was fitted on these very items in the same way."""
    key = sha256(f"{suite.digest} {other.digest if other else ''} {LINEAR_MODEL}".encode()).hexdigest()[:16]
    kept = folder / f"{suite.slug}-{key}.json"
    with suppress(OSError, ValidationError):
        return FLOOR.validate_json(kept.read_bytes())
    floor = fit_floor(suite, other)
    with suppress(OSError):  # a folder that cannot be written to: fitted again next time
        folder.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_bytes(FLOOR.dump_json(floor))
        partial.replace(kept)
    return floor
