"""vLLM's core process: that it has ended is noticed, that it ends is seen to, and what comes up from it is told in one line."""

from __future__ import annotations

import multiprocessing.connection
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import vllm
from safetensors import SafetensorError
from vllm.exceptions import VLLMError
from vllm.v1.engine.exceptions import EngineDeadError

from moderator.errors import EngineError

_FOREIGN: Final = (
    VLLMError,
    SafetensorError,
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    MemoryError,
    AssertionError,
    struct.error,
)
"""What comes up from below: the libraries' own errors, and what they let through when a file is not what it says."""
_CORE: Final = "Engine core initialization failed"
"""The process that failed has written why on standard error; only this comes back from it."""
_LAST_SECONDS: Final = 10.0
"""The thread that reads from the core is waited for so long."""


def watch(llm: vllm.LLM, cores: Sequence[int]) -> threading.Event:
    """An event that is set when a core process ends. It also wakes a call that waits for one: vLLM 0.32 would wait for ever."""
    ended = threading.Event()
    outputs: Any = getattr(llm.llm_engine.engine_core, "outputs_queue", None)

    def wait() -> None:
        multiprocessing.connection.wait(cores)
        ended.set()
        if outputs is not None:
            outputs.put(EngineDeadError())

    if cores:
        threading.Thread(target=wait, daemon=True, name="moderator-vllm-watch").start()
    return ended


def end(llm: vllm.LLM) -> None:
    """Ends vLLM's processes, and the sockets to them, which vLLM leaves to the garbage collector."""
    core: Any = llm.llm_engine.engine_core
    core.shutdown()
    reader = getattr(core, "output_queue_thread", None)
    if reader is not None:
        # it closes its sockets itself: closed under it, they abort the whole process (an assertion of libzmq)
        reader.join(_LAST_SECONDS)
    if hasattr(core, "ctx") and not (reader and reader.is_alive()):
        core.ctx.destroy(linger=0)


@contextmanager
def errors(where: str) -> Iterator[None]:
    """Turns what vLLM, peft and transformers raise into `EngineError`."""
    try:
        yield
    except EngineDeadError:
        raise EngineError(f"{where}: vLLM's process has ended; it says why on standard error") from None
    except _FOREIGN as error:
        hint = (
            "\n  too little memory is the usual cause: see kv_cache_memory_bytes, max_model_len" if _CORE in str(error) else ""
        )
        raise EngineError(f"{where}: {in_short(error)}{hint}") from error


def in_short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
