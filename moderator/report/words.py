"""How numbers and conclusions are worded: the same in HTML and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from moderator.comparing.model import Change, Comparison
from moderator.metrics import Estimate
from moderator.scoring.model import Agreement, Anchor, Check, Paired, Report, Status

MISSING: Final = "n/a"

NAMES: Final[Mapping[str, str]] = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "missed": "missed",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "cohen_kappa": "Cohen's kappa",
    "base_rate": "violations",
    "flagged": "flagged",
    "false_positive_rate": "false positive rate",
    "answered": "answered",
    "auroc": "AUROC",
    "average_precision": "AUPRC",
}

MEANINGS: Final[Mapping[str, str]] = {
    "f1": "harmonic mean of precision and recall",
    "macro_f1": "mean of the F1 of violations and of all else",
    "precision": "of what it flags, the share that violates",
    "recall": "of what violates, the share that it flags",
    "specificity": "of what does not violate, the share that it clears",
    "missed": "of what violates, the share that it clears: neither flagged nor sent to a person",
    "accuracy": "share answered as the label says; a non-answer is wrong",
    "balanced_accuracy": "mean of recall and specificity",
    "mcc": "correlation of answer and label, −1 to 1",
    "cohen_kappa": "agreement with the label beyond chance",
    "base_rate": "share of violations among the known labels",
    "flagged": "share that it flags",
    "false_positive_rate": "of what does not violate, the share that it flags",
    "answered": "share that got a yes or a no: no failure, no person needed",
    "auroc": "probability that a violation scores higher than an allowed item",
    "average_precision": "mean precision over all thresholds of the score",
}

ANCHORS: Final[Mapping[str, str]] = {
    "constant": "Constant",
    "linear": "Linear model",
    "human": "Held-out person",
    "model": "Model",
    "oracle": "Oracle",
}

STATUS: Final[Mapping[Status, str]] = {"reached": "reached", "short": "falls short", "inconclusive": "inconclusive"}

CHANGES: Final[Mapping[Change, str]] = {
    "under": "no longer flagged",
    "over": "newly flagged",
    "to_review": "to a person",
    "from_review": "no longer to a person",
    "to_failure": "failed",
    "from_failure": "no longer failed",
    "outcome": "other outcome",
    "rules": "other rules",
    "action": "other action",
}


def name(metric: str) -> str:
    """Of a statistic, as people write it."""
    return NAMES.get(metric, metric.replace("_", " "))


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """With a true minus sign; ``n/a`` where there is none."""
    if value is None:
        return MISSING
    said = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(said) == 0:
        said = said.lstrip("+-")
    return said.replace("-", "\u2212")


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage, with a no-break space."""
    return MISSING if value is None else f"{100 * value:.{digits}f}\u00a0%"


def interval(estimate: Estimate, digits: int = 3, *, signed: bool = False) -> str:
    """``[low, high]``; ``no interval`` where none could be had, nothing where there is no value."""
    if estimate.value is None:
        return ""
    if estimate.low is None:
        return "no interval"
    return f"[{number(estimate.low, digits, signed=signed)}, {number(estimate.high, digits, signed=signed)}]"


def said(estimate: Estimate, digits: int = 3, *, signed: bool = False) -> str:
    """The value and its interval, marked where nothing should be concluded from it."""
    parts = [number(estimate.value, digits, signed=signed), interval(estimate, digits, signed=signed)]
    if estimate.inconclusive:
        parts.append("(undefined)" if estimate.value is None else f"(inconclusive, n = {estimate.n:,})")
    return " ".join(filter(None, parts))


def p_value(p: float | None) -> str:
    """``p = 0.032``, ``p < 0.001``; ``p n/a``."""
    if p is None:
        return f"p {MISSING}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def p_number(p: float | None) -> str:
    """The same where a column is called p."""
    return p_value(p).removeprefix("p = ").removeprefix("p ")


def plural(n: int, thing: str, several: str = "") -> str:
    """``1 item``, ``1,200 items``."""
    return f"{n:,} {thing if n == 1 else several or thing + 's'}"


def outcome(checks: Sequence[Check]) -> Status | None:
    """Of all targets together: short when one is, inconclusive when one is and none is short; None without any."""
    held = {check.status for check in checks}
    return next((status for status in ("short", "inconclusive", "reached") if status in held), None)


def headline(checks: Sequence[Check]) -> str:
    """The verdict on the targets, in a few words."""
    total = plural(len(checks), "target")
    of = {status: sum(check.status == status for check in checks) for status in STATUS}
    match outcome(checks):
        case None:
            return "No targets set"
        case "reached":
            return f"Reaches its {total}" if len(checks) == 1 else f"Reaches all {total}"
        case "short":
            return f"Falls short on {of['short']} of {total}"
        case "inconclusive":
            return f"Inconclusive on {of['inconclusive']} of {total}"


def unmet(checks: Sequence[Check]) -> list[str]:
    """The targets that were not reached, with what was measured."""
    return [
        f"{name(check.metric)}{f' of {check.rule}' if check.rule else ''}{' falls short' if check.status == 'short' else ''}: "
        f"{said(check.estimate)}, wanted {number(check.least)} or more"
        for check in checks
        if check.status != "reached"
    ]


