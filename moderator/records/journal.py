"""Outcomes on disk: a journal of JSON lines that survives a killed process and is taken up again by content id.

A line is complete when its line break is written; lines reach the operating system after every batch. A torn last line (the
process was killed while writing) is cut off when the journal is opened again, and its content judged anew.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from moderator.errors import DataError, first_fault
from moderator.records.reading import id_key
from moderator.verdict import OUTCOME, Failure, Provenance, Verdict, to_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BEGINNING: Final = b'{"schema":"outcome/1",'


class Journal:
    """An outcomes file open for appending, by one process at a time.

    `resume` goes on with what is there; without it an existing file is an error unless `force` is given. A journal that was
    taken up keeps a hash of eight bytes for each finished content and policy.
    """

    def __init__(
        self, path: Path, *, resume: bool = False, force: bool = False, expected: Mapping[str, Provenance] | None = None
    ):
        self.path = path
        self.before: Counter[str] = Counter()
        """The outcomes that were there when the journal was taken up, by name."""
        self._done = array("Q")
        try:
            if path.exists() and not resume and not force:
                raise DataError(f"{path}: exists\n  --resume goes on with it, --force starts anew")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("ab")
        except FileExistsError as error:
            raise DataError(f"{error.filename}: is not a folder") from None
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            self._lock()
            self._file.truncate(self._take_up(expected or {}) if resume else 0)
        except OSError as error:
            self._file.close()
            raise _unwritable(path, error) from None
        except DataError:
            self._file.close()
            raise

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether the outcome of this content id under this policy was there when the journal was taken up."""
        wanted = _key(*key)
        index = bisect_left(self._done, wanted)
        return index < len(self._done) and self._done[index] == wanted

    def write(self, outcomes: Iterable[Verdict | Failure]) -> None:
        """Appends outcomes and hands them to the operating system. Raises `DataError`."""
        try:
            self._file.write("".join(to_line(outcome) + "\n" for outcome in outcomes).encode())
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def close(self) -> None:
        """Makes the journal durable and closes it. Raises `DataError`."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from None
        finally:
            with suppress(OSError):  # the same fault again, already reported
                self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.path}: another process is writing to it") from None
        except OSError:
            return  # a file system without locks

    def _take_up(self, expected: Mapping[str, Provenance]) -> int:
        """Takes note of what is there; where the last whole line ends. Raises `DataError` for a file of another kind."""
        whole = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n") and (raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw)):
                    break
                outcome = _outcome(f"{self.path}:{number}", raw)
                self._compare(number, outcome, expected)
                self.before[outcome_name(outcome)] += 1
                self._done.append(_key(outcome.content_id, outcome.policy))
                whole += len(raw)
        self._done = array("Q", sorted(self._done))
        return whole

    def _compare(self, number: int, outcome: Verdict | Failure, expected: Mapping[str, Provenance]) -> None:
        """One file, one way of judging: what was finished must have been made the way the rest will be."""
        wanted = expected.get(outcome.policy)
        found = outcome.provenance
        if wanted is None or found == wanted:
            return
        for name in ("policy_digest", "prompt_digest", "engine", "model", "adapter_digest", "parameters"):
            # a content's own facts select variants, which change the policy and the prompt but not its version
            variant = found.policy.startswith(f"{wanted.policy}+")
            if name in ("policy_digest", "prompt_digest") and variant:
                continue
            if getattr(found, name) != getattr(wanted, name):
                raise DataError(
                    f"{self.path}:{number}: made with another {name.replace('_', ' ')}: {getattr(found, name)!r}, now"
                    f" {getattr(wanted, name)!r}\n  write to another file, or start anew with --force"
                )


def read_outcomes(path: Path, *, torn: bool = False) -> Iterator[Verdict | Failure]:
    """The outcomes of a journal. Raises `DataError` at the first line that is none; a `torn` one may end within a line."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if torn and not raw.endswith(b"\n"):
                    return
                yield _outcome(f"{path}:{number}", raw)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def outcome_name(outcome: Verdict | Failure) -> str:
    """What it is counted under: a verdict's outcome, or ``failure``."""
    return outcome.outcome if isinstance(outcome, Verdict) else "failure"


def _key(content_id: str, policy: str) -> int:
    return id_key(f"{policy}\0{content_id}")


def _outcome(where: str, raw: bytes) -> Verdict | Failure:
    try:
        return OUTCOME.validate_json(raw)
    except ValidationError as error:
        raise DataError(f"{where}: not an outcome: {first_fault(error)}") from None


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{error.filename or path}: {error.strerror or error}")
