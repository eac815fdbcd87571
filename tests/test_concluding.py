"""What a model reported is concluded on again under another policy: as if it had been asked again and had said the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.answer import LABELS, MISSING
from moderator.concluding import conclude_again
from moderator.content import Content
from moderator.engines import Completion
from moderator.engines.scripted import ScriptedEngine, always
from moderator.errors import DataError
from moderator.judge import Moderator, Plan, asks_the_same
from moderator.policy import Policy
from moderator.policy.model import ACTIONS, SEVERITIES
from moderator.prompt import Prompt
from moderator.verdict import OUTCOME, Provenance, ReportedFinding, Verdict, to_line
from tests.small import StepEngine, house, leaning, rest

TEXT = "you fool, I will hit you, buy my wheel, he lives in Elm Street"
QUOTES = ("hit you", "buy my wheel", "Elm Street", "not in it", " hit  you ", "")
RULES = ("H1", "H2", "H3", "H4")


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """The same rules and exceptions, with other severities, actions, coverage, precedence and notices."""
    policy = house()
    rules = tuple(
        rule.replace(
            severity=draw(st.sampled_from(SEVERITIES)),
            action=draw(st.sampled_from(ACTIONS)),
            review=draw(st.sampled_from([None, "human"])),
        )
        for rule in policy.rules
    )
    exceptions = tuple(
        exception.replace(
            covers=tuple(draw(st.sets(st.sampled_from(RULES), min_size=1))),
            never_for=tuple(draw(st.sets(st.sampled_from(RULES), max_size=1))),
            outcome=draw(st.sampled_from(ACTIONS)),
            review=draw(st.sampled_from([None, "human"])),
        )
        for exception in policy.exceptions
    )
    order = draw(st.permutations(RULES))
    return policy.replace(
        version="2.0.0",
        rules=rules,
        exceptions=exceptions,
        precedence=(tuple(order[: draw(st.integers(2, 4))]),),
        notices={rule: f"about {rule}" for rule in draw(st.sets(st.sampled_from(RULES)))},
    )


@st.composite
def answers(draw: st.DrawFn) -> Any:
    """A label, its probabilities, and what is written behind it: as much of it as the call's format has."""
    label = draw(st.sampled_from(LABELS))
    chances = {name: draw(st.floats(0, 0.19)) for name in LABELS} | {label: draw(st.floats(0.05, 0.2))}
    some = st.lists(st.sampled_from(RULES), min_size=1, max_size=3)
    exceptions = draw(st.lists(st.sampled_from(("X1", "X2", "X3")), min_size=1, max_size=3, unique=True))
    missing = draw(st.lists(st.sampled_from(MISSING), max_size=3, unique=True))
    return label, chances, draw(some), [draw(st.sampled_from(QUOTES)) for _ in range(3)], exceptions, missing


class Playback:
    """Gives the answers of a list: to each call the one of its first rule's place, in samples that of the sample's number."""

    def __init__(self, script: list[Any], cut: frozenset[int] = frozenset()):
        self._script, self._cut = script, cut
        self.engine = StepEngine(self._read, self._write)

    def _place(self, prompt: Prompt) -> Any:
        return self._script[RULES.index(prompt.format.rules[0]) % len(self._script)]

    def _answer(self, prompt: Prompt) -> Any:
        if prompt.format.mode == "reasoned":
            return self._script[int(prompt.prefill.split('"')[3])]
        return self._place(prompt)

    def _read(self, prompt: Prompt) -> Mapping[str, float]:
        _, chances, *_ = self._answer(prompt)
        return {name: chances[name] for name in prompt.format.labels}

    def _write(self, prompt: Prompt) -> str | Completion:
        form = prompt.format
        if prompt.prefill == form.opening:
            sample = prompt.task.seed  # type: ignore[union-attr]
            return Completion(problem="cut") if sample in self._cut else f'{sample}","violates":"'
        label = prompt.prefill.rpartition('"')[2]
        _, _, rules, quotes, exceptions, missing = self._answer(prompt)
        there = [rule for rule in rules if rule in form.rules] or [form.rules[0]]
        fields: dict[str, Any] = {}
        if label in ("yes", "exception") and form.exceptions:
            fields["exceptions"] = [e for e in exceptions if e in form.exceptions] or [form.exceptions[0]]
        if form.escalations:
            fields["escalations"] = form.escalations[:1] if "Elm Street" in quotes else ()
        if label == "unknown":
            fields["missing"] = missing
        rationale = None if form.mode == "reasoned" else "said"
        return rest(*zip(there, quotes, strict=False), rationale=rationale, **fields)


