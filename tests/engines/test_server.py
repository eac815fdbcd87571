"""`ServerEngine` against an endpoint in a thread that can misbehave in every way known to it."""

from __future__ import annotations

import email.utils
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.content import Content
from moderator.engines import Completion, describe, endpoint
from moderator.engines.endpoint import Trouble
from moderator.engines.reply import read_reply
from moderator.engines.server import ServerEngine
from moderator.errors import EngineError
from moderator.policy.library import load_policy
from moderator.prompt import CompiledPrompt, Prompt, compile_prompt

NO = '{"violates":"no"}'
Answer = tuple[int, dict[str, str], bytes]


def says(value: Any, status: int = 200, **headers: str) -> Answer:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return status, {"Content-Type": "application/json", **names}, json.dumps(value).encode()


def chat(text: str | None = NO, finish: str = "stop", **more: Any) -> Answer:
    """A chat completion. `more` goes into the choice."""
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 7}}
    return says({"choices": [{"index": 0, "message": message, "finish_reason": finish, **more}], "usage": usage})


def refusal(status: int, message: str, **more: Any) -> Answer:
    return says({"error": {"message": message, **more}}, status)


@dataclass
class Endpoint:
    """What the endpoint does is `answer`, a function of the request's body; what it was asked is in `bodies`."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Answer | None] = lambda body: chat()
    models: Answer | None = field(default_factory=lambda: says({"data": [{"id": "m", "owned_by": "someone"}]}))
    beside: dict[str, Callable[[dict[str, Any]], Answer]] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    most: int = 0
    open: int = 0
    drip: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


def handler(behaviour: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send(behaviour.models if self.path == "/v1/models" else behaviour.beside.get(self.path, unknown)({}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self.send(behaviour.beside.get(self.path, unknown)(body))
                return
            with behaviour.lock:
                behaviour.bodies.append(body)
                behaviour.keys.add(self.headers["Authorization"])
                behaviour.open += 1
                behaviour.most = max(behaviour.most, behaviour.open)
            answer = behaviour.answer(body)
            with behaviour.lock:
                behaviour.open -= 1
            self.send(answer)

        def send(self, answer: Answer | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                for start in range(0, len(content), 4 if behaviour.drip else len(content) or 1):
                    self.wfile.write(content[start : start + (4 if behaviour.drip else len(content))])
                    time.sleep(behaviour.drip)
            except OSError:
                self.close_connection = True

    def unknown(body: dict[str, Any]) -> Answer:
        return says({"detail": "Not Found"}, 404)

    return Handler


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Endpoint]:
    behaviour = Endpoint()
    server = QuietServer(("127.0.0.1", 0), handler(behaviour))
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield behaviour
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which are not waited."""
    waited: list[float] = []
    monkeypatch.setattr(endpoint, "sleep", waited.append)
    return waited


@pytest.fixture
def open_server(fake: Endpoint) -> Iterator[Callable[..., ServerEngine]]:
    opened: list[ServerEngine] = []

    def start(**options: Any) -> ServerEngine:
        opened.append(ServerEngine(fake.url, **options))
        return opened[-1]

    yield start
    for engine in opened:
        engine.close()


Start = Callable[..., ServerEngine]


@pytest.fixture(scope="module")
def compiled() -> CompiledPrompt:
    return compile_prompt(load_policy("hate"))


@pytest.fixture(scope="module")
def prompts(compiled: CompiledPrompt) -> list[Prompt]:
    return [compiled.ask(Content.of(f"text number {index}")).label() for index in range(24)]


def number(body: Mapping[str, Any]) -> int:
    """Which content a request is about."""
    return int(str(body["messages"][1]["content"]).rpartition("number ")[2].rstrip('"'))


