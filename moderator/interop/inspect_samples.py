"""Items and outcomes in the words of an Inspect log, as plain data: what `EvalSample`, `Score` and `ModelOutput` are made of.

A decision is scored as Inspect scores answers: ``C`` where it is the label's, ``I`` where it is the other, ``N`` where there
was no answer (a failure, or a person must decide), which Inspect's accuracy counts as wrong, as ours does. Without a known
label it is unscored (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moderator.content import Turn
from moderator.interop.conversations import text_of
from moderator.scoring import Pair, decision
from moderator.scoring.labels import Known, cited
from moderator.suite import Item
from moderator.verdict import OUTCOME, Failure, Reason, Verdict, to_line

UNKNOWN: Final = "unknown"
"""The target of an item without a known label."""

MARK: Final = "moderator"
"""The key of a log's metadata under which this package finds what it wrote."""

_ITEM: Final = ("facts", "split", "group", "slices", "labels")
_STOPPED: Final[Mapping[Reason, str]] = {"cut": "max_tokens", "too_long": "model_length", "refused": "content_filter"}
_REASONS: Final[Mapping[Reason, str]] = {
    "cut": "invalid_response_format",
    "unreadable": "invalid_response_format",
    "refused": "refusal",
}


def item_input(item: Item) -> str | list[dict[str, Any]]:
    """The text; behind a thread, all as messages, the text last."""
    if not item.thread:
        return item.text
    earlier = [{"role": "user", "content": turn.text, "metadata": {"author": turn.author}} for turn in item.thread]
    return [*earlier, {"role": "user", "content": item.text}]


def item_metadata(item: Item, held: Sequence[str]) -> dict[str, Any]:
    """Every annotator's label and what else belongs to the item; `held` are the rules that hold by the labels."""
    dumped = item.model_dump(mode="json", exclude_defaults=True, include=set(_ITEM))
    return {**dumped, "rules_held": list(held)}


def read_item(sample_id: str, asked: str | Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> Item:
    """The item again. Raises `ValueError`."""
    messages = [{"content": asked}] if isinstance(asked, str) else asked
    thread = tuple(Turn(text=text_of(one), author=_author(one)) for one in messages[:-1])
    kept = {name: metadata[name] for name in _ITEM if name in metadata}
    return Item.model_validate({"id": sample_id, "text": text_of(messages[-1]), "thread": thread, **kept})


def _author(message: Mapping[str, Any]) -> str:
    known = message.get("metadata") or {}
    return str(known.get("author", message.get("role", "")))


def output(outcome: Verdict | Failure) -> dict[str, Any]:
    """The outcome line as what the model wrote, with the tokens it took."""
    made = outcome.provenance
    whole: dict[str, Any] = {"model": made.model}
    stopped = "stop"
    if isinstance(outcome, Failure):
        stopped = _STOPPED.get(outcome.reason, "unknown")
        whole["error"] = f"{outcome.reason}: {outcome.detail}"
    else:
        whole |= {"usage": usage([outcome]), "time": outcome.usage.latency_ms / 1000}
    message = {"role": "assistant", "content": to_line(outcome), "model": made.model, "source": "generate"}
    return {**whole, "choices": [{"message": message, "stop_reason": stopped}]}


def read_outcome(completion: str) -> Verdict | Failure:
    """The outcome again. Raises `ValueError` for what is no outcome line."""
    return OUTCOME.validate_json(completion)


def usage(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Tokens in Inspect's words: those of the prompt that were cached are counted apart."""
    used = [verdict.usage for verdict in verdicts]
    prompt, cached = sum(one.prompt_tokens for one in used), sum(one.cached_tokens for one in used)
    written = sum(one.completion_tokens for one in used)
    tokens = {"input_tokens": prompt - cached, "input_tokens_cache_read": cached, "output_tokens": written}
    return {**tokens, "total_tokens": prompt + written}


def scores(pair: Pair) -> dict[str, dict[str, Any]]:
    """The scores of a sample, by name."""
    held = sorted(pair.rules_held)
    return {
        "decision": decision_score(pair.outcome, pair.gold, pair.item.group),
        "rules": rules_score(pair.outcome, pair.gold, held),
    }


def decision_score(outcome: Verdict | Failure, gold: Known | None, group: str = "") -> dict[str, Any]:
    """Whether the decision is the label's; the metadata hold what `agreement` computes from, and the evidence."""
    said = decision(outcome)
    answered = said in ("yes", "no")
    value: str | float = math.nan if gold is None else "N" if not answered else "C" if said == gold else "I"
    metadata: dict[str, Any] = {"label": gold, "decision": said, "probability": None, "group": group}
    reason: str | None
    if isinstance(outcome, Failure):
        explanation, reason = outcome.detail, _REASONS.get(outcome.reason, "no_response")
    else:
        explanation, reason = outcome.rationale, None if answered else "needs_review"
        quotes = [{"rule": rule.id, **quote.model_dump(mode="json")} for rule in outcome.rules for quote in rule.evidence]
        metadata |= {"probability": outcome.score.value, "outcome": outcome.outcome, "evidence": quotes}
    if gold is None:
        reason = "no_label"
    return {"value": value, "answer": said, "explanation": explanation or None, "reason": reason, "metadata": metadata}


def rules_score(outcome: Verdict | Failure, gold: Known | None, held: Sequence[str]) -> dict[str, Any]:
    """Of a violation that was found, and whose label names a rule that holds: whether one of these was cited. Else unscored."""
    named = cited(outcome)
    asked = gold == "yes" and bool(named) and bool(held)
    value: str | float = math.nan if not asked else "C" if set(held) & set(named) else "I"
    reason = None if asked else "not_asked"
    return {
        "value": value,
        "answer": ", ".join(named),
        "reason": reason,
        "metadata": {"cited": list(named), "held": list(held)},
    }
