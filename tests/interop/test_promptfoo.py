"""promptfoo's contract for Python providers: an output or an error, and never an exception of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moderator.interop import opening
from moderator.interop.promptfoo import call_api
from moderator.verdict import OUTCOME, Verdict
from tests.interop.conftest import ENGINE

CONFIG: dict[str, Any] = {"policy": "spam", "engine": ENGINE, "basePath": "/somewhere", "workers": 1}


def called(prompt: str, **config: Any) -> dict[str, Any]:
    return call_api(prompt, {"id": "file://moderator_provider.py", "config": {**CONFIG, **config}}, {"vars": {}})


def test_the_output_is_the_outcome_line_and_goes_through_json() -> None:
    answer = json.loads(json.dumps(called("please buy now! friends")))
    verdict = OUTCOME.validate_python(answer["output"])
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, [rule.id for rule in verdict.rules]) == ("violates", ["P1"])
    assert answer["tokenUsage"] == {"total": 121, "prompt": 100, "completion": 21}
    assert answer["guardrails"] == {"flagged": True, "flaggedInput": True, "reason": "P1"}
    assert answer["metadata"]["policy_digest"] == verdict.provenance.policy_digest
    assert "error" not in answer


def test_a_failure_is_an_error_and_no_output() -> None:
    answer = called("broken")
    assert answer["error"] == "timeout: no answer after 3 s"
    assert "output" not in answer


def test_a_conversation_is_judged_by_its_last_message() -> None:
    messages = [{"role": "user", "content": "buy now"}, {"role": "user", "content": "hello"}]
    assert called(json.dumps(messages))["output"]["outcome"] == "allowed"
    assert called(json.dumps(messages[::-1]))["output"]["outcome"] == "violates"


@pytest.mark.parametrize("prompt", ["[buy", '["buy"]', "[]", '[{"text": "buy"}]'])
def test_a_text_that_only_looks_like_a_conversation_is_a_text(prompt: str) -> None:
    outcome = "violates" if "buy" in prompt else "allowed"
    assert called(prompt)["output"]["outcome"] == outcome


def test_what_is_wrong_is_an_error() -> None:
    assert "no `policy`" in call_api("x", {}, {})["error"]
    assert "unknown policy" in called("x", policy="spma")["error"] or "spma" in called("x", policy="spma")["error"]
    assert "modus: no such option" in called("x", modus="fast")["error"]
    assert "part of type 'image'" in called('[{"role": "user", "content": [{"type": "image"}]}]')["error"]


def test_a_policy_is_found_beside_the_configuration(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "policies" / "spam.md"
    (tmp_path / "mine.md").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    assert called("hello", policy="mine.md", basePath=str(tmp_path))["output"]["policy"] == "spam"


def test_calls_share_a_moderator() -> None:
    called("hello")
    before = dict(opening._opened)
    called("buy now")
    assert opening._opened == before
