"""A replayed log, written down: as outcome lines, or as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from moderator.comparing.joining import provenances
from moderator.comparing.logs import Log
from moderator.errors import DataError
from moderator.policy.model import Rule
from moderator.records import Journal
from moderator.runs import Manifest, PolicyRecord, RuleRecord, Run, check_folder, environment
from moderator.runs.environment import discreet
from moderator.runs.folder import OUTCOMES, counted_suites, write_manifest, write_suites


def check_written(path: Path, log: Log, *, force: bool) -> None:
    """Whether the outcomes of a log can be written there: a ``.jsonl`` file, or for a run a folder. Raises `DataError`."""
    if path.suffix == ".jsonl":
        if path.exists() and not force:
            raise DataError(f"{path}: exists\n  --force replaces it")
        if path.is_dir() or (log.run and path.resolve() == (log.run.path / OUTCOMES).resolve()):
            raise DataError(f"{path}: cannot be replaced\n  give another file")
    elif log.run is None:
        raise DataError(f"{path}: is not a .jsonl file\n  a folder holds a run, and {log.name} is none")
    elif path.resolve() == log.run.path.resolve():
        raise DataError(f"{path}: is the run that is replayed\n  give another folder")
    else:
        check_folder(path, resume=False, force=force)


def write_log(log: Log, rules: Sequence[Rule], path: Path, *, started: datetime, arguments: Sequence[str] = ()) -> None:
    """Writes the outcomes; into a folder with suites and a manifest, which make it a run. Raises `DataError`.

    `rules` are those of the policy of the outcomes.
    """
    folder = path.suffix != ".jsonl"
    if folder:
        write_suites(path, [part.suite for part in log.parts if part.suite])
    with closing(Journal(path / OUTCOMES if folder else path, force=True)) as journal:
        written: set[str] = set()
        for part in log.parts:
            # an item that two suites share is there once
            journal.write(outcome for id, outcome in part.outcomes.items() if id not in written)
            written |= part.outcomes.keys()
    if folder:
        write_manifest(path, _manifest(log, rules, path, started, arguments))


def _manifest(log: Log, rules: Sequence[Rule], path: Path, started: datetime, arguments: Sequence[str]) -> Manifest:
    assert log.run
    slug = log.parts[0].policy
    by_id = {id: outcome for part in log.parts for id, outcome in part.outcomes.items()}
    made = provenances(by_id.values())[0]
    suites = tuple(part.suite for part in log.parts if part.suite)
    records = [log.run.manifest.suite(suite.slug) for suite in suites]
    before = log.run.manifest.model_copy(
        update={
            "started": started,
            "finished": None,
            "passes": 1,
            "wall_seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
            "suites": tuple(record.model_copy(update={"policy": slug}) for record in records),
            "policies": {
                slug: PolicyRecord(
                    name=made.policy,
                    digest=made.policy_digest,
                    rules=tuple(
                        RuleRecord(id=rule.id, title=rule.title, severity=rule.severity, action=rule.action) for rule in rules
                    ),
                )
            },
            "provenances": {slug: made},
            "cache_hits": None,
            "arguments": discreet(arguments),
            "environments": (environment(),),
        }
    )
    counted = counted_suites(Run(path, before, suites, {slug: by_id}))
    fields = {name: getattr(before, name) for name in Manifest.model_fields}
    return Manifest(**{**fields, "suites": counted, "finished": datetime.now(UTC)})