def without_the_prompt(verdict: Verdict) -> Verdict:
    """The usage's time is measured; the prompt shows what exceptions cover, in the families that are shipped."""
    provenance = verdict.provenance.model_copy(update={"prompt_digest": ""})
    usage = verdict.usage.model_copy(update={"latency_ms": 0.0})
    return verdict.model_copy(update={"provenance": provenance, "usage": usage})


@pytest.mark.parametrize("plan", ["policy", "rule"])
@settings(max_examples=25)
@given(script=st.lists(answers(), min_size=1, max_size=4), before=policies(), after=policies(), images=st.booleans())
def test_concluding_again_is_judging_again(plan: Plan, script: list[Any], before: Policy, after: Policy, images: bool) -> None:
    """Through a line on disk, under policies that decide otherwise over the same findings; one call, or one for each rule."""
    if plan == "rule":
        # a call shows the exceptions of its rule alone, so another coverage is another question
        after = after.replace(exceptions=before.exceptions)
    content = Content(id="c", text=TEXT, images=("a.png",) if images else (), metadata={"row": 7})

    def judged(policy: Policy) -> Verdict:
        (outcome,) = Moderator(policy, Playback(script).engine, plan=plan).judge_all([content])
        assert isinstance(outcome, Verdict)
        return outcome

    read = OUTCOME.validate_json(to_line(judged(before)))
    assert isinstance(read, Verdict)
    assert without_the_prompt(conclude_again(read, after, content)) == without_the_prompt(judged(after))


@given(script=st.lists(answers(), min_size=4, max_size=4), before=policies(), after=policies(), cut=st.sets(st.integers(0, 3)))
def test_votes_are_counted_again(script: list[Any], before: Policy, after: Policy, cut: set[int]) -> None:
    """Another policy may have another majority; samples that failed still are none of it."""
    content = Content(id="c", text=TEXT)

    def judged(policy: Policy) -> list[Any]:
        moderator = Moderator(policy, Playback(script, frozenset(cut)).engine, mode="reasoned", samples=4)
        return list(moderator.judge_all([content]))

    (found,) = judged(before)
    if len(cut) == 4:
        assert not isinstance(found, Verdict)
        return
    read = OUTCOME.validate_json(to_line(found))
    assert isinstance(read, Verdict)
    assert without_the_prompt(conclude_again(read, after, content)) == without_the_prompt(judged(after)[0])


def test_samples_that_failed_are_no_part_of_a_majority() -> None:
    """Two of four say no, and two said nothing: a person decides, now as then."""
    clear: Any = ("no", {name: 0.9 if name == "no" else 0.01 for name in LABELS}, [], [], [], [])
    moderator = Moderator(house(), Playback([clear] * 4, frozenset({1, 3})).engine, mode="reasoned", samples=4)
    verdict = moderator.judge("x")
    assert [(found.sample, found.label) for found in verdict.findings] == [(0, "no"), (2, "no")]
    assert verdict.outcome == "needs_review"
    assert conclude_again(verdict, house(), Content.of("x")) == verdict


