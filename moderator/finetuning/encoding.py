"""Rows as token ids: the prompt and the beginning of the answer as serving sends them, and what each token's loss counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moderator.answer import Kind, Label
from moderator.engines.chat import ChatTokenizer
from moderator.errors import DataError
from moderator.finetuning.rows import Part, Row

MOST_BALANCE: Final = 4
"""A rare label counts at most so many times its own number."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model puts around an answer: tokens between the assistant's name and it, and one behind it."""

    opening: tuple[int, ...] = ()
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row in tokens: the policy's, which other rows share, and the row's own behind it."""

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """Of the row's own tokens: what the loss of foretelling each counts; 0: it is only read."""

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
    return min(MOST_BALANCE, even / counts[label])


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
    for parts in (row.parts[: place + 1], row.parts[place + 1 :]):
        new, of_parts = _tokens(chat, parts, weights)
        ids += new
        counted += of_parts
    if row.whole and turn.end is not None:
        ids.append(turn.end)
        counted.append(weights.get("form", 0.0))
    return Encoded(chat.prefix(row.system), tuple(ids), tuple(counted))


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
