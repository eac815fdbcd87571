"""Samples of another tool's Inspect log as items and outcomes: which place holds what, and which words mean a violation.

What cannot be read as an answer is a failure, never a "no".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from moderator.content import Turn
from moderator.errors import DataError, first_fault
from moderator.interop.conversations import text_of
from moderator.policy.document import nearest
from moderator.policy.model import SEVERITIES, Severity
from moderator.suite import Annotation, Answer, Item, Scale
from moderator.verdict import Failure, FoundRule, Outcome, Provenance, Reason, Score, Verdict

FIELDS: Final = ("decision", "correct", "label", "labels", "probability", "rules", "rationale", "group")
"""What a place of a sample can be mapped to."""

_DEFAULTS: Final = {"label": "target"}
_RIGHT: Final = ("C", "1", "true")
_WRONG: Final = ("I", "0", "false")
_OUTCOMES: Final[Mapping[Answer, Outcome]] = {"yes": "violates", "no": "allowed", "unknown": "needs_review"}


@dataclass(frozen=True)
class LogMapping:
    """How the samples of a log are read.

    Places are written with dots: ``target``, ``metadata.KEY``, ``scores.NAME.value``, ``scores.NAME.answer``,
    ``scores.NAME.metadata.KEY``, ``output.completion``.
    """

    policy: str
    """The policy that the labels are for, by name or path."""
    violates: Sequence[str]
    """The labels, and the answers, that say that it is violated."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """A field of `FIELDS`, and its place. ``decision`` holds an answer in the words of the labels; ``correct`` says instead
    whether the answer was the label (``C`` or 1) or the other (``I`` or 0); ``labels`` holds those of several annotators
    (``{"ann": "toxic"}``, or a list)."""
    values: Sequence[str] = ()
    """All labels; empty: those that the log has."""
    unknown: Sequence[str] = ()
    """Labels that say nothing about it; as an answer: a person must decide."""
    slices: Sequence[str] = ()
    """Keys of the samples' metadata that reports break down by."""
    licence: str = "not stated"


@dataclass(frozen=True)
class Reader:
    """Reads samples (as plain data) by a mapping."""

    mapping: LogMapping
    fields: Mapping[str, str]
    scale: Scale
    policy: str
    severities: Mapping[str, Severity]
    provenance: Provenance

    def item(self, sample: Mapping[str, Any]) -> Item:
        """The labelled content of a sample. Raises `ValueError`."""
        asked = sample["input"]
        messages = [{"content": asked}] if isinstance(asked, str) else asked
        thread = tuple(Turn(text=text_of(one), author=str(one.get("role", ""))) for one in messages[:-1])
        slices = {key: word_of(at(sample, f"metadata.{key}")) for key in self.mapping.slices}
        return Item(
            id=str(sample["id"]),
            text=text_of(messages[-1]),
            thread=thread,
            group=word_of(self._field(sample, "group")),
            slices={key: value for key, value in slices.items() if value},
            labels=tuple(labels_of(sample, self.fields)),
        )

    def outcome(self, sample: Mapping[str, Any], item: Item) -> Verdict | Failure:
        """What the other tool answered; a failure where it did not. Raises `DataError` for a rule that the policy has not."""
        common = {"content_id": item.id, "policy": self.policy, "provenance": self.provenance}
        answer, problem = self._answer(sample, item)
        if answer is None:
            reason, detail = problem
            return Failure(**common, reason=reason, detail=detail)
        rules = self._rules(sample) if answer == "yes" else ()
        probability = number_of(self._field(sample, "probability"))
        return Verdict(
            **common,
            outcome=_OUTCOMES[answer],
            rules=rules,
            severity=max((rule.severity for rule in rules), key=SEVERITIES.index, default="none"),
            score=Score(value=probability, method="none" if probability is None else "reported"),
            rationale=word_of(self._field(sample, "rationale")),
        )

    def _field(self, sample: Mapping[str, Any], name: str) -> Any:
        return at(sample, self.fields[name]) if name in self.fields else None

    def _answer(self, sample: Mapping[str, Any], item: Item) -> tuple[Answer | None, tuple[Reason, str]]:
        if sample.get("error"):
            return None, ("engine", str(sample["error"].get("message", "")).split("\n")[0])
        said = word_of(self._field(sample, "correct" if "correct" in self.fields else "decision"))
        if not said:
            limit = (sample.get("limit") or {}).get("type")
            reason: Reason = "timeout" if limit in ("time", "working") else "cut" if limit else "unreadable"
            return None, (reason, f"stopped by its {limit} limit" if limit else "the log has no answer")
        if "correct" in self.fields:
            return self._relative(said, item)
        value = _on_scale(said, self.scale)
        if value is None:
            return None, ("unreadable", f"answer {said[:80]!r} is not on the scale")
        return self.scale.answer(value), ("unreadable", "")

    def _relative(self, said: str, item: Item) -> tuple[Answer | None, tuple[Reason, str]]:
        """The answer of a sample of which is told only whether it was right."""
        gold = self.scale.answer(item.labels[0].value) if item.labels else "unknown"
        if gold == "unknown":
            return None, ("unreadable", f"the answer is {said!r} against a label that is not known")
        other: Answer = "no" if gold == "yes" else "yes"
        answer = gold if said in _RIGHT else other if said in _WRONG else None
        return answer, ("unreadable", f"scored {said!r}: no answer")

    def _rules(self, sample: Mapping[str, Any]) -> tuple[FoundRule, ...]:
        found = self._field(sample, "rules")
        named = found.replace(",", " ").split() if isinstance(found, str) else [word_of(one) for one in found or ()]
        for rule in named:
            if rule not in self.severities:
                known = sorted(self.severities)
                what = f"policy {self.policy!r} has no rule {rule!r}{nearest(rule, known)}"
                raise DataError(f"sample {sample['id']}: {what}\n  rules are {', '.join(known)}")
        return tuple(FoundRule(id=rule, severity=self.severities[rule]) for rule in dict.fromkeys(named))


