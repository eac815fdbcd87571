"""How well the model in training agrees with people, by the judge itself: what decides which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from moderator.answer import Mode
from moderator.engines import Engine
from moderator.errors import DataError
from moderator.judge import Moderator
from moderator.metrics import Confusion, macro_f1
from moderator.policy import Policy, load_policy
from moderator.runs import Selection, select
from moderator.scoring.labels import Known, Pair, decision_on, rule_gold
from moderator.scoring.model import ANSWERS, NON_ANSWERS, Decision
from moderator.suite import Suite, load_suite, policy_of

_LEAST = 1e-6
"""A probability is no nearer to 0 or 1 than this where its loss is taken."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one evaluation, means over suites. Failures and reviews count as wrong."""

    macro_f1: float
    """Of what violates the policy."""
    rules_macro_f1: float | None
    """Of which rules hold: the mean over those that are known to hold in some items and not in others; None: there are none."""
    log_loss: float
    """Of the probability of a violation (nats)."""

    def better_than(self, other: Agreement) -> bool:
        """By verdicts and rules alike; where these are equal, by probabilities."""
        return self._order > other._order

    @property
    def _order(self) -> tuple[float, float]:
        agreed = self.macro_f1 if self.rules_macro_f1 is None else (self.macro_f1 + self.rules_macro_f1) / 2
        # what differs behind the fourth digit is not better
        return round(agreed, 4), -round(self.log_loss, 4)


@dataclass(frozen=True)
class Watched:
    """A suite that is judged on the way, its items sampled, and its policy."""

    suite: Suite
    policy: Policy


def open_watched(paths: Sequence[Path], limit: int) -> list[Watched]:
    """The suites in files, with at most so many test items each. Raises `DataError`."""
    found = []
    for path in paths:
        suite = load_suite(path)
        found.append(Watched(select(suite, Selection(limit=limit)), load_policy(policy_of(suite, path))))
    return found


def agreement(engine: Engine, watched: Sequence[Watched], family: str, mode: Mode) -> Agreement:
    """Judges the suites with the engine. Raises `DataError` for one with no item of either label."""
    of_all, of_rules, of_chances = [], [], []
    for one in watched:
        items = one.suite.split("test")
        moderator = Moderator(one.policy, engine, family=family, mode=mode)
        judged = moderator.judge_all(item.content() for item in items)
        pairs = [Pair(one.suite, item, outcome) for item, outcome in zip(items, judged, strict=True)]
        known = [pair for pair in pairs if pair.gold]
        if not known:
            raise DataError(f"suite {one.suite.slug}: no items with a known label to stop on\n  name other suites as `dev`")
        of_all.append(_macro_f1([(pair.gold, pair.decision) for pair in known]))
        of_rules += _of_rules(pairs, [rule.id for rule in one.policy.rules])
        of_chances.append(mean(map(_loss, known)))
    return Agreement(mean(of_all), mean(of_rules) if of_rules else None, mean(of_chances))


def _of_rules(pairs: Sequence[Pair], rules: Sequence[str]) -> list[float]:
    found = []
    for rule in rules:
        table = [(rule_gold(pair.item, rule), decision_on(rule, pair.outcome)) for pair in pairs]
        if {"yes", "no"} <= {known for known, _ in table}:
            found.append(_macro_f1(table))
    return found


def _macro_f1(table: Sequence[tuple[Known | None, Decision]]) -> float:
    confusion = Confusion.of([known for known, _ in table], [said for _, said in table], ANSWERS, NON_ANSWERS)
    return confusion.value(macro_f1) or 0.0


def _loss(pair: Pair) -> float:
    chance = 0.5 if pair.probability is None else min(max(pair.probability, _LEAST), 1 - _LEAST)
    return -math.log(chance if pair.gold == "yes" else 1 - chance)
