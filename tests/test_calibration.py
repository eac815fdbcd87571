"""A calibration makes probabilities of scores where it is valid, and leaves to people what is too doubtful."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moderator.calibration import FILE, Calibration, Calibrations, Limits, Subject, uncalibrated
from moderator.concluding import conclude_again
from moderator.content import Content
from moderator.errors import DataError
from moderator.judge import Moderator
from moderator.prompt import Prompt
from moderator.recalibration import Identity, Isotonic, Platt
from moderator.verdict import OUTCOME, Provenance, Score, Verdict, to_line
from tests.small import StepEngine, house, rest


def read(prompt: Prompt) -> dict[str, float]:
    """A sale, as probable as the content says."""
    chance = float(re.findall(r"0\.\d+", prompt.user)[-1])
    return {"yes": chance, "no": 1 - chance}


def selling(**options: Any) -> StepEngine:
    return StepEngine(read, lambda prompt: rest(("H2", "wheel"), exceptions=(), escalations=()), **options)


def subject(moderator: Moderator) -> Subject:
    return Subject.of(moderator.provenances()["house"])


def made(moderator: Moderator, **changes: Any) -> Calibration:
    fields = {"subject": subject(moderator), "method": "label_probability", "recalibration": Platt(0.5, -1.0)}
    return Calibration(**{**fields, **changes})


def judge(chance: float, calibration: Calibration | None) -> Verdict:
    calibrations = Calibrations((calibration,) if calibration else ())
    return Moderator(house(), selling(), calibrations=calibrations).judge(f"wheel {chance}")


@pytest.fixture
def moderator() -> Moderator:
    return Moderator(house(), selling())


def test_a_score_becomes_a_probability_and_says_so(moderator: Moderator) -> None:
    plain, found = judge(0.9, None), judge(0.9, made(moderator))
    assert not plain.score.calibrated
    assert plain.score.value == pytest.approx(0.9)
    assert found.score.calibrated
    assert found.score.value == pytest.approx(Platt(0.5, -1.0)(0.9))
    assert found.score.uncalibrated == plain.score.value
    assert found.outcome == plain.outcome == "violates"
    assert found.provenance.parameters["calibration"] == made(moderator).digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy_digest", "sha256:0"),
        ("prompt_digest", "sha256:0"),
        ("engine", "other"),
        ("model", "other@1"),
        ("adapter_digest", "0"),
        ("dtype", "bfloat16"),
        ("samples", 5),
    ],
)
def test_it_is_valid_for_what_it_was_made_with_and_nothing_else(moderator: Moderator, name: str, value: object) -> None:
    other = subject(moderator).model_copy(update={name: value})
    calibrated = Moderator(house(), selling(), calibrations=Calibrations((made(moderator, subject=other),)))
    found = calibrated.judge("wheel 0.9")
    assert (found.score.calibrated, found.score.uncalibrated) == (False, None)
    assert calibrated.not_calibrated() == {"house": f"made with another {name.replace('_', ' ')}"}


def test_another_version_of_the_same_engine_counts_as_the_same() -> None:
    made_by = {"policy": "house@1.0.0", "policy_digest": "d", "prompt_digest": "p", "model": "m"}
    old, new, other = (Provenance(**made_by, engine=name) for name in ("vllm 0.32.0", "vllm 0.33.1", "local 5"))
    assert not Subject.of(old).differs(Subject.of(new))
    assert Subject.of(old).differs(Subject.of(other)) == "engine"


def test_what_is_too_doubtful_goes_to_a_person_on_either_side(moderator: Moderator) -> None:
    strict = made(moderator, recalibration=Identity(), limits=Limits(passed=0.1, flagged=0.3))
    found = {chance: judge(chance, strict) for chance in (0.05, 0.1, 0.4, 0.6, 0.7, 0.71, 0.95)}
    assert {chance: one.outcome for chance, one in found.items()} == {
        0.05: "allowed",
        0.1: "needs_review",
        0.4: "needs_review",
        0.6: "needs_review",
        0.7: "needs_review",
        0.71: "violates",
        0.95: "violates",
    }
    assert (found[0.4].withheld, found[0.6].withheld, found[0.95].withheld) == ("allowed", "violates", None)
    withheld = found[0.6]
    assert (withheld.action, withheld.notice) == ("escalate", "")
    assert [rule.id for rule in withheld.rules] == ["H2"], "the person sees what the machine saw"


def test_a_verdict_without_a_calibration_has_none_of_its_fields(moderator: Moderator) -> None:
    """So lines that were written before there were calibrations are the same as those written now."""
    line = to_line(judge(0.9, None))
    assert "uncalibrated" not in line
    assert "withheld" not in line
    strict = made(moderator, recalibration=Identity(), limits=Limits(passed=0.1, flagged=0.3))
    doubtful = judge(0.6, strict)
    assert OUTCOME.validate_json(to_line(doubtful)) == doubtful


def test_it_can_be_taken_off_again(moderator: Moderator) -> None:
    strict = made(moderator, limits=Limits(passed=0.0, flagged=0.0))
    found = uncalibrated(judge(0.9, strict))
    plain = judge(0.9, None)
    assert (found.outcome, found.score) == (plain.outcome, plain.score)
    assert uncalibrated(plain) is plain


def test_another_policy_is_concluded_without_it(moderator: Moderator) -> None:
    """A calibration is of one policy, whatever little has changed in it."""
    strict = made(moderator, limits=Limits(passed=0.0, flagged=0.0))
    laxer = house().replace(rules=tuple(rule.replace(severity="low") for rule in house().rules))
    content = Content.of("wheel 0.9")
    again = conclude_again(judge(0.9, strict), laxer, content)
    assert (again.outcome, again.withheld) == ("violates", None)
    assert not again.score.calibrated
    assert again.score.value == pytest.approx(0.9)


def test_the_file_beside_an_adapter_is_found(moderator: Moderator, tmp_path: Path) -> None:
    def lying() -> StepEngine:
        engine = selling()
        engine.description = replace(engine.description, folders=(tmp_path,))
        return engine

    assert not Moderator(house(), lying()).judge("wheel 0.9").score.calibrated
    lies = Moderator(house(), lying())
    Calibrations().with_one(made(lies)).write(tmp_path / FILE)
    assert Moderator(house(), lying()).judge("wheel 0.9").score.calibrated
    assert not Moderator(house(), lying(), calibrations=Calibrations()).judge("wheel 0.9").score.calibrated


@pytest.mark.parametrize(
    "recalibration", [Identity(), Platt(0.7, 0.1), Platt(2.0, method="temperature"), Isotonic((0.1, 0.9), (0.2, 0.6))]
)
def test_a_file_is_read_as_it_was_written(moderator: Moderator, tmp_path: Path, recalibration: Any) -> None:
    one = made(moderator, recalibration=recalibration, limits=Limits(passed=0.1, flagged=0.2), promise={"error": 0.02})
    Calibrations((one,)).write(tmp_path / FILE)
    assert Calibrations.read(tmp_path / FILE).all == (one,)


def test_a_new_one_replaces_that_of_its_subject_alone(moderator: Moderator) -> None:
    other = made(moderator, subject=subject(moderator).model_copy(update={"model": "other@1"}))
    both = Calibrations((made(moderator), other)).with_one(made(moderator, recalibration=Identity()))
    assert [one.recalibration.method for one in both.all] == ["platt", "identity"]


@pytest.mark.parametrize("text", ["", "{", '{"schema":"calibrations/2"}', '{"calibrations":[{"subject":1}]}'])
def test_a_file_of_something_else_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match="not a file of calibrations"):
        Calibrations.read(tmp_path / FILE)
    with pytest.raises(DataError, match="No such file"):
        Calibrations.read(tmp_path / "missing.json")


def test_failures_and_scores_of_another_kind_stay_as_they_are(moderator: Moderator) -> None:
    votes = made(moderator, method="votes")
    assert not judge(0.9, votes).score.calibrated
    (failed,) = Moderator(house(), selling(), calibrations=Calibrations((made(moderator),))).judge_all([" "])
    assert made(moderator)(failed) is failed


def test_under_limits_a_verdict_without_a_score_goes_to_a_person(moderator: Moderator) -> None:
    """How doubtful it is, nobody knows: no guarantee covers it."""
    plain = judge(0.9, None)
    scoreless = plain.model_copy(update={"score": Score(value=None, method="none")})
    found = made(moderator, limits=Limits(passed=0.9, flagged=0.9))(scoreless)
    assert isinstance(found, Verdict)
    assert (found.outcome, found.withheld, found.action) == ("needs_review", "violates", "escalate")
    assert uncalibrated(found).outcome == "violates"
    assert made(moderator)(scoreless) is scoreless
