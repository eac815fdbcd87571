"""Contents in, one outcome each out: order, laziness, policies and variants, plans, votes, failures and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, get_args

import pytest

from moderator.answer import Label
from moderator.answering import Thresholds
from moderator.content import Content, Turn
from moderator.engines import Completion
from moderator.engines.scripted import ScriptedEngine, always
from moderator.errors import DataError, EngineError, NoVerdictError, PolicyError, PromptError
from moderator.judge import Moderator, Plan
from moderator.policy import Policy, parse_policy
from moderator.prompt import Prompt
from moderator.verdict import Failure, Reason, Score, Verdict
from tests.small import DOCUMENT, StepEngine, house, leaning, rest

SALE = rest(("H2", "wheel"), exceptions=(), escalations=())
MARKET = parse_policy(DOCUMENT.replace("policy: house", "policy: market").replace("title: House rules", "title: Market rules"))
OVERLAY = """\
---
extends: house@^1
when: {audience: teen}
---
# Teens

## Rules

### H2
- Severity: high
- Action: remove
"""


def seller(prompt: Prompt) -> dict[str, float]:
    """Finds a sale where a wheel is in the content."""
    return leaning("yes" if "wheel" in prompt.user else "no")


def selling(**options: Any) -> StepEngine:
    return StepEngine(seller, lambda prompt: SALE, **options)


def outcomes(moderator: Moderator, *contents: str | Content) -> list[str]:
    return [found.outcome if isinstance(found, Verdict) else found.reason for found in moderator.judge_all(contents)]


def test_one_outcome_each_in_order() -> None:
    texts = [f"wheel {n}" if n % 3 == 0 else f"hello {n}" for n in range(20)]
    found = list(Moderator(house(), selling(batch=7)).judge_all(texts))
    assert [outcome.content_id for outcome in found] == [Content.of(text).id for text in texts]
    assert [isinstance(o, Verdict) and o.outcome for o in found] == ["allowed" if n % 3 else "violates" for n in range(20)]


def test_contents_are_drawn_when_they_are_needed() -> None:
    """A stream without an end: nothing is drawn before the first outcome is asked for, then a batch at a time."""
    drawn: list[int] = []

    def stream() -> Iterator[Content]:
        for number in count():
            drawn.append(number)
            yield Content(id=str(number), text=f"text {number}")

    found = Moderator(house(), selling(batch=4)).judge_all(stream())
    assert drawn == []
    assert [outcome.content_id for outcome in islice(found, 1)] == ["0"]
    assert drawn == [0, 1, 2, 3]
    assert [outcome.content_id for outcome in islice(found, 4)] == ["1", "2", "3", "4"]
    assert drawn == list(range(8))


def test_steps_are_asked_for_a_batch_at_once() -> None:
    calls: list[int] = []

    class Watched(StepEngine):
        def complete(self, prompts: Any) -> list[Completion]:
            calls.append(len(prompts))
            return super().complete(prompts)

    list(Moderator([house(), MARKET], Watched(seller, lambda prompt: SALE)).judge_all(["wheel", "a", "b"]))
    assert calls == [6, 2]


def test_each_policy_gives_an_outcome_and_a_content_may_choose() -> None:
    moderator = Moderator([house(), MARKET], selling())
    contents = [
        Content(id="1", text="wheel"),
        Content(id="2", text="wheel", policies=("market",)),
        Content(id="3", text="wheel", policies=("market", "house")),
    ]
    found = [(outcome.content_id, outcome.policy) for outcome in moderator.judge_all(contents)]
    assert found == [("1", "house"), ("1", "market"), ("2", "market"), ("3", "market"), ("3", "house")]
    with pytest.raises(DataError, match="content 4: policy 'spam' was not given\n  given: house, market"):
        list(moderator.judge_all([Content(id="4", text="x", policies=("spam",))]))


def test_policies_are_told_apart() -> None:
    assert Moderator([house(), house()], selling()).policies == ("house",)
    with pytest.raises(PolicyError, match="house: two policies have this slug"):
        Moderator([house(), house().replace(title="Other")], selling())
    with pytest.raises(PolicyError, match="none was given"):
        Moderator([], selling())


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """The policy as a file, with an overlay for teens beside it."""
    surfaces = DOCUMENT.replace("- Action: label\n", "- Action: label\n- Applies to: post\n")
    (tmp_path / "house.md").write_text(surfaces, encoding="utf-8")
    (tmp_path / "house.teen.md").write_text(OVERLAY, encoding="utf-8")
    return tmp_path / "house.md"


def test_facts_choose_the_variant(documents: Path) -> None:
    """The content's own facts go before those of the moderator; each outcome names what it was judged by."""
    moderator = Moderator(documents, selling(), context={"audience": "adult", "surface": "post"})
    contents = [
        Content(id="1", text="wheel"),
        Content(id="2", text="wheel", facts={"audience": "teen"}),
        Content(id="3", text="wheel", facts={"audience": "teen", "locale": "de"}),
    ]
    found = [outcome for outcome in moderator.judge_all(contents) if isinstance(outcome, Verdict)]
    assert [(verdict.action, verdict.severity) for verdict in found] == [
        ("label", "low"),
        ("remove", "high"),
        ("remove", "high"),
    ]
    assert [verdict.provenance.policy for verdict in found] == ["house@1.0.0", "house@1.0.0+teen", "house@1.0.0+teen"]
    assert found[0].provenance.policy_digest != found[1].provenance.policy_digest
    assert found[1].provenance == found[2].provenance


