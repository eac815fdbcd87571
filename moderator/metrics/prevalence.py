"""How many items violate, from how many a detector flags and how often it errs."""

from __future__ import annotations

from math import sqrt

from moderator.metrics.intervals import DEFAULT, Estimate, Resampling


def corrected_prevalence(
    flagged: int,
    judged: int,
    true_positives: int,
    positives: int,
    true_negatives: int,
    negatives: int,
    how: Resampling = DEFAULT,
) -> Estimate:
    """The share of violating items behind `flagged` of `judged`, for a detector that was measured on labelled items.

    The point is Rogan & Gladen's (1978), ``(flagged rate + specificity - 1) / (sensitivity + specificity - 1)``, cut to between
    0 and 1; the interval is Lang & Reiczigel's (2014), which counts in that sensitivity and specificity were estimated from
    `true_positives` of `positives` and `true_negatives` of `negatives`, in samples of their own. The labelled items must be
    such as the detector meets: sensitivity on easy cases corrects nothing.

    Undefined without items of each kind, and for a detector that is no better than chance. `Estimate.n` is the smallest of the
    three samples. Raises ValueError for counts that cannot be.
    """
    for part, whole in ((flagged, judged), (true_positives, positives), (true_negatives, negatives)):
        if not 0 <= part <= whole:
            raise ValueError(f"{part} of {whole}")
    n = min(judged, positives, negatives)
    undefined = Estimate(None, None, None, n, "none", how.level, how.minimum)
    if n == 0:
        return undefined
    rate, sensitivity, specificity = flagged / judged, true_positives / positives, true_negatives / negatives
    # in whole numbers: a rounded sum is no test of "better than chance"
    if true_positives * negatives + true_negatives * positives <= positives * negatives:
        return undefined
    point = (rate + specificity - 1) / (sensitivity + specificity - 1)

    z = how.z
    rate = (flagged + z * z / 2) / (judged + z * z)
    sensitivity, specificity = (true_positives + 1) / (positives + 2), (true_negatives + 1) / (negatives + 2)
    youden = sensitivity + specificity - 1
    if youden <= 0:
        return Estimate(_cut(point), None, None, n, "none", how.level, how.minimum)
    middle = (rate + specificity - 1) / youden
    of_sensitivity = sensitivity * (1 - sensitivity) / (positives + 2)
    of_specificity = specificity * (1 - specificity) / (negatives + 2)
    shift = 2 * z * z * (middle * of_sensitivity - (1 - middle) * of_specificity)
    variance = rate * (1 - rate) / (judged + z * z) + middle**2 * of_sensitivity + (1 - middle) ** 2 * of_specificity
    half = z * sqrt(variance) / youden
    low, high = _cut(middle + shift - half), _cut(middle + shift + half)
    return Estimate(_cut(point), low, high, n, "lang_reiczigel", how.level, how.minimum)


def _cut(share: float) -> float:
    return min(1.0, max(0.0, share))
