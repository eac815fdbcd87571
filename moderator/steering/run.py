"""Steering: the same contents under a policy and under changes of it, and what a moderator made of the changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from moderator.answer import Mode
from moderator.engines import Engine, close, open_engine
from moderator.errors import DataError
from moderator.judge import Moderator, Plan
from moderator.metrics import Resampling
from moderator.policy import Policy, load_policy, load_source
from moderator.prompt import Family as PromptFamily
from moderator.steering.bench import Bench, Progress, Side
from moderator.steering.labelled import Labelled, examples_of
from moderator.steering.posts import SPOILERS, UNRELATED
from moderator.steering.probes import LeftOut, Planned, Setting, asked, planned, right
from moderator.steering.result import CHECKS, FAMILIES, Base, Family, Probe, Steerability, Trial
from moderator.steering.transform import without_examples

UNSEEN = "the prompt shows nothing of the change"


def steer(
    policy: str | Path | Policy,
    engine: str | Engine = "nano",
    contents: Sequence[Labelled] | None = None,
    *,
    probes: Collection[Family] = FAMILIES,
    unrelated: str | Path | Policy | None = None,
    seed: int = 0,
    how: Resampling | None = None,
    family: str | Path | PromptFamily | None = None,
    mode: Mode = "fast",
    plan: Plan = "policy",
    context: Mapping[str, str] | None = None,
    budget: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Steerability:
    """Whether what a moderator says follows from its policy: changes the policy, and counts what changes with it.

    `contents` are by default the policy's own examples; those that are judged are taken out of the prompt. `context` selects
    the policy's variant; facts of single contents select surfaces, but no overlays. `unrelated` is the policy about something
    else (for a shipped policy there is one; else one about spoilers). An engine that is given open stays open.

    Raises `PolicyError`, `PromptError` or `EngineError` when something cannot be made, `DataError` for no contents, or two
    with one id.
    """
    resolved = load_source(policy).resolve(context or {})
    labelled = _checked(examples_of(resolved) if contents is None else contents, resolved)
    whole, kept = resolved, without_examples(resolved, (item.content.text for item in labelled))
    other = _unrelated(unrelated, whole)
    opened = open_engine(engine) if isinstance(engine, str) else engine

    def moderator(judged: Policy) -> Moderator:
        return Moderator(judged, opened, family=family, mode=mode, plan=plan, context=context, budget=budget)

    try:
        bench = Bench(moderator, progress)
        bench.judge(Side(kept, item.content) for item in labelled)
        setting = Setting(kept, labelled, dict(bench.all_of(kept)), other, seed)
        made = _probes(bench, setting, [name for name in FAMILIES if name in probes], how or Resampling())
        provenance = bench.moderator(kept).provenances()[kept.slug]
    finally:
        if opened is not engine:
            close(opened)
    return Steerability(
        policy=whole.name,
        provenance=provenance,
        base=_base(setting),
        probes=made,
        withheld=_examples(whole) - _examples(kept),
        unrelated=other.name,
        seed=seed,
    )


def _checked(contents: Iterable[Labelled], policy: Policy) -> tuple[Labelled, ...]:
    """The contents, to be judged under this policy alone."""
    labelled = tuple(
        replace(item, content=item.content.model_copy(update={"policies": ()})) if item.content.policies else item
        for item in contents
    )
    if not labelled:
        raise DataError(f"{policy.name}: no contents to judge\n  give the policy examples, or name a suite for it")
    twice = [name for name, count in Counter(item.content.id for item in labelled).items() if count > 1]
    if twice:
        raise DataError(f"content {twice[0]}: given twice\n  ids tell contents apart")
    return labelled


def _unrelated(named: str | Path | Policy | None, policy: Policy) -> Policy:
    if named is None:
        named = UNRELATED.get(policy.slug, SPOILERS)
    other = named if isinstance(named, Policy) else load_policy(named)
    if other.slug == policy.slug:
        raise DataError(f"{other.name}: the policy about something else is the policy itself\n  name another")
    return other


def _probes(bench: Bench, setting: Setting, families: Sequence[Family], how: Resampling) -> tuple[Probe, ...]:
    """Plans all trials, makes them policy by policy, and sorts them to their probes."""
    plans: list[Planned] = []
    left_out: dict[str, Counter[str]] = {name: Counter() for name in CHECKS}
    for one in (one for family in families for one in planned(family, setting)):
        if isinstance(one, LeftOut):
            left_out[one.check][one.why] += 1
        elif _unseen(bench, one):
            left_out[one.check][UNSEEN] += 1
        else:
            plans.append(one)
    bench.judge(side for one in plans for side in (one.before, one.after) if side is not None)
    trials: dict[str, list[Trial]] = {name: [] for name in CHECKS}
    for one in plans:
        before, after = None if one.before is None else bench[one.before], bench[one.after]
        check = CHECKS[one.check]
        if not asked(check, before, after):
            left_out[one.check]["not flagged on both sides" if one.check == "ids_cited" else "not flagged with the mark"] += 1
            continue
        done = right(check, before, after, one.new_ids)
        seen_before = None if before is None else before.outcome
        trials[one.check].append(Trial(one.item.content.id, one.item.unit, one.variant, seen_before, after.outcome, done))
    flagged = len(setting.flagged)
    return tuple(
        Probe(check, tuple(trials[name]), flagged, dict(left_out[name]), how)
        for name, check in CHECKS.items()
        if check.family in families
    )


def _unseen(bench: Bench, one: Planned) -> bool:
    """Whether both sides are the same to the model: that an outcome stays would then show nothing."""
    before = one.before
    return before is not None and before.content.id == one.after.content.id and bench.alike(before.policy, one.after.policy)


def _base(setting: Setting) -> Base:
    flagged = {item.content.id for item in setting.flagged}
    by_answer = {
        answer: [item.content.id in flagged for item in setting.contents if item.violates == answer] for answer in ("yes", "no")
    }
    return Base(
        outcomes=Counter(str(setting.of(item).outcome) for item in setting.contents),
        violating=len(by_answer["yes"]),
        violating_flagged=sum(by_answer["yes"]),
        harmless=len(by_answer["no"]),
        harmless_flagged=sum(by_answer["no"]),
    )


def _examples(policy: Policy) -> int:
    return sum(len(rule.examples) for rule in policy.rules)
