"""Rows to learn from (schema ``row/1``): chat turns as serving makes them, and which pieces of the answer are learned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moderator.answer import AnswerFormat, Kind, Label
from moderator.content import well_formed
from moderator.errors import DataError, first_fault
from moderator.scoring.labels import Known
from moderator.suite.prepare.texts import fingerprint

LEARNED: Final = "trained_on.txt"
"""Beside an adapter, the digests of the texts that it has learned, a line each: nothing is measured or calibrated on them."""
PLAIN: Final = "plain"
"""The variant of a row under the policy as it is."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Message(_Value):
    """A turn of the chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Part(_Value):
    """A piece of an answer, by what it states; one that is not `learned` is only read over."""

    kind: Kind
    text: str
    learned: bool = Field(default=True, exclude_if=bool)


class Row(_Value):
    """A content under a policy, and the answer to learn as far as it is known."""

    schema_: Literal["row/1"] = Field(default="row/1", alias="schema")
    id: str
    """The content's id and the variant's name."""
    split: Literal["train", "dev"]
    label: Label
    policy: str
    """Name and version."""
    policy_digest: str
    prompt_digest: str
    family: str
    format: AnswerFormat
    """Of answers under the policy."""
    rules: Mapping[str, Known]
    """What is known of single rules: one that an exception waives holds, one that is not there is unknown."""
    variant: str
    source: str
    text_digest: str
    """Of the content, by `text_digest`. What is evaluated has none of these."""
    messages: tuple[Message, Message, Message]
    """System, user, assistant: any trainer can read them. The assistant's ends where what is known of the answer ends."""
    slot: tuple[int, int]
    """Where the content's text stands in the user's turn, as it is shown there: characters, end exclusive."""
    parts: tuple[Part, ...]
    """The assistant's turn again, in pieces."""
    whole: bool
    """Whether the answer is known to its end, so that its end is learned, too."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if tuple(message.role for message in self.messages) != ("system", "user", "assistant"):
            raise ValueError("messages are not those of system, user and assistant, in this order")
        if "".join(part.text for part in self.parts) != self.answer:
            raise ValueError("the parts are not those of the assistant's turn")
        if [part.text for part in self.parts if part.kind == "label"] != [self.label]:
            raise ValueError(f"the parts do not give the label {self.label!r} once")
        if not 0 <= self.slot[0] <= self.slot[1] <= len(self.user):
            raise ValueError("the slot is not in the user's turn")
        if strange := sorted(
            {*self.rules, *(part.text for part in self.parts if part.kind == "rule")} - set(self.format.rules)
        ):
            raise ValueError(f"the policy has no rule {strange[0]!r}")
        return self

    @property
    def system(self) -> str:
        return self.messages[0].content

    @property
    def user(self) -> str:
        return self.messages[1].content

    @property
    def shown(self) -> str:
        """The content's text as its slot shows it, without the quotation marks."""
        return self.user[slice(*self.slot)]

    @property
    def answer(self) -> str:
        return self.messages[2].content


def write_rows(rows: Iterable[Row], path: Path) -> str:
    """Writes a line for each row, the file in one step; returns the digest of its bytes. Raises `DataError`."""
    partial = path.with_name(path.name + ".partial")
    hashed = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for row in rows:
                line = (row.model_dump_json(by_alias=True) + "\n").encode()
                hashed.update(line)
                file.write(line)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
    return f"sha256:{hashed.hexdigest()}"


def read_rows(path: Path) -> tuple[list[Row], str]:
    """The rows of a file, and the digest of its bytes. Raises `DataError` for the first line that is no row."""
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = f"`moderator finetune rows SUITE --out {path}` makes rows"
        raise DataError(f"{path}: {error.strerror or error}\n  {hint}") from None
    rows = [_row(path, number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    return rows, f"sha256:{hashlib.sha256(data).hexdigest()}"


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        raise DataError(f"{path}:{number}: not a row: {first_fault(error)}") from None


def text_digest(text: str) -> str:
    """What makes two texts the same, for training and calibration: 16 hex digits of the SHA-256 of letters and digits."""
    return hashlib.sha256(fingerprint(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_text_digests(folder: Path) -> frozenset[str]:
    """The digests of the texts that the adapter in a folder has learned; empty where that is not known. Raises `DataError`."""
    path = folder / LEARNED
    try:
        return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from None


def chat(system: str, user: str, parts: Sequence[Part]) -> tuple[Message, Message, Message]:
    """The turns of a row. Half of a surrogate pair becomes U+FFFD: no file and no tokenizer holds one."""
    answer = "".join(part.text for part in parts)
    return (
        Message(role="system", content=well_formed(system)),
        Message(role="user", content=well_formed(user)),
        Message(role="assistant", content=answer),
    )
