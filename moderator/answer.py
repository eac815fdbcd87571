"""The written form of an answer: its grammar, its reader and its writer. Serving reads with it, training writes with it.

An answer is compact JSON. Its label is the value of ``violates``, one of `LABELS`; what follows depends on the label, one
closed alternative each, so that a contradiction ("no", with rules) cannot be written:

    {"violates":"no"}
    {"violates":"yes","rules":[{"id":"H1","quote":"..."}],"exceptions":[],"escalations":[]}
    {"violates":"exception","rules":[{"id":"H1","quote":"..."}],"exceptions":["X1"],"escalations":[]}
    {"violates":"unknown","rules":[],"escalations":["E2"],"missing":["thread"]}
    {"violates":"none"}

In ``reasoned`` mode a bounded ``rationale`` stands before ``violates``; in ``fast`` mode it stands last, if the family asks
for one.
Grammars are llguidance Lark (the engine behind vLLM's ``guidance`` backend too). A quote can only be a piece of the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from moderator.errors import AnswerError
from moderator.quoting import chunks, literal

Mode = Literal["fast", "reasoned"]
Label = Literal["no", "yes", "exception", "unknown", "none"]
Missing = Literal["thread", "author", "target", "intent", "image", "link", "audience"]
Kind = Literal["form", "rationale", "label", "rule", "quote", "exception", "escalation", "missing"]

LABELS: Final[tuple[Label, ...]] = get_args(Label)
MISSING: Final[tuple[Missing, ...]] = get_args(Missing)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

MOST_RULES: Final = 4
"""As many rules an answer may cite."""
_MAX_IDS = 3
_SHOWN_OF_A_WRONG_VALUE = 24
"""Characters, in messages: what stands there was written by a model, and may be the content's own words."""
_FIELDS: Final[Mapping[Label, tuple[str, ...]]] = {
    "no": (),
    "yes": ("rules", "exceptions", "escalations"),
    "exception": ("rules", "exceptions", "escalations"),
    "unknown": ("rules", "escalations", "missing"),
    "none": (),
}
"""The fields that follow each label, in the order in which they are written."""
_KINDS: Final[Mapping[str, Kind]] = {"exceptions": "exception", "escalations": "escalation", "missing": "missing"}
_AT_LEAST: Final[Mapping[tuple[Label, str], int]] = {
    ("yes", "rules"): 1,
    ("exception", "rules"): 1,
    ("exception", "exceptions"): 1,
}

