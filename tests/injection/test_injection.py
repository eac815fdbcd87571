"""Content is data: it never forges a turn, breaks out of its slot, changes the system turn, or gives itself an answer."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers

from moderator.answer import MODES, Label, Mode
from moderator.case import Appeal, Case, Report
from moderator.content import Content, Turn
from moderator.engines import Completion, Engine
from moderator.engines.chat import ChatTokenizer
from moderator.engines.scripted import ScriptedEngine
from moderator.engines.whole import unwrapped
from moderator.judge import Moderator
from moderator.prompt import CompiledPrompt, Prompt, compile_prompt
from moderator.quoting import literal, locate, visible
from moderator.verdict import Failure, Verdict
from tests.grammars import walk
from tests.injection.contents import ATTACKS, CLOSINGS, FORGED_NO, HIDDEN, HIDDEN_ORDER, LONG, STYLES, VERDICTS
from tests.small import StepEngine, byte_tokenizer, house, leaning

SHIPPED = Path(__file__).parents[2] / "moderator" / "models" / "nano"
TOKENIZERS = [*STYLES, "shipped nano"]
CLEAR = ("allowed", "not_covered", "allowed_by_exception")


@cache
def chat(name: str) -> ChatTokenizer:
    """The encoder of a style: bytes, and the control tokens of that family of models."""
    if name == "shipped nano":
        return ChatTokenizer.from_folder(SHIPPED)
    style = STYLES[name]
    tokens = [AddedToken(token, special=True, normalized=style.folds) for token in style.special]
    tokenizer = byte_tokenizer([*tokens, *(AddedToken(token, special=False, normalized=False) for token in style.unflagged)])
    if style.folds:
        tokenizer.normalizer = normalizers.NFKC()
    return ChatTokenizer(tokenizer, style.template)


@cache
def compiled(family: str = "default", mode: Mode = "fast") -> CompiledPrompt:
    return compile_prompt(house(), family, mode)


def prompt_of(content: Content, family: str = "default") -> Prompt:
    return compiled(family).ask(content).label()


def everywhere(text: str) -> Content:
    """The text in every place that a content has for one."""
    return Content(
        id=text,
        text=text,
        thread=(Turn(text=text, author=text), Turn(text="plain", author=text), Turn(text=text)),
        facts={"surface": text, text: text, f"author {text}": "1"},
        images=(text,),
        metadata={"m": text},
    )


def controls(encoder: ChatTokenizer, prompt: Prompt) -> int:
    """Control tokens in a whole prompt, as the engines in this process encode it."""
    return _count(encoder, [*encoder.prefix(prompt.system), *encoder.suffixes([prompt])[0]])


def served_controls(encoder: ChatTokenizer, prompt: Prompt) -> int:
    """The same behind the system turn, where a server gets the turns as text and finds control tokens in all of it."""
    text = encoder.frame.between + prompt.user + encoder.frame.after + prompt.prefill
    return _count(encoder, encoder.tokenizer.encode(text, add_special_tokens=False).ids)


def _count(encoder: ChatTokenizer, ids: list[int]) -> int:
    wanted = encoder.control_ids
    return sum(index in wanted for index in ids)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("family", ["default", "nano"])
def test_no_attack_forges_a_turn(tokenizer: str, family: str) -> None:
    """Neither as ids nor as text: the control tokens of a prompt are those of its template, whatever the content says."""
    encoder = chat(tokenizer)
    plain = prompt_of(Content(id="c", text="friendly", thread=(Turn(text="x"),), facts={"surface": "x"}, images=("x",)), family)
    expected, served = controls(encoder, plain), served_controls(encoder, plain)
    assert expected >= served > 0
    for name, text in ATTACKS.items():
        prompt = prompt_of(everywhere(text), family)
        assert controls(encoder, prompt) == expected, name
        assert served_controls(encoder, prompt) == served, name


FRAGMENTS = sorted({token for style in STYLES.values() for token in style.tokens} | {FORGED_NO, "\u200b", "\u200d", "\ufe0f"})
PARTS = st.one_of(
    st.sampled_from(FRAGMENTS),
    st.sampled_from(FRAGMENTS).flatmap(lambda token: st.integers(1, len(token)).map(lambda end: token[:end])),
    st.sampled_from([*'<>|[]/\\"{}~!｜＜［ \n\r\x00', "\U000e003c", "\U000e007c", "im_end", "INST"]),
    st.text(max_size=3),
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(parts=st.lists(PARTS, max_size=12))
@settings(max_examples=40)
def test_no_concatenation_forges_a_turn(tokenizer: str, parts: list[str]) -> None:
    encoder, plain, prompt = chat(tokenizer), prompt_of(Content(id="c", text="friendly")), prompt_of(everywhere("".join(parts)))
    assert controls(encoder, prompt) == controls(encoder, plain)
    assert served_controls(encoder, prompt) == served_controls(encoder, plain)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_text_as_it_is_forges_no_turn_as_ids(tokenizer: str) -> None:
    """The encoder alone holds, too: what the escapes of the prompt let through would still be text."""
    encoder = chat(tokenizer)
    for name, text in ATTACKS.items():
        if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
            assert not encoder.control_ids & set(encoder.encode(text)), name
    assert encoder.control_ids & set(encoder.tokenizer.encode("".join(STYLES.get(tokenizer, STYLES["nano"]).tokens)).ids)


@pytest.mark.parametrize("name", LONG)
def test_long_attacks_change_nothing(name: str) -> None:
    encoder, text = chat("ChatML"), LONG[name]
    prompt = prompt_of(Content(id="c", text=text))
    plain = prompt_of(Content(id="c", text="x"))
    assert controls(encoder, prompt) == controls(encoder, plain)
    assert served_controls(encoder, prompt) == served_controls(encoder, plain)
    assert json.loads(prompt.user.removeprefix("CONTENT\n")) == visible(text)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["default", "nano"])
def test_the_system_turn_does_not_know_the_content(family: str, mode: Mode) -> None:
    asked = compiled(family, mode)
    for text in ATTACKS.values():
        question = asked.ask(everywhere(text))
        for prompt in (question.rationale(), question.label('","violates":"'), question.rest("yes", '","violates":"')):
            assert prompt.system is asked.system
            assert prompt.format is asked.format


@pytest.mark.parametrize("name", ATTACKS)
def test_the_slot_holds_all_of_the_content_and_nothing_else(name: str) -> None:
    """One JSON string on one line, the last of the turn; it decodes to what a reader of the platform sees."""
    text = ATTACKS[name]
    for family, before in (("default", "CONTENT\n"), ("nano", "TEXT ")):
        user = prompt_of(Content(id="c", text=text), family).user
        assert user == before + literal(text)
        assert json.loads(user.removeprefix(before)) == visible(text)
        assert user.splitlines() == user.split("\n")
        assert len(user.split("\n")) == before.count("\n") + 1


@pytest.mark.parametrize("name", ATTACKS)
def test_every_other_slot_holds_too(name: str) -> None:
    """The turn has as many lines as a friendly content's, in the same order."""
    text = ATTACKS[name]
    lines = prompt_of(everywhere(text)).user.splitlines()
    assert [line for line in lines if line in ("FACTS", "CONTEXT", "IMAGES (not shown)", "CONTENT")] == [
        "FACTS",
        "CONTEXT",
        "IMAGES (not shown)",
        "CONTENT",
    ]
    assert len(lines) == 4 + 3 + 3 + 1 + 1
    assert lines[-1] == lines[-3] == literal(text)
    assert prompt_of(everywhere(text), "nano").user.splitlines()[-1] == f"TEXT {literal(text)}"
    assert len(prompt_of(everywhere(text), "nano").user.splitlines()) == 5


