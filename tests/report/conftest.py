"""A report and a comparison, scored for real, once for all tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from moderator.comparing.compare import compare
from moderator.comparing.model import Comparison
from moderator.metrics import Resampling
from moderator.policy.model import Severity
from moderator.scoring import Report, Scoring, fit_floor, score
from tests.report.synthetic import RULES, outcomes, suite

HOW = Resampling(resamples=200, index_resamples=40)


@dataclass(frozen=True)
class Rule:
    id: str
    title: str
    severity: Severity


def rules() -> list[Rule]:
    return [Rule(id, title, severity) for id, (title, severity) in RULES.items()]


@pytest.fixture(scope="session")
def report() -> Report:
    made = suite()
    run = {"finished": "2026-11-20T10:04:12Z", "arguments": ["eval", "run"], "environments": [{"python": "3.12"}]}
    return score(made, outcomes(made), rules(), Scoring(how=HOW, floor=fit_floor(made)), run=run)


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    made = suite()
    before = outcomes(made, skill=0.6, seed=5, model="small-instruct-0.6b")
    texts = {item.id: item.text for item in made.items}
    return compare(made, before, outcomes(made), names=("runs/last", "runs/now"), rules=rules(), how=HOW, texts=texts)
