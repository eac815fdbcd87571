"""Rows as token ids: the prompt and the beginning of the answer as serving sends them, and what each token's loss counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from moderator.answer import Kind, Label
from moderator.engines.chat import ChatTokenizer
from moderator.errors import DataError
from moderator.finetuning.rows import Part, Row

_MOST_BALANCE = 4.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model puts around an answer: tokens between the assistant's name and it, and one behind it."""

    opening: tuple[int, ...] = ()
    end: int | None = None


Barred = tuple[int, tuple[int, ...]]
"""A place, and tokens that do not stand to choice there."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row in tokens: the policy's, which other rows share, and the row's own behind it."""

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """Of the row's own tokens: what the loss of foretelling each counts; 0: it is only read."""
    barred: tuple[Barred, ...] = ()
    """Where an id is foretold: the tokens of rules of which nobody said whether they hold. That another rule stands there
    says nothing about these, so they are neither learned nor unlearned."""

    def __len__(self) -> int:
        return len(self.prefix) + len(self.ids)


def encode_rows(
    rows: Sequence[Row], chat: ChatTokenizer, weights: Mapping[Kind, float], *, most: int, balance: bool, turn: Turn
) -> list[Encoded]:
    """The rows in tokens.

    Raises `DataError` for a row of more than `most` tokens: a cut one would teach what it does not say.
    """
    counts = Counter(row.label for row in rows)
    encoded = []
    for row in rows:
        one = encode(row, chat, _scaled(weights, _balance(counts, row.label) if balance else 1.0), turn)
        if len(one) > most:
            hint = "raise learning.tokens, or shorten the policy (a budget in the family) or the content"
            raise DataError(f"row {row.id}: {len(one):,} tokens where a pack has {most:,}\n  {hint}")
        encoded.append(one)
    return encoded


def _balance(counts: Mapping[Label, int], label: Label) -> float:
    even = sum(counts.values()) / len(counts)
    return min(_MOST_BALANCE, even / counts[label])


def _scaled(weights: Mapping[Kind, float], factor: float) -> dict[Kind, float]:
    return {kind: weight * (factor if kind == "label" else 1.0) for kind, weight in weights.items()}


def encode(row: Row, chat: ChatTokenizer, weights: Mapping[Kind, float], turn: Turn) -> Encoded:
    """One row in tokens.

    The answer is cut where serving cuts it: what stands up to the label, with it, is what a prompt for the rest ends with, so
    the label is one token by itself, and what follows begins with a token of its own.
    """
    place = next(index for index, part in enumerate(row.parts) if part.kind == "label")
    ids = _asked(row, chat, turn)
    counted = [0.0] * len(ids)
    barred: list[Barred] = []
    for parts in (row.parts[: place + 1], row.parts[place + 1 :]):
        new, of_parts = _tokens(chat, parts, weights)
        barred += [(len(ids) + at, tokens) for at, tokens in _barred(chat, row, parts)]
        ids += new
        counted += of_parts
    if row.whole and turn.end is not None:
        ids.append(turn.end)
        counted.append(weights.get("form", 0.0))
    return Encoded(chat.prefix(row.system), tuple(ids), tuple(counted), tuple(barred))


def encode_prompt(row: Row, chat: ChatTokenizer, turn: Turn) -> list[int]:
    """What stands before the first thing that a model decides in answering the row, as serving sends it."""
    return [*chat.prefix(row.system), *_asked(row, chat, turn), *chat.encode(row.format.opening)]


def _asked(row: Row, chat: ChatTokenizer, turn: Turn) -> list[int]:
    return [*chat.encode(row.user), *chat.after, *turn.opening]


def _tokens(chat: ChatTokenizer, parts: Sequence[Part], weights: Mapping[Kind, float]) -> tuple[list[int], list[float]]:
    """The tokens of the parts together; one that stands over several parts counts as the weightiest."""
    of_character = [weights.get(part.kind, 0.0) if part.learned else 0.0 for part in parts for _ in part.text]
    ids, offsets = chat.encode_with_offsets("".join(part.text for part in parts))
    # a token of a character's later bytes may have no characters of its own
    return ids, [max(of_character[start : max(end, start + 1)], default=0.0) for start, end in offsets]


def _barred(chat: ChatTokenizer, row: Row, parts: Sequence[Part]) -> Iterator[Barred]:
    """At the places of the parts' tokens where an id is chosen: what would begin or go on the id of an unknown rule."""
    unknown = [rule for rule in row.format.rules if rule not in row.rules]
    if not unknown:
        return
    before = ""
    for part in parts:
        if part.kind == "rule":
            start, written = _spelled(chat, before, part.text)
            known = [_spelled(chat, before, rule)[1] for rule in row.format.rules if rule in row.rules]
            others = [_spelled(chat, before, rule)[1] for rule in unknown]
            for at in range(len(written)):
                open_ = {ids[at] for ids in (written, *known) if ids[:at] == written[:at] and len(ids) > at}
                closed = {ids[at] for ids in others if ids[:at] == written[:at] and len(ids) > at} - open_
                if closed:
                    yield start + at, tuple(sorted(closed))
        before += part.text


def _spelled(chat: ChatTokenizer, before: str, rule: str) -> tuple[int, list[int]]:
    """The tokens that an id has behind a text, from the first one that has some of it; and how many stand before them."""
    ids, offsets = chat.encode_with_offsets(f'{before}{rule}","quote":"')
    inside = [place for place, (start, end) in enumerate(offsets) if start < len(before) + len(rule) and end > len(before)]
    return inside[0], ids[inside[0] : inside[-1] + 1]
