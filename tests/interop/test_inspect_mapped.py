"""Another tool's samples: which words are answers, and what is a failure rather than a "no"."""

from __future__ import annotations

import math
from typing import Any

import pytest

from moderator.errors import DataError
from moderator.interop.inspect_mapped import LogMapping, Reader, at, fields_of, scale_of
from moderator.verdict import Failure, Provenance, Verdict

MADE = Provenance(policy="spam", policy_digest="", prompt_digest="", engine="other", model="other")


def sample(answer: Any = "unsafe", target: Any = "unsafe", **fields: Any) -> dict[str, Any]:
    score = {"value": "C" if answer == target else "I", "answer": answer, "metadata": {"p": 0.7, "cats": ["P1"]}}
    return {"id": "s", "input": "a text", "target": target, "scores": {"match": score}, "metadata": {}, **fields}


def read(one: dict[str, Any], *others: dict[str, Any], **mapping: Any) -> Verdict | Failure:
    fields = {"decision": "scores.match.answer"} | mapping.pop("fields", {})
    mapped = LogMapping(**{"policy": "spam", "violates": ["unsafe"], "values": ["safe", "unsafe"], "fields": fields, **mapping})
    return reader(mapped, [one, *others]).outcome(one, reader(mapped, [one, *others]).item(one))


def reader(mapped: LogMapping, samples: list[dict[str, Any]]) -> Reader:
    fields = fields_of(mapped, samples)
    return Reader(mapped, fields, scale_of(mapped, fields, samples), "spam", {"P1": "low", "P2": "high"}, MADE)


@pytest.mark.parametrize(("answer", "outcome"), [("unsafe", "violates"), ("Unsafe", "violates"), ("safe", "allowed")])
def test_an_answer_on_the_scale_is_a_verdict(answer: str, outcome: str) -> None:
    found = read(sample(answer))
    assert isinstance(found, Verdict)
    assert found.outcome == outcome


@pytest.mark.parametrize("answer", ["I cannot help with that", "saf", "N", "0"])
def test_what_is_not_on_the_scale_is_a_failure_and_not_a_no(answer: str) -> None:
    found = read(sample(answer))
    assert isinstance(found, Failure)
    assert found.reason == "unreadable"


@pytest.mark.parametrize("answer", [None, "", math.nan])
def test_no_answer_is_a_failure(answer: Any) -> None:
    assert isinstance(read(sample(answer), sample()), Failure)


@pytest.mark.parametrize(("limit", "reason"), [("token", "cut"), ("time", "timeout"), ("message", "cut")])
def test_a_limit_is_named(limit: str, reason: str) -> None:
    found = read(sample(None, limit={"type": limit, "limit": 3}), sample())
    assert isinstance(found, Failure)
    assert found.reason == reason


def test_an_error_is_a_failure_whatever_was_scored() -> None:
    found = read(sample(error={"message": "it broke\nTraceback"}))
    assert isinstance(found, Failure)
    assert (found.reason, found.detail) == ("engine", "it broke")


def test_unknown_as_an_answer_goes_to_a_person() -> None:
    found = read(sample("unsure"), values=["safe", "unsafe", "unsure"], unknown=["unsure"])
    assert isinstance(found, Verdict)
    assert found.outcome == "needs_review"


@pytest.mark.parametrize(
    ("value", "target", "outcome"),
    [
        ("C", "unsafe", "violates"),
        ("I", "unsafe", "allowed"),
        ("C", "safe", "allowed"),
        ("I", "safe", "violates"),
        (1.0, "safe", "allowed"),
    ],
)
def test_right_and_wrong_are_read_against_the_label(value: Any, target: str, outcome: str) -> None:
    one = sample(target=target)
    one["scores"]["match"]["value"] = value
    mapped = LogMapping(policy="spam", violates=["unsafe"], values=["safe", "unsafe"], fields={"correct": "scores.match.value"})
    found = reader(mapped, [one]).outcome(one, reader(mapped, [one]).item(one))
    assert isinstance(found, Verdict)
    assert found.outcome == outcome


@pytest.mark.parametrize(("value", "target"), [("N", "safe"), ("P", "safe"), ("C", "")])
def test_no_answer_and_no_label_are_failures_when_right_or_wrong_is_told(value: str, target: str) -> None:
    one = sample(target=target)
    one["scores"]["match"]["value"] = value
    mapped = LogMapping(policy="spam", violates=["unsafe"], values=["safe", "unsafe"], fields={"correct": "scores.match.value"})
    read_by = reader(mapped, [one, sample()])
    assert isinstance(read_by.outcome(one, read_by.item(one)), Failure)


def test_right_and_wrong_is_what_a_lone_score_means_and_two_must_be_told_apart() -> None:
    mapped = LogMapping(policy="spam", violates=["unsafe"])
    assert fields_of(mapped, [sample()])["correct"] == "scores.match.value"
    two = sample()
    two["scores"]["other"] = two["scores"]["match"]
    with pytest.raises(DataError, match=r"which score is the decision.*\n.*scores are match, other"):
        fields_of(mapped, [two])


def test_with_three_labels_wrong_says_nothing() -> None:
    mapped = LogMapping(policy="spam", violates=["unsafe"], values=["safe", "unsafe", "rude"])
    with pytest.raises(DataError, match="can be several others"):
        scale_of(mapped, fields_of(mapped, [sample()]), [sample()])


def test_rules_probability_rationale_annotators_and_slices_are_taken_from_their_places() -> None:
    one = sample(metadata={"people": {"ann": "unsafe", "bob": "safe"}, "language": "en", "thread": 4.0})
    fields = {
        "decision": "scores.match.answer", "labels": "metadata.people", "rules": "scores.match.metadata.cats",
        "probability": "scores.match.metadata.p", "group": "metadata.thread",
    }  # fmt: skip
    mapped = LogMapping(policy="spam", violates=["unsafe"], fields=fields, slices=["language", "missing"])
    item = reader(mapped, [one]).item(one)
    assert [(label.by, label.value) for label in item.labels] == [("ann", "unsafe"), ("bob", "safe")]
    assert (item.slices, item.group) == ({"language": "en"}, "4")
    verdict = reader(mapped, [one]).outcome(one, item)
    assert isinstance(verdict, Verdict)
    assert ([rule.id for rule in verdict.rules], verdict.severity) == (["P1"], "low")
    assert (verdict.score.value, verdict.score.method) == (0.7, "reported")


def test_a_rule_that_the_policy_has_not_is_an_error() -> None:
    one = sample()
    one["scores"]["match"]["metadata"]["cats"] = "P1, P9"
    with pytest.raises(DataError, match="has no rule 'P9'"):
        read(one, fields={"rules": "scores.match.metadata.cats"})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"fields": {"decison": "target"}}, "did you mean `decision`"),
        ({"fields": {"probability": "metadata.p"}}, "no sample has it"),
        ({"fields": {"correct": "target"}}, "exclude each other"),
        ({"violates": []}, "--violates: which labels"),
        ({"violates": ["toxic"]}, "'toxic' is not among the values"),
        ({"values": ["safe"], "violates": ["safe"]}, "the log has the label 'unsafe'"),
    ],
)
def test_a_mapping_that_does_not_fit_says_what_is_there(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(sample(), **mapping)


def test_a_place_may_have_dots_in_its_keys() -> None:
    assert at({"scores": {"judge.v2": {"value": "x"}}}, "scores.judge.v2.value") == "x"
    assert at({"scores": None}, "scores.judge.value") is None
