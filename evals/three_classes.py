"""Three classes out of two runs over the same items, beside a linear model of three classes and with paired intervals.

`python evals/three_classes.py RUN_HATE RUN_TOXIC`: runs of HateXplain under the policy about hate and `policies/toxic.md`.
`hatespeech` is what the first flags, `offensive` what only the second flags, `normal` the rest. An item that either sends to a
person has no class.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from moderator.metrics.classification import macro_f1
from moderator.metrics.intervals import Estimate
from moderator.metrics.paired import Pairing
from moderator.runs import Run, load_run
from moderator.suite import Item, linear_floor
from moderator.verdict import Verdict

CLASSES = ("hatespeech", "offensive", "normal")
NONE = "no answer"


def flags(run: Run) -> dict[str, bool | None]:
    """By item: flagged, let pass, or None where a person must decide or nothing came back."""
    found: dict[str, bool | None] = {}
    for suite in run.suites:
        for name, outcome in run.outcomes(suite.slug).items():
            settled = isinstance(outcome, Verdict) and outcome.outcome != "needs_review"
            found[name] = outcome.outcome == "violates" if settled else None
    return found


def combined(hate: bool | None, toxic: bool | None) -> str:
    """The class of an item."""
    if hate:
        return "hatespeech"
    if hate is None or toxic is None:
        return NONE
    return "offensive" if toxic else "normal"


def gold(item: Item) -> str | None:
    return item.labels[0].value if item.labels else None


def compare(hate: Run, toxic: Run) -> tuple[Estimate, Estimate, Estimate]:
    """Macro F1 of the linear model, of the runs, and the paired difference."""
    floor = linear_floor(hate.suites[0].items, gold)
    said: Mapping[str, str] = dict(zip(floor.ids, floor.predicted, strict=True))
    first, second = flags(hate), flags(toxic)
    items = [item for item in hate.suites[0].split("test") if item.id in first and item.id in second and item.id in said]
    pairing = Pairing.of(
        [gold(item) for item in items],
        [said[item.id] for item in items],
        [combined(first[item.id], second[item.id]) for item in items],
        CLASSES,
        (NONE,),
    )
    return pairing.comparisons([macro_f1])[0]


if __name__ == "__main__":
    runs = [load_run(Path(name)) for name in sys.argv[1:3]]
    print("| linear | model | difference |\n| --- | --- | --- |")
    print("|", *(f"{one.value:.3f} \\[{one.low:.3f}, {one.high:.3f}\\] |" for one in compare(*runs)))
