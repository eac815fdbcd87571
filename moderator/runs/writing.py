"""A run that was made elsewhere, written as one of ours."""

from __future__ import annotations

from contextlib import closing

from moderator.records import Journal
from moderator.runs.executing import check_folder
from moderator.runs.folder import MANIFEST, OUTCOMES, PARTIAL, Run, write_manifest, write_suites


def write_run(run: Run, *, force: bool = False) -> None:
    """Writes the run into its folder; with `force`, over a run that is there. Raises `DataError`."""
    check_folder(run.path, resume=False, force=force)
    with closing(Journal(run.path / OUTCOMES, force=True)) as journal:
        for name in (MANIFEST, PARTIAL):
            (run.path / name).unlink(missing_ok=True)
        write_suites(run.path, run.suites)
        journal.write(outcome for found in run.by_policy.values() for outcome in found.values())
    write_manifest(run.path, run.manifest)