def test_a_whole_answer_is_asked_for_by_schema(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    engine = open_server()
    (completion,) = engine.complete(prompts[:1])
    assert completion == Completion(text=NO, whole=True, prompt_tokens=11, cached_tokens=7, completion_tokens=5)
    (body,) = fake.bodies
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == prompts[0].system
    assert body["messages"][1]["content"] == prompts[0].user
    assert body["response_format"]["json_schema"]["schema"]["anyOf"]
    assert body["temperature"] == 0
    assert engine.name == f"server:{fake.url}"
    assert describe(engine).model == "m"
    assert describe(engine).parameters == {"api": "chat", "without": []}


def test_the_label_is_read_where_the_answer_gives_it(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    def token(text: str, **others: float) -> dict[str, Any]:
        listed = [{"token": name, "logprob": math.log(value)} for name, value in others.items()]
        return {"token": text, "logprob": math.log(others.get(text, 1.0)), "top_logprobs": listed}

    written = [token('{"violates":"'), token("no", no=0.75, yes=0.2, maybe=0.05), token('"}')]
    fake.answer = lambda body: chat(logprobs={"content": written})
    (completion,) = open_server().complete(prompts[:1])
    assert completion.labels == pytest.approx({"no": 0.75, "yes": 0.2, "exception": 0, "unknown": 0, "none": 0})
    assert completion.label_leads


def test_completions_come_in_the_order_of_the_prompts_and_not_all_at_once(
    fake: Endpoint, open_server: Start, prompts: list[Prompt]
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        time.sleep(0.03 * (number(body) % 3))
        return chat(json.dumps({"violates": "no", "number": number(body)}))

    fake.answer = answer
    completions = open_server(concurrency=4).complete(prompts)
    assert [json.loads(completion.text)["number"] for completion in completions] == list(range(24))
    assert 1 < fake.most <= 4


def test_the_first_content_of_a_policy_goes_ahead(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    alone: list[bool] = []

    def answer(body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        alone.append(fake.most == 1)
        return chat()

    fake.answer = answer
    open_server().complete(prompts[:6])
    assert alone[0]
    assert not alone[-1]


def test_nothing_is_asked_for_no_prompts(fake: Endpoint, open_server: Start) -> None:
    assert open_server().complete([]) == []
    assert fake.bodies == []


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_tried_again(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], waits: list[float], status: int
) -> None:
    fake.answer = lambda body: chat() if len(fake.bodies) > 2 else refusal(status, "busy")
    (completion,) = open_server().complete(prompts[:1])
    assert completion.problem is None
    assert len(waits) == 2
    # doubling, with a spread of a quarter
    assert 0.375 <= waits[0] <= 0.625
    assert 0.75 <= waits[1] <= 1.25


def test_no_try_comes_before_the_endpoint_wants_it(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], waits: list[float]
) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    given_waits = ["7", date, "3600", "soon"]
    fake.answer = lambda body: chat() if len(fake.bodies) > 4 else says({}, 429, Retry_After=given_waits[len(fake.bodies) - 1])
    (completion,) = open_server().complete(prompts[:1])
    assert completion.problem is None
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == 60  # nobody waits for an hour
    assert waits[3] < 6


def test_a_trouble_that_lasts_fails_its_content_alone(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], waits: list[float]
) -> None:
    fake.answer = lambda body: refusal(500, "no\nluck") if number(body) == 3 else chat()
    completions = open_server(retries=2).complete(prompts[:6])
    assert [completion.problem for completion in completions] == [None, None, None, "engine", None, None]
    assert completions[3].detail == "HTTP 500: no luck"
    assert sum(number(body) == 3 for body in fake.bodies) == 3


def test_a_slow_reply_is_a_timeout_and_is_not_asked_for_again(
    fake: Endpoint, open_server: Start, prompts: list[Prompt]
) -> None:
    released = threading.Event()

    def answer(body: dict[str, Any]) -> Answer:
        if number(body) == 1:
            released.wait(5)
        return chat()

    fake.answer = answer
    completions = open_server(timeout=0.3).complete(prompts[:3])
    released.set()
    assert [completion.problem for completion in completions] == [None, "timeout", None]
    assert sum(number(body) == 1 for body in fake.bodies) == 1


def test_a_reply_that_drips_is_a_timeout_too(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    engine = open_server(timeout=0.4)
    fake.answer = lambda body: (200, {"Content-Type": "application/json"}, b" " * 400)
    fake.drip = 0.02
    begun = time.monotonic()
    (completion,) = engine.complete(prompts[:1])
    assert completion.problem == "timeout"
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    "nonsense",
    [
        (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><body>Welcome</body></html>"),
        (200, {"Content-Type": "application/json"}, b""),
        (200, {"Content-Type": "application/json"}, b'{"choices": ['),
        (200, {"Content-Type": "application/json"}, b"\xff\xfe\x00"),
        (200, {"Content-Type": "application/json"}, b"[" * 100_000),
        (200, {"Content-Type": "application/json"}, b" " * ((8 << 20) + 1)),
        says([]),
        says("no"),
        says({}),
        says({"choices": None}),
        says({"choices": []}),
        says({"choices": {"0": {}}}),
        says({"choices": [None]}),
        says({"choices": [{"message": "no"}]}),
        says({"choices": [{"message": {"content": 7}}]}),
        says({"choices": [{"message": {"content": [{"type": "text", "text": "no"}]}}]}),
        chat(None),
        chat(""),
        chat("", message={"tool_calls": [{"id": "1"}]}),
    ],
    ids=lambda answer: answer[2][:40].decode("latin-1"),
)
def test_nonsense_is_unreadable_never_an_answer(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], nonsense: Answer
) -> None:
    fake.answer = lambda body: nonsense if number(body) == 1 else chat()
    completions = open_server(retries=0).complete(prompts[:3])
    assert [completion.problem for completion in completions] == [None, "unreadable", None]
    assert completions[1].text == ""
    assert "\n" not in completions[1].detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "logprobs", "top_logprobs", "token", "logprob", "usage", "prompt_tokens"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.just("choices"), st.lists(st.fixed_dictionaries({"message": JSON, "logprobs": JSON}), max_size=2)), JSON
)
def test_any_object_is_a_reply_or_a_trouble(body: dict[str, Any], usage: Any) -> None:
    reply = read_reply({**body, "usage": usage})
    if not isinstance(reply, Trouble):
        assert reply.prompt_tokens >= 0
        assert all(0 <= each <= 1 for token in reply.tokens for each in token.probabilities.values())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (refusal(400, "This model's maximum context length is 4096 tokens", code="context_length_exceeded"), "too_long"),
        (refusal(413, "prompt is too long: 300000 tokens"), "too_long"),
        (refusal(400, "filtered", code="content_filter"), "refused"),
        (refusal(403, "your input was flagged by moderation"), "refused"),
        (refusal(400, "bad request"), "engine"),
        (refusal(422, "unprocessable"), "engine"),
        ((400, {"Content-Type": "text/html"}, b"<html>no</html>"), "engine"),
        (chat(None, message={"refusal": "I cannot help with that"}), "refused"),
        (chat("", finish="content_filter"), "refused"),
        (chat('{"violates":"y', finish="length"), "cut"),
        (chat("{", finish="abort"), "engine"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[2][:60].decode(),
)
def test_what_goes_wrong_with_one_content_is_told_apart(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], answer: Answer, problem: str
) -> None:
    fake.answer = lambda body: answer if number(body) == 1 else chat()
    completions = open_server().complete(prompts[:3])
    assert [completion.problem for completion in completions] == [None, problem, None]


