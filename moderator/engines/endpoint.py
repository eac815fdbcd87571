"""One OpenAI-compatible endpoint: bounded requests, bounded retries, and every way to fail sorted.

What concerns one request is returned as a `Trouble`; what would fail every request alike (no connection, no such model, a key
that is not taken) is raised as `EngineError`. A reply is taken as it came, as JSON: what it should hold, its reader checks.
"""

from __future__ import annotations

import email.utils
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep, time
from typing import Any, Final, cast

import openai

from moderator.errors import EngineError
from moderator.verdict import Reason

try:
    import httpx2 as http
except ModuleNotFoundError:  # openai 2 stands on httpx, openai 3 on httpx2
    import httpx as http  # type: ignore[no-redef]

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 60.0
_LARGEST_REPLY: Final = 8 << 20
"""Bytes. A label read is a few hundred, a whole answer with log probabilities some hundred thousand."""
_RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_TOO_LONG: Final = re.compile(
    r"context[_ ](?:length|window|size)|maximum (?:model|context|input|prompt)|prompt is too long|too many (?:input )?tokens"
    # vLLM's words when the prompt fills the context to the last token, and when the answer may be longer than the context
    r"|max_tokens must be at least 1, got|max_tokens=\d+ cannot be greater",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(r"content[_ ](?:filter|policy|management)|moderation|flagged|safety", re.I)
_NO_CREDIT: Final = re.compile(r"insufficient_quota|billing|credit", re.I)
_DETAIL: Final = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one request has no reply."""

    reason: Reason
    detail: str
    status: int | None = None
    """The HTTP status, where one came."""
    about: str = ""
    """What the endpoint said: the parameter that it names, and its message."""
    lost: bool = False
    """Whether the connection failed, rather than the request."""
    after: float | None = None
    """Seconds that the endpoint asks to wait before the next try."""


class Endpoint:
    """Sends requests to ``URL/chat/completions`` and its neighbours. Safe to use from many threads."""

    def __init__(self, name: str, url: str, *, key: str, timeout: float, retries: int):
        self._name = name
        self._timeout = timeout
        self._retries = retries
        self.url = _base(name, url)
        try:
            # openai's own retries are off: they take no notice of a deadline, and would multiply with ours
            self._client = openai.OpenAI(base_url=self.url, api_key=key, timeout=timeout, max_retries=0)
        except http.InvalidURL as error:
            raise EngineError(f"{name}: {url!r} is no address: {error}") from None

    def close(self) -> None:
        self._client.close()

    def models(self) -> list[Mapping[str, Any]]:
        """The models that the endpoint lists; none when it has no such list. Raises `EngineError` when it cannot be reached."""
        reply = self._get(f"{self.url}/models")
        if isinstance(reply, Trouble):
            if reply.lost or reply.reason == "timeout":
                raise EngineError(f"{self._name}: cannot be reached: {reply.detail}")
            self._stop_if_systemic(reply, listing=True)
            return []
        listed = reply.get("data")
        entries = listed if isinstance(listed, list) else []
        return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]

    def beside(self, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Trouble:
        """A request to a path beside ``/v1``: with a body a POST, else a GET."""
        url = self.url.removesuffix("/v1") + path
        return self._get(url) if body is None else self._post(url, body)

    def chat(self, body: Mapping[str, Any]) -> Mapping[str, Any] | Trouble:
        """A chat completion, with retries. Raises `EngineError` when no other request would fare better."""
        for attempt in range(self._retries + 1):
            reply = self._chat_once(body)
            if not isinstance(reply, Trouble) or not (reply.lost or reply.status in _RETRIED) or _NO_CREDIT.search(reply.about):
                break
            if attempt < self._retries:
                sleep(_wait(attempt, reply.after))
        if isinstance(reply, Trouble):
            if reply.lost:
                self.models()
            self._stop_if_systemic(reply)
        return reply

    def _chat_once(self, body: Mapping[str, Any]) -> Mapping[str, Any] | Trouble:
        create = cast(Any, self._client.chat.completions.with_streaming_response).create
        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
        try:
            # streamed, though it is one value: endpoints that send white space to keep the connection would never time out
            with create(model=body["model"], messages=body["messages"], extra_body=rest) as response:
                return _json(response, monotonic() + self._timeout)
        except (openai.OpenAIError, http.HTTPError) as error:
            return _trouble(error)

    def _get(self, url: str) -> Mapping[str, Any] | Trouble:
        try:
            return _mapping(self._client.get(url, cast_to=object))
        except openai.OpenAIError as error:
            return _trouble(error)

    def _post(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any] | Trouble:
        try:
            return _mapping(self._client.post(url, cast_to=object, body=body))
        except openai.OpenAIError as error:
            return _trouble(error)

    def _stop_if_systemic(self, trouble: Trouble, *, listing: bool = False) -> None:
        if trouble.status in (401, 402) or (trouble.status == 429 and _NO_CREDIT.search(trouble.about)):
            raise EngineError(f"{self._name}: {trouble.detail}\n  set OPENAI_API_KEY to a key that may use this endpoint")
        if trouble.status in (403, 404) and trouble.reason == "engine" and not listing:
            raise EngineError(f"{self._name}: {trouble.detail}")


def _base(name: str, url: str) -> str:
    """The address with ``/v1``, unless it has a path of its own."""
    parsed = re.fullmatch(r"(https?://[^/?#\s@]+)(/[^?#\s@]*)?", url)
    if parsed is None:
        # not shown where it may hold a password
        shown = "an address with a user name" if "@" in url else f"{url!r}"
        raise EngineError(
            f"{name}: {shown} is no address\n  for example server:http://localhost:8000; a key goes into OPENAI_API_KEY"
        )
    return parsed[1] + ((parsed[2] or "").rstrip("/") or "/v1")


def _json(response: Any, deadline: float) -> Mapping[str, Any] | Trouble:
    """The reply's body, read until the deadline."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if monotonic() > deadline:
            return Trouble("timeout", "the reply was not finished in time")
        if len(content) > _LARGEST_REPLY:
            return Trouble("unreadable", f"a reply of more than {_LARGEST_REPLY} bytes")
    try:
        return _mapping(json.loads(bytes(content)))
    except (ValueError, RecursionError):
        return Trouble(
            "unreadable", f"no JSON: {response.headers.get('content-type', 'no content type')}, {len(content)} bytes"
        )


def _mapping(value: Any) -> Mapping[str, Any] | Trouble:
    if isinstance(value, dict):
        return value
    return Trouble("unreadable", f"a JSON object was expected, not {type(value).__name__}")


def _trouble(error: openai.OpenAIError | http.HTTPError) -> Trouble:
    if isinstance(error, openai.APITimeoutError | http.TimeoutException):
        return Trouble("timeout", "no reply in time")
    if isinstance(error, openai.APIStatusError):
        return _refused(error)
    if isinstance(error, openai.APIConnectionError | http.HTTPError):
        return Trouble("engine", f"connection: {_short(str(error.__cause__ or error))}", lost=True)
    return Trouble("unreadable", _short(str(error)))


def _refused(error: openai.APIStatusError) -> Trouble:
    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message") or body.get("detail") or error.message)
    about = f"{body.get('code') or ''} {body.get('param') or ''} {message}"
    status = error.status_code
    reason: Reason = "engine"
    if status in (400, 413, 422) and _TOO_LONG.search(about):
        reason = "too_long"
    elif status in (400, 403) and _FILTERED.search(about):
        reason = "refused"
    elif status == 408:
        reason = "timeout"
    return Trouble(reason, f"HTTP {status}: {_short(message)}", status, about, after=_retry_after(error.response.headers))


def _short(message: str) -> str:
    """One line of the message, without a page of HTML."""
    line = " ".join(message.split())
    if "<html" in line.lower() or "<!doctype" in line.lower():
        return "a page of HTML"
    return line[:_DETAIL] or "no message"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from a ``Retry-After`` header: a number, or a date."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError):
        return None


def _wait(attempt: int, asked: float | None) -> float:
    """Seconds before the next try: doubling, spread so that threads do not come back at once, and not less than was asked."""
    spread: float = random.uniform(0.75, 1.25)
    return min(_LONGEST_WAIT, max(_FIRST_WAIT * 2.0**attempt * spread, asked or 0.0))
