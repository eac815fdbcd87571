"""What an answer is worth, by what people said of the content: the reward of reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from moderator.answer import Finding, Label
from moderator.errors import AnswerError
from moderator.finetuning.rows import Row
from moderator.quoting import literal

Criterion = Literal["form", "label", "rules", "quotes", "brevity"]
CRITERIA: Final[tuple[Criterion, ...]] = get_args(Criterion)

_STANDS: Final[frozenset[Label]] = frozenset({"no", "exception", "none"})
"""Labels under which a content stands: they agree on the verdict, not on why."""


@dataclass(frozen=True, slots=True)
class Reward:
    """An answer by each criterion, from 0 to 1. One that is not of the form is worth nothing by any."""

    form: float = 0.0
    """Whether it can be read."""
    label: float = 0.0
    """Whether it gives people's label; half where only the verdict is theirs. Leaving it to a person earns nothing."""
    rules: float | None = 0.0
    """F1 of the rules it cites against those that hold, over the rules of which it is known; None: of none."""
    quotes: float = 0.0
    """Share of the cited rules whose quote stands in the content. Nothing cited, nothing misquoted."""
    brevity: float = 0.0
    """1 up to half of what a rationale may have, then falling to 0."""


def reward(row: Row, answer: str) -> Reward:
    """What an answer, from its first character, is worth as one to the row."""
    try:
        found = row.format.read(answer)
    except AnswerError:
        return Reward(rules=0.0 if row.rules else None)
    return Reward(1.0, _label(found.label, row.label), _rules(found, row), _quotes(found, row), _brevity(found, row))


def _label(said: Label, known: Label) -> float:
    return 1.0 if said == known else 0.5 if {said, known} <= _STANDS else 0.0


def _rules(found: Finding, row: Row) -> float | None:
    if not row.rules:
        return None
    cited = {rule.id for rule in found.rules} & set(row.rules)
    holding = {rule for rule, known in row.rules.items() if known == "yes"}
    return 2 * len(cited & holding) / (len(cited) + len(holding)) if cited or holding else 1.0


def _quotes(found: Finding, row: Row) -> float:
    verbatim = [bool(rule.quote) and literal(rule.quote)[1:-1] in row.shown for rule in found.rules]
    return sum(verbatim) / len(verbatim) if verbatim else 1.0


def _brevity(found: Finding, row: Row) -> float:
    most = row.format.rationale_chars
    return min(1.0, max(0.0, 2 - 2 * len(found.rationale) / most)) if most else 1.0