def test_a_prompt_that_only_fits_without_its_allowance_gets_what_room_there_is(
    fake: Endpoint, open_server: Start, prompts: list[Prompt]
) -> None:
    fake.answer = lambda body: refusal(400, "maximum context length is 10 tokens") if "max_tokens" in body else chat()
    (completion,) = open_server().complete(prompts[:1])
    assert completion.problem is None


def test_what_an_endpoint_does_not_take_is_left_out_once_and_for_all(
    fake: Endpoint, open_server: Start, prompts: list[Prompt]
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if "response_format" in body:
            return refusal(400, "'type' of 'response_format.type' is not supported")
        if "max_tokens" in body:
            return refusal(400, "Unsupported parameter", param="max_tokens")
        return chat("```json\n" + NO + "\n```")

    fake.answer = answer
    engine = open_server()
    assert [completion.text for completion in engine.complete(prompts[:3])] == [NO] * 3
    assert describe(engine).parameters == {"api": "chat", "without": ["max_tokens", "response_format"]}
    assert len(fake.bodies) == 2 + 3
    assert fake.bodies[-1]["max_completion_tokens"] == fake.bodies[0]["max_tokens"]


def test_a_request_that_fails_without_the_part_too_costs_the_others_nothing(
    fake: Endpoint, open_server: Start, prompts: list[Prompt]
) -> None:
    fake.answer = lambda body: refusal(400, "bad request") if number(body) == 0 else chat()
    engine = open_server()
    completions = engine.complete(prompts[:3])
    assert [completion.problem for completion in completions] == ["engine", None, None]
    assert describe(engine).parameters == {"api": "chat", "without": []}
    assert "response_format" in fake.bodies[-1]


def test_an_endpoint_that_is_down_is_an_error_that_says_where(fake: Endpoint) -> None:
    with pytest.raises(EngineError, match=r"^server:http://127\.0\.0\.1:1: cannot be reached: connection: [^\n]+$"):
        ServerEngine("http://127.0.0.1:1")


def test_an_endpoint_that_goes_down_stops_the_run(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], waits: list[float]
) -> None:
    engine = open_server(retries=1)
    fake.models = None
    fake.answer = lambda body: None
    with pytest.raises(EngineError, match=r"cannot be reached: connection: "):
        engine.complete(prompts)


