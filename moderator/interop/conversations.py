"""Chat messages, as other tools write conversations, and what is judged: the last one, in the light of those before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moderator.content import Content, Turn, text_id

Message = Mapping[str, Any]
"""``{"role": ..., "content": ...}``; the content is a text, or a list of parts ``{"type": "text", "text": ...}``."""


def content_of(messages: Sequence[Message]) -> Content:
    """The content that a conversation comes to: the last message, with the earlier ones as its thread.

    Authors of the thread are the messages' roles. The id is made from all texts. Raises `ValueError` for an empty conversation
    and for a message that is not text alone.
    """
    if not messages:
        raise ValueError("the conversation is empty")
    texts = [text_of(message) for message in messages]
    roles = [str(message.get("role", "")) for message in messages]
    thread = tuple(Turn(text=text, author=role) for text, role in zip(texts[:-1], roles[:-1], strict=True))
    return Content(id=text_id("\0".join((*roles, *texts))), text=texts[-1], thread=thread)


def text_of(message: Message) -> str:
    """The text of a message. Raises `ValueError` when it has none, or more than text."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and content:
        for part in content:
            if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
                kind = part.get("type", "unknown") if isinstance(part, Mapping) else type(part).__name__
                raise ValueError(f"a message has a part of type {kind!r}: only text can be judged")
        return "\n".join(part["text"] for part in content)
    raise ValueError("a message has no text")