def dips(check: Check) -> bool:
    """Whether a target is reached by the value, and not by all of its interval."""
    low = check.estimate.low
    return check.status == "reached" and (low is None or low < check.least)


def note(check: Check) -> str:
    """What a reader should know of a check, besides its status."""
    if check.status == "inconclusive":
        if check.estimate.value is None:
            return "undefined"
        return f"n = {check.estimate.n:,}, fewer than {check.estimate.minimum:,}"
    return "its interval reaches below" if dips(check) else ""


def people(report: Report) -> Agreement | None:
    """The agreement on the question of violation, where annotators were held out."""
    return next((one for one in report.agreement if one.scale == "violates" and one.anchors), None)


def anchors(report: Report) -> tuple[Anchor, ...]:
    """All on one scale: against the majorities of the others where annotators were held out, else against the labels."""
    held_out = people(report)
    return held_out.anchors if held_out else report.anchors


def against(anchors: Sequence[Anchor], anchor: str, metric: str) -> Paired | None:
    """The model less an anchor, in a metric."""
    pairs = (pair for one in anchors if one.name == anchor for pair in one.paired if pair.metric == metric)
    return next(pairs, None)


def difference(paired: Paired) -> str:
    """What a paired difference shows, in words."""
    of = paired.difference
    if of.inconclusive or of.low is None or of.high is None:
        return "inconclusive"
    return "model better" if of.low > 0 else "model worse" if of.high < 0 else "no difference shown"


def failed(report: Report) -> int:
    """Items that were judged and for which no verdict could be had."""
    return report.counts.outcomes.get("failure", 0)


def sentences(report: Report) -> list[str]:
    """What the numbers say, in a few sentences: each with its interval."""
    metrics, found = report.metrics, []
    if (recall := metrics.get("recall")) and recall.value is not None:
        missed = metrics.get("missed")
        rest = f" and clears {said(missed)}" if missed and missed.value is not None else ""
        found.append(f"Of what violates it flags {said(recall)}{rest}; the rest got no answer or goes to a person.")
    if (precision := metrics.get("precision")) and precision.value is not None:
        found.append(f"Of what it flags {said(precision)} violates, where {said(metrics['base_rate'])} of all items do.")
    found += [line for anchor in ("linear", "human") if (line := _beside(report, anchor))]
    if not any(anchor.name == "linear" and anchor.metrics for anchor in report.anchors):
        found.append("No linear model beside it: the suite has no training split.")
    return found


def _beside(report: Report, anchor: str) -> str:
    """The model and an anchor in F1; empty where they were not compared."""
    of = next((found for found in (report.anchors, anchors(report)) if against(found, anchor, "f1")), ())
    paired = against(of, anchor, "f1")
    if paired is None:
        return ""
    told: dict[str, Estimate] = {one.name: value for one in of if (value := one.metrics.get("f1"))}
    who = {"linear": "a linear model of character n-grams", "human": "one annotator, held out,"}[anchor]
    p = f", {p_value(paired.p_value)}" if paired.p_value is not None else ""
    return (
        f"F1 {number(told['model'].value)}, {who} {number(told[anchor].value)}: "
        f"a difference of {said(paired.difference, signed=True)}{p}, {difference(paired)}."
    )


def shift_words(comparison: Comparison) -> str:
    """Whether enforcement moved, in a sentence."""
    if comparison.identical:
        return "Identical outcomes."
    if not comparison.shifted:
        return "No shift of enforcement is shown."
    told = (f"{shift.rule or 'the whole policy'} ({shift.conclusion})" for shift in comparison.shifted)
    return f"Enforcement shifted: {', '.join(told)}."


def cautions(report: Report) -> list[str]:
    """What to know before trusting the numbers, the gravest first."""
    counts, found = report.counts, []
    if counts.missing:
        verb = "was" if counts.missing == 1 else "were"
        found.append(f"{plural(counts.missing, 'item')} of the suite {verb} not judged: in no number below.")
    if failures := failed(report):
        found.append(
            f"{plural(failures, 'item')} of {counts.judged:,} got no verdict ({_reasons(counts.failures)}): "
            "counted as wrong, never as allowed."
        )
    if unknown := counts.judged - counts.known:
        found.append(f"{plural(unknown, 'item')} without a known label (unlabelled, or a tie): in no number of agreement.")
    if any(dips(check) for check in report.checks):
        found.append("A target is reached by the value, while the interval reaches below it.")
    few = [rule.id for rule in report.rules if (recall := rule.metrics.get("recall")) and recall.inconclusive]
    if few:
        verb = "rests" if len(few) == 1 else "rest"
        found.append(f"{plural(len(few), 'rule')} ({', '.join(few)}) {verb} on too few items to conclude from.")
    if report.calibration and not report.calibration.calibrated:
        found.append("The scores were not calibrated: read them as an order, not as probabilities.")
    if not people(report):
        found.append("No human level: that takes three annotators or more an item.")
    return found


def _reasons(failures: Mapping[str, int]) -> str:
    said = sorted(failures.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in said) or "no reason given"
