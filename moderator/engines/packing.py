"""What the engines in this process share: from prompts to packs of token ids, and back to completions.

The policy prefix is run once and kept. Contents are run many at a time behind it, each as if it were alone. Label reads are
finished by that one pass; texts go on, a step for all of them at a time, each under its own grammar.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from moderator.engines import Completion
from moderator.engines.chat import ChatTokenizer
from moderator.engines.decoding import Grammars, Writer
from moderator.prompt import Prompt, ReadLabel, Write

Logits = NDArray[np.float32]
Prefix = TypeVar("Prefix")


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
    """How much is run at a time. Tokens count with the padding to the longest of the pack."""

    tokens: int
    """Of contents, in one pass."""
    writers: int = 32
    """Texts that are written side by side."""
    prefixes: int = 8
    """Policy prefixes that are kept."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One prompt under way: its place in the call, and its ids behind the prefix."""

    index: int
    prompt: Prompt
    ids: list[int]

    @property
    def writes(self) -> bool:
        return isinstance(self.prompt.task, Write)

    @property
    def least(self) -> int:
        """The positions that it needs at least: those of its ids, and one to write at."""
        return len(self.ids) + self.writes


class PackingEngine(Generic[Prefix]):
    """`complete` over a `Model`. Subclasses open the model and describe themselves."""

    def __init__(self, chat: ChatTokenizer, model: Model[Prefix], grammars: Grammars, limits: Limits):
        self._chat = chat
        self._model = model
        self._grammars = grammars
        self._limits = limits
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        completions: dict[int, Completion] = {}
        groups: dict[str, list[_Item]] = {}
        for index, (prompt, ids) in enumerate(zip(prompts, self._chat.suffixes(prompts), strict=True)):
            groups.setdefault(prompt.system, []).append(_Item(index, prompt, ids))
        # one call at a time: the arithmetic library uses all its threads for one pass already
        with self._lock:
            for system, items in groups.items():
                completions.update(self._under(system, items))
        return [completions[index] for index in range(len(prompts))]

    def _under(self, system: str, items: list[_Item]) -> Iterator[tuple[int, Completion]]:
        """The completions of prompts that share their system text."""
        size = len(self._chat.prefix(system))
        cached = size if system in self._prefixes else 0
        fitting: list[_Item] = []
        for item in items:
            if size + item.least <= self._model.context:
                fitting.append(item)
            else:
                yield item.index, self._too_long(size, item)
        for pack in self._packs(fitting):
            for item, completion in zip(pack, self._run(system, size, pack), strict=True):
                yield item.index, replace(completion, prompt_tokens=size + len(item.ids), cached_tokens=cached)
                cached = size

    def _too_long(self, prefix: int, item: _Item) -> Completion:
        total = prefix + len(item.ids)
        detail = f"{total} tokens ({prefix} of them the policy's) where the model takes {self._model.context}"
        return Completion(problem="too_long", detail=detail, prompt_tokens=total)

    def _packs(self, items: list[_Item]) -> Iterator[list[_Item]]:
        """Prompts to run together: of one kind of task, and of similar length, longest first."""
        pack: list[_Item] = []
        for item in sorted(items, key=lambda item: (item.writes, -len(item.ids))):
            most = self._limits.writers if item.writes else max(1, self._limits.tokens // len(pack[0].ids if pack else item.ids))
            if pack and (len(pack) >= most or item.writes != pack[0].writes):
                yield pack
                pack = []
            pack.append(item)
        if pack:
            yield pack

    def _run(self, system: str, size: int, pack: list[_Item]) -> list[Completion]:
        rows = self._model.rows(self._prefix(system), len(pack))
        writers: dict[int, Writer] = {}
        new: dict[int, list[int]] = {}
        for row, item in enumerate(pack):
            new[row] = item.ids
            if isinstance(item.prompt.task, Write):
                writers[row] = self._grammars.writer(item.prompt.task, self._model.context - size - len(item.ids))
                new[row] = item.ids + writers[row].take()
        if writers:
            self._write(rows, writers, new)
            return [
                Completion(text=writer.text, problem=writer.problem, detail=writer.detail, completion_tokens=len(writer.ids))
                for writer in writers.values()
            ]
        return [self._labels(item.prompt, logits) for item, logits in zip(pack, rows.extend(new), strict=True)]

    def _write(self, rows: Rows, writers: Mapping[int, Writer], new: Mapping[int, Sequence[int]]) -> None:
        while new := {row: ids for row, ids in new.items() if not writers[row].done}:
            for row, logits in zip(new, rows.extend(new), strict=True):
                writers[row].choose(logits)
            new = {row: writers[row].take() for row in new}

    def _labels(self, prompt: Prompt, logits: Logits) -> Completion:
        if not isinstance(prompt.task, ReadLabel):
            raise TypeError(prompt.task)
        ids = self._chat.label_ids(prompt.format)
        wanted = {label: ids[label] for label in prompt.task.labels}
        shifted = logits.astype(np.float64) - logits.max()
        total = np.exp(shifted).sum()
        labels = {label: float(np.exp(shifted[index]) / total) for label, index in wanted.items()}
        return Completion(labels=labels, label_leads=int(logits.argmax()) in wanted.values(), completion_tokens=1)

    def _prefix(self, system: str) -> Prefix:
        if system not in self._prefixes:
            while len(self._prefixes) >= self._limits.prefixes:
                self._prefixes.popitem(last=False)
            self._prefixes[system] = self._model.prefix(self._chat.prefix(system))
        self._prefixes.move_to_end(system)
        return self._prefixes[system]
