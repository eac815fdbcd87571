"""What two sets of outcomes differ in, and whether a run is good enough: values only.

A table for people, JSON, JUnit, HTML and the exit code are all read off these values, so that they cannot disagree.
Differences are of the second to the first: a candidate to its baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from pydantic import TypeAdapter

from moderator.metrics import Conclusion, Estimate
from moderator.policy.model import Action, Severity
from moderator.scoring.model import Decision, Direction, Status, Table
from moderator.verdict import Provenance, Usage

FELL_SHORT: Final = 100
"""The exit code of a comparison or a gate that should stop a pipeline."""

Change = Literal["under", "over", "to_review", "from_review", "to_failure", "from_failure", "outcome", "rules", "action"]
"""How the outcome of an item changed; the first that holds.

``under``: it violated and now does not; ``over``: the other way round; ``outcome``: the same decision by another outcome
(``allowed``, ``not_covered`` ...); ``rules``: the same outcome by other rules; ``action``: the same rules with another severity
or action.
"""

CHANGES: Final[tuple[Change, ...]] = (
    "under", "over", "to_review", "from_review", "to_failure", "from_failure", "outcome", "rules", "action",
)  # fmt: skip

Effect = Literal["made right", "made wrong", "still right", "still wrong", "unknown"]
"""What a change does to the agreement of the decision with the item's label."""

Enforcement = Literal["under-enforcement", "over-enforcement", "no difference shown", "inconclusive"]

