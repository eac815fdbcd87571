"""What is read off a run and its labels: values only, made by `score` and shown by whoever wants to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from moderator.metrics import AltTest, BrierParts, Estimate, ReliabilityBin, RiskPoint
from moderator.policy.model import Severity
from moderator.suite import Scale, Source

Decision = Literal["yes", "no", "review", "failure"]
"""What an outcome says: that the content violates, that it does not, that a person must decide, or nothing at all."""

DECISIONS: tuple[Decision, ...] = ("yes", "no", "review", "failure")
ANSWERS: tuple[Decision, ...] = DECISIONS[:2]
NON_ANSWERS: tuple[Decision, ...] = DECISIONS[2:]

Direction = Literal["over", "under"]
"""``over``: enforced where people would not; ``under``: not enforced where they would."""

Status = Literal["reached", "short", "inconclusive"]

Metrics = Mapping[str, Estimate]
"""Estimates by the names of their statistics."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was scored: a suite, and the run that judged it."""

    suite: str
    version: str
    title: str
    digest: str
    policy: str
    """Slug of the policy that the labels are for."""
    source: Source | None
    scale: Scale
    slices: tuple[str, ...]
    minimum: int
    provenance: Mapping[str, Any]
    """Of the first outcome: policy and prompt digests, engine, model, parameters."""
    run: Mapping[str, Any]
    """The run's manifest."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Where every item went. `judged` = known + unknown; what is missing was not judged and is in no number."""

    judged: int
    missing: int
    known: int
    """Items whose label says yes or no."""
    violating: int
    outcomes: Mapping[str, int]
    """By name; ``failure`` for failures."""
    failures: Mapping[str, int]
    """By reason."""
    clusters: int | None
    """Groups that were resampled together; None: items were resampled."""


@dataclass(frozen=True, slots=True)
class Table:
    """A confusion table: known labels in rows, answers in columns; the non-answers come last."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class RuleScore:
    """How well one rule is cited, over the items for which it is known whether the rule holds."""

    id: str
    title: str
    severity: Severity
    known: int
    positive: int
    cited: int
    """Verdicts that violate or go to a person and cite the rule, of all that were judged."""
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class SeverityScore:
    """Contents of one severity by their labels (the gravest rule that holds), and how many of them were flagged."""

    severity: Severity
    n: int
    recall: Estimate


@dataclass(frozen=True, slots=True)
class SliceScore:
    """One part of the items."""

    key: str
    value: str
    n: int
    violating: int
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference over the same items: the model less the other."""

    metric: str
    difference: Estimate
    p_value: float | None
    """Exact McNemar, of the items that one of them alone got right; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something to hold the model against, measured as the model is."""

    name: Literal["constant", "linear", "human", "model", "oracle"]
    note: str
    metrics: Metrics
    paired: tuple[Paired, ...] = ()
    """The model less this anchor."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree among themselves, on one scale of labels."""

    scale: Literal["violates", "native"]
    labels: tuple[str, ...]
    items: int
    """With two annotators or more."""
    raters: float
    """Annotators an item, in the mean over those."""
    percent: Estimate
    alpha: Estimate
    alpha_level: Literal["nominal", "ordinal"]
    alpha_nominal: Estimate
    ac1: Estimate
    rates: Mapping[str, Estimate]
    """By label, the share of the annotations that give it."""
    alpha_of: Mapping[str, Estimate]
    """By label, alpha of it against the rest."""
    panel: int
    """Items with annotators enough to hold one out."""
    anchors: tuple[Anchor, ...]
    """Against the majority of the others, each annotator held out in turn. None of them is an upper bound."""
    alt_test: AltTest | None = None
    consensus: Metrics | None = None
    """The model against the Dawid-Skene consensus of the annotators."""


