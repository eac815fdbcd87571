"""What Inspect finds under the name of this package: a task for any suite, a solver, two scorers and a metric.

Loaded by Inspect through the entry point ``inspect_ai``; nothing here is imported by the rest of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, accuracy, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from moderator.content import Content, Turn
from moderator.errors import DataError, ModeratorError
from moderator.interop.inspect_export import suite_header
from moderator.interop.inspect_samples import (
    MARK,
    UNKNOWN,
    decision_score,
    item_input,
    item_metadata,
    output,
    read_outcome,
    rules_score,
)
from moderator.interop.opening import open_once
from moderator.judge import Moderator
from moderator.metrics import Resampling
from moderator.runs import PolicyRecord, RuleRecord
from moderator.scoring import gold, rule_gold
from moderator.scoring.classes import confusion, decision_metrics, probability_metrics
from moderator.scoring.labels import Known
from moderator.suite import Item, Suite, open_suite, policy_of
from moderator.verdict import Failure, Verdict


class Batches:
    """Judges what waits together: Inspect asks for one sample at a time, engines like many."""

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator
        self._waiting: list[_Asked] = []
        self._lock = anyio.Lock()

    async def judge(self, content: Content) -> Verdict | Failure:
        """The outcome under the moderator's first policy. Raises what the engine raises, for all that waited with it."""
        mine = _Asked(content)
        self._waiting.append(mine)
        async with self._lock:
            if not mine.done:
                # alone, where those it waited with met an error that is no one else's
                together, self._waiting = self._waiting or [mine], []
                await anyio.to_thread.run_sync(self._answer, together)
        if mine.error is not None:
            raise mine.error
        assert mine.outcome is not None
        return mine.outcome

    def _answer(self, asked: Sequence[_Asked]) -> None:
        try:
            outcomes = list(self._moderator.judge_all(one.content for one in asked))
        except ModeratorError as error:
            for one in asked:
                one.error = error
            return
        for one, outcome in zip(asked, outcomes, strict=True):
            one.outcome = outcome


class _Asked:
    def __init__(self, content: Content) -> None:
        self.content = content
        self.outcome: Verdict | Failure | None = None
        self.error: ModeratorError | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None or self.error is not None


@task
def suite(
    suite: str,
    policy: str | None = None,
    engine: str = "nano",
    mode: str = "fast",
    plan: str = "policy",
    family: str | None = None,
    split: str = "test",
) -> Task:
    """The items of a suite, or of functional tests, judged: ``inspect eval moderator/suite -T suite=PATH --model none``.

    `policy` is judged under instead of the suite's own; `split` is ``test``, ``train`` or ``all``.
    """
    path = Path(suite)
    labelled = open_suite(path)
    named = policy or str(policy_of(labelled, path))
    settings: dict[str, Any] = {"policy": named, "engine": engine, "mode": mode, "plan": plan, "family": family}
    moderator = open_once(**settings)
    items = labelled.items if split == "all" else tuple(item for item in labelled.items if item.split == split)
    if not items:
        raise DataError(f"{path}: no items of split {split!r}\n  split is test, train or all")
    return Task(
        dataset=MemoryDataset([_sample(labelled, item) for item in items], name=labelled.slug),
        solver=moderate(**settings),
        scorer=[decision(), rules()],
        version=labelled.version,
        metadata={MARK: _mark(labelled, moderator)},
    )


@solver
def moderate(
    policy: str,
    engine: str = "nano",
    mode: str = "fast",
    plan: str = "policy",
    family: str | None = None,
    engine_options: dict[str, Any] | None = None,
) -> Solver:
    """Judges the last message of the input under the policy; those before are its thread. The output is the outcome line."""
    moderator = open_once(policy, engine, engine_options, mode=mode, plan=plan, family=family)
    if len(moderator.policies) > 1:
        raise DataError(f"policy: {len(moderator.policies)} were given\n  a sample has one outcome, so one policy")
    batches = Batches(moderator)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        outcome = await batches.judge(_content(state))
        state.output = ModelOutput.model_validate(output(outcome))
        state.messages.append(ChatMessageAssistant.model_validate(state.output.choices[0].message.model_dump()))
        return state

    return solve


@metric
def agreement(level: float = 0.95, resamples: int = 2_000) -> Metric:
    """Our statistics of the decisions against the labels, each with its interval; what is undefined is left out.

    Their resamples are drawn item by item, or by the groups of the suite.
    """
    how = Resampling(level=level, resamples=resamples, index_resamples=min(resamples, 1_000))

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        known = [one.score.metadata for one in scores if one.score.metadata and "decision" in one.score.metadata]
        if not known:
            return {}
        labels: list[Known | None] = [one["label"] for one in known]
        of_one = [one["group"] or str(score.sample_id) for one, score in zip(known, scores, strict=False)]
        groups = of_one if any(one["group"] for one in known) else None
        table = confusion(labels, [one["decision"] for one in known], groups)
        found = decision_metrics(table, how) | dict(
            probability_metrics(labels, [one["probability"] for one in known], groups, how)
        )
        told = {name: estimate for name, estimate in found.items() if estimate.value is not None}
        ends = {f"{name} {end}": getattr(one, end) for name, one in told.items() for end in ("low", "high")}
        values = {name: one.value for name, one in told.items() if one.value is not None}
        return values | {name: end for name, end in ends.items() if end is not None}

    return compute


@scorer(metrics=[agreement()])
def decision() -> Scorer:
    """Whether the decision is the label's; ``N`` where there was none, unscored without a known label."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(**decision_score(read_outcome(state.output.completion), _gold(target), state.metadata.get("group", "")))

    return score


@scorer(metrics=[accuracy()])
def rules() -> Scorer:
    """Whether a violation that was found cites a rule that holds by the labels; unscored for all else."""

    async def score(state: TaskState, target: Target) -> Score:
        outcome = read_outcome(state.output.completion)
        return Score(**rules_score(outcome, _gold(target), state.metadata.get("rules_held", [])))

    return score


def _gold(target: Target) -> Known | None:
    """The label; a target that says neither is unknown."""
    return "yes" if target.text == "yes" else "no" if target.text == "no" else None


def _sample(suite: Suite, item: Item) -> Sample:
    named = {rule for label in item.labels for rule in label.rules}
    held = sorted(rule for rule in named if rule_gold(item, rule) == "yes")
    asked = item_input(item)
    return Sample(
        id=item.id,
        input=asked if isinstance(asked, str) else [ChatMessageUser.model_validate(one) for one in asked],
        target=gold(suite, item) or UNKNOWN,
        metadata=item_metadata(item, held),
    )


def _content(state: TaskState) -> Content:
    """What is judged of a sample of ours, or of any other data set."""
    messages = state.messages
    thread = tuple(Turn(text=one.text, author=str((one.metadata or {}).get("author", one.role))) for one in messages[:-1])
    facts = {str(name): str(value) for name, value in (state.metadata.get("facts") or {}).items()}
    return Content(id=str(state.sample_id), text=messages[-1].text, thread=thread, facts=facts)


def _mark(suite: Suite, moderator: Moderator) -> dict[str, Any]:
    """What importing the log needs to know, beside its samples."""
    slug = moderator.policies[0]
    made = moderator.provenances()[slug]
    found = tuple(RuleRecord(id=r.id, title=r.title, severity=r.severity, action=r.action) for r in moderator.rules(slug))
    policy = PolicyRecord(name=made.policy, digest=made.policy_digest, rules=found)
    return {
        "suite": suite_header(suite),
        "slug": slug,
        "policy": policy.model_dump(mode="json"),
        "provenance": made.model_dump(mode="json"),
    }
