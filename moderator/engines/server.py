"""Any OpenAI-compatible endpoint, ``vllm serve`` first.

A vLLM server is spoken to as the engine in process is: the assistant's turn is continued, the label is read from the full
vocabulary, texts are bound by our grammars. Any other endpoint is asked for whole answers, by JSON Schema where it takes one.
"""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from moderator.answer import AnswerFormat
from moderator.engines import Completion, EngineDescription
from moderator.engines.endpoint import Endpoint, Trouble
from moderator.engines.folder import check_base, digest, family, versioned_name, weight_files
from moderator.engines.reply import Reply, read_reply
from moderator.engines.whole import label_probabilities, sampling, schema, tokens_for, unwrapped
from moderator.errors import EngineError
from moderator.prompt import Prompt, ReadLabel

_THOUGHT_TOKENS: Final = 4096
"""What a model that thinks may spend before its answer."""
_TOP: Final = 20
"""Alternatives asked for at each token: as many as endpoints give."""
_TOKEN: Final = "token_id:"
_PROBE: Final = 'start: "\\"" PIECE "\\""\nPIECE: CHUNKS & /(?s:.{0,2})/\nCHUNKS: %regex {"substring_chunks": ["a", "b"]}\n'
"""As the grammars of quotes: xgrammar knows no ``&``."""
_PROBED: Final = re.compile('"a?b?"')
_SAMPLE: Final = ("A policy.", 'TEXT "a text"')
"""A system turn and a user turn to try a server with."""
_GUIDANCE: Final = """start it with --structured-outputs-config '{"backend": "guidance", "disable_any_whitespace": true}'"""


class Dialect(Protocol):
    """How one kind of endpoint is asked, and its replies are read."""

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    def ask(self, prompt: Prompt) -> Completion: ...


class ServerEngine:
    """Asks ``URL[#MODEL]``, many contents at a time; a model may be an adapter that the server has on one.

    The key is OPENAI_API_KEY's, if the endpoint wants one.
    """

    def __init__(self, url: str, *, api_key: str | None = None, concurrency: int = 16, timeout: float = 60.0, retries: int = 4):
        self.name = "server:" + re.sub(r"//[^/]*@", "//", url)
        address, _, model = url.partition("#")
        key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        self._endpoint = Endpoint(self.name, address, key=key, timeout=timeout, retries=retries)
        self._concurrency = concurrency
        models = self._endpoint.models()
        self._entry = _choose(self.name, models, model)
        self._parent = next((entry for entry in models if entry["id"] == self._entry.get("parent")), None)
        self._dialect = self._open_dialect(self._entry["id"])
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="moderator-server")
        self._led: set[int] = set()

    def _open_dialect(self, model: str) -> Dialect:
        if self._entry.get("owned_by") == "vllm":
            for together in (False, True):
                if _continues(self._endpoint, model, together=together):
                    return VLLMDialect(self.name, self._endpoint, model, together=together)
        return ChatDialect(self._endpoint, model)

    @cached_property
    def _version(self) -> str:
        reply = self._endpoint.beside("/version") if self._entry.get("owned_by") == "vllm" else {}
        version = reply.get("version") if isinstance(reply, Mapping) else None
        return f"server vllm {version}" if isinstance(version, str) else "server"

    @property
    def description(self) -> EngineDescription:
        known = self._known
        return replace(known, engine=self._version, parameters=self._dialect.parameters, batch=16 * self._concurrency)

    @cached_property
    def _known(self) -> EngineDescription:
        """What the folders of the model and its adapter say, when the server runs on this machine from some."""
        adapter = self._folder(self._entry, "adapter_config.json")
        folder = self._folder(self._parent or {}, "config.json") if adapter else self._folder(self._entry, "config.json")
        if folder is None:
            return EngineDescription("server", self._entry["id"])
        name = versioned_name(folder.name, folder)
        if adapter is None:
            return EngineDescription("server", name, family=family(folder), folders=(folder,))
        check_base(adapter, name)
        weights = digest(weight_files(adapter))
        return EngineDescription("server", name, weights, family=family(adapter) or family(folder), folders=(adapter,))

    def _folder(self, entry: Mapping[str, Any], file: str) -> Path | None:
        root = entry.get("root")
        there = isinstance(root, str) and _is_loopback(self._endpoint.url) and (Path(root) / file).is_file()
        return Path(str(root)) if there else None

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One completion each, in order. The first prompt of a policy goes ahead, so that the others find it cached."""
        leaders: dict[str, int] = {}
        for index, prompt in enumerate(prompts):
            if hash(prompt.system) not in self._led:
                leaders.setdefault(prompt.system, index)
        first = list(leaders.values())
        completions = dict(zip(first, self._pool.map(self._dialect.ask, [prompts[index] for index in first]), strict=True))
        self._led.update(map(hash, leaders))
        rest = [index for index in range(len(prompts)) if index not in completions]
        completions.update(zip(rest, self._pool.map(self._dialect.ask, [prompts[index] for index in rest]), strict=True))
        return [completions[index] for index in range(len(prompts))]

    def close(self) -> None:
        """Ends the threads and the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._endpoint.close()


