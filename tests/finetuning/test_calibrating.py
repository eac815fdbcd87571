"""A calibration from labelled verdicts: better than the scores were, and its guarantee holds over many golden sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from moderator.calibration import Calibration
from moderator.engines import Completion
from moderator.errors import DataError
from moderator.finetuning.calibrating import Golden, Target, calibrate, golden_of
from moderator.finetuning.rows import text_digest
from moderator.metrics.abstention import Costs, Guarantee, Inconclusive
from moderator.metrics.recalibration import recalibrated
from moderator.prompt import Prompt
from moderator.recalibration import Platt
from moderator.runs import execute, load_run
from moderator.scoring.labels import Pair
from moderator.verdict import Verdict
from tests.finetuning.conftest import swearing
from tests.runs.suites import moderator, selling
from tests.scoring.making import NO_INTERVALS, item, suite, verdict
from tests.small import house, leaning

Bools = npt.NDArray[np.bool_]


def drawn(n: int, seed: int, *, spread: float = 3.0, sure: float = 2.5, shift: float = 1.0) -> list[Golden]:
    """Verdicts of a model that is too sure of itself and flags too much; labels are drawn with the right chances."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-0.5, spread, n)
    scores, violates = expit(sure * logits + shift), generator.random(n) < expit(logits)
    own = suite([item("x", "yes")])
    return [
        _golden(own, f"{number}", score, violating)
        for number, (score, violating) in enumerate(zip(scores.tolist(), violates.tolist(), strict=True))
    ]


def _golden(own: object, name: str, score: float, violates: bool) -> Golden:
    found = verdict(name, "violates" if score >= 0.5 else "allowed", score)
    assert isinstance(found, Verdict)
    return Golden(Pair(own, item(name, "yes" if violates else "no"), found), found, score)  # type: ignore[arg-type]


def decided_of(calibration: Calibration, golden: Sequence[Golden]) -> Bools:
    """What is still decided automatically: the doubt of each verdict is below the limit of its side."""
    assert calibration.limits is not None
    chances = recalibrated(calibration.recalibration, [one.score for one in golden])
    flagged = np.array([one.pair.decision == "yes" for one in golden])
    return np.where(flagged, 1 - chances < calibration.limits.flagged, chances < calibration.limits.passed)


def test_what_the_model_does_to_its_scores_is_undone() -> None:
    found = calibrate(drawn(6000, 1), how=NO_INTERVALS)
    assert isinstance(found.choice.recalibration, Platt)
    assert found.choice.recalibration.scale == pytest.approx(1 / 2.5, rel=0.15)
    assert found.before.error.value is not None
    assert found.after.error.value is not None
    assert found.after.error.value < 0.25 * found.before.error.value
    assert found.before.spiegelhalter is not None
    assert found.after.spiegelhalter is not None
    assert found.before.spiegelhalter < 1e-3 < found.after.spiegelhalter


@pytest.mark.slow
def test_the_guarantee_holds_in_nineteen_of_twenty_golden_sets_and_more() -> None:
    """Of 200, drawn from a large population, through the whole of it: parting, fitting, limits.

    What limits come to is counted on the population. The promise is not kept by deciding nothing.
    """
    target, population = Target(0.05, 0.95), drawn(20_000, 10_000, spread=4.0)
    wrong = np.array([one.wrong for one in population])
    generator = np.random.default_rng(12)
    kept, broken, shares = 0, 0, []
    for _ in range(200):
        golden = [population[place] for place in generator.choice(len(population), 1600, replace=False)]
        found = calibrate(golden, target=target, how=NO_INTERVALS)
        if found.calibration is None:
            continue
        decided = decided_of(found.calibration, population)
        kept, broken = kept + 1, broken + (wrong[decided].mean() > target.error)
        shares.append(decided.mean())
    assert broken <= 0.05 * 200
    assert kept > 190
    assert np.mean(shares) > 0.4


def test_the_judge_decides_what_the_limits_leave_it() -> None:
    golden = drawn(2400, 11, spread=4.0)
    found = calibrate(golden, target=Target(0.05), how=NO_INTERVALS)
    assert found.calibration is not None
    outcomes = [found.calibration(one.verdict) for one in golden]
    decided = [isinstance(outcome, Verdict) and outcome.outcome != "needs_review" for outcome in outcomes]
    assert decided == decided_of(found.calibration, golden).tolist()
    assert 0.3 < np.mean(decided) < 1


