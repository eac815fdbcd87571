"""What an answer to learn says: as much of it as is known.

An answer is written as serving writes it, and ends at the first thing that nobody knows: a content of which only the verdict is
known teaches the label; one whose rule is known but not the words that break it teaches the rule's id, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from moderator.answer import MOST_RULES, AnswerFormat, Finding, Label, Piece, RuleFinding
from moderator.finetuning.gold import Gold
from moderator.finetuning.rows import Part
from moderator.policy import Policy
from moderator.prompt import CompiledPrompt
from moderator.quoting import literal

_NOTHING_BROKEN: Final = "No rule of the policy is broken."
_OPENS: Final = re.compile(r'"(\w+)":\[$')


@dataclass(frozen=True, slots=True)
class Lesson:
    """An answer as far as it is known; `whole`: to its end."""

    label: Label
    parts: tuple[Part, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What of an answer is known: None stands for what nobody said."""

    label: Label
    rules: tuple[str, ...]
    settled: bool
    """Whether those are all the rules that hold."""
    quotes: tuple[str | None, ...]
    exceptions: tuple[str, ...] | None
    escalations: tuple[str, ...] | None
    rationale: str


def lesson(compiled: CompiledPrompt, gold: Gold) -> Lesson | None:
    """What the content teaches under the compiled policy.

    None where what is known of it contradicts itself: it does not violate, and a rule holds that no exception waives.
    """
    known = _known(compiled.policy, compiled.format, gold)
    if known is None:
        return None
    form = compiled.format
    rules, quotes = (known.rules, known.quotes) if known.rules else (form.rules[:1], (None,))
    finding = Finding(known.label, rationale=known.rationale)
    if known.label != "no":
        finding = replace(
            finding,
            # what stands here for something unknown is cut off below
            rules=tuple(RuleFinding(rule, quote or "") for rule, quote in zip(rules, quotes, strict=True)),
            exceptions=form.exceptions[:1] if known.exceptions is None else known.exceptions,
            escalations=known.escalations or (),
        )
    pieces = form.pieces(finding)
    end = _end(pieces, known, form)
    parts = [
        Part(kind=piece.kind, text=piece.text, learned=piece.kind != "rationale" or bool(known.rationale))
        for piece in pieces[:end]
        if piece.text
    ]
    return Lesson(known.label, tuple(parts), end == len(pieces))


def _known(policy: Policy, form: AnswerFormat, gold: Gold) -> _Known | None:
    broken = [rule.id for rule in policy.rules if gold.rules.get(rule.id) == "yes"]
    exceptions: tuple[str, ...] | None = ()
    label: Label = "yes" if gold.violates == "yes" else "no"
    if label == "no" and broken:
        label, exceptions = "exception", _applied(policy, gold, broken)
        if exceptions == ():
            return None
    rules = tuple(broken[:MOST_RULES])
    quotes = tuple(_quotable(form, gold.quotes.get(rule)) for rule in rules)
    return _Known(
        label,
        rules,
        settled=gold.settles(policy),
        quotes=quotes,
        exceptions=exceptions,
        escalations=None if gold.escalations is None else tuple(e for e in gold.escalations if e in form.escalations),
        rationale=gold.reason or _reason(policy, label, rules, quotes, exceptions),
    )


def _applied(policy: Policy, gold: Gold, broken: list[str]) -> tuple[str, ...] | None:
    """The exceptions that waive what is broken: those that were named, else the only one that can; None: which is unknown."""
    waiving = tuple(x.id for x in policy.exceptions if any(x.waives(rule) for rule in broken))
    named = waiving if gold.exceptions is None else tuple(x for x in waiving if x in gold.exceptions)
    return named if gold.exceptions is not None or len(named) < 2 else None


def _quotable(form: AnswerFormat, quote: str | None) -> str | None:
    return quote if quote and len(literal(quote)) - 2 <= form.quote_chars else None


def _reason(
    policy: Policy, label: Label, rules: tuple[str, ...], quotes: tuple[str | None, ...], exceptions: tuple[str, ...] | None
) -> str:
    """A rationale out of labels and marked words; empty where they say too little for one."""
    if label == "no":
        return _NOTHING_BROKEN
    if not rules or exceptions is None:
        return ""
    said = [
        f"{rule} {policy.rule(rule).title}" + (f": {quote!r}" if quote else "")
        for rule, quote in zip(rules, quotes, strict=True)
    ]
    waived = [f"{exception} {policy.exception(exception).title} applies" for exception in exceptions]
    return "; ".join([*said, *waived]) + "."


def _end(pieces: tuple[Piece, ...], known: _Known, form: AnswerFormat) -> int:
    """How many pieces are known, from the first one on."""
    quotes, field = iter(known.quotes), ""
    for place, piece in enumerate(pieces):
        match piece.kind:
            case "rule" if not known.rules:
                return place
            case "quote" if next(quotes, None) is None:
                return place
            case "exception" if known.exceptions is None:
                return place
            case "rationale" if not known.rationale and form.mode == "fast":
                return place
            case "form":
                if field == "rules" and piece.text.startswith("]") and not known.settled:
                    return place
                field = opened[1] if (opened := _OPENS.search(piece.text)) else field
                if field == "escalations" and known.escalations is None:
                    return place
    return len(pieces)
