"""What rows are made from: suites, runs and files of decisions, each with the policy that it is about."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from moderator.case import Decision
from moderator.errors import DataError, first_fault
from moderator.finetuning.gold import Gold, from_decisions, from_run, from_suite
from moderator.policy import Policy, load_policy
from moderator.runs import load_run
from moderator.suite import Annotation, Item, Scale, Suite, open_suite, policy_of


@dataclass(frozen=True)
class Source:
    """Labelled contents: what is known of those that may be learned, and the suite that they come from."""

    policy: Policy
    named: str | Path
    """What `load_policy` takes to have it."""
    golds: tuple[Gold, ...]
    suite: Suite
    evaluated: tuple[str, ...]
    """The texts of the suite that are there to evaluate on."""
    elsewhere: int = 0
    """Decisions that are about other policies."""

    def aside(self, ids: Set[str], folder: Path) -> Suite | None:
        """The suite with these contents alone, all of them to evaluate on, as it stands in a folder; None where it has none."""
        items = tuple(item.model_copy(update={"split": "test"}) for item in self.suite.items if item.id in ids)
        there = {key for item in items for key in item.slices}
        fields = {name: getattr(self.suite, name) for name in Suite.model_fields}
        slices = tuple(key for key in self.suite.slices if key in there)
        policy = self.named if self.named == self.policy.slug else os.path.relpath(self.named, folder)
        return Suite(**{**fields, "items": items, "slices": slices, "policy": str(policy)}) if items else None


def open_source(path: Path, policy: str | Path | None, *, every: bool) -> list[Source]:
    """The sources of a path: a suite's one, a run's for each of its suites, a file of decisions' one.

    `policy` is learned instead of the one that a suite names; for decisions it is the one that they are about. `every`: test
    items may be learned, too (those that are set aside are not). Raises `DataError`, `PolicyError`.
    """
    if path.is_dir():
        return _of_run(path, policy, every=every)
    if path.suffix in (".jsonl", ".json"):
        if policy is None:
            raise DataError(f"{path}: decisions are about a policy\n  name it with --policy")
        return [_of_decisions(path, policy)]
    suite = open_suite(path)
    named = policy or policy_of(suite, path)
    learned = load_policy(named)
    return [_source(suite, learned, named, from_suite(suite, _learnable(suite, every), learned), every=every)]


def _source(suite: Suite, policy: Policy, named: str | Path, golds: Iterable[Gold], *, every: bool) -> Source:
    evaluated = () if every else tuple(item.text for item in suite.split("test"))
    return Source(policy, named, tuple(golds), suite, evaluated)


def _learnable(suite: Suite, every: bool) -> tuple[Item, ...]:
    return suite.items if every else suite.split("train")


def _of_run(path: Path, policy: str | Path | None, *, every: bool) -> list[Source]:
    run, found = load_run(path), []
    for suite in run.suites:
        record = run.manifest.suite(suite.slug)
        named = policy or record.policy
        learned = load_policy(named)
        judged = run.manifest.policies[record.policy]
        if policy is None and learned.digest != judged.digest:
            raise DataError(
                f"{path}: judged under {judged.name}, which is not the policy of that name here\n  name it with --policy"
            )
        may = {item.id for item in _learnable(suite, every)}
        golds = (gold for gold in from_run(run, suite.slug, learned) if gold.content.id in may)
        found.append(_source(suite, learned, named, golds, every=every))
    return found


def _of_decisions(path: Path, named: str | Path) -> Source:
    policy, decisions = load_policy(named), tuple(_decisions(path))
    about = tuple(decided for decided in decisions if decided.policy == policy.slug)
    if decisions and not about:
        others = ", ".join(sorted({decided.policy for decided in decisions})[:8])
        raise DataError(f"{path}: no decisions about {policy.slug}\n  they are about {others}")
    golds = tuple(from_decisions(about, policy, path.name))
    suite = Suite(
        slug=re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "decisions",
        title=f"Decisions of reviewers, {path.name}",
        policy=policy.slug,
        scale=Scale(values=("violates", "allowed"), violates=("violates",)),
        items=tuple(_item(gold) for gold in golds),
    )
    return replace(_source(suite, policy, named, golds, every=True), elsewhere=len(decisions) - len(about))


def _item(gold: Gold) -> Item:
    value = "violates" if gold.violates == "yes" else "allowed"
    label = Annotation(value=value, rules=gold.rules)
    content = gold.content
    return Item(id=content.id, text=content.text, thread=content.thread, facts=content.facts, labels=(label,))


def _decisions(path: Path) -> Iterator[Decision]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield Decision.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: not a decision: {first_fault(error)}") from None
