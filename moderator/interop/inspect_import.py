"""Inspect logs as runs of ours: exports and evals of this package as they were, logs of other tools by a mapping."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moderator.errors import DataError
from moderator.interop.inspect_files import Log
from moderator.interop.inspect_mapped import LogMapping, Reader, fields_of, scale_of
from moderator.interop.inspect_samples import MARK, read_item, read_outcome
from moderator.policy import load_source
from moderator.runs import Manifest, PolicyRecord, RuleRecord, Run, Selection, SuiteRecord
from moderator.suite import Item, Source, Suite
from moderator.verdict import Failure, Provenance, Verdict

_Pair = tuple[Item, Verdict | Failure]


@dataclass(frozen=True)
class Imported:
    """What a log came to."""

    suite: Suite
    outcomes: Mapping[str, Verdict | Failure]
    manifest: Manifest
    left_out: Mapping[str, int]
    """Samples that were not taken over, by why."""

    def run(self, path: Path) -> Run:
        """The run, as it is to stand in this folder."""
        return Run(path, self.manifest, (self.suite,), {self.manifest.suites[0].policy: self.outcomes})


def is_ours(log: Log) -> bool:
    """Whether this package wrote the log, or ran the eval: it needs no mapping then."""
    return MARK in log.metadata


def from_log(log: Log, slug: str, mapping: LogMapping | None = None, *, epoch: int = 1) -> Imported:
    """The suite and the outcomes of a log. `slug` is for the suite of another tool's log; that also needs a mapping.

    Of several epochs one is read. Raises `DataError` for a log that did not come to an end or has no samples, for a mapping
    that does not fit, and `PolicyError` when the mapping's policy cannot be had.
    """
    if not log.samples:
        raise DataError(f"{log.eval.task}: the log has no samples\n  its status is {log.status!r}")
    if log.status != "success":
        raise DataError(f"{log.eval.task}: the eval did not finish: {log.status}\n  finish it with `inspect eval-retry`")
    # Inspect writes samples by id; the data set keeps their order
    place = {str(sample_id): number for number, sample_id in enumerate(log.eval.dataset.sample_ids or ())}
    read = sorted((one for one in log.samples if one.epoch == epoch), key=lambda one: place.get(str(one.id), len(place)))
    samples = [sample.model_dump(exclude={"events", "store"}) for sample in read]
    left_out: Counter[str] = Counter({"of another epoch": len(log.samples) - len(samples)})
    if is_ours(log):
        return _ours(log, samples, left_out)
    if mapping is None:
        raise DataError(
            f"{log.eval.task}: a log of another tool\n  say how it is read: --policy hate --violates unsafe --map ..."
        )
    return _mapped(log, samples, slug, mapping, left_out)


def _ours(log: Log, samples: Sequence[Mapping[str, Any]], left_out: Counter[str]) -> Imported:
    mark = log.metadata[MARK]
    try:
        kept = Manifest.model_validate(mark["manifest"]) if "manifest" in mark else None
        policy = PolicyRecord.model_validate(mark["policy"]) if kept is None else kept.policies[kept.suites[0].policy]
        made = Provenance.model_validate(mark["provenance"]) if kept is None else kept.provenances[kept.suites[0].policy]
        slug = mark["slug"] if kept is None else kept.suites[0].policy
        pairs = [_read(sample, slug, made) for sample in samples]
        suite = _suite(mark["suite"], pairs)
    except (ValidationError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{log.eval.task}: not as this package writes logs: {' '.join(str(error).split())[:200]}") from None
    return _imported(log, suite, pairs, (slug, policy, made), left_out, kept)


def _read(sample: Mapping[str, Any], policy: str, made: Provenance) -> _Pair:
    item = read_item(str(sample["id"]), sample["input"], sample["metadata"])
    if error := sample.get("error"):
        detail = str(error.get("message", "")).split("\n")[0]
        return item, Failure(content_id=item.id, policy=policy, reason="engine", detail=detail, provenance=made)
    return item, read_outcome(sample["output"]["completion"])


def _suite(header: Mapping[str, Any], pairs: Sequence[_Pair]) -> Suite:
    items = tuple(item for item, _ in pairs)
    there = {key for item in items for key in item.slices}
    slices = tuple(key for key in header.get("slices", ()) if key in there)
    return Suite.model_validate({**header, "slices": slices, "items": items})


def _mapped(log: Log, samples: Sequence[Mapping[str, Any]], slug: str, mapping: LogMapping, left_out: Counter[str]) -> Imported:
    fields = fields_of(mapping, samples)
    scale = scale_of(mapping, fields, samples)
    source = load_source(mapping.policy)
    rules = tuple(RuleRecord(id=r.id, title=r.title, severity=r.severity, action=r.action) for r in source.policy.rules)
    version = log.eval.packages.get("inspect_ai", "")
    made = Provenance(
        policy=source.slug,
        policy_digest="",
        prompt_digest="",
        engine=f"inspect_ai {version} {log.eval.task}".replace("  ", " "),
        model=log.eval.model,
        parameters=json.loads(json.dumps({**log.eval.task_args, "read_by": dict(fields)}, default=str)),
    )
    reader = Reader(mapping, fields, scale, source.slug, {rule.id: rule.severity for rule in rules}, made)
    pairs: list[_Pair] = []
    for sample in samples:
        try:
            item = reader.item(sample)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        pairs.append((item, reader.outcome(sample, item)))
    name = log.eval.dataset.name or log.eval.task
    header = {
        "suite": slug,
        "title": f"{log.eval.task}, {name}",
        "policy": mapping.policy,
        "source": Source(name=name, licence=mapping.licence),
        "scale": scale,
        "slices": tuple(mapping.slices),
    }
    record = PolicyRecord(name=source.slug, digest="", rules=rules)
    return _imported(log, _suite(header, pairs), pairs, (source.slug, record, made), left_out)


def _imported(
    log: Log,
    suite: Suite,
    pairs: Sequence[_Pair],
    judged: tuple[str, PolicyRecord, Provenance],
    left_out: Counter[str],
    kept: Manifest | None = None,
) -> Imported:
    outcomes = {item.id: outcome for item, outcome in pairs}
    if not outcomes:
        raise DataError(f"{log.eval.task}: no sample could be read: {', '.join(+left_out)}")
    slug, policy, made = judged
    record = SuiteRecord(
        slug=suite.slug,
        version=suite.version,
        digest=suite.digest,
        selected_from=kept.suites[0].selected_from if kept else suite.digest,
        policy=slug,
        items=len(suite.items),
        outcomes=Counter(outcome.outcome for outcome in outcomes.values() if isinstance(outcome, Verdict)),
        failures=Counter(outcome.reason for outcome in outcomes.values() if isinstance(outcome, Failure)),
    )
    if kept:
        fields = {name: getattr(kept, name) for name in Manifest.model_fields}
        manifest = Manifest(**{**fields, "suites": (record,)})
    else:
        started, finished = _time(log.stats.started_at or log.eval.created), _time(log.stats.completed_at or log.eval.created)
        manifest = Manifest(
            selection=Selection(split="test" if suite.split("test") == suite.items else "all"),
            started=started,
            finished=max(started, finished),
            wall_seconds=max(0.0, (finished - started).total_seconds()),
            suites=(record,),
            policies={slug: policy},
            provenances={slug: made},
        )
    return Imported(suite, outcomes, manifest, dict(+left_out))


def _time(written: str) -> datetime:
    found = datetime.fromisoformat(written)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
