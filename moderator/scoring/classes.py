"""Sets of statistics of two-class answers: the same for a whole policy, a rule, a slice and an anchor."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from moderator.metrics import (
    Confusion,
    Estimate,
    Resampling,
    Statistic,
    accuracy,
    answered,
    auroc_of,
    average_precision_of,
    balanced_accuracy,
    base_rate,
    cohen_kappa,
    estimate_all,
    estimate_weighted,
    f1,
    flagged,
    macro_f1,
    mcc,
    precision,
    proportion,
    recall,
    specificity,
)
from moderator.scoring.labels import Known
from moderator.scoring.model import ANSWERS, NON_ANSWERS, Decision, Metrics, Table

LABELS: Final[tuple[Known, ...]] = ("no", "yes")
"""In the order of the tables: the positive one is second."""

missed = proportion("missed", lambda table: (table[..., 1, 0], table[..., 1, :].sum(-1)))
"""The share of violations that was answered "no": neither found nor sent to a person."""

OF_DECISIONS: Final[tuple[Statistic, ...]] = (
    precision, recall, f1, specificity, missed, accuracy, balanced_accuracy, macro_f1, mcc, cohen_kappa, base_rate, flagged,
    answered,
)  # fmt: skip
OF_PROBABILITIES: Final = ("auroc", "average_precision")
METRICS: Final = (*(statistic.name for statistic in OF_DECISIONS), *OF_PROBABILITIES)
"""The names of all statistics of a policy; a rule has those of decisions."""


def confusion(gold: Sequence[Known | None], judged: Sequence[Decision], groups: Sequence[Hashable] | None = None) -> Confusion:
    """Known labels against decisions, with columns for those who gave none."""
    return Confusion.of(gold, judged, LABELS, NON_ANSWERS, groups)


def decision_metrics(table: Confusion, how: Resampling) -> dict[str, Estimate]:
    """All statistics of decisions."""
    names = [statistic.name for statistic in OF_DECISIONS]
    return dict(zip(names, estimate_all(OF_DECISIONS, table.units, how), strict=True))


def probability_metrics(
    gold: Sequence[Known | None],
    probabilities: Sequence[float | None],
    groups: Sequence[Hashable] | None,
    how: Resampling,
) -> Metrics:
    """AUROC and AUPRC of the items that have a known label and a probability."""
    known = [place for place, (label, p) in enumerate(zip(gold, probabilities, strict=True)) if label and p is not None]
    positive = np.array([gold[place] == "yes" for place in known], dtype=bool)
    scores = np.array([probabilities[place] for place in known], dtype=np.float64)
    kept = None if groups is None else [groups[place] for place in known]
    areas = [auroc_of(positive, scores), average_precision_of(positive, scores)]
    return dict(zip(OF_PROBABILITIES, estimate_weighted(areas, len(known), kept, how), strict=True))


def as_table(table: Confusion) -> Table:
    """The counts, violations first."""
    counts = table.counts[::-1][:, [1, 0, *range(2, 2 + len(NON_ANSWERS))]]
    return Table(ANSWERS, (*ANSWERS, *NON_ANSWERS), tuple(tuple(int(n) for n in row) for row in counts))
