from __future__ import annotations

from dataclasses import replace

import pytest

from moderator.metrics import Estimate
from moderator.report import words
from moderator.scoring.model import Check, Counts, Report, Status

MANY = Estimate(0.812, 0.771, 0.846, 412, "wilson")
FEW = Estimate(0.5, 0.2, 0.8, 8, "wilson")
NONE = Estimate(None, None, None, 0, "none")


def check(status: Status, estimate: Estimate = MANY, least: float = 0.75) -> Check:
    return Check("recall", None, least, estimate, status)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (MANY, "0.812 [0.771, 0.846]"),
        (FEW, "0.500 [0.200, 0.800] (inconclusive, n = 8)"),
        (NONE, "n/a (undefined)"),
        (Estimate(0.7, None, None, 40, "none"), "0.700 no interval"),
        (Estimate(-0.0321, -0.05, 0.01, 400, "bootstrap"), "−0.032 [−0.050, 0.010]"),
        (Estimate(-0.0001, -0.0002, 0.0, 400, "bootstrap"), "0.000 [0.000, 0.000]"),
    ],
)
def test_every_number_comes_with_its_interval_or_says_why_not(estimate: Estimate, said: str) -> None:
    assert words.said(estimate) == said


def test_differences_have_a_sign() -> None:
    assert words.said(Estimate(0.1, -0.05, 0.2, 400, "bootstrap"), signed=True) == "+0.100 [−0.050, +0.200]"


@pytest.mark.parametrize(
    ("checks", "headline"),
    [
        ([], "No targets set"),
        ([check("reached")], "Reaches its 1 target"),
        ([check("reached"), check("reached")], "Reaches all 2 targets"),
        ([check("reached"), check("inconclusive", FEW)], "Inconclusive on 1 of 2 targets"),
        ([check("inconclusive", FEW), check("short")], "Falls short on 1 of 2 targets"),
    ],
)
def test_the_headline_is_the_worst_of_the_checks(checks: list[Check], headline: str) -> None:
    assert words.headline(checks) == headline


def test_what_was_not_reached_is_told_with_its_numbers() -> None:
    assert words.unmet([check("reached"), check("short", MANY, 0.9), check("inconclusive", NONE)]) == [
        "recall falls short: 0.812 [0.771, 0.846], wanted 0.900 or more",
        "recall: n/a (undefined), wanted 0.750 or more",
    ]


def test_a_target_that_only_the_value_reaches_says_so() -> None:
    assert words.note(check("reached", least=0.75)) == ""
    assert words.note(check("reached", least=0.8)) == "its interval reaches below"
    assert words.note(check("inconclusive", FEW)) == "n = 8, fewer than 30"
    assert words.note(check("inconclusive", NONE)) == "undefined"


@pytest.mark.parametrize(("p", "said"), [(None, "p n/a"), (0.0004, "p < 0.001"), (0.0319, "p = 0.032"), (1.0, "p = 1.000")])
def test_p_values(p: float | None, said: str) -> None:
    assert words.p_value(p) == said
    assert words.p_number(p) == said.removeprefix("p = ").removeprefix("p ")


def test_what_is_missing_failed_or_unlabelled_is_told_before_a_decision(report: Report) -> None:
    told = " ".join(words.cautions(report))
    assert "3 items of the suite were not judged" in told
    assert f"{report.counts.outcomes['failure']} items of {report.counts.judged} got no verdict" in told
    assert f"{report.counts.judged - report.counts.known} items without a known label" in told
    assert "P2" in told
    assert "not calibrated" in told
    whole = Counts(600, 0, 600, 200, {"allowed": 400, "violates": 200}, {}, None)
    quiet = " ".join(words.cautions(replace(report, counts=whole)))
    assert "not judged" not in quiet
    assert "no verdict" not in quiet


def test_the_sentences_put_the_model_beside_the_linear_model_and_a_person(report: Report) -> None:
    told = words.sentences(report)
    linear = words.against(report.anchors, "linear", "f1")
    human = words.against(words.anchors(report), "human", "f1")
    assert linear
    assert human
    assert any(
        "linear model of character n-grams" in line and words.said(linear.difference, signed=True) in line for line in told
    )
    assert any("one annotator, held out" in line and words.said(human.difference, signed=True) in line for line in told)
    assert words.said(report.metrics["recall"]) in told[0]


def test_five_anchors_stand_on_one_scale_where_annotators_were_held_out(report: Report) -> None:
    assert [anchor.name for anchor in words.anchors(report)] == ["constant", "linear", "human", "model", "oracle"]
    assert all("f1" in anchor.metrics for anchor in words.anchors(report))
    alone = replace(report, agreement=())
    assert words.anchors(alone) == report.anchors
    assert "No human level" in " ".join(words.cautions(alone))
