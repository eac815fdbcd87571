"""A run on disk, read and held together: manifest, suites as they were judged, outcomes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from moderator.errors import DataError, first_fault
from moderator.records import read_outcomes
from moderator.runs.manifest import Manifest, SuiteRecord
from moderator.runs.selection import judged_items
from moderator.suite import Item, Suite, load_suite, write_suite
from moderator.verdict import Failure, Provenance, Verdict

MANIFEST: Final = "manifest.json"
PARTIAL: Final = "manifest.partial.json"
"""The manifest of a run that is not finished."""
OUTCOMES: Final = "outcomes.jsonl"
SUITES: Final = "suites"
_MADE_BY: Final = ("engine", "model", "adapter_digest", "parameters")

Outcomes = Mapping[str, Mapping[str, Verdict | Failure]]
"""Outcomes by the slug of the policy and the id of the content."""


@dataclass(frozen=True)
class Run:
    """What a run came to: everything that scoring needs."""

    path: Path
    manifest: Manifest
    suites: tuple[Suite, ...]
    """As they were judged, in the order in which they were given."""
    by_policy: Outcomes

    def suite(self, slug: str) -> Suite:
        """One of the suites. Raises `KeyError`."""
        return self.suites[[suite.slug for suite in self.suites].index(self.manifest.suite(slug).slug)]

    def outcomes(self, slug: str) -> dict[str, Verdict | Failure]:
        """The outcomes of one suite by the ids of its items, in its order; an item without one is not there."""
        found = self.by_policy.get(self.manifest.suite(slug).policy, {})
        return {item.id: found[item.id] for item in self.judged(slug) if item.id in found}

    def missing(self, slug: str) -> tuple[str, ...]:
        """The ids of the suite's items that have no outcome: none in a finished run."""
        found = self.by_policy.get(self.manifest.suite(slug).policy, {})
        return tuple(item.id for item in self.judged(slug) if item.id not in found)

    def judged(self, slug: str) -> tuple[Item, ...]:
        """The items of a suite that the run judges: without those that are there for training."""
        return judged_items(self.suite(slug), self.manifest.selection)


def load_run(path: Path, *, partial: bool = False) -> Run:
    """The run in a folder, with its suites and outcomes in memory; `partial` takes one that is not finished, too.

    Raises `DataError` for a run that is not finished, and for a folder whose files are no run's, are torn, or do not belong
    together: suites that were changed, outcomes that are missing, given twice, of other contents or of another engine.
    """
    manifest = read_manifest(path)
    if manifest is None:
        what = "no such folder" if not path.is_dir() else f"not a run: it has no {MANIFEST}"
        raise DataError(f"{path}: {what}\n  `moderator eval run SUITE --engine SPEC --out {path}` makes one")
    if manifest.finished is None and not partial:
        raise DataError(f"{path}: the run is incomplete\n  go on with --resume")
    suites = tuple(_suite(path, record) for record in manifest.suites)
    run = Run(path, manifest, suites, read_run_outcomes(path, manifest, suites))
    if manifest.finished is not None:
        for record, counted in zip(manifest.suites, counted_suites(run), strict=True):
            if run.missing(record.slug):
                lost = f"{len(run.missing(record.slug)):,} outcomes of suite {record.slug} are missing"
                raise DataError(f"{path / OUTCOMES}: {lost}\n  --resume judges them again")
            if counted != record:
                raise DataError(f"{path / OUTCOMES}: the outcomes of suite {record.slug} are not those of the manifest")
    return run


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of the run in a folder, finished or not; None where there is none. Raises `DataError`."""
    for name in (MANIFEST, PARTIAL):
        file = path / name
        try:
            return Manifest.model_validate_json(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{file}: {error.strerror or error}") from None
        except ValidationError as error:
            raise DataError(f"{file}: not the manifest of a run: {first_fault(error)}") from None
    return None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes the manifest in one step, durably if the run is finished, under the name that says whether it is.

    Raises `DataError`.
    """
    name, other = (MANIFEST, PARTIAL) if manifest.finished else (PARTIAL, MANIFEST)
    fresh = path / f"{name}.new"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(manifest.model_dump(mode="json", by_alias=True), file, ensure_ascii=False, indent=1)
            file.write("\n")
            if manifest.finished:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path / name)
        (path / other).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename or fresh}: {error.strerror or error}") from None


def write_suites(path: Path, suites: Sequence[Suite]) -> None:
    """Writes copies of the suites, and nothing else into their folder. Raises `DataError`."""
    folder = path / SUITES
    try:
        for old in [*folder.glob("*.yaml"), *folder.glob("*.jsonl")]:
            old.unlink()
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None
    for suite in suites:
        write_suite(suite, folder / f"{suite.slug}.yaml")


def _suite(path: Path, record: SuiteRecord) -> Suite:
    file = path / SUITES / f"{record.slug}.yaml"
    suite = load_suite(file, against_policy=False)
    if suite.digest != record.digest:
        raise DataError(f"{file}: was changed after it was judged\n  judge it again, into another folder or with --force")
    return suite


def read_run_outcomes(path: Path, manifest: Manifest, suites: Sequence[Suite]) -> Outcomes:
    """The journal's outcomes, each once and each of an item. Of a run that is not finished a torn last line is left out."""
    file = path / OUTCOMES
    found: dict[str, dict[str, Verdict | Failure]] = {record.policy: {} for record in manifest.suites}
    wanted: dict[str, set[str]] = {slug: set() for slug in found}
    for record, suite in zip(manifest.suites, suites, strict=True):
        wanted[record.policy].update(item.id for item in judged_items(suite, manifest.selection))
    for number, outcome in enumerate(read_outcomes(file, torn=manifest.finished is None), start=1):
        if outcome.content_id not in wanted.get(outcome.policy, ()):
            about = f"content {outcome.content_id!r} under policy {outcome.policy!r}"
            raise DataError(f"{file}:{number}: {about} is no item of this run")
        if outcome.content_id in found[outcome.policy]:
            raise DataError(f"{file}:{number}: content {outcome.content_id!r} is there twice")
        _compare(f"{file}:{number}", outcome.provenance, manifest.provenances[outcome.policy])
        found[outcome.policy][outcome.content_id] = outcome
    return found


def _compare(where: str, found: Provenance, wanted: Provenance) -> None:
    for name in _MADE_BY:
        if getattr(found, name) != getattr(wanted, name):
            raise DataError(f"{where}: made with another {name.replace('_', ' ')} than the manifest says")


def counted_suites(run: Run) -> tuple[SuiteRecord, ...]:
    """The records of the suites, with the outcomes that the run holds counted."""
    counted = []
    for record in run.manifest.suites:
        outcomes = run.outcomes(record.slug).values()
        verdicts = Counter(outcome.outcome for outcome in outcomes if isinstance(outcome, Verdict))
        failures = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Failure))
        counted.append(record.model_copy(update={"outcomes": dict(verdicts), "failures": dict(failures)}))
    return tuple(counted)