def test_a_connection_that_breaks_for_one_content_fails_that_one(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], waits: list[float]
) -> None:
    fake.answer = lambda body: None if number(body) == 2 else chat()
    completions = open_server(retries=2).complete(prompts[:4])
    assert [completion.problem for completion in completions] == [None, None, "engine", None]
    assert completions[2].detail.startswith("connection: ")
    assert sum(number(body) == 2 for body in fake.bodies) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(401, "wrong key"), "HTTP 401: wrong key\n  set OPENAI_API_KEY"),
        (refusal(402, "no money"), "HTTP 402: no money"),
        (refusal(403, "not for you"), "HTTP 403: not for you"),
        (refusal(404, "The model `m` does not exist"), "HTTP 404: The model `m` does not exist"),
        (refusal(429, "quota", code="insufficient_quota"), "HTTP 429: quota"),
    ],
)
def test_what_would_fail_every_content_stops_the_run(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], answer: Answer, words: str
) -> None:
    fake.answer = lambda body: answer
    with pytest.raises(EngineError) as raised:
        open_server().complete(prompts)
    assert str(raised.value).startswith(f"server:{fake.url}: {words}")


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    engine = open_server()
    engine.complete(prompts[:1])
    assert fake.keys == {"Bearer sk-secret"}
    fake.answer = lambda body: refusal(401, "wrong key")
    with pytest.raises(EngineError) as raised:
        engine.complete(prompts[:1])
    assert "sk-secret" not in str(raised.value) + repr(describe(engine))


def test_models_are_chosen_by_name(fake: Endpoint) -> None:
    fake.models = says({"data": [{"id": "a"}, {"id": "b"}, {"nothing": 1}, "c"]})
    with pytest.raises(EngineError, match=r"which model\?\n  name it, .*#MODEL: one of a, b$"):
        ServerEngine(fake.url)
    with pytest.raises(EngineError, match=r"there is no model 'z'\n  one of a, b$"):
        ServerEngine(f"{fake.url}#z")
    engine = ServerEngine(f"{fake.url}/v1/#b")
    assert describe(engine).model == "b"
    engine.close()