def test_a_guarantee_rests_on_items_that_nothing_was_fitted_on() -> None:
    golden = drawn(3000, 3)
    found = calibrate(golden, target=Target(0.05), how=NO_INTERVALS)
    assert isinstance(found.promise, Guarantee)
    assert found.fitted + found.measured == len(golden)
    assert 0.4 < found.fitted / len(golden) < 0.6
    assert found.calibration is not None
    assert found.calibration.limits is not None
    assert found.calibration.limits.passed == found.calibration.limits.flagged == found.promise.threshold
    assert found.decided is not None
    assert found.decided.value == pytest.approx(found.promise.coverage.value)


def test_of_what_goes_together_one_is_counted() -> None:
    """Fifty copies of a lucky thread are no fifty right decisions."""
    own = suite([item("x", "yes")])
    golden = drawn(400, 4)
    copied = [
        Golden(Pair(own, item(f"c{number}", "no", group="thread"), one.verdict), one.verdict, 0.01)
        for number, one in enumerate([golden[0]] * 500)
    ]
    found = calibrate([*golden, *copied], target=Target(0.3), how=NO_INTERVALS)
    assert found.measured <= 400


def test_too_small_a_golden_set_is_inconclusive_and_gives_nothing() -> None:
    found = calibrate(drawn(200, 5), target=Target(0.01), how=NO_INTERVALS)
    assert isinstance(found.promise, Inconclusive)
    assert found.calibration is None


def test_costs_put_a_person_where_a_look_is_cheaper() -> None:
    found = calibrate(drawn(4000, 6), costs=Costs(miss=10, alarm=2, review=1), how=NO_INTERVALS)
    assert found.calibration is not None
    assert found.calibration.limits is not None
    assert (found.calibration.limits.passed, found.calibration.limits.flagged) == (0.1, 0.5)
    golden = drawn(40_000, 7)

    def cost(calibration: Calibration | None) -> float:
        total = 0.0
        for one in golden:
            outcome = calibration(one.verdict) if calibration else one.verdict
            assert isinstance(outcome, Verdict)
            wrong = 10 if one.violates else 2
            total += 1 if outcome.outcome == "needs_review" else wrong * ((outcome.outcome == "violates") != one.violates)
        return total / len(golden)

    laxer = found.calibration.model_copy(update={"limits": None})
    assert cost(found.calibration) < 0.8 * min(cost(None), cost(laxer))


def test_what_has_no_score_is_counted_and_what_was_learned_is_left_out(tmp_path: Path) -> None:
    """Of six labelled contents one fails, one is answered without probabilities, and one was learned."""

    def read(prompt: Prompt) -> dict[str, float] | Completion:
        if "number 1 " in prompt.user:
            return Completion(problem="engine", detail="broken")
        return Completion(text='{"violates":"no"}', whole=True) if "number 2 " in prompt.user else leaning("no")

    own = swearing(range(6))
    items = tuple(item.model_copy(update={"split": "test"}) for item in own.items)
    execute([own.model_copy(update={"items": items})], moderator(house(), engine=selling(read)), tmp_path / "run")
    golden = golden_of(load_run(tmp_path / "run"), "house", learned={text_digest(items[3].text)})
    assert {one.pair.item.id for one in golden.items} == {"post-0", "post-4", "post-5"}
    assert (golden.learned, golden.unscored) == (1, 2)


def test_too_few_of_a_label_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match="two items of either label"):
        calibrate([one for one in drawn(200, 8) if one.violates])


@pytest.mark.parametrize(
    ("text", "target"), [("error<=0.02@0.95", (0.02, 0.95)), ("error <= 0.1", (0.1, 0.95)), ("error<=0.05@0.9", (0.05, 0.9))]
)
def test_targets_are_read(text: str, target: tuple[float, float]) -> None:
    assert Target.parse(text) == Target(*target)


@pytest.mark.parametrize("text", ["", "0.02", "error<=2", "error<=x", "error<=0.1@1", "miss<=0.1"])
def test_what_is_no_target_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?s:.*)$"):
        Target.parse(text)
