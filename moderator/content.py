"""What is judged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


class Turn(BaseModel):
    """An earlier message of the conversation that the content belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    author: str = ""


class Content(BaseModel):
    """One thing to judge, with what the platform declares about it.

    Only `text` is judged; `thread` is context for reading it. `facts` are statements of the platform (``surface``,
    ``audience``, ``jurisdiction``, ``locale`` ...), never of the author: they select policy variants and are shown to the
    model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    thread: tuple[Turn, ...] = ()
    facts: Mapping[str, str] = {}
    images: tuple[str, ...] = ()
    """Names of images that belong to the content. Engines read text only: a content with images is never simply allowed."""
    policies: tuple[str, ...] = ()
    """The policies to judge it under, by slug; empty: all that the moderator has."""
    metadata: Mapping[str, Any] = {}
    """Carried to the outcome, never shown to the model."""

    @classmethod
    def of(cls, text: str, **fields: Any) -> Content:
        """A content whose id is made from its text: the same text has the same id everywhere."""
        return cls(id=text_id(text), text=text, **fields)


def well_formed(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which is no character and which no UTF-8 file can hold.

    One character for one: offsets stay as they are.
    """
    return _HALF_A_PAIR.sub("\ufffd", text)


def text_id(text: str) -> str:
    """The id of a content that brought none: 16 hex digits of the SHA-256 of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
