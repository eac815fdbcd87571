"""Every error a caller may catch.

    ModeratorError
      PolicyError     a policy document does not parse, or a variant cannot be resolved
      PromptError     a prompt family or a budget that cannot be compiled
      EngineError     an engine that cannot start or answer at all (systemic: it stops a run)
      AnswerError     one answer that cannot be read (one content: it becomes a Failure)
      NoVerdictError  `Moderator.judge` was asked for a verdict and there is none; carries the Failure
      DataError       a file, a record or a run folder that cannot be read or written
        SuiteError    a suite of labelled contents does not parse

Messages read ``where: what``, lower case, without a full stop; a hint that repairs the fault follows on a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


class ModeratorError(Exception):
    """Base of all errors that this package raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a document: where, what, and a form that would be right."""

    file: str
    line: int
    """1-based; 0 when the problem is the whole file's."""
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}" + (f"\n  {self.hint}" if self.hint else "")


class PolicyError(ModeratorError):
    """A policy document with problems; all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PromptError(ModeratorError):
    """A prompt family that cannot be found, read or compiled."""


class EngineError(ModeratorError):
    """An engine that cannot start, or that cannot answer at all."""


class AnswerError(ModeratorError):
    """An answer that does not have the promised form."""


class DataError(ModeratorError):
    """A source, a record or a sink that cannot be used."""


class SuiteError(DataError):
    """A suite with problems; all of them, in the order of its files."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NoVerdictError(ModeratorError):
    """One content for which no verdict could be had; `failure` is its `moderator.verdict.Failure`."""

    def __init__(self, failure: Any):
        self.failure = failure
        super().__init__(f"content {failure.content_id}: {failure.reason}: {failure.detail}")


def first_fault(error: ValidationError) -> str:
    """What pydantic found wrong first, as messages read: ``where: what``, or ``what`` alone where it is the whole."""
    fault = error.errors()[0]
    where, said = ".".join(map(str, fault["loc"])), fault["msg"]
    what = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else said[:1].lower() + said[1:]
    return f"{where}: {what}" if where else what