CheckKind = Literal["target", "non-inferiority", "failures", "coverage"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared."""

    name: str
    """The run's folder or the file of outcomes, as it was given; where that does not tell them apart, with the policy."""
    provenances: tuple[Provenance, ...]
    """What made its outcomes, the most frequent first: several where facts of the contents select variants of the policy."""
    outcomes: int
    """All that it has for the suite or, without one, for the policy."""
    failures: int
    """Among those that were compared."""
    usage: Usage
    """Of those that were compared, together; failures report none."""

    @property
    def made_by(self) -> Provenance | None:
        """What made most of its outcomes."""
        return self.provenances[0] if self.provenances else None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which items could be compared, by id. What only one side judged is a gap in coverage, and neither better nor worse."""

    joined: int
    labelled: int
    """Of the joined ones, those whose label says yes or no."""
    clusters: int | None
    """Groups among the joined that were resampled together; None: items were resampled."""
    missing: tuple[str, ...]
    """Ids that only the first side judged."""
    new: tuple[str, ...]
    """Ids that only the second side judged."""
    changed: tuple[str, ...]
    """Ids under which the two sides judged different contents: not compared."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side said about an item."""

    outcome: str
    """By name; ``failure`` for a failure."""
    decision: Decision
    rules: tuple[str, ...] = ()
    """Those that stand against the content."""
    exceptions: tuple[str, ...] = ()
    severity: Severity = "none"
    action: Action = "none"
    score: float | None = None
    reason: str = ""
    """Of a failure."""


@dataclass(frozen=True, slots=True)
class Flip:
    """An item whose outcome, rules, severity or action changed."""

    id: str
    change: Change
    before: Answer
    after: Answer
    label: Literal["yes", "no"] | None
    """Whether people say that it violates; None: they tie, or nobody said."""
    effect: Effect
    text: str | None = None
    """None where texts were not asked for."""

    @property
    def gained(self) -> tuple[str, ...]:
        """Rules that are cited now and were not."""
        return tuple(rule for rule in self.after.rules if rule not in self.before.rules)

    @property
    def lost(self) -> tuple[str, ...]:
        """Rules that were cited and are not now."""
        return tuple(rule for rule in self.before.rules if rule not in self.after.rules)


@dataclass(frozen=True, slots=True)
class Shift:
    """How often something was enforced before and after, over the joined items for which both sides have a verdict.

    Of a rule: verdicts that violate or go to a person and cite it. Of the whole policy (`rule` is None): verdicts that violate;
    one that goes to a person on either side is neither lost nor gained.
    """

    rule: str | None
    title: str
    severity: Severity | None
    n: int
    before: int
    after: int
    lost: int
    gained: int
    lost_wrongly: int
    """Of the lost, those where the labels say that the rule holds (the policy is violated)."""
    gained_wrongly: int
    """Of the gained, those where the labels say that it does not."""
    changes: Mapping[Change, int]
    """The changes of the items that lost or gained it."""
    balance: tuple[int, int]
    """Units that lost it and that gained it: items or, where those belong together, clusters by what most of theirs did."""
    p_value: float
    """Exact McNemar test of the balance; over clusters it is a sign test."""
    adjusted: float
    """After Holm, over the policy and those of its rules that changed at all."""
    conclusion: Enforcement

    @property
    def shown(self) -> bool:
        """Whether enforcement is shown to have shifted."""
        return self.conclusion in ("under-enforcement", "over-enforcement")

    @property
    def direction(self) -> Direction | None:
        """The way it went, shown or not; None when as many were lost as gained."""
        return None if self.lost == self.gained else "under" if self.lost > self.gained else "over"


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """A metric of both sides over the same items, and the paired difference."""

    metric: str
    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float | None
    """Exact McNemar, where the metric is a share of the same items on both sides (accuracy, recall, specificity); over clusters
    the sign test of each cluster's balance."""
    conclusion: Conclusion


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """The headline's metric over one part of the items; the interval's level is corrected for the number of slices."""

    key: str
    value: str
    items: int
    """Joined, with a known label."""
    difference: MetricDifference


@dataclass(frozen=True)
class Comparison:
    """Everything in which two sets of outcomes on the same contents under one policy differ."""

    first: Side
    second: Side
    policy: str
    """Its slug."""
    suite: str | None
    """Slug of the suite that brought labels and texts; None: there was none."""
    suite_digest: str | None
    differs: tuple[str, ...]
    """In what the two were made differently, in words; empty: in nothing that is recorded."""
    coverage: Coverage
    transitions: Table
    """Outcomes of the first side in rows, of the second in columns."""
    flips: tuple[Flip, ...]
    """By change in the order of `CHANGES`, made wrong first, then by id."""
    enforcement: Shift
    """Of the whole policy."""
    rules: tuple[Shift, ...]
    metrics: tuple[MetricDifference, ...]
    """Against the labels; empty without any."""
    slices: tuple[SliceDifference, ...]
    failures: MetricDifference
    """The share of joined items that failed; ``worse``: more of them."""
    metric: str
    """The one that the verdict rests on, where there are labels."""
    verdict: Conclusion
    """Of the second side against the first. ``worse``: the metric is, or failures are more. Without labels neither can be
    called the better one: a shift that is shown leaves it inconclusive."""
    because: str
    """What the verdict rests on, in a sentence."""
    allow_shift: bool = False
    """Whether a shift of enforcement may pass."""

    @property
    def identical(self) -> bool:
        """Whether all joined items came out the same; there is at least one."""
        return self.coverage.joined > 0 and not self.flips

    @property
    def shifted(self) -> tuple[Shift, ...]:
        """The whole policy and the rules whose enforcement is shown to have shifted."""
        return tuple(shift for shift in (self.enforcement, *self.rules) if shift.shown)

    @cached_property
    def changes(self) -> Mapping[Change, int]:
        """How many flips there are of each kind."""
        found = Counter(flip.change for flip in self.flips)
        return {change: found[change] for change in CHANGES}

    @cached_property
    def effects(self) -> Mapping[Effect, int]:
        """How many flips made the decision right, wrong, or neither."""
        found = Counter(flip.effect for flip in self.flips)
        effects: tuple[Effect, ...] = ("made right", "made wrong", "still right", "still wrong", "unknown")
        return {effect: found[effect] for effect in effects}

    @property
    def exit_code(self) -> int:
        """100 when the verdict is ``worse``, or when enforcement of the policy or of a rule is shown to have shifted and that
        is not allowed; else 0, ``inconclusive`` included."""
        return FELL_SHORT if self.verdict == "worse" or (self.shifted and not self.allow_shift) else 0


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One thing that a run must be."""

    name: str
    """The metric; ``failures`` or ``missing`` for those."""
    rule: str | None
    kind: CheckKind
    least: float
    """What the number must be at least: a target, or for a difference minus the margin. For failures and missing items: what it
    may be at most."""
    estimate: Estimate
    status: Status
    message: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a run is good enough: every check must be reached."""

    run: str
    baseline: str | None
    suite: str
    checks: tuple[GateCheck, ...]
    allow_inconclusive: bool = False

    @property
    def passed(self) -> bool:
        return not self.stopping

    @property
    def stopping(self) -> tuple[GateCheck, ...]:
        """The checks that keep the gate shut: those that fell short and, unless that is allowed, the inconclusive ones."""
        fine = ("reached", "inconclusive") if self.allow_inconclusive else ("reached",)
        return tuple(check for check in self.checks if check.status not in fine)

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else FELL_SHORT


COMPARISON: Final[TypeAdapter[Comparison]] = TypeAdapter(Comparison)
GATE: Final[TypeAdapter[Gate]] = TypeAdapter(Gate)
"""Write and read these values as JSON."""
