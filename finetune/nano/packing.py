"""A group in tokens, encoded by what serves (`ChatTokenizer`): the policy as a prefix, every content after it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from finetune.nano.augment import Item
from finetune.nano.prepare import Example
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import Prompt

END = 1
"""The token that ends an answer."""
LABEL, ID, REST, HEAD = 1, 2, 3, 4
"""What a token of an answer is: its label, an id that people settled, the part after the label, the part before it; 0 for an id
that they did not settle, of which nothing is learned."""

RULES, EXCEPTIONS, ESCALATIONS = 0, 1, 2
"""The kinds of a policy's parts that attention heads are taught to look at."""
QUOTE = re.compile(r'"quote":"((?:[^"\\]|\\.)+)"')


@dataclass(frozen=True)
class Prefix:
    """The shared part of the prompts of a policy; `lines[id]` are the tokens (first, past the last) of a part's line, and
    `names[id]` those of the id that it begins with."""

    ids: tuple[int, ...]
    lines: dict[str, tuple[int, int]]
    names: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Look:
    """At `place`, the heads for a kind of parts should look at the lines of these; at the first token when there are none."""

    place: int
    kind: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Quote:
    """At `place`, where a quote begins, the heads that quote should look at `sources`, places of its words in the same row."""

    place: int
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One content after the prefix; `kinds[i]` says what token i is, 0 for the prompt; the label is read at `read`, and `cites`
    are looks from where tokens of ids are written. `rest` is the grammar of what follows the label."""

    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    read: int
    looks: tuple[Look, ...] = ()
    example: Example | None = None
    cites: tuple[Look, ...] = ()
    quotes: tuple[Quote, ...] = ()
    rest: str = ""

    @property
    def written(self) -> tuple[int, ...]:
        """The kinds of the tokens of an answer that goes on behind its label; none of one that is cut there."""
        return () if self.kinds[-1:] == (LABEL,) else self.kinds


def encode_prefix(chat: ChatTokenizer, system: str, parts: Sequence[str]) -> Prefix:
    """The system turn; `parts` are the ids that begin a line of it."""
    ids, said = chat.prefix(system), chat.tokenizer.encode(system, add_special_tokens=False)
    first = next(index for index in range(len(ids)) if list(ids[index : index + len(said.ids)]) == said.ids)
    lines, names, start = {}, {}, 0
    for line in system.split("\n"):
        name = line.split(" ", 1)[0]
        if name in parts:
            inside = [index for index, (left, _) in enumerate(said.offsets) if start <= left < start + len(line)]
            named = [index for index in inside if said.offsets[index][0] < start + len(name)]
            lines[name] = (first + inside[0], first + inside[-1] + 1)
            names[name] = (first + named[0], first + named[-1] + 1)
        start += len(line) + 1
    return Prefix(tuple(ids), lines, names)


def ask(chat: ChatTokenizer, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The user's turns and the beginning of the assistant's, without its prefill."""
    return chat.suffixes([replace(prompt, prefill="") for prompt in prompts])


def encode_row(chat: ChatTokenizer, asked: Sequence[int], item: Item) -> Row:
    """A user's turn and the answer to it in tokens."""
    answer = chat.tokenizer.encode(item.answer, add_special_tokens=False)
    ids, kinds, looks, cites, copied, read = [*asked], [0] * len(asked), [], [], [], 0
    starts = {mark.start: mark for mark in item.marks}
    quotes = {quote.start(1): quote[1] for quote in QUOTE.finditer(item.answer)}
    for token, (start, end) in zip(answer.ids, answer.offsets, strict=True):
        known = next((mark for mark in item.marks if mark.start <= start < mark.end), None)
        sure = known and known.sure
        if sure and start in starts:
            looks.append(Look(len(ids) - 1, starts[start].kind, (starts[start].name,)))
        if sure:
            cites.append(Look(len(ids) - 1, known.kind, (known.name,)))
        if start in quotes and (sources := places_of(chat, asked, quotes[start])):
            copied.append(Quote(len(ids) - 1, sources))
        if start == item.label[0]:
            read = len(ids) - 1
            looks += [Look(read, kind, parts) for kind, parts in enumerate(item.points)]
        ids.append(token)
        behind = REST if not known else ID if sure else 0
        kinds.append(LABEL if start == item.label[0] else HEAD if end <= item.label[0] else behind)
        if start == item.label[0] and item.cut:
            return Row(tuple(ids), tuple(kinds), read, tuple(looks), item.example)
    return Row((*ids, END), (*kinds, REST), read, tuple(looks), item.example, tuple(cites), tuple(copied), item.rest)


def places_of(chat: ChatTokenizer, ids: Sequence[int], text: str) -> tuple[int, ...]:
    """The places of the tokens that say the text, where it stands last; none where it does not."""
    said = [chat.tokenizer.decode([token], skip_special_tokens=False) for token in ids]
    starts = list(itertools.accumulate(map(len, said), initial=0))
    start = "".join(said).rfind(text)
    end = start + len(text)
    return tuple(
        place for place in range(len(ids)) if text and start >= 0 and starts[place] < end and starts[place + 1] > start
    )


def batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows, the shortest first, in batches of at most `tokens` with padding."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and (len(batch) + 1) * len(row.ids) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(rows: Sequence[Row]) -> torch.Tensor:
    """Token ids (rows, longest and up to seven more), zeros on the right: few shapes, so that memory is used again."""
    ids = torch.zeros(len(rows), -(-max(len(row.ids) for row in rows) // 8) * 8, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
    return ids


def wholes(rows: Sequence[Row], states: Sequence[torch.Tensor], first: int, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each content as a whole, twice (rows, width): the mean over its turn after `first` layers, and where its label is read.

    `states` are those after each layer, as `network.forward` gives them; the second is taken after `depth` layers.
    """
    ends = torch.tensor([row.read for row in rows])
    inside = (torch.arange(states[first].shape[1])[None] <= ends[:, None]).float()[:, :, None]
    return (states[first] * inside).sum(1) / inside.sum(1), states[depth][torch.arange(len(rows)), ends]