_LABEL_HEAD = '"violates":"'
_STRING_CHARACTER = r'([^"\\\x00-\x1f\x7f-\x9f]|\\["\\nrt])'
_RATIONALE_STEP = re.compile(_STRING_CHARACTER + '*",' + _LABEL_HEAD)
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """A rule that the model says is broken, and the words it quotes for it (empty: none)."""

    id: str
    quote: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model wrote, parsed. It concludes nothing: `moderator.resolution` does."""

    label: Label
    rules: tuple[RuleFinding, ...] = ()
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    rationale: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a written answer, by what it states; ``form`` is what holds the rest together."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of answers about one policy: the ids that may be cited, the mode, and the bounds of strings (characters)."""

    rules: tuple[str, ...]
    exceptions: tuple[str, ...] = ()
    escalations: tuple[str, ...] = ()
    mode: Mode = "fast"
    quote_chars: int = 160
    rationale_chars: int = 240

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that can be given; without exceptions in the policy there is no ``exception``."""
        return LABELS if self.exceptions else tuple(label for label in LABELS if label != "exception")

    @property
    def opening(self) -> str:
        """What every answer begins with, up to the first thing the model decides."""
        return '{"rationale":"' if self.mode == "reasoned" else "{" + _LABEL_HEAD

    def head(self, rationale: str = "") -> str:
        """What stands before the label; `rationale` is what was written for `rationale_grammar`, and ends at the label."""
        return self.opening + rationale

    def rationale_grammar(self) -> str:
        """Lark for what follows `opening` in ``reasoned`` mode, up to the label."""
        to_label = _terminal('",' + _LABEL_HEAD)
        return f"start: TEXT {to_label}\nTEXT: /{_STRING_CHARACTER}{{0,{self.rationale_chars}}}/\n"

    def is_rationale_step(self, text: str) -> bool:
        """Whether a text is what `rationale_grammar` describes, of any length: it ends at the label and states none itself."""
        return _RATIONALE_STEP.fullmatch(text) is not None

    def rest_grammar(self, label: Label, shown: str) -> str:
        """Lark for what follows the label, its closing quotation mark first.

        `shown` is the content as its slot shows it, without the quotation marks: a quote is a run of its words.
        """
        pieces = chunks(shown)
        parts = ['"\\""']
        terminals: dict[str, str] = {}
        for field in self._fields(label):
            low, high = self._bounds(label, field)
            item = "rule" if field == "rules" else field.upper()
            separator = "" if not low else f'{item} ("," {item}){{0,{high - 1}}}'
            optional = f'({item} ("," {item}){{0,{high - 1}}})?'
            parts.append(_terminal(f',"{field}":[') + f' {separator or optional} "]"')
            if field != "rules":
                terminals[item] = _choice(_terminal(f'"{value}"') for value in self._values(field))
        if self._rationale_last:
            parts.append(_terminal(',"rationale":"') + ' TEXT "\\""')
            terminals["TEXT"] = f"/{_STRING_CHARACTER}{{0,{self.rationale_chars}}}/"
        lines = ["start: " + " ".join([*parts, '"}"'])]
        if "rules" in self._fields(label):
            # where no piece can be quoted the quote is empty: a terminal that matches nothing would end the writing
            quote = "QUOTE" if any(piece.strip() and len(piece) <= self.quote_chars for piece in pieces) else ""
            lines.append(" ".join(["rule:", _terminal('{"id":"'), "RULE", _terminal('","quote":"'), quote, _terminal('"}')]))
            terminals["RULE"] = _choice(map(_terminal, self.rules))
            if quote:
                terminals["QUOTE"] = f"PIECES & /(?s:.{{1,{self.quote_chars}}})/"
                terminals["PIECES"] = '%regex {"substring_chunks": ' + json.dumps(pieces) + "}"
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in terminals.items())]) + "\n"

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a whole answer, for engines that take nothing finer; properties in the order of writing."""
        return {"anyOf": [self._alternative(label) for label in self.labels]}

    def write(self, finding: Finding) -> str:
        """The finding as an answer; `read` gives it back. A rationale is cut at its bound, a quote is not.

        Raises `AnswerError` for ids that the policy does not have, and for a quote that is longer than an answer may have.
        """
        return "".join(piece.text for piece in self.pieces(finding))

    def pieces(self, finding: Finding) -> tuple[Piece, ...]:
        """What `write` writes, in pieces. Raises as `write` does."""
        self._check(finding)
        return tuple(self._pieces(finding))

    def read(self, text: str) -> Finding:
        """The finding that an answer states. Raises `AnswerError` when it is not JSON, not of this form, or cites unknown ids.

        Strings may be longer than their bounds: not every engine can be held to them. An id given twice is taken once.
        """
        answer = _parse(text)
        label = answer.get("violates")
        if label not in self.labels:
            raise AnswerError(f"answer: `violates` is {_brief(label)}, not one of {', '.join(self.labels)}")
        expected = {"violates", *self._fields(label)} | ({"rationale"} if self.mode == "reasoned" else set())
        # a rationale that stands last explains and decides nothing: an answer without it is whole
        if set(answer) - {"rationale"} != expected - {"rationale"} or ("rationale" in expected and "rationale" not in answer):
            raise AnswerError(f"answer: {_differing(answer, expected)} with {label!r}")
        finding = Finding(
            label=label,
            rules=tuple(_rule(entry) for entry in _list(answer, "rules")),
            exceptions=tuple(_list(answer, "exceptions")),
            escalations=tuple(_list(answer, "escalations")),
            missing=tuple(_list(answer, "missing")),
            rationale=_text(answer, "rationale"),
        )
        self._check(finding)
        return replace(
            finding,
            exceptions=tuple(dict.fromkeys(finding.exceptions)),
            escalations=tuple(dict.fromkeys(finding.escalations)),
            missing=tuple(dict.fromkeys(finding.missing)),
        )

    def _pieces(self, finding: Finding) -> Iterator[Piece]:
        rationale = Piece("rationale", _string(finding.rationale, self.rationale_chars)[1:-1])
        yield Piece("form", self.opening)
        if self.mode == "reasoned":
            yield rationale
            yield Piece("form", '",' + _LABEL_HEAD)
        yield Piece("label", finding.label)
        closing = '"'
        for field in self._fields(finding.label):
            yield Piece("form", f'{closing},"{field}":[')
            yield from self._rules(finding.rules) if field == "rules" else _listed(_KINDS[field], getattr(finding, field))
            closing = "]"
        if self._rationale_last:
            yield Piece("form", closing + ',"rationale":"')
            yield rationale
            closing = '"'
        yield Piece("form", closing + "}")

    def _rules(self, rules: Sequence[RuleFinding]) -> Iterator[Piece]:
        for number, rule in enumerate(rules):
            yield Piece("form", ("," if number else "") + '{"id":"')
            yield Piece("rule", rule.id)
            yield Piece("form", '","quote":"')
            yield Piece("quote", self._quote(rule.quote))
            yield Piece("form", '"}')

    def _quote(self, quote: str) -> str:
        written = literal(quote)[1:-1]
        if len(written) > self.quote_chars:
            raise AnswerError(f"answer: a quote of {len(written)} characters where {self.quote_chars} may be written")
        return written

    @property
    def _rationale_last(self) -> bool:
        return self.mode == "fast" and self.rationale_chars > 0

    def _fields(self, label: Label) -> tuple[str, ...]:
        return tuple(field for field in _FIELDS[label] if self._values(field))

    def _values(self, field: str) -> tuple[str, ...]:
        return MISSING if field == "missing" else getattr(self, field)

    def _bounds(self, label: Label, field: str) -> tuple[int, int]:
        return _AT_LEAST.get((label, field), 0), MOST_RULES if field == "rules" else _MAX_IDS

    def _alternative(self, label: Label) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        rationale = {"type": "string", "maxLength": self.rationale_chars}
        if self.mode == "reasoned":
            properties["rationale"] = rationale
        properties["violates"] = {"const": label}
        for field in self._fields(label):
            low, high = self._bounds(label, field)
            items: dict[str, Any] = {"enum": list(self._values(field))}
            if field == "rules":
                quote = {"type": "string", "maxLength": self.quote_chars}
                items = _closed({"id": items, "quote": quote})
            properties[field] = {"type": "array", "items": items, "minItems": low, "maxItems": high}
        if self._rationale_last:
            properties["rationale"] = rationale
        return _closed(properties)

    def _check(self, finding: Finding) -> None:
        if finding.label not in self.labels:
            raise AnswerError(f"answer: label {_brief(finding.label)} is not one of {', '.join(self.labels)}")
        for field in ("rules", "exceptions", "escalations", "missing"):
            values = [rule.id for rule in finding.rules] if field == "rules" else getattr(finding, field)
            if unknown := [value for value in values if value not in self._values(field)]:
                raise AnswerError(f"answer: {field} cites {_brief(unknown[0])}, which the policy does not have")
            if field in self._fields(finding.label):
                low, high = self._bounds(finding.label, field)
                if not low <= len(values) <= high:
                    given = f"{len(values)} {field} where {low} to {high} may be given"
                    raise AnswerError(f"answer: {given} with {finding.label!r}")
            elif values:
                raise AnswerError(f"answer: {field} cannot be given with {finding.label!r}")