class VLLMDialect:
    """``vllm serve``: the prompt's ids are those that `ChatTokenizer` makes, as `_continues` has checked."""

    parameters: Mapping[str, Any] = {"api": "vllm", "grammar": "guidance"}

    def __init__(self, name: str, endpoint: Endpoint, model: str, *, together: bool):
        self._name = name
        self._endpoint = endpoint
        self._model = model
        self._together = together
        self._ids: dict[AnswerFormat, dict[str, int]] = {}
        self._lock = threading.Lock()
        self._probe()

    def ask(self, prompt: Prompt) -> Completion:
        if isinstance(prompt.task, ReadLabel):
            return self._read_label(prompt, prompt.task)
        body = self._body(prompt) | {
            "max_tokens": prompt.task.max_tokens,
            "temperature": prompt.task.temperature,
            "seed": prompt.task.seed,
            "structured_outputs": {"grammar": prompt.task.grammar},
        }
        reply = _roomy(self._endpoint, body)
        if isinstance(reply, Trouble):
            return _failed(reply)
        return _written(reply, Completion(text=reply.text))

    def _read_label(self, prompt: Prompt, task: ReadLabel) -> Completion:
        ids = self._label_ids(prompt.format)
        wanted = {label: f"{_TOKEN}{ids[label]}" for label in task.labels}
        body = self._body(prompt) | {
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "logprob_token_ids": [ids[label] for label in task.labels],
            "return_tokens_as_token_ids": True,
        }
        reply = _reply(self._endpoint.chat(body))
        if isinstance(reply, Trouble):
            return _failed(reply)
        token = reply.tokens[0] if reply.tokens else None
        if token is None or not all(text in token.probabilities for text in wanted.values()):
            return _booked(reply, Completion(problem="unreadable", detail="the reply has no probabilities of the labels"))
        labels: dict[str, float] = {label: token.probabilities[text] for label, text in wanted.items()}
        return _booked(reply, Completion(labels=labels, label_leads=token.text in wanted.values()))

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        return {"model": self._model, **_continued(_turns(prompt.system, prompt.user, self._together), prompt.prefill)}

    def _label_ids(self, form: AnswerFormat) -> dict[str, int]:
        """The labels' token ids, as `ChatTokenizer.label_ids` finds them, but with the server's tokenizer."""
        with self._lock:
            if form not in self._ids:
                head = form.head(".")
                before = self._encode(head)
                found: dict[str, int] = {}
                for label in form.labels:
                    ids = self._encode(head + label)
                    if not ids or ids[:-1] != before or ids[-1] in found.values():
                        raise EngineError(f"{self._name}: label {label!r} is not one distinct token after {head!r}")
                    found[label] = ids[-1]
                self._ids[form] = found
        return self._ids[form]

    def _encode(self, text: str) -> list[int]:
        return _tokenize(self._endpoint, {"model": self._model, "prompt": text, "add_special_tokens": False})

    def _probe(self) -> None:
        """Asks for a text that only ``guidance`` can hold to its grammar: other backends refuse it, or drop it in silence."""
        turns = _continued(_turns(*_SAMPLE, self._together), "{")
        body = {"model": self._model, **turns, "max_tokens": 8, "temperature": 0.0, "structured_outputs": {"grammar": _PROBE}}
        reply = _reply(self._endpoint.chat(body))
        if isinstance(reply, Trouble):
            raise EngineError(f"{self._name}: a text under a grammar could not be had: {reply.detail}\n  {_GUIDANCE}")
        if not _PROBED.fullmatch(reply.text):
            raise EngineError(
                f"{self._name}: the server does not keep to grammars\n  {_GUIDANCE}, and without a reasoning parser"
            )


