"""Whole answers: what wraps them is taken off, and the label's probabilities are found where they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.answer import LABELS, AnswerFormat
from moderator.engines.whole import WrittenToken, label_probabilities, schema, tokens_for, unwrapped

FORM = AnswerFormat(rules=("H1", "H2"), exceptions=("X1",), escalations=("E1",))
ANSWER = '{"violates":"no"}'


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"\n {ANSWER} \n",
        f"```json\n{ANSWER}\n```",
        f"```\n{ANSWER}```",
        f"<think>\nIs it? <b> no\n</think>\n\n{ANSWER}",
        f"<think></think>```JSON\n{ANSWER}\n```\n",
        f"<|channel|>analysis<|message|>Is it?<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{ANSWER}",
        f"<|channel|>final<|message|>{ANSWER}<|return|>",
    ],
)
def test_the_wrapping_of_an_answer_is_taken_off(text: str) -> None:
    assert unwrapped(text) == ANSWER


@pytest.mark.parametrize(
    "text", ["Sure! " + ANSWER, ANSWER + " I hope this helps", "<|channel|>analysis<|message|>" + ANSWER, "<think>" + ANSWER]
)
def test_an_answer_amid_other_words_is_not_dug_out(text: str) -> None:
    assert unwrapped(text) != ANSWER


def test_the_schema_has_no_lengths_and_keeps_its_order() -> None:
    stripped = schema(FORM)
    assert "maxLength" not in str(stripped)
    assert "maxItems" in str(stripped)
    assert [list(each["properties"]) for each in stripped["anyOf"]] == [
        list(each["properties"]) for each in FORM.schema()["anyOf"]
    ]
    assert tokens_for(FORM) > FORM.rationale_chars + 4 * FORM.quote_chars


def tokens(*texts: str, at: int, **probabilities: float) -> list[WrittenToken]:
    return [WrittenToken(text, probabilities if index == at else {text: 1.0}) for index, text in enumerate(texts)]


def test_label_probabilities_are_those_at_the_label() -> None:
    written = tokens('{"', "violates", '":"', "yes", '"}', at=3, yes=0.6, no=0.3, none=0.05, Yes=0.02)
    read = label_probabilities(written, LABELS)
    assert read == ({"no": 0.3, "yes": 0.6, "exception": 0.0, "unknown": 0.0, "none": 0.05}, True)


def test_white_space_and_a_rationale_before_the_label_are_passed() -> None:
    written = tokens('{"rationale": "', 'it is \\"no\\""', ', "violates": "', "unk", 'nown"}', at=3, unk=0.9, n=0.1)
    read = label_probabilities(written, LABELS)
    assert read is not None
    labels, leads = read
    assert labels["unknown"] == 0.9
    assert leads
    # "n" begins both "no" and "none": it is neither's
    assert labels["no"] == labels["none"] == 0.0


def test_a_token_that_closes_the_label_counts_for_it_and_one_that_goes_on_does_not() -> None:
    written = tokens(
        '{"violates":"', 'no"}', at=1, **{'no"}': 0.5, 'no"': 0.2, "none": 0.1, "nothing": 0.1, "": 0.05, '"': 0.05}
    )
    read = label_probabilities(written, LABELS)
    assert read is not None
    assert read[0] == pytest.approx({"no": 0.7, "yes": 0.0, "exception": 0.0, "unknown": 0.0, "none": 0.1})


def test_whether_a_label_leads() -> None:
    read = label_probabilities(tokens('{"violates":"', "no", '"}', at=1, maybe=0.6, no=0.4), LABELS)
    assert read is not None
    assert not read[1]


@pytest.mark.parametrize(
    "written",
    [
        [],
        tokens("I cannot", " answer", at=0),
        tokens('{"violates":"no', '"}', at=0),  # the label is not at the beginning of a token
        tokens('{"violates":"', at=0),
        tokens('{"violates":"', "no", at=1),
        [WrittenToken('{"violates":"', {}), WrittenToken("no", {"no": math.nan})],
    ],
)
def test_without_a_place_of_its_own_there_are_no_probabilities(written: list[WrittenToken]) -> None:
    assert label_probabilities(written, LABELS) is None


@given(st.lists(st.tuples(st.text(max_size=20), st.dictionaries(st.text(max_size=8), st.floats(0, 1), max_size=4)), max_size=8))
def test_any_tokens_give_probabilities_or_none(written: list[tuple[str, dict[str, float]]]) -> None:
    read = label_probabilities([WrittenToken(text, found) for text, found in written], LABELS)
    assert read is None or set(read[0]) == set(LABELS)