def _listed(kind: Kind, values: Sequence[str]) -> Iterator[Piece]:
    for number, value in enumerate(values):
        yield Piece("form", ',"' if number else '"')
        yield Piece(kind, value)
        yield Piece("form", '"')


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _terminal(text: str) -> str:
    """A Lark string that matches the text."""
    return json.dumps(text)


def _choice(alternatives: Iterable[str]) -> str:
    return " | ".join(alternatives)


def _string(text: str, limit: int) -> str:
    """A JSON string that the grammar can produce: bounded, without the characters it leaves out."""
    return json.dumps(_UNWRITABLE.sub(" ", text)[:limit], ensure_ascii=False)


def _parse(text: str) -> dict[str, Any]:
    """One JSON object and nothing else, in which no name stands twice: `json.loads` would take the last."""
    try:
        answer = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise AnswerError("answer: not JSON: nested too deep") from None
    except ValueError as error:
        raise AnswerError(f"answer: not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise AnswerError(f"answer: an object was expected, not {type(answer).__name__}")
    return answer


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise AnswerError(f"answer: {_brief(name)} is given twice")
        made[name] = value
    return made


def _brief(value: object) -> str:
    """A value as a message shows it: its beginning if it is a string, else its kind."""
    if not isinstance(value, str):
        return "missing" if value is None else f"a {type(value).__name__}"
    short = value[:_SHOWN_OF_A_WRONG_VALUE]
    return repr(short) + ("..." if len(value) > len(short) else "")


def _differing(answer: Mapping[str, Any], expected: Set[str]) -> str:
    """What is too much in an answer, or else what it lacks."""
    if surplus := sorted(set(answer) - expected - {"rationale"}):
        return f"field {_brief(surplus[0])} cannot be given"
    return f"field {min(expected - set(answer))!r} is missing"


def _list(answer: Mapping[str, Any], field: str) -> Sequence[Any]:
    value = answer.get(field, [])
    if not isinstance(value, list) or (field != "rules" and not all(isinstance(item, str) for item in value)):
        raise AnswerError(f"answer: `{field}` is not a list of the promised kind")
    return value


def _text(answer: Mapping[str, Any], field: str) -> str:
    value = answer.get(field, "")
    if not isinstance(value, str):
        raise AnswerError(f"answer: `{field}` is not a string")
    return value


def _rule(entry: Any) -> RuleFinding:
    if not isinstance(entry, dict) or set(entry) != {"id", "quote"} or not all(isinstance(v, str) for v in entry.values()):
        raise AnswerError('answer: an entry of `rules` is not {"id": ..., "quote": ...}')
    return RuleFinding(entry["id"], entry["quote"])
