"""Statistics of evaluation: functions of sequences of labels, scores and spans, which know nothing of policies or models.

Undefined is None, never 0. An unlabelled item is unknown, never negative. Failures and abstentions are counted, never dropped.
Every number can have an interval, and says how many independent units it rests on.

- estimates: `Estimate`, `Resampling` (level, resamples, seed, minimum), `wilson`, `proportion_estimate`, `mean`, `estimate`
  of a `Statistic` (`proportion` makes one) over `Units`, `estimate_all`; `estimate_weighted` of
  statistics of how often each item is taken, such as `auroc_of` and `average_precision_of`
- classification: `Confusion` with `accuracy`, `answered`, `precision`, `recall`, `specificity`, `false_positive_rate`, `f1`,
  `macro_f1`, `balanced_accuracy`, `mcc`, `base_rate`, `flagged`; `auroc`, `average_precision` and their estimates
- agreement: `cohen_kappa`, `linear_kappa`, `quadratic_kappa` of a `Confusion`; `percent_agreement`, `krippendorff_alpha`,
  `gwet_ac1` of `Votes`
- human level: `Panels` (held-out annotator, oracle, constant and model against the same majorities), `by_annotator`, `alt_test`
- consensus: `dawid_skene`
- calibration: `reliability`, `expected_calibration_error`, `brier`, `brier_parts`, `isotonic`, `spiegelhalter`
- selective prediction: `risk_coverage`, `coverage_at_risk`, `aurc`, `augrc`, `area_estimates`
- evidence: `character_f1`, `iou`, `iou_f1`, `character_f1_estimate`, `pairwise_character_f1`, `held_out_character_f1`,
  `quote_exactness`; `merge`, `union`, `majority` of spans
- comparison: `Pairing`, `mcnemar`, `holm`, `benjamini_hochberg`, `benjamini_yekutieli`, `conclude`, `non_inferior`,
  `auroc_difference`
- prevalence: `corrected_prevalence`, for the errors of the detector

In modules of their own, because they load more of scipy: `moderator.metrics.recalibration` (from scores to probabilities that
mean what they say) and `moderator.metrics.abstention` (deciding only so far as a guarantee or a price list allows).
"""

from moderator.metrics.agreement import (
    Scale,
    Votes,
    Weights,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    linear_kappa,
    percent_agreement,
    quadratic_kappa,
)
from moderator.metrics.alttest import EPSILON, AltTest, Contest, alt_test
from moderator.metrics.calibration import (
    BrierParts,
    ReliabilityBin,
    brier,
    brier_parts,
    calibration_error_estimate,
    expected_calibration_error,
    isotonic,
    reliability,
    spiegelhalter,
)
from moderator.metrics.classification import (
    REST,
    Confusion,
    accuracy,
    answered,
    auroc,
    auroc_estimate,
    auroc_of,
    average_precision,
    average_precision_estimate,
    average_precision_of,
    balanced_accuracy,
    base_rate,
    f1,
    false_positive_rate,
    flagged,
    macro_f1,
    mcc,
    precision,
    recall,
    specificity,
)
from moderator.metrics.consensus import Consensus, dawid_skene
from moderator.metrics.delong import auroc_difference
from moderator.metrics.evidence import (
    Annotations,
    Gold,
    HeldOut,
    Span,
    Spans,
    character_f1,
    character_f1_estimate,
    held_out_character_f1,
    iou,
    iou_f1,
    majority,
    merge,
    pairwise_character_f1,
    quote_exactness,
    union,
)
from moderator.metrics.intervals import (
    Estimate,
    Label,
    Method,
    Resampling,
    Statistic,
    Units,
    estimate,
    estimate_all,
    mean,
    proportion,
    proportion_estimate,
    wilson,
)
from moderator.metrics.paired import (
    Conclusion,
    Pairing,
    benjamini_hochberg,
    benjamini_yekutieli,
    conclude,
    holm,
    mcnemar,
    non_inferior,
)
from moderator.metrics.panel import Panels, by_annotator
from moderator.metrics.prevalence import corrected_prevalence
from moderator.metrics.selective import RiskPoint, area_estimates, augrc, aurc, coverage_at_risk, risk_coverage
from moderator.metrics.weighted import estimate_weighted

__all__ = [
    "EPSILON",
    "REST",
    "AltTest",
    "Annotations",
    "BrierParts",
    "Conclusion",
    "Confusion",
    "Consensus",
    "Contest",
    "Estimate",
    "Gold",
    "HeldOut",
    "Label",
    "Method",
    "Pairing",
    "Panels",
    "ReliabilityBin",
    "Resampling",
    "RiskPoint",
    "Scale",
    "Span",
    "Spans",
    "Statistic",
    "Units",
    "Votes",
    "Weights",
    "accuracy",
    "alt_test",
    "answered",
    "area_estimates",
    "augrc",
    "aurc",
    "auroc",
    "auroc_difference",
    "auroc_estimate",
    "auroc_of",
    "average_precision",
    "average_precision_estimate",
    "average_precision_of",
    "balanced_accuracy",
    "base_rate",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "brier",
    "brier_parts",
    "by_annotator",
    "calibration_error_estimate",
    "character_f1",
    "character_f1_estimate",
    "cohen_kappa",
    "conclude",
    "corrected_prevalence",
    "coverage_at_risk",
    "dawid_skene",
    "estimate",
    "estimate_all",
    "estimate_weighted",
    "expected_calibration_error",
    "f1",
    "false_positive_rate",
    "flagged",
    "gwet_ac1",
    "held_out_character_f1",
    "holm",
    "iou",
    "iou_f1",
    "isotonic",
    "krippendorff_alpha",
    "linear_kappa",
    "macro_f1",
    "majority",
    "mcc",
    "mcnemar",
    "mean",
    "merge",
    "non_inferior",
    "pairwise_character_f1",
    "percent_agreement",
    "precision",
    "proportion",
    "proportion_estimate",
    "quadratic_kappa",
    "quote_exactness",
    "recall",
    "reliability",
    "risk_coverage",
    "specificity",
    "spiegelhalter",
    "union",
    "wilson",
]
