"""One pass over many contents: what is done already is left out, what comes out is written down batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from moderator.content import Content
from moderator.judge import Moderator
from moderator.records import Journal
from moderator.verdict import Failure, Verdict

_WRITE_EVERY = 64


@dataclass(slots=True)
class Tally:
    """What a run came to so far: outcomes by name (failures by ``failure``), and how many were there before."""

    outcomes: Counter[str] = field(default_factory=Counter)
    before: int = 0

    @property
    def total(self) -> int:
        return self.outcomes.total()


def run(
    moderator: Moderator,
    contents: Iterable[Content],
    *,
    journal: Journal | None = None,
    limit: int | None = None,
    each: Callable[[Verdict | Failure, Tally], None] = lambda outcome, tally: None,
) -> Tally:
    """Judges the contents and calls `each` with every outcome after it was written.

    With a journal, contents whose outcomes are in it are not judged again. `limit` counts contents read, finished ones included.
    Whatever was judged before an error is in the journal when the error is raised.
    """
    tally = Tally(before=len(journal) if journal else 0)
    waiting: list[Verdict | Failure] = []

    def put() -> None:
        if journal and waiting:
            journal.write(waiting)
        for outcome in waiting:
            tally.outcomes[outcome.outcome if isinstance(outcome, Verdict) else "failure"] += 1
            each(outcome, tally)
        waiting.clear()

    try:
        for outcome in moderator.judge_all(_left(contents if limit is None else islice(contents, limit), moderator, journal)):
            waiting.append(outcome)
            if len(waiting) >= _WRITE_EVERY:
                put()
    finally:
        put()
    return tally


def _left(contents: Iterable[Content], moderator: Moderator, journal: Journal | None) -> Iterator[Content]:
    """The contents that are still to be judged, under the policies that are still to be applied."""
    if not journal or not len(journal):
        yield from contents
        return
    for content in contents:
        policies = content.policies or moderator.policies
        left = tuple(policy for policy in policies if (content.id, policy) not in journal)
        if left:
            yield content if len(left) == len(policies) else content.model_copy(update={"policies": left})