def labels_of(sample: Mapping[str, Any], fields: Mapping[str, str]) -> list[Annotation]:
    """The labels of a sample: of its annotators, or the one that is its target. Blank ones are none."""
    if "labels" not in fields:
        value = word_of(at(sample, fields["label"]))
        return [Annotation(value=value)] if value else []
    found = at(sample, fields["labels"]) or {}
    if isinstance(found, Mapping):
        pairs = [(str(by), word_of(value)) for by, value in found.items()]
    elif all(isinstance(one, Mapping) for one in found):
        pairs = [(word_of(one.get("by")), word_of(one.get("value", one.get("label")))) for one in found]
    else:
        pairs = [("", word_of(value)) for value in found]
    return [Annotation(by=by or None, value=value) for by, value in pairs if value]


def fields_of(mapping: LogMapping, samples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The fields with their defaults: without a decision, a log's only score if it is one of right and wrong.

    Raises `DataError`.
    """
    for name in mapping.fields:
        if name not in FIELDS:
            raise DataError(f"--map: no field {name!r}{nearest(name, FIELDS)}\n  fields are {', '.join(FIELDS)}")
    fields = {**_DEFAULTS, **mapping.fields}
    if "decision" in fields and "correct" in fields:
        raise DataError("--map: decision and correct exclude each other")
    if "decision" not in fields and "correct" not in fields:
        names = sorted({name for sample in samples for name in sample.get("scores") or {}})
        values = {word_of(at(sample, f"scores.{name}.value")) for sample in samples for name in names}
        if len(names) != 1 or not values <= {"C", "I", "N", ""}:
            hint = "write --map decision=scores.NAME.answer, or correct=scores.NAME.value"
            raise DataError(f"--map: which score is the decision?\n  scores are {', '.join(names) or 'none'}; {hint}")
        fields["correct"] = f"scores.{names[0]}.value"
    for name, place in fields.items():
        if samples and all(at(sample, place) in (None, "", {}, []) for sample in samples):
            raise DataError(f"--map: {name}={place}: no sample has it\n  {_places(samples[0])}")
    return fields


def scale_of(mapping: LogMapping, fields: Mapping[str, str], samples: Sequence[Mapping[str, Any]]) -> Scale:
    """The scale of the labels. Raises `DataError`."""
    if not mapping.violates:
        raise DataError("--violates: which labels violate the policy?\n  write --violates unsafe")
    seen = sorted({label.value for sample in samples for label in labels_of(sample, fields)})
    values = tuple(mapping.values) or tuple(dict.fromkeys((*seen, *mapping.violates, *mapping.unknown)))
    try:
        scale = Scale(values=values, violates=tuple(mapping.violates), unknown=tuple(mapping.unknown))
    except ValidationError as error:
        raise DataError(f"--values, --violates: {first_fault(error)}\n  labels are {', '.join(seen) or 'none'}") from None
    if off := [value for value in seen if value not in values]:
        raise DataError(f"--values: the log has the label {off[0]!r}\n  labels are {', '.join(seen)}")
    if "correct" in fields and len(values) - len(mapping.unknown) > 2:
        what = "what was not the label can be several others"
        raise DataError(f"--map: correct={fields['correct']}: {what}\n  labels are {', '.join(values)}; map decision instead")
    return scale


def at(sample: Mapping[str, Any], place: str) -> Any:
    """What stands at a place; None where there is nothing. Keys may hold dots themselves."""
    value: Any = sample
    parts = place.split(".")
    while parts:
        if not isinstance(value, Mapping):
            return None
        for end in range(len(parts), 0, -1):
            if (key := ".".join(parts[:end])) in value:
                value, parts = value[key], parts[end:]
                break
        else:
            return None
    return value


def word_of(value: Any) -> str:
    """A value as a word: of a list the first, whole numbers without a point; empty for nothing and NaN."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def number_of(value: Any) -> float | None:
    """A probability; None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number <= 1 else None


def _on_scale(said: str, scale: Scale) -> str | None:
    return next((value for value in scale.values if value == said), None) or next(
        (value for value in scale.values if value.lower() == said.lower()), None
    )


def _places(sample: Mapping[str, Any]) -> str:
    """Where a sample has something."""
    scores = [
        f"scores.{name}.{key}"
        for name, score in (sample.get("scores") or {}).items()
        for key in ("value", "answer")
        if score.get(key)
    ]
    return "there is " + ", ".join(
        ["target", "output.completion", *scores, *(f"metadata.{key}" for key in sample.get("metadata") or {})]
    )