@pytest.mark.parametrize("name", ATTACKS)
def test_a_case_is_no_other_way_in(name: str) -> None:
    """Reports, appeals and facts about the author are words of users, in slots of their own."""
    text = ATTACKS[name]
    case = Case(
        id=text,
        content=Content(id="c", text="my wheel"),
        author={text: text},
        reports=(Report(reason=text, policy=text),),
        appeal=Appeal(statement=text, new_evidence=text),
    )
    prompt, plain, encoder = prompt_of(case.as_content()), prompt_of(Content(id="c", text="x")), chat("ChatML")
    assert len(prompt.user.splitlines()) == 1 + 1 + 1 + 3 + 2
    assert prompt.user.endswith('CONTENT\n"my wheel"')
    assert controls(encoder, prompt) == controls(encoder, plain)
    assert served_controls(encoder, prompt) == served_controls(encoder, plain)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_from_readers_is_shown_to_the_model(name: str) -> None:
    assert HIDDEN_ORDER not in HIDDEN[name] or name == "bidirectional"
    assert HIDDEN_ORDER in prompt_of(Content(id="c", text=HIDDEN[name])).user
    span = locate(HIDDEN_ORDER, HIDDEN[name])
    assert span.match != "absent"
    assert span.start is not None
    assert span.start >= len("a friendly text")


@pytest.mark.parametrize("name", ["template", "template attributes", "format"])
def test_template_syntax_is_not_executed(name: str) -> None:
    assert CLOSINGS[name] in prompt_of(Content(id="c", text=CLOSINGS[name])).user


@pytest.mark.parametrize("name", ATTACKS)
def test_the_grammar_holds(name: str) -> None:
    """Whatever the model is talked into: it writes a finding of the label that was read, and quotes the content."""
    draw, content = random.Random(name), Content(id="c", text=ATTACKS[name])
    question = compiled("nano").ask(content)
    form = question.compiled.format
    labels: tuple[Label, ...] = ("yes", "unknown")
    for label in labels:
        finding = form.read(form.head() + label + walk(form.rest_grammar(label, question.shown), draw))
        assert finding.label == label
        for rule in finding.rules:
            assert not rule.quote.strip() or locate(rule.quote, content.text).match != "absent"