class ChatDialect:
    """Chat completions as everyone offers them: a whole answer in one call. What an endpoint does not take is left out."""

    _OPTIONAL: Final[Mapping[str, str]] = {
        "response_format": r"response_format|json_schema|schema|grammar|structured",
        "logprobs": r"logprobs",
        "temperature": r"temperature",
        "seed": r"seed",
        "max_tokens": r"max_tokens",
        "system": r"system.{0,20}role|role.{0,20}system|system message",
    }
    """Parts of a request that endpoints are known to refuse, and how their complaint names them."""

    def __init__(self, endpoint: Endpoint, model: str):
        self._endpoint = endpoint
        self._model = model
        self._refused: set[str] = set()

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"api": "chat", "without": sorted(self._refused)}

    def ask(self, prompt: Prompt) -> Completion:
        refused = set(self._refused)
        reply = _roomy(self._endpoint, self._body(prompt, refused))
        while isinstance(reply, Trouble) and (part := self._complaint(reply, refused)):
            refused.add(part)
            reply = _roomy(self._endpoint, self._body(prompt, refused))
        if isinstance(reply, Trouble):
            return _failed(reply)
        # only now: a request that fails without the part too was not refused for it
        self._refused |= refused
        read = label_probabilities(reply.tokens, prompt.format.labels)
        labels, leads = read if read is not None else (None, True)
        return _written(reply, Completion(text=unwrapped(reply.text), whole=True, labels=labels, label_leads=leads))

    def _body(self, prompt: Prompt, refused: set[str]) -> dict[str, Any]:
        temperature, seed = sampling(prompt)
        most = tokens_for(prompt.format) + _THOUGHT_TOKENS
        parts: dict[str, dict[str, Any]] = {
            "response_format": {"response_format": _response_format(prompt.format)},
            "logprobs": {"logprobs": True, "top_logprobs": _TOP},
            "temperature": {"temperature": temperature},
            "seed": {"seed": seed},
            "max_tokens": {"max_tokens": most},
        }
        turns = _turns(prompt.system, prompt.user, together="system" in refused)
        body: dict[str, Any] = {"model": self._model, "messages": turns}
        for part, fields in parts.items():
            if part not in refused:
                body |= fields
        return body | ({"max_completion_tokens": most} if "max_tokens" in refused else {})

    def _complaint(self, trouble: Trouble, refused: set[str]) -> str | None:
        """The part that the endpoint will not take; when it does not say which, the answer's form."""
        if trouble.status not in (400, 422) or trouble.reason != "engine":
            return None
        left = [part for part in self._OPTIONAL if part not in refused]
        named = [part for part in left if re.search(self._OPTIONAL[part], trouble.about, re.IGNORECASE)]
        return next(iter(named or [part for part in left if part == "response_format"]), None)


def _response_format(form: AnswerFormat) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema(form)}}


