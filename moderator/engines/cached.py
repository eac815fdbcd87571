"""An engine around an engine: what was answered once is not asked again."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from moderator.engines import Completion, Engine, EngineDescription, close, describe
from moderator.errors import AnswerError, DataError, EngineError
from moderator.prompt import Prompt, ReadLabel

_OURS: Final = 0x6D6F6461
"""SQLite's `application_id` of a cache: the letters "moda"."""
_AT_ONCE: Final = 500
"""Keys in one query; SQLite before 3.32 takes 999 variables."""
_PATIENCE: Final = 60.0
"""Seconds to wait for another process that writes."""
_KEPT: Final = ("text", "labels", "label_leads", "whole")


class CachedEngine:
    """Answers from one SQLite file what the engine behind it answered before; only the rest goes to that engine, in order.

    The key is the SHA-256 of everything that matters: the engine's description and the whole prompt with its task. So an engine
    of one's own must name in its `description` whatever changes its answers. Never kept are problems (refused, cut, timed out
    ...), answers that cannot be read, and label reads that are no probabilities: they are asked for again.

    Equal prompts of one call are asked once. An answer that was not asked for cost nothing: it has no tokens.

    Several processes may share a file, and one that is killed leaves it whole. Raises `DataError` for a file that is no cache,
    is damaged, or cannot be read and written.
    """

    def __init__(self, engine: Engine, path: Path):
        self.engine = engine
        self.path = path
        self.hits = 0
        """Answers that were not asked for."""
        self._described = describe(engine)
        described = self._described
        adapters = (described.adapter_digest, described.adapters)
        model = (described.engine, described.model, adapters, described.parameters)
        self._model = _sha(model)
        self._systems: dict[tuple[str, object], bytes] = {}
        with self._opened():
            pass

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def description(self) -> EngineDescription:
        """The inner engine's: the same answers, whether kept or asked for."""
        return self._described

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        keys = [self._key(prompt) for prompt in prompts]
        known = self._find(dict.fromkeys(keys))
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        asked: dict[bytes, Completion] = {}
        if missing:
            answers = self.engine.complete(list(missing.values()))
            if len(answers) != len(missing):
                raise EngineError(f"{self.name}: {len(answers)} completions for {len(missing)} prompts")
            asked = dict(zip(missing, answers, strict=True))
            self._keep({key: answer for key, answer in asked.items() if _worth_keeping(missing[key], answer)})
        done: list[Completion] = []
        for key in keys:
            fresh = asked.pop(key, None)
            if fresh is None:
                self.hits += 1
            else:
                known[key] = replace(fresh, prompt_tokens=0, cached_tokens=0, completion_tokens=0)
            done.append(fresh or known[key])
        return done

    def close(self) -> None:
        close(self.engine)

    def _key(self, prompt: Prompt) -> bytes:
        # what all prompts of a policy share is hashed once
        shared = (prompt.system, prompt.format)
        if shared not in self._systems:
            self._systems[shared] = _sha([prompt.system, asdict(prompt.format)])
        task = [type(prompt.task).__name__, asdict(prompt.task)]
        return hashlib.sha256(
            self._model + self._systems[shared] + _sha([prompt.user, prompt.prefill, task, prompt.policy])
        ).digest()

    def _find(self, keys: Iterable[bytes]) -> dict[bytes, Completion]:
        wanted = list(keys)
        found: dict[bytes, Completion] = {}
        with self._opened() as database:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                places = ",".join("?" * len(some))
                rows = database.execute(f"SELECT key, answer FROM answers WHERE key IN ({places})", some)
                found |= {key: self._completion(answer) for key, answer in rows}
        return found

    def _completion(self, answer: str) -> Completion:
        try:
            return Completion(**dict(zip(_KEPT, json.loads(answer), strict=True)))
        except (ValueError, TypeError):
            raise _damaged(self.path, "an answer that is none") from None

    def _keep(self, answers: Mapping[bytes, Completion]) -> None:
        rows = [(key, json.dumps([getattr(answer, name) for name in _KEPT])) for key, answer in answers.items()]
        if rows:
            with self._opened() as database, database:
                # another process may have kept the same in the meantime
                database.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: nothing is held between calls, so processes and threads do not get in each other's way."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as database:
                _prepare(database, self.path)
                yield database
        except sqlite3.OperationalError as error:
            raise DataError(f"{self.path}: {error}\n  give a file that can be read and written with --cache") from None
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, str(error)) from None
        except OSError as error:
            raise DataError(f"{error.filename or self.path}: {error.strerror or error}") from None


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Makes a cache of an empty file. Raises `DataError` for a database that is another's."""

    def owner() -> int:
        return int(database.execute("PRAGMA application_id").fetchone()[0])

    if owner() == _OURS:
        return
    with database:
        database.execute("BEGIN IMMEDIATE")  # of two processes that come at once, the second finds what the first made
        if owner() == _OURS:
            return
        if database.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DataError(f"{path}: a database, but not a cache of answers\n  give another file with --cache")
        database.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID")
        database.execute(f"PRAGMA application_id = {_OURS}")


def _worth_keeping(prompt: Prompt, answer: Completion) -> bool:
    if answer.problem is not None:
        return False
    if isinstance(prompt.task, ReadLabel) and not answer.whole:
        chances = (answer.labels or {}).values()
        # false for NaN, too
        return 0 < sum(chances) < math.inf and min(chances) >= 0
    form = prompt.format
    if not answer.whole and form.mode == "reasoned" and prompt.prefill == form.opening:
        return form.is_rationale_step(answer.text)
    try:
        form.read(answer.text if answer.whole else prompt.prefill + answer.text)
    except AnswerError:
        return False
    return True


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: not a cache of answers, or damaged: {what}\n  delete it, or give another file with --cache")


def _sha(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict).encode()).digest()