def test_a_coverage_that_changes_turns_the_score_with_the_outcome() -> None:
    """X1 covers H1 no longer: what was excused is a violation, with the probability of both labels."""
    excused = rest(("H1", "wheel"), exceptions=("X1",), escalations=())
    content = Content(id="c", text="wheel")
    verdict = Moderator(house(), StepEngine(lambda prompt: leaning("exception", 0.6), lambda prompt: excused)).judge(content)
    narrower = house().replace(exceptions=(house().exceptions[0].replace(covers=("H3",)), *house().exceptions[1:]))
    again = conclude_again(verdict, narrower, content)
    assert (verdict.outcome, again.outcome) == ("allowed_by_exception", "violates")
    assert verdict.score.value == pytest.approx(0.01 / 0.64)
    assert again.score.value == pytest.approx(0.61 / 0.64)
    assert again.provenance.policy_digest == narrower.digest


def test_a_clear_answer_takes_few_bytes() -> None:
    """Label and nothing else: probabilities are kept where a score depends on them."""
    verdict = Moderator(house(), StepEngine(lambda prompt: leaning("no"))).judge("x")
    line = to_line(verdict)
    assert verdict.findings == (ReportedFinding(label="no"),)
    assert len(line) - len(line.replace(',"findings":[{"label":"no"}]', "")) == 28


def test_what_the_model_reported_is_in_the_line_as_it_wrote_it() -> None:
    """The exception that excuses nothing, the quote that is nowhere, the label that was not certain."""
    written = rest(("H2", " Wheel!"), exceptions=("X1",), escalations=("E2",))
    verdict = Moderator(house(), StepEngine(lambda prompt: leaning("yes", 0.02), lambda prompt: written)).judge("wheel")
    assert '"findings":[{"label":"yes","certain":false,"rules":[{"id":"H2","quote":" Wheel!"}],"exceptions":["X1"]' in to_line(
        verdict
    )
    assert verdict.findings[0].escalations == ("E2",)


def test_what_cannot_be_concluded_again_is_said() -> None:
    content = Content(id="c", text="wheel")
    found = rest(("H2", "wheel"), exceptions=("X2",), escalations=())
    verdict = Moderator(house(), StepEngine(lambda prompt: leaning("yes"), lambda prompt: found)).judge(content)
    with pytest.raises(DataError, match="content d: the verdict is about content c"):
        conclude_again(verdict, house(), Content(id="d", text="wheel"))
    with pytest.raises(DataError, match=r"cites 'H2', which policy house@1\.0\.0 does not have\n  judge the content again"):
        conclude_again(verdict, house().slice(["H1"]), content)
    with pytest.raises(DataError, match="cites 'X2'"):
        conclude_again(verdict, house().replace(exceptions=house().exceptions[:1]), content)
    with pytest.raises(DataError, match="records no findings"):
        conclude_again(verdict.model_copy(update={"findings": ()}), house(), content)


@pytest.mark.parametrize("plan", ["policy", "rule", "auto"])
def test_which_policies_ask_the_same(plan: Plan) -> None:
    """Severities, actions, precedence and notices are decided by code; rules and what exceptions cover are shown."""
    made = Moderator(house(), ScriptedEngine(always()), plan=plan, family="nano").judge("x").provenance
    rules = house().rules
    same = house().replace(
        version="9.0.0",
        rules=tuple(rule.replace(severity="none", action="warn", review=None) for rule in rules),
        precedence=(),
        notices={},
    )
    other = house().replace(rules=(rules[0].replace(text="Anything."), *rules[1:]))
    wider = house().replace(exceptions=tuple(exception.replace(covers=RULES) for exception in house().exceptions))
    assert [asks_the_same(made, policy) for policy in (house(), same, other, wider)] == [True, True, False, False]
    gone = made.model_copy(update={"parameters": {**made.parameters, "family": "no-such-family"}})
    assert not asks_the_same(gone, house())
    assert not asks_the_same(Provenance(policy="", policy_digest="", prompt_digest="", engine="", model=""), house())
