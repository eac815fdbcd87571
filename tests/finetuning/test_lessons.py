"""An answer is learned as serving writes it, and no further than it is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.answer import Mode
from moderator.content import Content
from moderator.finetuning.gold import Gold
from moderator.finetuning.lessons import Lesson, lesson
from moderator.policy import Policy
from moderator.prompt import CompiledPrompt, compile_prompt
from tests.grammars import accepts
from tests.small import house

TEXT = "Robin is a fool, said Alex"
SETTLED = {"H1": "no", "H2": "no", "H3": "no", "H4": "no"}


def compiled(mode: Mode = "fast", policy: Policy | None = None) -> CompiledPrompt:
    return compile_prompt(policy or house(), "default", mode)


def gold(violates: str, **known: object) -> Gold:
    return Gold("house", Content(id="1", text=TEXT), violates, **known)  # type: ignore[arg-type]


def text(taught: Lesson | None) -> str:
    assert taught is not None
    return "".join(part.text for part in taught.parts)


def test_nothing_broken_is_known_to_the_end() -> None:
    taught = lesson(compiled(), gold("no"))
    assert text(taught) == '{"violates":"no","rationale":"No rule of the policy is broken."}'
    assert taught
    assert taught.whole


def test_a_verdict_alone_teaches_the_label() -> None:
    assert text(lesson(compiled(), gold("yes"))) == '{"violates":"yes","rules":[{"id":"'


def test_a_rule_without_its_words_teaches_the_id() -> None:
    known = gold("yes", rules={**SETTLED, "H3": "yes"})
    assert text(lesson(compiled(), known)) == '{"violates":"yes","rules":[{"id":"H3","quote":"'


def test_whether_more_rules_hold_is_not_made_up() -> None:
    known = gold("yes", rules={"H3": "yes"}, quotes={"H3": "fool"})
    assert text(lesson(compiled(), known)) == '{"violates":"yes","rules":[{"id":"H3","quote":"fool"}'


def test_whether_something_is_to_be_escalated_is_not_made_up() -> None:
    known = gold("yes", rules={**SETTLED, "H3": "yes"}, quotes={"H3": "fool"})
    taught = lesson(compiled(), known)
    assert text(taught) == '{"violates":"yes","rules":[{"id":"H3","quote":"fool"}],"exceptions":['
    assert taught
    assert not taught.whole


def test_all_that_is_known_is_written_as_serving_writes_it() -> None:
    known = gold("yes", rules={**SETTLED, "H3": "yes"}, quotes={"H3": "fool"}, escalations=("E2",), reason="A bad name.")
    form = compiled().format
    taught = lesson(compiled(), known)
    assert taught
    assert taught.whole
    finding = form.read(text(taught))
    assert finding.label == "yes"
    assert [(rule.id, rule.quote) for rule in finding.rules] == [("H3", "fool")]
    assert finding.escalations == ("E2",)
    assert finding.rationale == "A bad name."


def test_a_waived_rule_is_an_exception_and_the_only_one_that_can_is_named() -> None:
    known = gold("no", rules={**SETTLED, "H2": "yes"}, quotes={"H2": "fool"})
    assert text(lesson(compiled(), known)).endswith('"exceptions":["X2"')


def test_which_of_two_exceptions_applies_is_not_made_up() -> None:
    known = gold("no", rules={**SETTLED, "H3": "yes"}, quotes={"H3": "fool"})
    assert text(lesson(compiled(), known)).endswith('"exceptions":["')
    named = gold("no", rules={**SETTLED, "H3": "yes"}, quotes={"H3": "fool"}, exceptions=("X3",), escalations=())
    assert '"exceptions":["X3"],"escalations":[]' in text(lesson(compiled(), named))


def test_a_rule_that_nothing_waives_in_what_is_allowed_is_a_contradiction() -> None:
    assert lesson(compiled(), gold("no", rules={"H4": "yes"})) is None
    assert lesson(compiled(), gold("no", rules={"H2": "yes"}, exceptions=("X1",))) is None


def test_a_rationale_that_nobody_gave_is_read_over_and_not_learned() -> None:
    taught = lesson(compiled("reasoned"), gold("yes"))
    assert taught
    assert text(taught) == '{"rationale":"","violates":"yes","rules":[{"id":"'
    known = lesson(compiled("reasoned"), gold("yes", reason="A bad name."))
    assert known
    assert [part.text for part in known.parts if part.kind == "rationale" and part.learned] == ["A bad name."]


@pytest.mark.parametrize("mode", ["fast", "reasoned"])
@given(
    violates=st.sampled_from(["yes", "no"]),
    rules=st.dictionaries(st.sampled_from(list(SETTLED)), st.sampled_from(["yes", "no"])),
    quoted=st.booleans(),
    exceptions=st.none() | st.lists(st.sampled_from(["X1", "X2", "X3"]), unique=True).map(tuple),
    escalations=st.none() | st.sampled_from([(), ("E2",)]),
    reason=st.sampled_from(["", 'He said "no".\nTwice.']),
)
def test_whatever_is_known_stays_within_the_grammar_of_serving(
    mode: Mode, violates: str, rules: dict[str, str], quoted: bool, exceptions: object, escalations: object, reason: str
) -> None:
    """So that nothing is learned that a served model could not write."""
    quotes = {rule: "a fool" for rule, known in rules.items() if known == "yes"} if quoted else {}
    prompt = compiled(mode)
    known = gold(violates, rules=rules, quotes=quotes, exceptions=exceptions, escalations=escalations, reason=reason)
    taught = lesson(prompt, known)
    if taught is None:
        return
    place = next(index for index, part in enumerate(taught.parts) if part.kind == "label")
    rest = "".join(part.text for part in taught.parts[place + 1 :])
    question = prompt.ask(known.content)
    assert accepts(prompt.format.rest_grammar(taught.label, question.shown), rest, whole=taught.whole)