def test_a_rule_of_another_surface_is_not_asked(documents: Path) -> None:
    engine = selling()
    moderator = Moderator(documents, engine, family="nano")
    list(moderator.judge_all([Content(id="1", text="x", facts={"surface": "comment"}), Content(id="2", text="x")]))
    assert ["H2 Selling" in prompt.system for prompt in engine.prompts] == [False, True]


def test_a_variant_that_cannot_be_made_fails_its_content_alone(tmp_path: Path) -> None:
    (tmp_path / "house.md").write_text(DOCUMENT, encoding="utf-8")
    (tmp_path / "house.teen.md").write_text(OVERLAY.replace("house@^1", "house@^9"), encoding="utf-8")
    moderator = Moderator(tmp_path / "house.md", selling())
    contents = [Content(id="1", text="a"), Content(id="2", text="b", facts={"audience": "teen"}), Content(id="3", text="wheel")]
    assert outcomes(moderator, *contents) == ["allowed", "unreadable", "violates"]


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u200b\ufeff", "\u2003", "\u00ad"])
def test_no_text_is_a_failure_and_its_neighbours_are_fine(text: str) -> None:
    """Nothing that a reader could see: nothing that could be allowed. The model is not asked."""
    engine = selling()
    contents = [Content(id="1", text="hello"), Content(id="2", text=text), Content(id="3", text="wheel")]
    assert outcomes(Moderator(house(), engine), *contents) == ["allowed", "unreadable", "violates"]
    assert len(engine.prompts) == 3


@pytest.mark.parametrize(
    ("labels", "leads", "outcome"),
    [
        (leaning("no"), True, "allowed"),
        (leaning("no", 0.3), True, "needs_review"),
        (leaning("no"), False, "needs_review"),
        (leaning("yes"), False, "needs_review"),
        (leaning("none", 0.2), True, "needs_review"),
        ({"no": 0.0}, True, "needs_review"),
        ({"no": float("nan"), "yes": 0.1}, True, "needs_review"),
        (leaning("none"), True, "not_covered"),
    ],
)
def test_what_is_not_certain_goes_to_a_person(labels: dict[str, float], leads: bool, outcome: str) -> None:
    def write(prompt: Prompt) -> str:
        unknown = prompt.prefill.endswith("unknown")
        return rest(escalations=(), missing=()) if unknown else SALE

    engine = StepEngine(lambda prompt: Completion(labels=labels, label_leads=leads), write)
    assert outcomes(Moderator(house(), engine), "wheel") == [outcome]


@pytest.mark.parametrize("reason", get_args(Reason))
@pytest.mark.parametrize("step", ["read", "write"])
def test_every_problem_of_an_engine_is_a_failure_that_says_so(reason: Reason, step: str) -> None:
    problem = Completion(problem=reason, detail="why")
    engine = StepEngine(lambda prompt: problem if step == "read" else leaning("yes"), lambda prompt: problem)
    moderator = Moderator(house(), engine)
    (failure,) = moderator.judge_all([Content(id="c", text="wheel", metadata={"row": 7})])
    assert isinstance(failure, Failure)
    assert (failure.content_id, failure.policy, failure.reason, failure.detail) == ("c", "house", reason, "why")
    assert failure.provenance == moderator.provenances()["house"]
    assert failure.metadata == {"row": 7}
    with pytest.raises(NoVerdictError) as raised:
        moderator.judge("wheel")
    assert raised.value.failure.reason == reason


@pytest.mark.parametrize("text", ["", "Sorry.", '{"violates":"maybe"}', '{"violates":"no","violates":"no"}', "[" * 99_999])
def test_an_unreadable_answer_is_a_failure(text: str) -> None:
    assert outcomes(Moderator(house(), ScriptedEngine(lambda prompt: text)), "a", "b") == ["unreadable"] * 2