def _turns(system: str, user: str, together: bool) -> list[dict[str, str]]:
    """The two turns; as one for templates that know no system turn, joined as `ChatTokenizer` joins them."""
    if together:
        return [{"role": "user", "content": f"{system}\n\n{user}"}]
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _continued(turns: Sequence[Mapping[str, str]], prefill: str) -> dict[str, Any]:
    """A chat whose last turn, the assistant's, is to be continued."""
    return {
        "messages": [*turns, {"role": "assistant", "content": prefill}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _continues(endpoint: Endpoint, model: str, *, together: bool) -> bool:
    """Whether a continued turn has the ids of a begun turn and the prefill behind it, which is what `ChatTokenizer` makes.

    Some templates treat a given turn otherwise than one to come (harmony channels, thoughts that are cut off or added), and
    some take no system turn.
    """
    turns, prefill = _turns(*_SAMPLE, together), '{"violates":"yes'
    begun = {"messages": turns, "add_generation_prompt": True, "chat_template_kwargs": {"enable_thinking": False}}
    requests = (begun, {"prompt": prefill, "add_special_tokens": False}, _continued(turns, prefill))
    before, behind, continued = (_tokenize(endpoint, {"model": model, **request}) for request in requests)
    return bool(before and behind) and [*before, *behind] == continued


def _tokenize(endpoint: Endpoint, request: Mapping[str, Any]) -> list[int]:
    """The ids that the server makes of a chat or a text; none when it does not tell."""
    reply = endpoint.beside("/tokenize", request)
    ids = reply.get("tokens") if isinstance(reply, Mapping) else None
    return ids if isinstance(ids, list) and all(isinstance(token, int) for token in ids) else []


def _roomy(endpoint: Endpoint, body: Mapping[str, Any]) -> Reply | Trouble:
    """A reply; where the prompt fits but not with all the tokens that it allows the answer, one with the room that is left."""
    reply = _reply(endpoint.chat(body))
    if isinstance(reply, Trouble) and reply.reason == "too_long":
        return _reply(endpoint.chat({name: value for name, value in body.items() if not name.startswith("max_")}))
    return reply


def _reply(body: Mapping[str, Any] | Trouble) -> Reply | Trouble:
    return body if isinstance(body, Trouble) else read_reply(body)


def _failed(trouble: Trouble) -> Completion:
    return Completion(problem=trouble.reason, detail=trouble.detail)


def _written(reply: Reply, completion: Completion) -> Completion:
    """The completion, if the text behind it was finished."""
    if reply.finish == "length":
        completion = Completion(problem="cut", detail=f"the text was not finished after {reply.completion_tokens} tokens")
    elif not completion.text:
        completion = Completion(problem="unreadable", detail="an empty answer")
    elif reply.finish in ("abort", "error"):
        completion = Completion(problem="engine", detail=f"the server ended the request: {reply.finish}")
    return _booked(reply, completion)


def _booked(reply: Reply, completion: Completion) -> Completion:
    """The completion with the tokens that the reply took."""
    return replace(
        completion,
        prompt_tokens=reply.prompt_tokens,
        cached_tokens=reply.cached_tokens,
        completion_tokens=reply.completion_tokens,
    )


def _choose(name: str, models: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The entry of the wanted model; without a wish, of the only one that is no adapter."""
    known = {entry["id"]: entry for entry in models}
    if wanted:
        if known and wanted not in known:
            raise EngineError(f"{name}: there is no model {wanted!r}\n  one of {', '.join(sorted(known)[:8])}")
        return known.get(wanted, {"id": wanted})
    bases = [entry for entry in models if not entry.get("parent")]
    if len(bases) != 1:
        hint = f"one of {', '.join(sorted(known)[:8])}" if known else "the endpoint lists no models"
        raise EngineError(f"{name}: which model?\n  name it, {name}#MODEL: {hint}")
    return bases[0]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
