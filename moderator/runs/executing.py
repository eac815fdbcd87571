"""Judges suites into a folder, and goes on where a killed process stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from moderator.content import Content
from moderator.engines.cached import CachedEngine
from moderator.errors import DataError
from moderator.judge import Moderator
from moderator.records import Journal, Progress
from moderator.running import Tally, run
from moderator.runs.environment import discreet, environment
from moderator.runs.folder import (
    MANIFEST,
    OUTCOMES,
    PARTIAL,
    SUITES,
    Run,
    counted_suites,
    load_run,
    read_manifest,
    read_run_outcomes,
    write_manifest,
    write_suites,
)
from moderator.runs.manifest import Manifest, PolicyRecord, RuleRecord, Selection, SuiteRecord
from moderator.runs.selection import judged_items, select
from moderator.suite import Suite
from moderator.verdict import Failure, Verdict

_NOTE_EVERY: Final = 1.0
_OWN: Final = frozenset({MANIFEST, PARTIAL, f"{MANIFEST}.new", f"{PARTIAL}.new", OUTCOMES, SUITES})


def execute(
    suites: Sequence[Suite],
    moderator: Moderator,
    path: Path,
    *,
    under: Mapping[str, str] | None = None,
    selection: Selection | None = None,
    resume: bool = False,
    force: bool = False,
    arguments: Sequence[str] = (),
    progress: Progress | None = None,
    tally: Tally | None = None,
    each: Callable[[Verdict | Failure, Tally], None] = lambda outcome, tally: None,
) -> Run:
    """Judges the selected items of the suites and writes the run into a folder; outcomes batch by batch, the manifest last.

    `under` says by the slug of a suite which of the moderator's policies it is judged under; without it that is the
    moderator's only policy, or else the one that the suite names. An item that two suites share is judged once a policy.

    `resume` goes on with what the folder holds; what is finished there is not judged again. `force` starts anew. `arguments`
    are noted in the manifest; `progress` is kept in outcomes; `tally` and `each` are as in `moderator.running.run`.

    Raises `DataError` when the folder holds something else, or a run that was begun with other suites, another policy or
    another engine; when suites have the same slug, or differ about the content of an id; and when there is nothing to judge.
    """
    selection = selection or Selection()
    chosen = [select(suite, selection) for suite in suites]
    slugs = _policies(suites, moderator, under or {})
    contents = _contents(chosen, slugs, selection)
    begun = _describe(suites, chosen, slugs, moderator, selection, arguments)
    tally = Tally() if tally is None else tally
    progress = progress or Progress(None)
    progress.total = sum(len(content.policies) for content in contents)
    with _taken_up(path, begun, chosen, progress.total, resume=resume, force=force) as (before, journal):
        finished_before = progress.finished = journal.before.total()
        if before.finished:
            tally.before = journal.before
            return load_run(path)
        notes = _Notes(path, before, moderator)

        def noted(outcome: Verdict | Failure, tally: Tally) -> None:
            progress.finished = finished_before + tally.total
            notes.now_and_then()
            each(outcome, tally)

        try:
            run(moderator, contents, journal=journal, tally=tally, each=noted)
        finally:
            journal.close()
            notes.write()
        done = Run(path, notes.manifest, tuple(chosen), read_run_outcomes(path, notes.manifest, chosen))
        return Run(path, notes.finish(counted_suites(done)), done.suites, done.by_policy)


@dataclass
class _Notes:
    """Keeps the manifest of a run that goes on up to date: time and cache hits, so that a kill loses a second of them."""

    path: Path
    before: Manifest
    moderator: Moderator
    started: float = field(default_factory=time.monotonic)
    written: float = 0.0
    hits: int = field(init=False)

    def __post_init__(self) -> None:
        self.hits = self._hits() or 0

    @property
    def manifest(self) -> Manifest:
        hits = self._hits()
        if hits is not None or self.before.cache_hits is not None:
            hits = (self.before.cache_hits or 0) + (hits or 0) - self.hits
        seconds = self.before.wall_seconds + time.monotonic() - self.started
        return self.before.model_copy(update={"wall_seconds": round(seconds, 3), "cache_hits": hits})

    def now_and_then(self) -> None:
        if time.monotonic() - self.written > _NOTE_EVERY:
            self.write()

    def write(self) -> None:
        write_manifest(self.path, self.manifest)
        self.written = time.monotonic()

    def finish(self, suites: Sequence[SuiteRecord]) -> Manifest:
        fields = {name: getattr(self.manifest, name) for name in Manifest.model_fields}
        finished = Manifest(**{**fields, "suites": tuple(suites), "finished": _now()})
        write_manifest(self.path, finished)
        return finished

    def _hits(self) -> int | None:
        engine = self.moderator.engine
        return engine.hits if isinstance(engine, CachedEngine) else None


def _policies(suites: Sequence[Suite], moderator: Moderator, under: Mapping[str, str]) -> dict[str, str]:
    """The policy of each suite, by their slugs. Raises `DataError`."""
    found: dict[str, str] = {}
    only = moderator.policies[0] if len(moderator.policies) == 1 else None
    for suite in suites:
        if suite.slug in found:
            raise DataError(f"suite {suite.slug}: given twice\n  suites are told apart by slug: give one of them another")
        slug = under.get(suite.slug) or only or suite.policy
        if slug not in moderator.policies:
            given = ", ".join(moderator.policies)
            raise DataError(f"suite {suite.slug}: its policy {slug!r} was not given\n  given: {given}")
        found[suite.slug] = slug
    if not found:
        raise DataError("suites: none was given")
    return found


def _contents(suites: Sequence[Suite], slugs: Mapping[str, str], selection: Selection) -> list[Content]:
    """What is judged, each content once, under the policies of all suites that have it."""
    found: dict[str, tuple[Content, str]] = {}
    for suite in suites:
        slug = slugs[suite.slug]
        for item in judged_items(suite, selection):
            content = item.content().model_copy(update={"policies": (slug,)})
            earlier, its_suite = found.setdefault(item.id, (content, suite.slug))
            if earlier is content:
                continue
            if earlier.model_copy(update={"policies": ()}) != content.model_copy(update={"policies": ()}):
                what = f"item {item.id!r} is another content in suite {its_suite}"
                raise DataError(f"suite {suite.slug}: {what}\n  judge them into folders of their own")
            if slug not in earlier.policies:
                found[item.id] = (earlier.model_copy(update={"policies": (*earlier.policies, slug)}), its_suite)
    return [content for content, _ in found.values()]


def _describe(
    given: Sequence[Suite],
    chosen: Sequence[Suite],
    slugs: Mapping[str, str],
    moderator: Moderator,
    selection: Selection,
    arguments: Sequence[str],
) -> Manifest:
    provenances = {slug: made for slug, made in moderator.provenances().items() if slug in slugs.values()}
    return Manifest(
        started=_now(),
        selection=selection,
        suites=tuple(
            SuiteRecord(
                slug=suite.slug,
                version=suite.version,
                digest=suite.digest,
                selected_from=whole.digest,
                policy=slugs[suite.slug],
                items=len(judged_items(suite, selection)),
            )
            for whole, suite in zip(given, chosen, strict=True)
        ),
        policies={
            slug: PolicyRecord(
                name=made.policy,
                digest=made.policy_digest,
                rules=tuple(
                    RuleRecord(id=rule.id, title=rule.title, severity=rule.severity, action=rule.action)
                    for rule in moderator.rules(slug)
                ),
            )
            for slug, made in provenances.items()
        },
        provenances=provenances,
        arguments=discreet(arguments),
        environments=(environment(),),
    )


@contextmanager
def _taken_up(
    path: Path, begun: Manifest, suites: Sequence[Suite], total: int, *, resume: bool, force: bool
) -> Iterator[tuple[Manifest, Journal]]:
    """The manifest to go on with (finished: there is nothing left), and the journal, which no other process can take now."""
    before = check_folder(path, resume=resume, force=force)
    if before is not None:
        _compare(path, before, begun)
    journal = Journal(path / OUTCOMES, resume=before is not None, force=True, expected=begun.provenances)
    with closing(journal):
        if before is None:
            for name in (MANIFEST, PARTIAL):
                (path / name).unlink(missing_ok=True)
            write_suites(path, suites)
            write_manifest(path, begun)
            yield begun, journal
        elif before.finished and journal.before.total() == total:
            yield before, journal
        else:
            here = begun.environments[0]
            environments = before.environments if before.environments[-1:] == (here,) else (*before.environments, here)
            update = {"passes": before.passes + 1, "environments": environments, "finished": None}
            going_on = before.model_copy(update=update)
            write_manifest(path, going_on)
            yield going_on, journal


def check_folder(path: Path, *, resume: bool, force: bool) -> Manifest | None:
    """The manifest of the run to go on with; None to start anew. Raises `DataError` where that would lose what is there."""
    try:
        there = {file.name for file in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}\n  --out is a folder for the run's files") from None
    if there and not resume and not force:
        raise DataError(f"{path}: exists\n  --resume goes on with it, --force starts anew")
    if not there <= _OWN and not there & {MANIFEST, PARTIAL}:
        strange = min(there - _OWN)
        raise DataError(f"{path}: is no run's folder: {strange!r} is in it\n  give a folder of its own with --out")
    before = read_manifest(path) if resume else None
    if resume and before is None and OUTCOMES in there and (path / OUTCOMES).stat().st_size:
        raise DataError(f"{path}: has outcomes and no manifest\n  start anew with --force")
    return before


def _compare(path: Path, before: Manifest, now: Manifest) -> None:
    """One folder, one run: what goes on must be what was begun. Raises `DataError` that says what differs."""

    def differ(what: str, old: Any, new: Any) -> None:
        if old != new:
            hint = "resume with what it was begun with, write to another folder, or start anew with --force"
            raise DataError(f"{path}: begun with another {what}: {old!r}, now {new!r}\n  {hint}")

    for name in Selection.model_fields:
        differ(f"selection of items ({name})", getattr(before.selection, name), getattr(now.selection, name))
    differ("list of suites", [suite.slug for suite in before.suites], [suite.slug for suite in now.suites])
    for old, new in zip(before.suites, now.suites, strict=True):
        for name in ("policy", "version", "digest"):
            differ(f"suite {new.slug} ({name})", getattr(old, name), getattr(new, name))
    for slug, made in now.provenances.items():
        was = before.provenances[slug]
        for name in ("policy_digest", "engine", "model", "adapter_digest"):
            differ(f"{name.replace('_', ' ')} ({slug})", getattr(was, name), getattr(made, name))
        for name in dict.fromkeys((*was.parameters, *made.parameters)):
            differ(f"parameter {name!r}", was.parameters.get(name), made.parameters.get(name))
        differ(f"prompt digest ({slug})", was.prompt_digest, made.prompt_digest)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
