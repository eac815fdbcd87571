"""Scores: what a run's outcomes say about a suite's labels. Never needs the model."""

from moderator.scoring.classes import METRICS
from moderator.scoring.floor import FLOOR, Floor, fit_floor
from moderator.scoring.labels import Pair, decision, gold, native_gold, paired, rule_gold, votes
from moderator.scoring.model import REPORT, REPORTS, Report, Reports, without_texts
from moderator.scoring.of_run import score_run
from moderator.scoring.people import Annotators
from moderator.scoring.score import Outcomes, PolicyRule, Scoring, check_targets, score

__all__ = [
    "FLOOR",
    "METRICS",
    "REPORT",
    "REPORTS",
    "Annotators",
    "Floor",
    "Outcomes",
    "Pair",
    "PolicyRule",
    "Report",
    "Reports",
    "Scoring",
    "check_targets",
    "decision",
    "fit_floor",
    "gold",
    "native_gold",
    "paired",
    "rule_gold",
    "score",
    "score_run",
    "votes",
    "without_texts",
]
