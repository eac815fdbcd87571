"""What the engines in this process share: from prompts to packs of token ids, and back to completions.

The policy prefix is run once and kept. Contents are run many at a time behind it, each as if it were alone. Label reads are
finished by that one pass; texts go on, a step for all of them at a time, each under its own grammar.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from moderator.answer import AnswerFormat, Label
from moderator.engines import Completion
from moderator.engines.chat import ChatTokenizer
from moderator.engines.decoding import NOT_NUMBERS, Grammars
from moderator.prompt import Prompt, ReadLabel, Write

Logits = NDArray[np.float32]
Prefix = TypeVar("Prefix")
Task = TypeVar("Task", ReadLabel, Write)

_WRITERS_SHARE: Final = 8
"""Writers may hold this many times the tokens of a pass: their steps are small, and the more share one the better."""


class Rows(Protocol):
    """Token rows that all continue one prefix, and see nothing of each other."""

    def extend(self, new: Mapping[int, Sequence[int]]) -> Logits:
        """Appends ids (at least one) to rows. Gives the logits after the last id of each, in the mapping's order."""


class Model(Protocol[Prefix]):
    """A decoder that can keep what it computed for a prefix, and continue it many times."""

    context: int
    """Positions that a row can have, prefix included."""

    def prefix(self, ids: Sequence[int]) -> Prefix: ...

    def rows(self, prefix: Prefix, count: int) -> Rows: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is run at a time."""

    tokens: int
    """Of contents, in one pass, counted as if all were as long as the longest."""
    writers: int = 32
    """Texts that are written side by side."""
    prefixes: int = 8
    """Policy prefixes that are kept."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[Task]):
    """One prompt under way: its place in the call, and its ids behind the prefix."""

    index: int
    ids: list[int]
    form: AnswerFormat
    task: Task


@dataclass(frozen=True, slots=True)
class _Group:
    """The prompts of a call that share their system text."""

    reads: list[_Item[ReadLabel]] = field(default_factory=list)
    writes: list[_Item[Write]] = field(default_factory=list)

    def add(self, index: int, prompt: Prompt, ids: list[int]) -> None:
        if isinstance(prompt.task, Write):
            self.writes.append(_Item(index, ids, prompt.format, prompt.task))
        else:
            self.reads.append(_Item(index, ids, prompt.format, prompt.task))


class PackingEngine(Generic[Prefix]):
    """`complete` over a `Model`. Subclasses open the model and describe themselves."""

    def __init__(self, chat: ChatTokenizer, model: Model[Prefix], grammars: Grammars, limits: Limits):
        # a label that is not one token is found when the engine opens, not at the first content
        chat.label_ids(AnswerFormat(rules=(), exceptions=("X1",)))
        self._chat = chat
        self._model = model
        self._grammars = grammars
        self._limits = limits
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        groups: dict[str, _Group] = {}
        for index, (prompt, ids) in enumerate(zip(prompts, self._chat.suffixes(prompts), strict=True)):
            groups.setdefault(prompt.system, _Group()).add(index, prompt, ids)
        completions: dict[int, Completion] = {}
        # one call at a time: the arithmetic library uses all its threads for one pass already
        with self._lock:
            for system, group in groups.items():
                completions.update(self._under(system, group))
        return [completions[index] for index in range(len(prompts))]

    def forget(self) -> None:
        """Drops the prefixes that are kept: the model has changed."""
        with self._lock:
            self._prefixes.clear()

    def _under(self, system: str, group: _Group) -> Iterator[tuple[int, Completion]]:
        size = len(self._chat.prefix(system))
        room = self._model.context - size
        cached = size if system in self._prefixes else 0
        both: list[_Item[Any]] = [*group.reads, *group.writes]
        for item in both:
            if not _fits(item, room):
                yield item.index, _too_long(size, item, self._model.context)
        for items, completions in self._packs(system, group, room):
            for item, completion in zip(items, completions, strict=True):
                yield item.index, replace(completion, prompt_tokens=size + len(item.ids), cached_tokens=cached)
                cached = size

    def _packs(self, system: str, group: _Group, room: int) -> Iterator[tuple[Sequence[_Item[Any]], list[Completion]]]:
        limits = self._limits
        for reads in _packed([item for item in group.reads if _fits(item, room)], limits.tokens):
            yield reads, self._read(system, reads)
        writes = [item for item in group.writes if _fits(item, room)]
        for written in _packed(writes, _WRITERS_SHARE * limits.tokens, limits.writers):
            yield written, self._write(system, written, room)

    def _read(self, system: str, pack: Sequence[_Item[ReadLabel]]) -> list[Completion]:
        logits = self._rows(system, len(pack)).extend({row: item.ids for row, item in enumerate(pack)})
        labels = [self._chat.label_ids(item.form) for item in pack]
        return [
            _labels(of_row, {label: ids[label] for label in item.task.labels})
            for item, ids, of_row in zip(pack, labels, logits, strict=True)
        ]

    def _write(self, system: str, pack: Sequence[_Item[Write]], room: int) -> list[Completion]:
        writers = [self._grammars.writer(item.task, room - len(item.ids)) for item in pack]
        new = {row: pack[row].ids + writer.take() for row, writer in enumerate(writers) if not writer.done}
        # the grammar may leave nothing to decide: then the model is not asked
        rows = self._rows(system, len(pack)) if new else None
        while rows and new:
            for row, logits in zip(new, rows.extend(new), strict=True):
                writers[row].choose(logits)
            new = {row: writers[row].take() for row in new if not writers[row].done}
        return [
            Completion(text=writer.text, problem=writer.problem, detail=writer.detail, completion_tokens=len(writer.ids))
            for writer in writers
        ]

    def _rows(self, system: str, count: int) -> Rows:
        if system not in self._prefixes:
            while len(self._prefixes) >= self._limits.prefixes:
                self._prefixes.popitem(last=False)
            self._prefixes[system] = self._model.prefix(self._chat.prefix(system))
        self._prefixes.move_to_end(system)
        return self._model.rows(self._prefixes[system], count)


def _fits(item: _Item[Any], room: int) -> bool:
    """Whether the prompt fits, and a text one token longer."""
    return len(item.ids) + isinstance(item.task, Write) <= room


def _too_long(prefix: int, item: _Item[Any], context: int) -> Completion:
    total = prefix + len(item.ids)
    detail = f"{total} tokens ({prefix} of them the policy's) where the model takes {context}"
    return Completion(problem="too_long", detail=detail, prompt_tokens=total)


def _packed(items: Sequence[_Item[Task]], tokens: int, most: int = sys.maxsize) -> Iterator[list[_Item[Task]]]:
    """Prompts of similar length, longest first, as many at a time as the tokens allow; at least one."""
    longest_first = sorted(items, key=lambda item: -len(item.ids))
    while longest_first:
        count = max(1, min(most, tokens // len(longest_first[0].ids)))
        yield longest_first[:count]
        longest_first = longest_first[count:]


def _labels(logits: Logits, wanted: Mapping[Label, int]) -> Completion:
    """The probabilities of the wanted tokens in the full vocabulary."""
    if not np.isfinite(logits.max()):
        return Completion(problem="engine", detail=NOT_NUMBERS)
    weights = np.exp(logits.astype(np.float64) - logits.max())
    weights /= weights.sum()
    labels: dict[str, float] = {label: float(weights[index]) for label, index in wanted.items()}
    return Completion(labels=labels, label_leads=int(logits.argmax()) in wanted.values(), completion_tokens=1)