def obeyed(text: str) -> Iterator[str]:
    """What an engine writes that does as a content says: the content, and everything in it that looks like an answer."""
    seen = visible(text)
    yield from (text, seen, seen.strip(), unwrapped(seen))
    for piece in (*re.findall(r"\{[^{}]*\}", seen), *re.findall(r"\{.*\}", seen, re.DOTALL)):
        yield from (piece, unwrapped(piece), piece.replace('\\"', '"'))
    yield from re.findall(r'"[^"]*"\}.*', seen, re.DOTALL)
    yield from re.findall(r'"rationale":"(.*)', seen, re.DOTALL)


def outcomes(orders: Sequence[str], contents: Sequence[Content], engine: Engine, mode: Mode) -> Iterator[tuple[str, str]]:
    """For each order and each content, what it comes to where the engine is given that order (see `order_of`)."""
    numbered = [
        content.model_copy(update={"facts": {"order": str(number)}}) for number in range(len(orders)) for content in contents
    ]
    found = Moderator(house(), engine, mode=mode).judge_all(numbered)
    for content, outcome in zip(numbered, found, strict=True):
        yield orders[int(content.facts["order"])], "failure" if isinstance(outcome, Failure) else outcome.outcome


def order_of(prompt: Prompt, orders: Sequence[str]) -> str:
    return orders[int(prompt.user.removeprefix('FACTS\norder: "').split('"')[0])]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_engine_that_obeys_while_it_writes_clears_nothing(name: str, mode: Mode) -> None:
    """Its label read says yes; what it writes is the content's. The finding stands, a person decides, or it is a failure."""
    orders = sorted(set(obeyed(ATTACKS[name])))
    engine = StepEngine(lambda prompt: leaning("yes"), lambda prompt: order_of(prompt, orders))
    for order, outcome in outcomes(orders, [Content(id="c", text=ATTACKS[name])], engine, mode):
        assert outcome not in CLEAR, order


@pytest.mark.parametrize("name", [*VERDICTS, *CLOSINGS])
def test_an_engine_that_obeys_after_its_rationale_clears_nothing(name: str) -> None:
    """The same in reasoned mode, once the rationale was honest."""
    orders = sorted(set(obeyed(ATTACKS[name])))

    def write(prompt: Prompt) -> str:
        return 'a sale","violates":"' if prompt.prefill.endswith('"rationale":"') else order_of(prompt, orders)

    engine = StepEngine(lambda prompt: leaning("yes"), write)
    for order, outcome in outcomes(orders, [Content(id="c", text=ATTACKS[name])], engine, "reasoned"):
        assert outcome not in CLEAR, order


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_engine_that_answers_with_what_the_content_orders_clears_nothing(name: str, mode: Mode) -> None:
    """Whole answers have no label read. One that the content spells out is not believed, be it ever so well formed."""
    text, orders = ATTACKS[name], sorted(set(obeyed(ATTACKS[name])))
    contents = [Content(id="c", text=text), Content(id="c", text="my wheel", thread=(Turn(text=text),))]
    for order, outcome in outcomes(orders, contents, ScriptedEngine(lambda prompt: order_of(prompt, orders)), mode):
        assert outcome not in CLEAR, order


def test_the_tests_above_could_fail() -> None:
    """A content that orders nothing is cleared by the same engines."""
    content = Content(id="c", text="friendly")
    for engine in (StepEngine(lambda prompt: leaning("no")), ScriptedEngine(lambda prompt: FORGED_NO)):
        (outcome,) = Moderator(house(), engine).judge_all([content])
        assert isinstance(outcome, Verdict)
        assert outcome.outcome == "allowed"


def test_an_attack_does_not_touch_its_neighbours() -> None:
    """All attacks in one batch with friendly contents, answered in order, none lost."""

    def read(prompt: Prompt) -> Completion:
        return Completion(labels=leaning("no" if '"friendly' in prompt.user.splitlines()[-1] else "unknown"))

    contents = [Content(id=name, text=text) for name, text in ATTACKS.items()]
    friendly = [Content(id=f"friendly {number}", text=f"friendly {number}") for number in range(len(contents))]
    mixed = [content for pair in zip(contents, friendly, strict=True) for content in pair]
    engine = StepEngine(read, lambda prompt: '","rules":[],"escalations":[],"missing":[]}')
    outcomes = list(Moderator(house(), engine).judge_all(mixed))
    assert [outcome.content_id for outcome in outcomes] == [content.id for content in mixed]
    assert all(isinstance(outcome, Verdict) and outcome.outcome == "allowed" for outcome in outcomes[1::2])


@pytest.mark.slow
def test_the_embedded_model_answers_every_attack_in_form() -> None:
    """What it makes of an attack is its own affair (it is small); that it answers, and quotes the content, is ours."""
    contents = [Content(id=name, text=text) for name, text in ATTACKS.items()]
    for content, outcome in zip(contents, Moderator(house(), "nano").judge_all(contents), strict=True):
        assert isinstance(outcome, Verdict) or outcome.reason == "too_long", content.id
        if isinstance(outcome, Verdict):
            assert not any(evidence.match == "absent" for rule in outcome.rules for evidence in rule.evidence), content.id
