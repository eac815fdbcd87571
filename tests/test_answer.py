"""The answer: its reader and writer agree, and contradictions are refused by grammar, schema and reader alike."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from moderator.answer import LABELS, AnswerFormat, Finding, Label, RuleFinding
from moderator.errors import AnswerError
from tests.grammars import accepts
from tests.texts import TEXTS

FULL = AnswerFormat(rules=("H1", "H2", "H10"), exceptions=("X1", "X2"), escalations=("E2",), quote_chars=64, rationale_chars=20)
PLAIN = AnswerFormat(rules=("H1",), quote_chars=64, rationale_chars=0)
RULES = '[{"id":"H1","quote":"kind"}]'
CONTRADICTIONS = {
    "no with rules": f'{{"violates":"no","rules":{RULES}}}',
    "no with no rules": '{"violates":"no","rules":[]}',
    "no with missing": '{"violates":"no","missing":["thread"]}',
    "none with rules": f'{{"violates":"none","rules":{RULES}}}',
    "none with escalations": '{"violates":"none","escalations":["E2"]}',
    "yes without rules": '{"violates":"yes","rules":[],"exceptions":[],"escalations":[]}',
    "yes alone": '{"violates":"yes"}',
    "yes with missing": f'{{"violates":"yes","rules":{RULES},"exceptions":[],"escalations":[],"missing":[]}}',
    "exception without rules": '{"violates":"exception","rules":[],"exceptions":["X1"],"escalations":[]}',
    "exception without exceptions": f'{{"violates":"exception","rules":{RULES},"exceptions":[],"escalations":[]}}',
    "unknown with exceptions": '{"violates":"unknown","rules":[],"exceptions":["X1"],"escalations":[],"missing":[]}',
    "unknown without missing": '{"violates":"unknown","rules":[],"escalations":[]}',
    "unknown rule": f'{{"violates":"yes","rules":{RULES.replace("H1", "H3")},"exceptions":[],"escalations":[]}}',
    "rule of another case": f'{{"violates":"yes","rules":{RULES.replace("H1", "h1")},"exceptions":[],"escalations":[]}}',
    "unknown exception": f'{{"violates":"yes","rules":{RULES},"exceptions":["X9"],"escalations":[]}}',
    "unknown escalation": f'{{"violates":"yes","rules":{RULES},"exceptions":[],"escalations":["E1"]}}',
    "rule among the exceptions": f'{{"violates":"yes","rules":{RULES},"exceptions":["H1"],"escalations":[]}}',
    "unknown missing": '{"violates":"unknown","rules":[],"escalations":[],"missing":["patience"]}',
    "five rules": f'{{"violates":"yes","rules":[{",".join([RULES[1:-1]] * 5)}],"exceptions":[],"escalations":[]}}',
    "four exceptions": f'{{"violates":"yes","rules":{RULES},"exceptions":["X1","X1","X1","X1"],"escalations":[]}}',
    "label of another case": '{"violates":"No"}',
    "label in capitals": '{"violates":"NO"}',
    "label with a space": '{"violates":"no "}',
    "label that is none": '{"violates":"allowed"}',
    "empty label": '{"violates":""}',
    "null": '{"violates":null}',
    "false": '{"violates":false}',
    "list": '{"violates":["no"]}',
    "NaN": '{"violates":NaN}',
    "number for an id": '{"violates":"yes","rules":[{"id":1,"quote":"kind"}],"exceptions":[],"escalations":[]}',
    "list for an id": '{"violates":"yes","rules":[{"id":["H1"],"quote":"kind"}],"exceptions":[],"escalations":[]}',
    "number for an exception": f'{{"violates":"yes","rules":{RULES},"exceptions":[1],"escalations":[]}}',
    "null for a quote": '{"violates":"yes","rules":[{"id":"H1","quote":null}],"exceptions":[],"escalations":[]}',
    "no quote": '{"violates":"yes","rules":[{"id":"H1"}],"exceptions":[],"escalations":[]}',
    "more than a quote": '{"violates":"yes","rules":[{"id":"H1","quote":"kind","sure":true}],"exceptions":[],"escalations":[]}',
    "ids for rules": '{"violates":"yes","rules":["H1"],"exceptions":[],"escalations":[]}',
    "object for rules": '{"violates":"yes","rules":{"id":"H1","quote":"kind"},"exceptions":[],"escalations":[]}',
    "another field": '{"violates":"no","confidence":1}',
    "number for a rationale": '{"violates":"no","rationale":1}',
    "nothing": "{}",
    "other label first": f'{{"label":"yes","violates":"yes","rules":{RULES},"exceptions":[],"escalations":[]}}',
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused_by_grammar_schema_and_reader(name: str) -> None:
    answer = CONTRADICTIONS[name]
    with pytest.raises(AnswerError):
        FULL.read(answer)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(answer), FULL.schema())
    assert not accepts(LLMatcher.grammar_from_json_schema(json.dumps(FULL.schema())), answer)
    for form in (FULL, AnswerFormat(FULL.rules, FULL.exceptions, FULL.escalations, rationale_chars=0)):
        assert not _writable(form, answer)


def _writable(form: AnswerFormat, answer: str) -> bool:
    """Whether the steps of an answer can come to this text."""
    for label in form.labels:
        head = form.head() + label
        if answer.startswith(head) and accepts(form.rest_grammar(label, "so kind"), answer[len(head) :]):
            return True
    return False


def test_the_test_above_could_fail() -> None:
    for form in (FULL, AnswerFormat(FULL.rules, FULL.exceptions, FULL.escalations, rationale_chars=0)):
        assert _writable(form, form.write(Finding("yes", (RuleFinding("H1", "kind"),))))
        assert _writable(form, form.write(Finding("no")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no",
        "null",
        "[]",
        '"no"',
        '["violates","no"]',
        '{"violates":"no"',
        '{"violates":"no"}}',
        '{"violates":"no"} {"violates":"no"}',
        '{"violates":"no"} and so on',
        'Answer: {"violates":"no"}',
        '{"violates":"yes","violates":"no"}',
        '{"violates":"no","violates":"no"}',
        f'{{"violates":"yes","rules":{RULES},"rules":[],"exceptions":[],"escalations":[]}}',
        '{"violates":"yes","rules":[{"id":"H1","id":"H2","quote":"kind"}],"exceptions":[],"escalations":[]}',
        "{'violates':'no'}",
        '{"violates":"no",}',
        '{"violates":"no"/**/}',
        '\ufeff{"violates":"no"}',
        '{"violates":Infinity}',
        '{"violates":"no","rationale":NaN}',
        '{"violates":"no","rationale":"line\nbreak"}',
        "[" * 100_000,
        '{"violates":' * 100_000,
        '{"violates":"yes","rules":' + "[" * 100_000 + "]" * 100_000 + "}",
        "9" * 10_000,
        '{"violates":' + "9" * 10_000 + "}",
    ],
)
def test_what_is_no_answer_is_an_answer_error(text: str) -> None:
    """Nothing is guessed from a wrong answer: not the last of two labels, not the object inside a sentence."""
    with pytest.raises(AnswerError, match=r"^answer: ") as raised:
        FULL.read(text)
    assert len(str(raised.value)) < 300


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["yes", "H1", "X1"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["violates", "rules", "exceptions", "escalations", "missing", "id", "quote"]), inner),
    ),
    max_leaves=8,
)
ALMOST = st.fixed_dictionaries(
    {"violates": st.sampled_from(LABELS)},
    optional={
        "rules": st.one_of(JSON, st.just([{"id": "H1", "quote": ""}])),
        "exceptions": st.one_of(JSON, st.just([]), st.just(["X1"])),
        "escalations": st.one_of(JSON, st.just([])),
        "missing": st.one_of(JSON, st.just([])),
        "rationale": JSON,
    },
)


@given(st.one_of(st.text(), TEXTS, JSON.map(json.dumps), ALMOST.map(json.dumps)))
@settings(max_examples=500)
def test_any_text_is_a_finding_or_an_answer_error(text: str) -> None:
    try:
        finding = FULL.read(text)
    except AnswerError:
        return
    assert json.loads(text)["violates"] == finding.label
    assert (finding.label in ("yes", "exception")) <= bool(finding.rules)
    assert (finding.label in ("no", "none")) <= (not finding.rules)


@given(st.sampled_from(LABELS), st.sampled_from(["rules", "exceptions", "escalations", "missing"]), st.text(max_size=40))
def test_messages_hold_little_of_what_a_model_wrote(label: Label, field: str, secret: str) -> None:
    """They go into outcomes and logs, which carry no content: a few letters of a wrong value are enough."""
    secret = f"{secret}{'x' * 300}"
    for answer in ({"violates": secret}, {"violates": label, secret: 1}, {"violates": label, field: [secret]}):
        with pytest.raises(AnswerError) as raised:
            PLAIN.read(json.dumps(answer))
        assert len(str(raised.value)) < 250


def test_a_format_without_exceptions_has_no_such_label_and_no_such_field() -> None:
    assert PLAIN.labels == ("no", "yes", "unknown", "none")
    assert (
        PLAIN.write(Finding("yes", (RuleFinding("H1", "kind"),))) == '{"violates":"yes","rules":[{"id":"H1","quote":"kind"}]}'
    )
    assert "exception" not in json.dumps(PLAIN.schema())
    assert "escalations" not in json.dumps(PLAIN.schema())
    for wrong in ('{"violates":"exception","rules":[]}', f'{{"violates":"yes","rules":{RULES},"exceptions":[]}}'):
        with pytest.raises(AnswerError):
            PLAIN.read(wrong)
        assert not _writable(PLAIN, wrong)


@pytest.mark.parametrize(
    "finding",
    [
        Finding("no", (RuleFinding("H1", ""),)),
        Finding("yes"),
        Finding("yes", (RuleFinding("H9", "x"),)),
        Finding("yes", (RuleFinding("H1", "x"),) * 5),
        Finding("yes", (RuleFinding("H1", "x" * 65),)),
        Finding("yes", (RuleFinding("H1", '"' * 33),)),
        Finding("exception", (RuleFinding("H1", "x"),)),
        Finding("exception", (RuleFinding("H1", "x"),), ("X9",)),
        Finding("unknown", exceptions=("X1",)),
        Finding("maybe"),  # type: ignore[arg-type]
        Finding("unknown", missing=("patience",)),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_an_answer_is_not_written(finding: Finding) -> None:
    with pytest.raises(AnswerError):
        FULL.write(finding)


def test_forms_as_published() -> None:
    """The written forms, letter for letter: trained models depend on them."""
    form = AnswerFormat(("H1",), ("X1",), ("E2",), rationale_chars=0)
    quoted = (RuleFinding("H1", 'a "b"'),)
    assert form.write(Finding("no")) == '{"violates":"no"}'
    assert form.write(Finding("none")) == '{"violates":"none"}'
    assert form.write(Finding("yes", quoted)) == (
        '{"violates":"yes","rules":[{"id":"H1","quote":"a \\"b\\""}],"exceptions":[],"escalations":[]}'
    )
    assert form.write(Finding("exception", quoted, ("X1",), ("E2",))) == (
        '{"violates":"exception","rules":[{"id":"H1","quote":"a \\"b\\""}],"exceptions":["X1"],"escalations":["E2"]}'
    )
    assert form.write(Finding("unknown", (), (), ("E2",), ("thread",))) == (
        '{"violates":"unknown","rules":[],"escalations":["E2"],"missing":["thread"]}'
    )
    reasoned = AnswerFormat(("H1",), mode="reasoned")
    assert reasoned.write(Finding("no", rationale="it's\na \u2028 joke")) == '{"rationale":"it\'s\\na   joke","violates":"no"}'
    assert reasoned.opening == '{"rationale":"'
    assert AnswerFormat(("H1",)).write(Finding("no", rationale="short")) == '{"violates":"no","rationale":"short"}'


def test_strings_are_bounded_when_written_and_tolerated_when_read() -> None:
    """A model behind xgrammar cannot be held to a length: what it writes too long is still an answer."""
    assert json.loads(FULL.write(Finding("no", rationale="r" * 99)))["rationale"] == "r" * 20
    assert not accepts(FULL.rest_grammar("no", ""), f'","rationale":"{"r" * 21}"}}')
    assert FULL.read(f'{{"violates":"no","rationale":"{"r" * 99}"}}').rationale == "r" * 99
    long = f'{{"violates":"yes","rules":[{{"id":"H1","quote":"{"q" * 99}"}}],"exceptions":[],"escalations":[]}}'
    assert FULL.read(long).rules[0].quote == "q" * 99
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(long), FULL.schema())


@pytest.mark.parametrize("text", ["", "plain", 'say \\"no\\" \\\\ \\n', 'the field "violates'])
def test_a_rationale_step_ends_at_the_label_and_states_none(text: str) -> None:
    form = AnswerFormat(("H1",), mode="reasoned")
    good = '"' not in text.replace('\\"', "")
    assert form.is_rationale_step(text + '","violates":"') is good
    for more in ("", '"', '","violates":"no', '","violates":"no"}', '","x":"y","violates":"', '","violates":"no","violates":"'):
        assert not form.is_rationale_step(text + more)
