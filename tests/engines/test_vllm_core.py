"""How vLLM's core process is taken leave of. Needs the environment of requirements/vllm.txt."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def core() -> Any:
    return pytest.importorskip("moderator.engines.vllm_core")


def client(seen: list[str], told: threading.Event, ended: threading.Event) -> Any:
    """What `end` sees of vLLM: a thread that polls sockets, and closes them when it is told to."""

    def read() -> None:
        told.wait()
        ended.wait()
        seen.append("sockets closed")

    def shutdown() -> None:
        seen.append("shut down")
        told.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    context = SimpleNamespace(destroy=lambda linger: seen.append("context destroyed"))
    engine = SimpleNamespace(ctx=context, shutdown=shutdown, output_queue_thread=reader)
    return SimpleNamespace(llm_engine=SimpleNamespace(engine_core=engine))


def test_sockets_are_closed_by_the_thread_that_polls_them(core: Any) -> None:
    """Closed under it they abort the process (libzmq's ``pfd.revents & POLLIN``): one closing in a few thousand did."""
    seen, ended = list[str](), threading.Event()
    llm = client(seen, threading.Event(), ended)
    threading.Timer(0.2, ended.set).start()
    core.end(llm)
    assert seen == ["shut down", "sockets closed", "context destroyed"]


def test_a_thread_that_does_not_end_keeps_its_sockets(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_LAST_SECONDS", 0.1)
    seen, ended = list[str](), threading.Event()
    core.end(client(seen, threading.Event(), ended))
    assert seen == ["shut down"]
    ended.set()
