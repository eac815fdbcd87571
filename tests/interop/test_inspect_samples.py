"""What a decision is worth in Inspect's words, and that items and outcomes come back as they were."""

from __future__ import annotations

import math

import pytest

from moderator.interop.inspect_samples import item_input, item_metadata, output, read_item, read_outcome, scores, usage
from moderator.runs import Run
from moderator.scoring import Pair
from moderator.verdict import Verdict
from tests.interop.conftest import suite


def scored(run: Run, item_id: str) -> dict[str, dict[str, object]]:
    item = next(item for item in suite().items if item.id == item_id)
    return scores(Pair(suite(), item, run.outcomes("small")[item_id]))


@pytest.mark.parametrize(
    ("item_id", "value", "answer"),
    [
        ("found", "C", "yes"),
        ("missed", "I", "no"),
        ("over", "I", "yes"),
        ("right", "C", "no"),
        ("person", "N", "review"),
        ("failed", "N", "failure"),
    ],
)
def test_a_decision_is_right_wrong_or_no_answer(run: Run, item_id: str, value: str, answer: str) -> None:
    decision = scored(run, item_id)["decision"]
    assert (decision["value"], decision["answer"]) == (value, answer)


@pytest.mark.parametrize("item_id", ["tied", "unlabelled"])
def test_without_a_known_label_a_decision_is_unscored(run: Run, item_id: str) -> None:
    decision = scored(run, item_id)["decision"]
    assert math.isnan(float(str(decision["value"])))
    assert decision["reason"] == "no_label"


def test_rules_are_scored_for_found_violations_whose_rules_are_labelled(run: Run) -> None:
    values = {item.id: scored(run, item.id)["rules"]["value"] for item in suite().items}
    told = {item_id: value for item_id, value in values.items() if isinstance(value, str)}
    assert told == {"found": "C", "wrong-rule": "I"}


def test_items_come_back_from_input_and_metadata() -> None:
    for item in suite().items:
        assert read_item(item.id, item_input(item), item_metadata(item, ("P1",))) == item


def test_outcomes_come_back_from_the_output(run: Run) -> None:
    for outcome in run.outcomes("small").values():
        said = output(outcome)
        assert read_outcome(said["choices"][0]["message"]["content"]) == outcome
        assert ("error" in said) == (not isinstance(outcome, Verdict))


def test_cached_tokens_are_counted_apart(run: Run) -> None:
    verdict = run.outcomes("small")["right"]
    assert isinstance(verdict, Verdict)
    used = verdict.usage.model_copy(update={"prompt_tokens": 100, "cached_tokens": 80, "completion_tokens": 3})
    told = usage([verdict.model_copy(update={"usage": used})])
    assert told == {"input_tokens": 20, "input_tokens_cache_read": 80, "output_tokens": 3, "total_tokens": 103}
