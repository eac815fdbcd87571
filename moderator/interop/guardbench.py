"""The function that GuardBench asks of a moderator: conversations in, probabilities of being unsafe out.

GuardBench calls ``moderate(conversations, **options)`` and holds each number against 0.5. It is installed by whoever uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from moderator.errors import DataError, NoVerdictError
from moderator.interop.conversations import Message, content_of
from moderator.interop.opening import open_once
from moderator.judge import Moderator
from moderator.verdict import Failure, Verdict

OnFailure = Literal["raise", "nan"]


def moderate(
    conversations: Sequence[Sequence[Message]],
    *,
    policy: str | None = None,
    engine: str = "nano",
    moderator: Moderator | None = None,
    on_failure: OnFailure = "raise",
    **options: Any,
) -> list[float]:
    """For each conversation the probability that its last message violates the policy, in order.

    The messages before the last are its thread. The number is the score of the verdict, whatever was decided: what needs review
    has the probability that the engine gave. `options` are ``engine_options`` and those of `Moderator`; the moderator is opened
    at the first call and kept for calls with the same settings. One that is open already can be given as `moderator`.

    A failure is never a number: with `on_failure` ``raise`` it ends the benchmark with `NoVerdictError`, with ``nan`` NaN
    stands in its place (GuardBench's metrics refuse it; count and drop it first). So it is for a verdict without a probability,
    which raises `DataError`, as does a conversation that cannot be judged.
    """
    if on_failure not in ("raise", "nan"):
        raise DataError(f"on_failure: {on_failure!r}\n  raise or nan")
    if (moderator is None) == (policy is None):
        raise DataError("policy: give either a policy, or a moderator that is open")
    contents = []
    for place, conversation in enumerate(conversations):
        try:
            contents.append(content_of(conversation))
        except ValueError as error:
            raise DataError(f"conversation {place}: {error}") from None
    judge = moderator or open_once(policy, engine, **options)
    if len(judge.policies) > 1:
        raise DataError(f"policy: {len(judge.policies)} were given\n  a conversation has one number, so one policy")
    return [_probability(outcome, on_failure) for outcome in judge.judge_all(contents)]


def _probability(outcome: Verdict | Failure, on_failure: OnFailure) -> float:
    if isinstance(outcome, Verdict) and outcome.score.value is not None:
        return outcome.score.value
    if on_failure == "nan":
        return math.nan
    if isinstance(outcome, Failure):
        raise NoVerdictError(outcome)
    hint = "take several samples in mode `reasoned`, or on_failure='nan'"
    raise DataError(f"content {outcome.content_id}: the engine gives no probability\n  {hint}")