def test_an_engine_that_loses_count_stops_the_run() -> None:
    class Short(StepEngine):
        def complete(self, prompts: Any) -> list[Completion]:
            return super().complete(prompts)[1:]

    with pytest.raises(EngineError, match="1 completions for 2 prompts"):
        list(Moderator(house(), Short(seller)).judge_all(["a", "b"]))


def labels_of(policy: Policy, plan: Plan) -> tuple[list[list[str]], Verdict]:
    """The rules of each call of a plan, and the verdict, where every call finds its first rule."""
    engine = StepEngine(lambda prompt: leaning("yes", 0.5 + len(prompt.format.rules) / 20), lambda prompt: _first(prompt))
    verdict = Moderator(policy, engine, plan=plan).judge("wheel")
    return [list(prompt.format.rules) for prompt in engine.prompts[: len(engine.prompts) // 2]], verdict


def _first(prompt: Prompt) -> str:
    form = prompt.format
    fields: dict[str, Any] = {name: () for name in ("exceptions", "escalations") if getattr(form, name)}
    return rest((form.rules[0], "wheel"), **fields)


def _writes(text: str) -> Callable[[Prompt], str]:
    return lambda prompt: text


def test_an_exception_that_excuses_nothing_adds_to_the_score() -> None:
    """X1 does not cover H2: what the model called excused is a violation, with the probability of both labels."""
    scores = {}
    for rule in ("H1", "H2"):
        excused = rest((rule, "wheel"), exceptions=("X1",), escalations=())
        engine = StepEngine(lambda prompt: leaning("exception", 0.6), _writes(excused))
        verdict = Moderator(house(), engine).judge("wheel")
        assert verdict.score.value is not None
        scores[verdict.outcome] = verdict.score.value
    assert list(scores) == ["allowed_by_exception", "violates"]
    assert scores["violates"] == pytest.approx(scores["allowed_by_exception"] + 0.6 / sum(leaning("exception", 0.6).values()))


def test_plans_decide_what_is_asked_together() -> None:
    """All rules in one call; one a call; or those that an exception covers alone."""
    calls, verdict = labels_of(house(), "policy")
    assert calls == [["H1", "H2", "H3", "H4"]]
    assert [rule.id for rule in verdict.rules] == ["H1"]
    for plan, expected in (("rule", [["H1"], ["H2"], ["H3"], ["H4"]]), ("auto", [["H4"], ["H1"], ["H2"], ["H3"]])):
        calls, verdict = labels_of(house(), plan)  # type: ignore[arg-type]
        assert calls == expected
        assert [rule.id for rule in verdict.rules] == ["H4", "H3", "H2", "H1"]
        assert verdict.outcome == "needs_review"
        assert verdict.score.value == pytest.approx(0.55 / 0.58)  # H4's call has four labels, no `exception`
        assert verdict.provenance.prompt_digest.count("+") == 3
        assert verdict.usage.prompt_tokens == 8 * 10
    calls, _ = labels_of(house().slice(["H2", "H4"]).replace(exceptions=()), "auto")
    assert calls == [["H2", "H4"]]


def test_a_call_sees_only_what_concerns_its_rules() -> None:
    engine = StepEngine(lambda prompt: leaning("no"))
    Moderator(house(), engine, plan="rule", family="default").judge("x")
    by_rule = {prompt.format.rules[0]: prompt for prompt in engine.prompts}
    assert by_rule["H1"].format.exceptions == ("X1",)
    assert by_rule["H4"].format.exceptions == ()
    assert "exception" not in by_rule["H4"].format.labels
    assert "Selling" not in by_rule["H1"].system
    assert "(X2)" not in by_rule["H1"].system


@pytest.mark.parametrize("problem", ["cut", "unreadable"])
def test_one_failed_call_fails_the_content(problem: Reason) -> None:
    """Four clear answers of five are not a clear answer."""
    engine = StepEngine(lambda prompt: Completion(problem=problem) if prompt.format.rules == ("H3",) else leaning("no"))
    assert outcomes(Moderator(house(), engine, plan="rule"), "x") == [problem]


def voting(*labels: str) -> StepEngine:
    """Sample by sample, the labels given; "cut" fails."""

    def write(prompt: Prompt) -> str | Completion:
        if prompt.prefill.endswith('{"rationale":"'):
            seed = prompt.task.seed  # type: ignore[union-attr]
            return Completion(problem="cut") if labels[seed] == "cut" else f'{seed}","violates":"'
        if prompt.prefill.endswith("unknown"):
            return rest(rationale=None, escalations=(), missing=("thread",))
        return rest(("H2", "wheel"), rationale=None, exceptions=(), escalations=())

    return StepEngine(lambda prompt: leaning(labels[int(prompt.prefill.split('"')[3])]), write)


@pytest.mark.parametrize(
    ("labels", "outcome", "share"),
    [
        (["yes", "yes", "no"], "violates", 2 / 3),
        (["no", "no", "yes"], "allowed", 1 / 3),
        (["no", "yes", "no", "yes"], "needs_review", 1 / 2),
        (["no", "yes", "unknown"], "needs_review", 1 / 3),
        (["no", "no", "cut"], "allowed", 0),
        (["no", "cut", "cut"], "needs_review", 0),
        (["no", "no", "cut", "cut"], "needs_review", 0),
        (["yes", "cut", "cut"], "needs_review", 1),
        (["none", "none", "no"], "not_covered", 0),
    ],
)
def test_samples_vote(labels: list[str], outcome: str, share: float) -> None:
    """The majority of all samples; a failed one is none of it. Without a majority, a person decides."""
    verdict = Moderator(house(), voting(*labels), mode="reasoned", samples=len(labels)).judge("wheel")
    assert verdict.outcome == outcome
    assert verdict.score.method == "votes"
    assert verdict.score.value == pytest.approx(share)
    assert (verdict.action == "escalate") == (outcome == "needs_review")
    assert (verdict.notice != "") == (outcome == "violates")
    written = sum(1 for label in labels if label in ("yes", "unknown"))
    assert verdict.usage.completion_tokens == 6 * (len(labels) - labels.count("cut")) + 5 * written


def test_samples_that_all_fail_are_a_failure() -> None:
    assert outcomes(Moderator(house(), voting("cut", "cut"), mode="reasoned", samples=2), "wheel") == ["cut"]


@pytest.mark.parametrize(("mode", "samples"), [("fast", 2), ("fast", 0), ("reasoned", 0), ("reasoned", -1)])
def test_samples_that_make_no_sense_are_refused(mode: Any, samples: int) -> None:
    with pytest.raises(PromptError, match="samples: "):
        Moderator(house(), selling(), mode=mode, samples=samples)


def test_scores_name_their_method() -> None:
    clear, sale = (Moderator(house(), selling()).judge(text).score for text in ("x", "wheel"))
    assert clear.method == sale.method == "label_probability"
    assert clear.value == pytest.approx(0.01 / 0.94)
    assert sale.value == pytest.approx(0.9 / 0.94)
    assert clear.label_mass == sale.label_mass == pytest.approx(0.94)
    assert Moderator(house(), ScriptedEngine(always("no"))).judge("x").score == Score(value=None, method="none")


def test_the_same_inputs_have_the_same_provenance() -> None:
    def made(**changes: Any) -> object:
        options: dict[str, Any] = {"policy": house(), "engine": selling()} | changes
        return Moderator(**options).judge("x").provenance

    assert made() == made()
    assert made(policy=parse_policy(DOCUMENT)) == made()
    changes: list[dict[str, Any]] = [
        {"policy": house().replace(reviewer_notes="x")},
        {"family": "nano"},
        {"plan": "rule"},
        {"thresholds": Thresholds(mass=0.1)},
        {"engine": StepEngine(seller, lambda prompt: SALE)},
    ]
    changed = [made(**change) for change in changes]
    assert changed[-1] == made()
    assert all(provenance != made() for provenance in changed[:-1])
    (failure,) = Moderator(house(), StepEngine(lambda prompt: Completion(problem="cut"))).judge_all(["x"])
    assert failure.provenance == made()


def test_metadata_is_carried_and_never_shown() -> None:
    engine = selling()
    content = Content(id="c", text="wheel", metadata={"secret": "Robin"}, thread=(Turn(text="hi", author="Kim"),))
    verdict = Moderator(house(), engine).judge(content)
    assert verdict.metadata == {"secret": "Robin"}
    assert not any("secret" in prompt.user or "Robin" in prompt.user for prompt in engine.prompts)


def test_an_image_is_never_simply_allowed() -> None:
    moderator = Moderator(house(), selling())
    verdict = moderator.judge(Content(id="c", text="x", images=("a.png",)))
    assert (verdict.outcome, verdict.missing) == ("needs_review", ("image",))


def test_an_engine_is_closed_with_its_moderator() -> None:
    engine = selling()
    with Moderator(house(), engine) as moderator:
        assert moderator.judge("x").outcome == "allowed"
        assert not engine.closed
    assert engine.closed


@pytest.mark.parametrize("label", ["no", "none"])
def test_an_engine_may_be_nothing_but_a_function(label: Label) -> None:
    class Least:
        name = "least"

        def complete(self, prompts: Any) -> list[Completion]:
            return [Completion(f'{{"violates":"{label}"}}', whole=True) for _ in prompts]

    verdict = Moderator(house(), Least()).judge("x")
    assert verdict.outcome == {"no": "allowed", "none": "not_covered"}[label]
    assert (verdict.provenance.engine, verdict.provenance.model) == ("least", "least")
