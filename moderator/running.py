"""One pass over many contents: what is done already is left out, what comes out is written down batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from moderator.content import Content
from moderator.judge import Moderator
from moderator.records import Journal, outcome_name
from moderator.verdict import Failure, Verdict

_WRITE_EVERY = 64


@dataclass(slots=True)
class Tally:
    """What a run came to so far: outcomes by name (failures by ``failure``), and those that were in the journal before."""

    outcomes: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Outcomes of this pass."""
        return self.outcomes.total()


def run(
    moderator: Moderator,
    contents: Iterable[Content],
    *,
    journal: Journal | None = None,
    limit: int | None = None,
    tally: Tally | None = None,
    drawn: Callable[[Content], None] = lambda content: None,
    each: Callable[[Verdict | Failure, Tally], None] = lambda outcome, tally: None,
) -> Tally:
    """Judges the contents. `drawn` is called with each that is to be judged, `each` with every outcome after it was written.

    With a journal, contents whose outcomes are in it are not judged again; a batch that is finished is written before the next
    is begun. `limit` counts contents read, finished ones
    included. Whatever was judged before an error is in the journal when the error is raised, and counted in `tally`.
    """
    tally = Tally() if tally is None else tally
    if journal is not None:
        tally.before = journal.before
    waiting: list[Verdict | Failure] = []

    def put() -> None:
        # taken off the list first: an error on the way must not have them written twice
        ready = waiting.copy()
        waiting.clear()
        if journal is not None and ready:
            journal.write(ready)
        passing = iter(ready)
        try:
            for outcome in passing:
                tally.outcomes[outcome_name(outcome)] += 1
                each(outcome, tally)
        finally:
            # what is written is counted, also where it could not all be passed on
            tally.outcomes.update(map(outcome_name, passing))

    def left() -> Iterator[Content]:
        for content in _left(islice(contents, limit), moderator, journal, drawn):
            # what is asked for here begins a batch, or the batch is not yet judged and nothing waits
            put()
            yield content

    try:
        for outcome in moderator.judge_all(left()):
            waiting.append(outcome)
            if len(waiting) >= _WRITE_EVERY:
                put()
    finally:
        put()
    return tally


def _left(
    contents: Iterable[Content], moderator: Moderator, journal: Journal | None, drawn: Callable[[Content], None]
) -> Iterator[Content]:
    """The contents that are still to be judged, under the policies that are still to be applied."""
    for content in contents:
        if journal is not None and journal.before:
            policies = content.policies or moderator.policies
            left = tuple(policy for policy in policies if (content.id, policy) not in journal)
            if not left:
                continue
            if len(left) < len(policies):
                content = content.model_copy(update={"policies": left})
        drawn(content)
        yield content
