"""A run's suite as an Inspect log: samples, scores, and our statistics as its metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from moderator.interop.inspect_files import Log, log_of
from moderator.interop.inspect_samples import MARK, UNKNOWN, item_input, item_metadata, output, scores, usage
from moderator.metrics import Estimate
from moderator.runs import Manifest, Run
from moderator.scoring import Pair, Report
from moderator.scoring.model import Anchor
from moderator.suite import Item, Suite
from moderator.verdict import Failure, Verdict

Metric = dict[str, Any]

_OF_PARTS: Final = ("precision", "recall", "f1", "mcc")
"""What is told of a rule and a slice: all of it would bury the rest."""

_OF_ANCHORS: Final = ("f1", "macro_f1", "accuracy", "mcc", "auroc")


def to_log(run: Run, report: Report) -> Log:
    """The Inspect log of the suite that the report is about: the judged items, their outcomes, and what they come to.

    The model is ``none/none``, so that nothing tries to load the real one, whose name stands in the metadata and in every
    output. All ids follow from the manifest: the same run gives the same log. Raises `DataError` without inspect_ai.
    """
    suite = run.suite(report.judged.suite)
    outcomes = run.outcomes(suite.slug)
    items = [item for item in run.judged(suite.slug) if item.id in outcomes]
    manifest = _of_suite(run.manifest, suite.slug)
    started, finished = manifest.started.isoformat(), (manifest.finished or manifest.started).isoformat()
    verdicts = [outcome for outcome in outcomes.values() if isinstance(outcome, Verdict)]
    model = manifest.provenances[manifest.suites[0].policy].model
    samples = [_sample(suite, item, outcomes[item.id]) for item in items]
    return log_of(
        {
            "status": "success",
            "eval": _spec(suite, items, manifest, started),
            "plan": {"name": "moderator", "steps": []},
            "results": _results(report, samples),
            "stats": {"started_at": started, "completed_at": finished, "model_usage": {model: usage(verdicts)}},
            "samples": samples,
        }
    )


def _of_suite(manifest: Manifest, slug: str) -> Manifest:
    """The manifest as if this suite alone had been judged."""
    record = manifest.suite(slug)
    fields = {name: getattr(manifest, name) for name in Manifest.model_fields}
    kept = {name: {record.policy: fields[name][record.policy]} for name in ("policies", "provenances")}
    return Manifest(**{**fields, **kept, "suites": (record,)})


def _sample(suite: Suite, item: Item, outcome: Verdict | Failure) -> dict[str, Any]:
    said, asked = output(outcome), item_input(item)
    pair = Pair(suite, item, outcome)
    if isinstance(asked, list):
        asked = [{**message, "id": f"{item.id}/{place}"} for place, message in enumerate(asked)]
    messages = asked if isinstance(asked, list) else [{"role": "user", "content": asked, "id": f"{item.id}/0"}]
    said["choices"][0]["message"]["id"] = f"{item.id}/{len(messages)}"
    return {
        "id": item.id,
        "epoch": 1,
        "input": asked,
        "target": pair.gold or UNKNOWN,
        "messages": [*messages, said["choices"][0]["message"]],
        "output": said,
        "scores": scores(pair),
        "metadata": item_metadata(item, sorted(pair.rules_held)),
        "model_usage": {said["model"]: said["usage"]} if "usage" in said else {},
        "total_time": said.get("time"),
    }


def _spec(suite: Suite, items: Sequence[Item], manifest: Manifest, created: str) -> dict[str, Any]:
    record = manifest.suites[0]
    made, policy = manifest.provenances[record.policy], manifest.policies[record.policy]
    here = manifest.environments[-1] if manifest.environments else None
    whole = manifest.model_dump_json(by_alias=True)
    names = {"model": made.model, "engine": made.engine, "policy": policy.name, "policy_digest": policy.digest}
    return {
        "created": created,
        "run_id": _id("run", whole),
        "eval_id": _id("eval", whole),
        "task_id": _id("task", whole),
        "task": f"moderator/{suite.slug}",
        "task_display_name": suite.title,
        "task_version": suite.version,
        "task_args": {"suite": suite.slug, "policy": policy.name},
        "dataset": {"name": suite.slug, "samples": len(items), "sample_ids": [item.id for item in items], "shuffled": False},
        "model": "none/none",
        "config": {"epochs": 1},
        "revision": {"type": "git", "origin": "", **here.git.model_dump()} if here and here.git else None,
        "packages": dict(here.packages) if here else {},
        "scorers": [
            {"name": "decision", "metrics": [{"name": "moderator/agreement"}]},
            {"name": "rules", "metrics": [{"name": "inspect_ai/accuracy"}]},
        ],
        "headline_metric": {"score": "decision", "metric": "f1"},
        "metadata": {
            **names,
            "prompt_digest": made.prompt_digest,
            "suite_digest": suite.digest,
            MARK: {"suite": suite_header(suite), "manifest": manifest.model_dump(mode="json", by_alias=True)},
        },
    }


def suite_header(suite: Suite) -> dict[str, Any]:
    """The suite without its items, as plain data."""
    return suite.model_dump(mode="json", by_alias=True, exclude={"items"}, exclude_defaults=True)


def _id(of: str, whole: str) -> str:
    return hashlib.sha256(f"{of}\0{whole}".encode()).hexdigest()[:22]


def _results(report: Report, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    checks = [
        {"metric": check.metric, "rule": check.rule, "least": check.least, "status": check.status} for check in report.checks
    ]
    return {
        "total_samples": len(samples),
        "completed_samples": len(samples),
        "scores": [
            _score("decision", samples, _metrics(_of_decisions(report))),
            _score("rules", samples, _metrics(_of_rules(report))),
        ],
        "headline": {"scorer": "decision", "score": "decision", "metric": "f1"},
        "metadata": {"counts": asdict(report.counts), "targets": checks, "cost": asdict(report.cost)},
    }


def _score(name: str, samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    scored = sum(isinstance(sample["scores"][name]["value"], str) for sample in samples)
    counts = {"scored_samples": scored, "unscored_samples": len(samples) - scored}
    return {"name": name, "scorer": name, **counts, "metrics": dict(metrics)}


def _of_decisions(report: Report) -> Iterator[tuple[str, str, Estimate]]:
    """A group (empty: of all items), a name and a number each."""
    yield from (("", name, found) for name, found in report.metrics.items())
    for part in report.slices:
        yield from ((f"{part.key}={part.value}", name, part.metrics[name]) for name in _OF_PARTS)
    for anchor in report.anchors:
        yield from _of_anchor(f"anchor: {anchor.name}", anchor)
    for people in report.agreement:
        group = f"people: {people.scale}"
        levels = {"percent": people.percent, "alpha": people.alpha, "alpha_nominal": people.alpha_nominal, "ac1": people.ac1}
        yield from ((group, name, found) for name, found in levels.items())
        for anchor in people.anchors:
            yield from _of_anchor(f"{group}: {anchor.name}", anchor)
    if found := report.calibration:
        yield from (("calibration", "error", found.error), ("calibration", "brier", found.brier))
    yield from (("selective", "aurc", report.selective.aurc), ("selective", "augrc", report.selective.augrc))
    yield "evidence", "exact", report.quotes
    if marks := report.evidence:
        against = {"union": marks.union, "majority": marks.majority, "each": marks.each, "iou_f1": marks.iou_f1}
        yield from (("evidence", name, estimate) for name, estimate in against.items())
    if report.prevalence:
        yield "", "prevalence", report.prevalence


def _of_anchor(group: str, anchor: Anchor) -> Iterator[tuple[str, str, Estimate]]:
    return ((group, name, anchor.metrics[name]) for name in _OF_ANCHORS if name in anchor.metrics)


def _of_rules(report: Report) -> Iterator[tuple[str, str, Estimate]]:
    yield "", "citations", report.citations
    yield "", "severity_kappa", report.severity
    for rule in report.rules:
        yield from ((rule.id, name, rule.metrics[name]) for name in _OF_PARTS)


def _metrics(found: Iterator[tuple[str, str, Estimate]]) -> dict[str, Metric]:
    """By unique keys; as in Inspect's own logs, what is undefined is not there."""
    return {
        f"{group}/{name}" if group else name: _metric(group, name, number)
        for group, name, number in found
        if number.value is not None
    }


def _metric(group: str, name: str, estimate: Estimate) -> Metric:
    interval = {key: value for key, value in asdict(estimate).items() if key != "value"}
    return {
        "name": name,
        "group": group or None,
        "value": estimate.value,
        "metadata": {**interval, "inconclusive": estimate.inconclusive},
    }
