"""Drives an engine through the steps of an answer, for many questions at once.

fast:      read the label; for what is flagged or uncertain, write ids, quotes and rationale behind it.
reasoned:  write the rationale; read the label; write ids and quotes behind it.

The label is always read the same way: one position, full-vocabulary probabilities. All steps of one question share their
prompt's beginning, so an engine that caches prefixes pays the content once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from moderator.answer import LABELS, Finding, Label
from moderator.engines import Completion, Engine
from moderator.errors import AnswerError, EngineError
from moderator.prompt import Prompt, Question
from moderator.verdict import Reason

_SAMPLING_TEMPERATURE = 0.7
# within the user turn's JSON strings, so quotation marks have backslashes before them, and white space may be spelled out
_ORDERED_ANSWER: Final = re.compile(r"""violates\\*["'](?:\s|\\+[nrt])*:(?:\s|\\+[nrt])*\\*["'](\w+)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a label read counts as certain. What is not certain goes to a person, never through."""

    mass: float = 0.5
    """Least probability that all labels together must have in the full vocabulary."""
    confidence: float = 0.5
    """Least probability (renormalised over the labels) of the label that leads."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A label read: the label, whether it is certain, and the probabilities behind it (None: the engine gave none)."""

    label: Label
    certain: bool = True
    mass: float | None = None
    probabilities: Mapping[str, float] | None = None
    """Renormalised over the labels."""


@dataclass(slots=True)
class Answer:
    """What became of one question: a finding with its reading, or a problem; and the tokens it took."""

    finding: Finding | None = None
    reading: Reading | None = None
    problem: Reason | None = None
    detail: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, completion: Completion) -> None:
        """Books a completion's tokens, and its problem if it has one."""
        self.prompt_tokens += completion.prompt_tokens
        self.cached_tokens += completion.cached_tokens
        self.completion_tokens += completion.completion_tokens
        if completion.problem:
            self.problem, self.detail = completion.problem, completion.detail


def answer_all(
    engine: Engine, questions: Sequence[Question], thresholds: Thresholds, *, sample: int | None = None
) -> list[Answer]:
    """One answer for each question, in order. `sample` numbers a sampled run (``reasoned`` mode); None is greedy.

    Raises `EngineError` when the engine does not keep its promise of one completion each.
    """
    runs = [_Run(question, Answer()) for question in questions]
    heat = 0.0 if sample is None else _SAMPLING_TEMPERATURE

    reasoned = [run for run in runs if run.question.compiled.format.mode == "reasoned"]
    prompts = [run.question.rationale(temperature=heat, seed=sample or 0) for run in reasoned]
    for run, completion in _ask(engine, reasoned, prompts):
        if completion.whole:
            run.take_whole(completion, thresholds)
        else:
            run.take_rationale(completion)

    waiting = [run for run in runs if run.waits]
    for run, completion in _ask(engine, waiting, [run.question.label(run.rationale) for run in waiting]):
        if completion.whole:
            run.take_whole(completion, thresholds)
        else:
            run.take_label(completion, thresholds)

    flagged = [(run, run.answer.reading) for run in waiting if run.waits]
    rests = [run.question.rest(reading.label, run.rationale) for run, reading in flagged if reading]
    for run, completion in _ask(engine, [run for run, _ in flagged], rests):
        run.take_rest(completion)
    return [run.answer for run in runs]