@dataclass(frozen=True, slots=True)
class EvidenceScore:
    """Quotes against the spans that people marked, over the contents where someone marked any."""

    n: int
    annotators: float
    """An item, in the mean."""
    union: Estimate
    majority: Estimate
    each: Estimate
    iou_f1: Estimate
    people: Estimate | None
    """Pairs of annotators among themselves; None with one annotator an item."""
    held_out_human: Estimate | None
    held_out_model: Estimate | None
    held_out_difference: Estimate | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether the probability of a violation means what it says."""

    error: Estimate
    brier: Estimate
    parts: BrierParts | None
    spiegelhalter: float | None
    bins: tuple[ReliabilityBin, ...]
    calibrated: bool
    """Whether all scores say that they were calibrated."""


@dataclass(frozen=True, slots=True)
class Selective:
    """What risk is left when the least confident answers are withheld."""

    aurc: Estimate
    augrc: Estimate
    curve: tuple[RiskPoint, ...]
    at_risk: Mapping[str, RiskPoint | None]
    """By the risk that is taken, the point of greatest coverage on these items; no guarantee for others."""


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """What flagging every score of at least this would have come to, over the known labels with a score."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What the run took. Tokens and latency are those of verdicts; failures report none."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    latency_ms: Mapping[str, float]
    """``mean``, ``p50``, ``p95``, ``p99`` of a content's share of its batch's wall-clock time."""
    wall_s: float | None
    price: float | None
    """In the currency of the prices given for a million tokens."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A passage of a text, characters from 0, end exclusive; for a rule, where that is known."""

    start: int
    end: int
    rule: str | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item on which the model and the label part."""

    id: str
    direction: Direction
    text: str
    """Its first 2,000 characters, as of each message of the thread and of the rationale; marks end there too."""
    thread: tuple[str, ...]
    label: Literal["yes", "no"]
    votes: Mapping[str, int]
    rules_labelled: tuple[str, ...]
    outcome: str
    rules: tuple[str, ...]
    score: float | None
    confidence: float | None
    evidence: tuple[Mark, ...]
    marked: tuple[Mark, ...]
    """What people marked."""
    rationale: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Errors whose texts are alike."""

    direction: Direction
    n: int
    share: float
    """Of the errors of this direction."""
    terms: tuple[str, ...]
    """The words that set these texts apart from the other errors."""
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A number held against the least that it must be."""

    metric: str
    rule: str | None
    least: float
    estimate: Estimate
    status: Status
    """``inconclusive``: the number is undefined, or rests on too few items to say."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run's outcomes say about a suite."""

    judged: Judged
    counts: Counts
    metrics: Metrics
    """Of `violates` against all else: over all items with a known label."""
    table: Table
    rules: tuple[RuleScore, ...]
    citations: Estimate
    """Of the violations against which rules were cited and whose label names rules that hold: where one of these was cited."""
    severity: Estimate
    """Quadratic kappa of the severity, where the labels tell one."""
    severities: tuple[SeverityScore, ...]
    slices: tuple[SliceScore, ...]
    anchors: tuple[Anchor, ...]
    """Constant, linear, human, model and oracle against the majority of all annotators, or the published label; the human
    and the oracle are measured in `agreement` only, where there are panels."""
    native_floor: Metrics | None
    """The linear model on the native labels, where they are more than two."""
    agreement: tuple[Agreement, ...]
    quotes: Estimate
    """The share of all quotes that stand in their text word for word; needs no labels."""
    evidence: EvidenceScore | None
    calibration: Calibration | None
    selective: Selective
    thresholds: tuple[ThresholdPoint, ...]
    prevalence: Estimate | None
    """The share of violations among contents without a label, corrected for the errors measured here; None without such."""
    cost: Cost
    checks: tuple[Check, ...]
    clusters: tuple[Cluster, ...]
    disagreements: tuple[Disagreement, ...]
    """The most confident ones first."""

    @property
    def reached(self) -> bool | None:
        """Whether every target was reached; None when the suite has none."""
        return all(check.status == "reached" for check in self.checks) if self.checks else None


def without_texts(report: Report) -> Report:
    """The report without a word of any content: for logs and for machines."""
    bare = tuple(replace(one, text="", thread=(), rationale="") for one in report.disagreements)
    return replace(report, disagreements=bare, clusters=tuple(replace(one, terms=()) for one in report.clusters))


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of one call, as a document."""

    reports: tuple[Report, ...]
    schema: Literal["report/1"] = "report/1"


REPORTS: TypeAdapter[Reports] = TypeAdapter(Reports)
REPORT: TypeAdapter[Report] = TypeAdapter(Report)
"""Writes and reads a report as JSON."""
