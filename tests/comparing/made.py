"""Suites and outcomes for tests: items with labels, and what two sides said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moderator.suite import Annotation, Item, Scale, Suite, Targets
from moderator.verdict import Failure, FoundRule, Outcome, Provenance, Reason, Score, Usage, Verdict

POLICY = "house"
MADE = Provenance(
    policy="house@1.0.0",
    policy_digest="sha256:" + "1" * 64,
    prompt_digest="sha256:" + "2" * 64,
    engine="scripted",
    model="scripted",
    parameters={"mode": "fast"},
)


def verdict(
    id: str,
    outcome: Outcome = "allowed",
    rules: Sequence[str] = (),
    *,
    score: float | None = None,
    made: Provenance = MADE,
    **fields: Any,
) -> Verdict:
    return Verdict(
        content_id=id,
        policy=POLICY,
        outcome=outcome,
        rules=tuple(FoundRule(id=rule, severity="high") for rule in rules),
        score=Score(value=score, method="none" if score is None else "label_probability"),
        provenance=made,
        usage=Usage(prompt_tokens=10, completion_tokens=2, latency_ms=1.5),
        **fields,
    )


def failure(id: str, reason: Reason = "timeout") -> Failure:
    return Failure(content_id=id, policy=POLICY, reason=reason, detail="", provenance=MADE)


def outcome(id: str, said: str) -> Verdict | Failure:
    """From a word: ``H1`` or ``H1+H2`` violates so; ``?H1`` goes to a person; ``ok``, ``none``, ``except``, ``fail``."""
    if said == "fail":
        return failure(id)
    plain: Mapping[str, Outcome] = {"ok": "allowed", "none": "not_covered", "except": "allowed_by_exception"}
    if said in plain:
        return verdict(id, plain[said])
    rules = [rule for rule in said.removeprefix("?").split("+") if rule]
    return verdict(id, "needs_review" if said.startswith("?") else "violates", rules)


def outcomes(words: Sequence[str]) -> dict[str, Verdict | Failure]:
    """An outcome for items ``i0``, ``i1`` ..."""
    return {f"i{place}": outcome(f"i{place}", said) for place, said in enumerate(words)}


def suite(
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    slices: Sequence[str] | None = None,
    minimum: int = 30,
    targets: Targets | None = None,
    policy: str = POLICY,
) -> Suite:
    """Items ``i0``, ``i1`` ... A label: ``yes``, ``no``, ``H1`` (violates by that rule) or empty (nobody labelled it)."""
    return Suite(
        slug="made",
        title="Made for tests",
        policy=policy,
        scale=Scale(values=("no", "yes"), violates=("yes",)),
        slices=("language",) if slices else (),
        minimum=minimum,
        targets=targets or Targets(),
        items=tuple(
            Item(
                id=f"i{place}",
                text=f"text {place}",
                group=groups[place] if groups else "",
                slices={"language": slices[place]} if slices else {},
                labels=_labels(said),
            )
            for place, said in enumerate(labels)
        ),
    )


def _labels(said: str) -> tuple[Annotation, ...]:
    if not said:
        return ()
    if said in ("yes", "no"):
        return (Annotation(value=said),)
    return (Annotation(value="yes", rules={said: "yes"}),)


def drawn(
    n: int, *, seed: int = 0, cuts: tuple[float, float] = (0.5, 0.52), clusters: int = 0
) -> tuple[Suite, dict[str, Verdict | Failure], dict[str, Verdict | Failure]]:
    """A suite and two sides with scores, failures and five rules, at random."""
    generator = np.random.default_rng(seed)
    violates = generator.random(n) < 0.3
    base = np.clip(0.25 + 0.4 * violates + generator.normal(0, 0.2, n), 0, 1)
    made = suite(
        [f"H{1 + place % 5}" if yes else "no" for place, yes in enumerate(violates)],
        groups=[f"g{place % clusters}" for place in range(n)] if clusters else None,
        slices=["abcde"[place % 5] for place in range(n)],
    )

    def side(cut: float) -> dict[str, Verdict | Failure]:
        scores = np.clip(base + generator.normal(0, 0.05, n), 0, 1)
        failed = generator.random(n) < 0.005
        found: dict[str, Verdict | Failure] = {}
        for place, score in enumerate(scores.tolist()):
            id = f"i{place}"
            flagged = score >= cut
            rules = [f"H{1 + place % 5}"] if flagged else []
            judged = verdict(id, "violates" if flagged else "allowed", rules, score=score)
            found[id] = failure(id) if failed[place] else judged
        return found

    return made, side(cuts[0]), side(cuts[1])