@dataclass(slots=True)
class _Run:
    """One question on its way to an answer."""

    question: Question
    answer: Answer
    rationale: str = ""

    @property
    def waits(self) -> bool:
        return self.answer.finding is None and self.answer.problem is None

    def take_whole(self, completion: Completion, thresholds: Thresholds) -> None:
        """An answer in one piece, from an engine that cannot continue a prefill."""
        finding = self._read(completion.text)
        if finding is None:
            return
        reading = Reading(finding.label)
        if completion.labels is not None:
            reading = self._reading(completion, thresholds)
            reading = replace(reading, label=finding.label, certain=reading.certain and reading.label == finding.label)
        if finding.label in map(str.lower, _ORDERED_ANSWER.findall(self.question.user)):
            # the content spells this very answer out: whether the model judged or copied, nobody can say
            reading = replace(reading, certain=False)
        self.answer.finding, self.answer.reading = finding, reading

    def take_rationale(self, completion: Completion) -> None:
        """What was written before the label. Where it does not stop there, it would give the label itself."""
        if self.question.compiled.format.is_rationale_step(completion.text):
            self.rationale = completion.text
        else:
            self._fail("the rationale does not end where the label begins")

    def take_label(self, completion: Completion, thresholds: Thresholds) -> None:
        """The label read. A certain ``no`` or ``none`` ends the answer in ``fast`` mode: it has no ids to write."""
        if completion.labels is None:
            self._fail("the engine gave no label probabilities")
            return
        reading = self._reading(completion, thresholds)
        self.answer.reading = reading
        if reading.label in ("no", "none"):
            form = self.question.compiled.format
            rationale = self._written_rationale() if form.mode == "reasoned" else ""
            self.answer.finding = Finding(reading.label, rationale=rationale)

    def take_rest(self, completion: Completion) -> None:
        """What was written behind the label."""
        reading = self.answer.reading
        if reading is not None:
            form = self.question.compiled.format
            self.answer.finding = self._read(form.head(self.rationale) + reading.label + completion.text)

    def _reading(self, completion: Completion, thresholds: Thresholds) -> Reading:
        given = completion.labels or {}
        if strange := sorted(set(given) - set(LABELS)):
            raise EngineError(f"label read: {strange[0]!r} is not a label")
        form = self.question.compiled.format
        return read_label({label: given.get(label, 0.0) for label in form.labels}, completion.label_leads, thresholds)

    def _written_rationale(self) -> str:
        form = self.question.compiled.format
        finding = self._read(form.head(self.rationale) + 'no"}')
        return finding.rationale if finding else ""

    def _read(self, text: str) -> Finding | None:
        try:
            return self.question.compiled.format.read(text)
        except AnswerError as error:
            self._fail(str(error))
            return None

    def _fail(self, detail: str) -> None:
        self.answer.problem, self.answer.detail = "unreadable", detail


def read_label(probabilities: Mapping[str, float], leads: bool, thresholds: Thresholds) -> Reading:
    """The reading that full-vocabulary label probabilities give. Values that are no probabilities give an uncertain one.

    Of two labels that are equally probable it is not ``no``. An uncertain read that leans to ``no`` is given the most probable
    other label, so that the rules at issue get written down for the person who decides.
    """
    mass = sum(probabilities.values())
    # false for NaN, too
    if not 0 < mass < math.inf or min(probabilities.values()) < 0:
        return Reading("unknown", certain=False, mass=0.0)
    shares = {label: probability / mass for label, probability in probabilities.items()}
    label = max(shares, key=lambda name: (shares[name], name != "no"))
    certain = leads and mass >= thresholds.mass and shares[label] >= thresholds.confidence
    if not certain and label in ("no", "none"):
        others = (name for name in shares if name not in ("no", "none"))
        label = max(others, key=lambda name: shares[name], default="unknown")
    return Reading(cast(Label, label), certain, mass, shares)


def _ask(engine: Engine, runs: Sequence[_Run], prompts: Sequence[Prompt]) -> list[tuple[_Run, Completion]]:
    """The runs whose prompt was completed, with the completion; a problem is booked and ends its run."""
    if not prompts:
        return []
    completions = engine.complete(prompts)
    if len(completions) != len(prompts):
        raise EngineError(f"{engine.name}: {len(completions)} completions for {len(prompts)} prompts")
    for run, completion in zip(runs, completions, strict=True):
        run.answer.add(completion)
    return [(run, completion) for run, completion in zip(runs, completions, strict=True) if completion.problem is None]