def test_adapters_are_not_taken_for_the_model(fake: Endpoint, open_server: Start) -> None:
    fake.models = says({"data": [{"id": "base", "parent": None}, {"id": "adapter", "parent": "base"}]})
    assert describe(open_server()).model == "base"


@pytest.mark.parametrize("models", [says({"detail": "Not Found"}, 404), says({"data": 3}), says([])])
def test_an_endpoint_without_a_list_takes_the_name_it_is_given(fake: Endpoint, prompts: list[Prompt], models: Answer) -> None:
    fake.models = models
    with pytest.raises(EngineError, match="the endpoint lists no models"):
        ServerEngine(fake.url)
    engine = ServerEngine(f"{fake.url}#m")
    assert engine.complete(prompts[:1])[0].text == NO
    engine.close()


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://host", "http://", "http://host/v1?k=1", "", "http://[::1", "http://me:secret@host"]
)
def test_an_address_has_a_form(address: str) -> None:
    with pytest.raises(EngineError, match="is no address") as raised:
        ServerEngine(address)
    assert "secret" not in str(raised.value)


VLLM = says({"data": [{"id": "m", "owned_by": "vllm", "root": "/nowhere", "parent": None}]})


def letters(body: dict[str, Any]) -> Answer:
    """A tokenizer of letters; a chat is its turns, with a token around each."""
    if "prompt" in body:
        return says({"tokens": list(map(ord, body["prompt"]))})
    ids = [each for message in body["messages"] for each in (1, *map(ord, message["content"]))]
    return says({"tokens": ids + [1] * bool(body.get("add_generation_prompt"))})


def test_a_vllm_server_without_guidance_is_refused(fake: Endpoint) -> None:
    fake.models = VLLM
    fake.beside = {"/tokenize": letters}
    fake.answer = lambda body: chat("something else")
    with pytest.raises(EngineError, match="does not keep to grammars\n  start it with --structured-outputs-config"):
        ServerEngine(fake.url)
    fake.answer = lambda body: refusal(400, "failed to compile the grammar")
    with pytest.raises(EngineError, match="HTTP 400: failed to compile the grammar\n  start it with"):
        ServerEngine(fake.url)


def test_labels_of_several_tokens_are_refused(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    fake.models = VLLM
    fake.beside = {"/tokenize": letters}
    fake.answer = lambda body: chat('"ab"')
    with pytest.raises(EngineError, match="label 'no' is not one distinct token after"):
        open_server().complete(prompts[:1])


@pytest.mark.parametrize("strays", [True, False], ids=["other ids", "no /tokenize"])
def test_a_vllm_server_that_cannot_continue_a_turn_is_asked_for_whole_answers(
    fake: Endpoint, open_server: Start, prompts: list[Prompt], strays: bool
) -> None:
    fake.models = VLLM
    if strays:
        fake.beside = {"/tokenize": lambda body: says({"tokens": [1, 2, 3]})}
    (completion,) = open_server().complete(prompts[:1])
    assert completion.whole


def test_a_model_that_knows_no_system_turn_gets_one_turn(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return refusal(400, "System role not supported") if len(body["messages"]) > 1 else chat()

    fake.answer = answer
    engine = open_server()
    assert [completion.text for completion in engine.complete(prompts[:2])] == [NO] * 2
    assert fake.bodies[-1]["messages"] == [{"role": "user", "content": f"{prompts[1].system}\n\n{prompts[1].user}"}]


def test_a_vllm_server_whose_template_knows_no_system_turn(fake: Endpoint, open_server: Start, prompts: list[Prompt]) -> None:
    def tokenize(body: dict[str, Any]) -> Answer:
        roles = [message["role"] for message in body.get("messages", [])]
        return refusal(400, "System role not supported") if "system" in roles else letters(body)

    fake.models = VLLM
    fake.beside = {"/tokenize": tokenize}
    fake.answer = lambda body: chat('"ab"')
    open_server()
    assert [message["role"] for message in fake.bodies[0]["messages"]] == ["user", "assistant"]
