"""One engine, many policies: each content is judged once under each policy, and prompts are compiled once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from moderator.content import Content
from moderator.judge import Moderator
from moderator.policy import Policy
from moderator.steering.result import Seen
from moderator.verdict import Failure, Verdict

Progress = Callable[[int, int], None]
"""Is told how many judgements of a stage are done, and how many it has."""


@dataclass(frozen=True, slots=True)
class Side:
    """One content under one policy."""

    policy: Policy
    content: Content

    @property
    def key(self) -> tuple[str, str]:
        return self.policy.digest, self.content.id


@dataclass(frozen=True, slots=True)
class Judged:
    """What is kept of an outcome."""

    outcome: Seen
    rules: tuple[str, ...] = ()

    @classmethod
    def of(cls, outcome: Verdict | Failure) -> Judged:
        if isinstance(outcome, Failure):
            return cls("failure")
        return cls(outcome.outcome, tuple(rule.id for rule in outcome.rules))


class Bench:
    """Judges sides and remembers what came out; `make` gives the moderator of a policy, all over one engine."""

    def __init__(self, make: Callable[[Policy], Moderator], progress: Progress = lambda done, total: None):
        self._make = make
        self._progress = progress
        self._moderators: dict[str, Moderator] = {}
        self._judged: dict[tuple[str, str], Judged] = {}

    def moderator(self, policy: Policy) -> Moderator:
        """The moderator of this policy. Raises `PromptError` where it cannot be compiled."""
        if policy.digest not in self._moderators:
            self._moderators[policy.digest] = self._make(policy)
        return self._moderators[policy.digest]

    def alike(self, first: Policy, second: Policy) -> bool:
        """Whether the model is shown the same under both: the prompts do not differ in a single byte."""
        return self._shown(first) == self._shown(second)

    def _shown(self, policy: Policy) -> frozenset[str]:
        return frozenset(prompt.digest for prompt in self.moderator(policy).prompts(policy.slug))

    def judge(self, sides: Iterable[Side]) -> None:
        """Judges what was not judged yet, policy by policy."""
        waiting: dict[str, dict[str, Side]] = {}
        for side in sides:
            if side.key not in self._judged:
                waiting.setdefault(side.policy.digest, {})[side.content.id] = side
        total, done = sum(map(len, waiting.values())), 0
        for digest, by_id in waiting.items():
            moderator = self.moderator(next(iter(by_id.values())).policy)
            for outcome in moderator.judge_all(side.content for side in by_id.values()):
                self._judged[digest, outcome.content_id] = Judged.of(outcome)
                done += 1
                self._progress(done, total)

    def __getitem__(self, side: Side) -> Judged:
        """What came out. Raises `KeyError` for a side that was not judged."""
        return self._judged[side.key]

    def all_of(self, policy: Policy) -> Mapping[str, Judged]:
        """What came out under a policy, by content id."""
        return {content: judged for (digest, content), judged in self._judged.items() if digest == policy.digest}
