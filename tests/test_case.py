"""A case: what a person needs to decide, shown to the model as what it is; and a recommendation that never decides."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import ValidationError

from moderator.case import Appeal, Case, Recommendation, Report
from moderator.content import Content, Turn
from moderator.engines import Completion
from moderator.errors import NoVerdictError, PromptError
from moderator.judge import Moderator
from moderator.prompt import Prompt
from moderator.verdict import FoundRule, Outcome, Provenance, Score, Verdict
from tests.small import StepEngine, house, leaning, rest

PROVENANCE = Provenance(policy="house@1.0.0", policy_digest="p", prompt_digest="q", engine="e", model="m")
CONTENT = Content(id="c1", text="my wheel for 20", thread=(Turn(text="any offers?", author="ann"),), facts={"surface": "post"})


def earlier(outcome: Outcome, *rules: str) -> Verdict:
    return Verdict(
        content_id="c1",
        policy="house",
        outcome=outcome,
        rules=tuple(FoundRule(id=rule, severity="low") for rule in rules),
        score=Score(value=None, method="none"),
        provenance=PROVENANCE,
    )


def case(*verdicts: Verdict, by: Literal["author", "reporter"] | None = None, **fields: Any) -> Case:
    appeal = Appeal(statement="please look again", appellant=by) if by else None
    return Case(id="k1", content=CONTENT, earlier=verdicts, appeal=appeal, **fields)


def test_the_content_of_a_case_shows_everything_in_its_place() -> None:
    """Words of users join the thread, named as such; what the platform knows joins the facts; the text stays the text."""
    full = Case(
        id="k1",
        content=CONTENT,
        author={"strikes": "2", "account_age": "9 days"},
        reports=(Report(reason="spam!", policy="house", reliability=0.5), Report(reason="rude")),
        earlier=(earlier("violates", "H2", "H1"), earlier("allowed")),
        appeal=Appeal(statement="it is a gift", new_evidence="see my other post"),
    )
    shown = full.as_content()
    assert (shown.id, shown.text, shown.metadata) == ("c1", "my wheel for 20", {})
    assert [(turn.author, turn.text) for turn in shown.thread] == [
        ("ann", "any offers?"),
        ("report (house)", "spam!"),
        ("report", "rude"),
        ("appeal by the author", "it is a gift"),
        ("appeal: new evidence", "see my other post"),
    ]
    assert shown.facts == {
        "surface": "post",
        "author strikes": "2",
        "author account_age": "9 days",
        "earlier outcome 1": "violates H2 H1 (house@1.0.0)",
        "earlier outcome 2": "allowed (house@1.0.0)",
    }
    assert full.content == CONTENT


def test_a_bare_case_is_its_content() -> None:
    assert case().as_content() == CONTENT


def test_facts_about_an_author_do_not_pass_for_facts_of_the_platform() -> None:
    """They cannot choose a variant: the keys that do are not within their reach."""
    shown = Case(id="k", content=CONTENT, author={"surface": "comment", "audience": "adult"}).as_content()
    assert shown.facts == {"surface": "post", "author surface": "comment", "author audience": "adult"}


def voting(*labels: str) -> StepEngine:
    """Sample by sample: a label, or "cut" for no answer."""

    def write(prompt: Prompt) -> str | Completion:
        if prompt.prefill.endswith('{"rationale":"'):
            seed = prompt.task.seed  # type: ignore[union-attr]
            return Completion(problem="cut") if labels[seed] == "cut" else f'sample {seed}","violates":"'
        if prompt.prefill.endswith("unknown"):
            return rest(("H1", "20"), rationale=None, escalations=(), missing=("thread", "author"))
        return rest(("H2", "my wheel"), rationale=None, exceptions=(), escalations=())

    return StepEngine(lambda prompt: leaning(labels[int(prompt.prefill.split('"')[3].split()[1])]), write)


def review(case: Case, *labels: str) -> Recommendation:
    return Moderator(house(), voting(*labels)).review(case, samples=len(labels))


@pytest.mark.parametrize(
    ("labels", "earlier_outcome", "by", "advice"),
    [
        # an escalation: nothing stands yet
        (["yes"] * 3, None, None, "enforce"),
        (["no"] * 3, None, None, "allow"),
        (["none"] * 3, None, None, "person_decides"),
        # an appeal is about the decision that stands
        (["yes"] * 3, "violates", "author", "uphold"),
        (["no"] * 3, "violates", "author", "overturn"),
        (["yes"] * 3, "allowed", "reporter", "overturn"),
        (["no"] * 3, "allowed", "reporter", "uphold"),
        (["no", "yes", "no"], "violates", "author", "overturn"),
        # without a decision there is nothing to uphold, without an appeal nobody asked
        (["yes"] * 3, None, "author", "enforce"),
        (["no"] * 3, "violates", None, "allow"),
        (["unknown"] * 3, "violates", "author", "ask_for_context"),
        (["none"] * 3, "violates", "author", "person_decides"),
        # no majority
        (["yes", "no"], "violates", "author", "person_decides"),
        (["yes", "yes", "no", "no", "cut"], "violates", "author", "person_decides"),
        (["no", "cut", "cut"], "violates", "author", "person_decides"),
        (["no", "no", "cut"], "violates", "author", "overturn"),
    ],
)
def test_advice(labels: list[str], earlier_outcome: Outcome | None, by: Any, advice: str) -> None:
    verdicts = [earlier(earlier_outcome)] if earlier_outcome else []
    assert review(case(*verdicts, by=by), *labels).advice == advice


def test_the_last_decision_is_the_one_that_stands() -> None:
    assert review(case(earlier("violates"), earlier("allowed"), by="reporter"), "no", "no").advice == "uphold"


def test_a_recommendation_lists_what_a_person_needs() -> None:
    found = review(case(earlier("violates", "H2"), by="author"), "yes", "unknown", "yes", "cut", "yes")
    assert (found.case_id, found.policy, found.final) == ("k1", "house", False)
    assert (found.advice, found.agreement, found.failed_samples) == ("uphold", 0.75, 1)
    assert (found.verdict.outcome, found.verdict.content_id) == ("violates", "c1")
    assert [(rule.id, rule.title, rule.severity, rule.share) for rule in found.rules_at_issue] == [
        ("H2", "Selling", "low", 0.75),
        ("H1", "Threat", "critical", 0.25),
    ]
    assert found.rules_at_issue[1].text == "A threat to harm a member.\n\nThe second paragraph is for long prompts."
    assert found.rationales == ("sample 0", "sample 1", "sample 2", "sample 4")
    assert found.missing == ("thread", "author")


def test_a_review_reasons_in_samples_whatever_the_moderator_does_otherwise() -> None:
    engine = voting("no", "no", "no", "no", "no")
    found = Moderator(house(), engine, mode="fast").review(case())
    assert found.verdict.provenance.parameters["samples"] == 5
    assert found.verdict.provenance.parameters["mode"] == "reasoned"
    assert all("any offers?" in prompt.user for prompt in engine.prompts)
    assert {prompt.task.temperature for prompt in engine.prompts[::2]} == {0.7}  # type: ignore[union-attr]


def test_a_recommendation_is_never_final() -> None:
    found = review(case(), "no")
    assert found.final is False
    with pytest.raises(ValidationError):
        Recommendation.model_validate(found.model_dump() | {"final": True})
    with pytest.raises(ValidationError):
        found.final = True  # type: ignore[misc, assignment]
    assert '"final":false' in found.model_dump_json()


def test_no_sample_is_no_recommendation() -> None:
    with pytest.raises(NoVerdictError, match="content c1: cut"):
        review(case(), "cut", "cut")
    with pytest.raises(PromptError, match="samples: 0"):
        review(case())
    with pytest.raises(NoVerdictError, match="no text"):
        review(Case(id="k", content=Content(id="c1", text=" ")), "no")


@pytest.mark.parametrize(
    "fields", [{"decision": "remove"}, {"appeal": {"statement": "x", "appellant": "robot"}}, {"reports": [{}]}]
)
def test_a_case_has_no_other_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Case.model_validate({"id": "k", "content": {"id": "c", "text": "x"}} | fields)
