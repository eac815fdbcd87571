"""A policy and an engine, together: contents in, one outcome each out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Literal, Self

from moderator.answer import Mode
from moderator.answering import Answer, Thresholds, answer_all
from moderator.calibration import FILE, Calibration, Calibrations
from moderator.case import Advice, Case, Recommendation, RuleAtIssue
from moderator.concluding import conclude, vote
from moderator.content import Content
from moderator.engines import Engine, EngineDescription, close, describe, open_engine
from moderator.errors import DataError, NoVerdictError, PolicyError, Problem, PromptError
from moderator.policy import Policy, PolicySource, Rule, load_source
from moderator.prompt import CompiledPrompt, Family, Question, compile_prompt, load_family
from moderator.quoting import visible
from moderator.verdict import Failure, Provenance, Reason, ReportedFinding, Usage, Verdict

Plan = Literal["policy", "rule", "auto"]
REVIEW_SAMPLES: Final = 5


@dataclass(frozen=True)
class _Compiled:
    """One variant of a policy, compiled into the prompts of the plan, and the provenance its outcomes share."""

    policy: Policy
    prompts: tuple[CompiledPrompt, ...]
    provenance: Provenance
    calibration: Calibration | None = None
    problem: str = ""
    """Set: the facts of some content ask for a variant that cannot be made, and this is why."""


class Moderator:
    """Judges contents under one policy or several.

    `policy` is a name, a path or a `Policy`, or several of them; `engine` is an engine or what `open_engine` takes. `context`
    are facts that hold for every content (a content's own facts come first); they select policy variants. `samples` above 1
    needs ``reasoned`` mode: label reads do not vary. `calibrations` are used where they are valid; by default those that lie
    beside the adapter or model, if any do. Raises `PolicyError`, `PromptError`, `EngineError` or `DataError` when something
    cannot be made.
    """

    def __init__(
        self,
        policy: str | Path | Policy | Sequence[str | Path | Policy],
        engine: str | Engine = "nano",
        *,
        family: str | Path | Family | None = None,
        mode: Mode = "fast",
        plan: Plan = "policy",
        samples: int = 1,
        context: Mapping[str, str] | None = None,
        thresholds: Thresholds | None = None,
        calibrations: Calibrations | None = None,
        budget: int | None = None,
    ):
        if samples < 1 or (samples > 1 and mode != "reasoned"):
            hint = "several samples need mode `reasoned`: a label read does not vary"
            raise PromptError(f"samples: {samples} in mode {mode!r}\n  {hint}")
        policies = [policy] if isinstance(policy, str | Path | Policy) else list(policy)
        self._sources = _by_slug([load_source(named) for named in policies])
        self.engine = open_engine(engine) if isinstance(engine, str) else engine
        self._description = describe(self.engine)
        chosen = family or self._description.family or "default"
        self._family = chosen if isinstance(chosen, Family) else load_family(chosen)
        self._mode, self._plan, self._samples, self._budget = mode, plan, samples, budget
        self._context = dict(context or {})
        self._thresholds = thresholds or Thresholds()
        self._calibrations = calibrations if calibrations is not None else _beside(self._description)
        self._compiled: dict[tuple[str, Mode, int, tuple[tuple[str, str], ...]], _Compiled] = {}
        for slug in self._sources:
            self._compile(slug, self._context, mode, samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees what the engine holds."""
        close(self.engine)

    @property
    def policies(self) -> tuple[str, ...]:
        """The slugs of the policies, in order."""
        return tuple(self._sources)

    def provenances(self) -> dict[str, Provenance]:
        """For each policy, what its outcomes will record (of the variant that the common context selects)."""
        return {slug: self._compile(slug, self._context, self._mode, self._samples).provenance for slug in self._sources}

    def not_calibrated(self) -> dict[str, str]:
        """The policies for which there are calibrations and none is valid, each with the reason. Not a fault, but worth saying:
        what was withheld under a calibration is decided without one."""
        if not self._calibrations.all:
            return {}
        made = self.provenances().items()
        return {slug: self._calibrations.why_not(one) for slug, one in made if self._calibrations.find(one) is None}

    def prompts(self, slug: str) -> tuple[CompiledPrompt, ...]:
        """The compiled prompts for a policy, in the context that holds for every content; one for each call of the plan."""
        return self._compile(slug, self._context, self._mode, self._samples).prompts

    def rules(self, slug: str) -> tuple[Rule, ...]:
        """The rules of a policy in the context that holds for every content, then those that only variants of it have."""
        return self._sources[slug].rules(self._compile(slug, self._context, self._mode, self._samples).policy)

    def judge(self, content: str | Content) -> Verdict:
        """The verdict on one content under the first policy. Raises `NoVerdictError` when there is none."""
        content = Content.of(content) if isinstance(content, str) else content
        outcome = self._judge([(content, self.policies[0])])[0]
        if isinstance(outcome, Failure):
            raise NoVerdictError(outcome)
        return outcome

    def judge_all(self, contents: Iterable[str | Content]) -> Iterator[Verdict | Failure]:
        """One outcome for each content and policy, in order: a content's policies together, in the order they were given.

        Lazy: contents are drawn in batches of the engine's liking, and nothing of them is kept. A content that names policies
        is judged under those alone. Raises `DataError` when it names one that was not given, `EngineError` when the engine
        gives up.
        """
        drawn = iter(contents)
        while batch := list(islice(drawn, self._description.batch)):
            pairs: list[tuple[Content, str]] = []
            for content in batch:
                content = Content.of(content) if isinstance(content, str) else content
                pairs.extend((content, slug) for slug in self._slugs(content))
            yield from self._judge(pairs)

    def review(self, case: Case, *, samples: int = REVIEW_SAMPLES) -> Recommendation:
        """Deliberates on an escalation or an appeal, under the first policy: rationale first, several samples.

        A recommendation, never a decision; without a majority of the samples a person decides. Raises `NoVerdictError` when no
        sample gave a verdict.
        """
        if samples < 1:
            raise PromptError(f"samples: {samples}\n  a review needs at least one")
        slug = self.policies[0]
        content = case.as_content()
        compiled = self._variant(slug, content, "reasoned", samples)
        runs = [self._run([compiled], [content], sample) for sample in range(samples)]
        verdicts = [run[0] for run in runs if isinstance(run[0], Verdict)]
        if not verdicts:
            raise NoVerdictError(runs[0][0])
        outcome, votes = Counter(verdict.outcome for verdict in verdicts).most_common(1)[0]
        majority = next(verdict for verdict in verdicts if verdict.outcome == outcome)
        found = Counter(rule.id for verdict in verdicts for rule in verdict.rules)
        rules = [compiled.policy.rule(rule_id) for rule_id, _ in found.most_common()]
        return Recommendation(
            case_id=case.id,
            policy=slug,
            advice=_advice(case, majority) if votes * 2 > len(runs) else "person_decides",
            agreement=votes / len(verdicts),
            verdict=majority,
            rules_at_issue=tuple(
                RuleAtIssue(id=r.id, title=r.title, text=r.text, severity=r.severity, share=found[r.id] / len(verdicts))
                for r in rules
            ),
            rationales=tuple(verdict.rationale for verdict in verdicts),
            missing=tuple(dict.fromkeys(item for verdict in verdicts for item in verdict.missing)),
            failed_samples=len(runs) - len(verdicts),
        )

    def _slugs(self, content: Content) -> Sequence[str]:
        for slug in content.policies:
            if slug not in self._sources:
                raise DataError(f"content {content.id}: policy {slug!r} was not given\n  given: {', '.join(self._sources)}")
        return content.policies or self.policies

    def _judge(self, pairs: Sequence[tuple[Content, str]]) -> list[Verdict | Failure]:
        """One outcome for each pair of content and policy, in order; variants are judged together, one engine call a step."""
        compiled = [self._variant(slug, content, self._mode, self._samples) for content, slug in pairs]
        contents = [content for content, _ in pairs]
        if self._samples == 1:
            outcomes = self._run(compiled, contents)
        else:
            runs = [self._run(compiled, contents, sample) for sample in range(self._samples)]
            outcomes = [vote([run[index] for run in runs]) for index in range(len(pairs))]
        calibrations = (variant.calibration for variant in compiled)
        return [of(outcome) if of else outcome for of, outcome in zip(calibrations, outcomes, strict=True)]

    def _run(
        self, compiled: Sequence[_Compiled], contents: Sequence[Content], sample: int | None = None
    ) -> list[Verdict | Failure]:
        started = time.perf_counter()
        questions: list[Question] = []
        counts: list[int] = []
        for variant, content in zip(compiled, contents, strict=True):
            asked = [prompt.ask(content) for prompt in variant.prompts] if visible(content.text).strip() else []
            questions.extend(asked)
            counts.append(len(asked))
        answers = iter(answer_all(self.engine, questions, self._thresholds, sample=sample))
        answered = [list(islice(answers, count)) for count in counts]
        milliseconds = (time.perf_counter() - started) * 1000 / max(len(contents), 1)
        return [
            _outcome(variant, content, mine, milliseconds)
            for variant, content, mine in zip(compiled, contents, answered, strict=True)
        ]

    def _variant(self, slug: str, content: Content, mode: Mode, samples: int) -> _Compiled:
        if not content.facts:
            return self._compile(slug, self._context, mode, samples)
        try:
            return self._compile(slug, {**self._context, **content.facts}, mode, samples)
        except (PolicyError, PromptError) as error:
            common = self._compile(slug, self._context, mode, samples)
            return replace(common, prompts=(), problem=str(error))

    def _compile(self, slug: str, context: Mapping[str, str], mode: Mode, samples: int) -> _Compiled:
        source = self._sources[slug]
        relevant = tuple((name, context[name]) for name in source.context_keys if name in context)
        key = (slug, mode, samples, relevant)
        if key not in self._compiled:
            self._compiled[key] = self._make(source, dict(relevant), mode, samples)
        return self._compiled[key]

    def _make(self, source: PolicySource, context: Mapping[str, str], mode: Mode, samples: int) -> _Compiled:
        policy = source.resolve(context)
        prompts = _prompts(policy, self._family, mode, self._plan, self._budget)
        described = self._description
        provenance = Provenance(
            policy=policy.name,
            policy_digest=policy.digest,
            prompt_digest=_digest(prompts),
            engine=described.engine,
            model=described.model,
            adapter_digest=described.adapters.get(source.slug, described.adapter_digest),
            parameters={
                **described.parameters,
                "family": self._family.name,
                "mode": mode,
                "plan": self._plan,
                "samples": samples,
                "context": self._context,
                "min_label_mass": self._thresholds.mass,
                "min_confidence": self._thresholds.confidence,
            },
        )
        calibration = self._calibrations.find(provenance)
        if calibration is not None:
            parameters = {**provenance.parameters, "calibration": calibration.digest}
            provenance = provenance.model_copy(update={"parameters": parameters})
        return _Compiled(policy, prompts, provenance, calibration)


def _beside(description: EngineDescription) -> Calibrations:
    """The calibrations that lie beside the adapters or the model. Raises `DataError`."""
    paths = [folder / FILE for folder in description.folders]
    return Calibrations(tuple(one for path in paths if path.is_file() for one in Calibrations.read(path).all))


def _by_slug(sources: Sequence[PolicySource]) -> dict[str, PolicySource]:
    found: dict[str, PolicySource] = {}
    for source in sources:
        if found.setdefault(source.slug, source) != source:
            hint = "outcomes are told apart by slug: give one of them another"
            raise PolicyError([Problem(source.slug, 0, "two policies have this slug", hint)])
    if not found:
        raise PolicyError([Problem("policy", 0, "none was given", "name one, or give the path of a `.md` file")])
    return found


def asks_the_same(provenance: Provenance, policy: Policy) -> bool:
    """Whether the model would be asked under this policy, word for word, what it was asked for outcomes of this provenance.

    Then `moderator.concluding.conclude_again` gives what judging again would. Not known, and so false, where the prompt family
    is not to be had here.
    """
    asked = provenance.parameters
    try:
        prompts = _prompts(policy, load_family(asked["family"]), asked["mode"], asked["plan"], None)
    except (PromptError, KeyError):
        return False
    return _digest(prompts) == provenance.prompt_digest


def _prompts(policy: Policy, family: Family, mode: Mode, plan: Plan, budget: int | None) -> tuple[CompiledPrompt, ...]:
    """The compiled prompts of a plan, one for each call."""
    return tuple(compile_prompt(policy.slice(rules), family, mode, budget=budget) for rules in _slices(policy, plan))


def _digest(prompts: Sequence[CompiledPrompt]) -> str:
    digests = [prompt.digest for prompt in prompts]
    return digests[0] if len(digests) == 1 else "+".join(digest.removeprefix("sha256:")[:12] for digest in digests)


def _slices(policy: Policy, plan: Plan) -> list[tuple[str, ...]]:
    """The sets of rules that are asked in one call each. ``auto``: rules that an exception covers alone, the rest together."""
    every = tuple(rule.id for rule in policy.rules)
    if plan == "policy":
        return [every]
    if plan == "rule":
        return [(rule,) for rule in every]
    covered = {rule for exception in policy.exceptions for rule in exception.covers}
    plain = tuple(rule for rule in every if rule not in covered)
    return [*([plain] if plain else []), *((rule,) for rule in every if rule in covered)]


def _outcome(compiled: _Compiled, content: Content, answers: Sequence[Answer], milliseconds: float) -> Verdict | Failure:
    """The outcome that the answers of one content come to: a failure if any of its calls failed."""
    if not answers:
        return _failure(compiled, content, "unreadable", compiled.problem or "the content has no text")
    for answer in answers:
        if answer.problem is not None:
            return _failure(compiled, content, answer.problem, answer.detail)
    readings = [answer.reading for answer in answers if answer.reading]
    findings = [answer.finding for answer in answers if answer.finding]
    masses = [reading.mass for reading in readings if reading.mass is not None]
    return conclude(
        compiled.policy,
        content,
        [
            ReportedFinding.of(finding, certain=reading.certain, probabilities=reading.probabilities)
            for finding, reading in zip(findings, readings, strict=True)
        ],
        label_mass=min(masses, default=None),
        # of several calls the one that reports most; one call a policy has only one
        rationale=max(findings, key=lambda finding: len(finding.rules)).rationale,
        provenance=compiled.provenance,
        usage=Usage(
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            cached_tokens=sum(answer.cached_tokens for answer in answers),
            completion_tokens=sum(answer.completion_tokens for answer in answers),
            latency_ms=round(milliseconds, 3),
        ),
    )


def _failure(compiled: _Compiled, content: Content, reason: Reason, detail: str) -> Failure:
    return Failure(
        content_id=content.id,
        policy=compiled.policy.slug,
        reason=reason,
        detail=detail,
        provenance=compiled.provenance,
        metadata=content.metadata,
    )


def _advice(case: Case, majority: Verdict) -> Advice:
    """What the majority's outcome means for this case: an appeal is about the decision that stands."""
    if majority.missing:
        return "ask_for_context"
    if majority.outcome in ("needs_review", "not_covered"):
        return "person_decides"
    enforced = case.earlier[-1].violates if case.earlier else None
    if case.appeal is None or enforced is None:
        return "enforce" if majority.violates else "allow"
    return "uphold" if majority.violates == enforced else "overturn"
