"""The seam between prompts and models: anything with a `name` and `complete` is an engine."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from moderator.errors import EngineError
from moderator.prompt import Prompt
from moderator.verdict import Reason


@dataclass(frozen=True, slots=True)
class Completion:
    """One engine's answer to one `Prompt`.

    For a label read, `labels` holds the probability of each label in the full vocabulary and `label_leads` says whether the
    most probable token of all was a label. For a write, `text` is what follows the prompt's prefill. An engine that cannot
    continue a prefill answers with the whole answer from its first character, and says so with `whole`.
    """

    text: str = ""
    labels: Mapping[str, float] | None = None
    label_leads: bool = True
    whole: bool = False
    problem: Reason | None = None
    """Set: there is no answer; `detail` says why in a few words."""
    detail: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Engine(Protocol):
    """Answers prompts: in order, one completion each. May also have `close()` and a `description`."""

    @property
    def name(self) -> str: ...

    def complete(self, prompts: Sequence[Prompt]) -> Sequence[Completion]: ...


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What a verdict records of the engine that answered."""

    engine: str
    """Kind and version, ``vllm 0.32.0``."""
    model: str
    """Name of the model, with a digest of its weights where they are at hand."""
    adapter_digest: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    family: str | None = None
    """The prompt family that the model was made for, if it says so."""
    batch: int = 256
    """How many contents the engine likes to be given at once."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Digests of the adapters of single policies, by slug: for these instead of `adapter_digest`."""
    folders: tuple[Path, ...] = ()
    """Where the adapters' files are, or without one the model's, as far as they are on this machine."""


@runtime_checkable
class Described(Protocol):
    @property
    def description(self) -> EngineDescription: ...


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


def describe(engine: Engine) -> EngineDescription:
    """The engine's own description, or one made from its name."""
    if isinstance(engine, Described):
        return engine.description
    return EngineDescription(engine=engine.name, model=engine.name)


def close(engine: Engine) -> None:
    """Frees what the engine holds, if it holds anything."""
    if isinstance(engine, Closable):
        engine.close()


KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "nano": ("moderator.engines.nano", "NanoEngine", ""),
    "local": ("moderator.engines.local", "LocalEngine", "local"),
    "vllm": ("moderator.engines.vllm", "VLLMEngine", "vllm"),
    "server": ("moderator.engines.server", "ServerEngine", ""),
}
"""Built-in kinds: module, class, and the extra that installs what they need (empty: the base install does)."""


NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "nano": ("numpy", "tokenizers", "llguidance"),
    "local": ("torch", "transformers", "peft"),
    "vllm": ("vllm", "torch", "peft"),
    "server": ("openai",),
}
"""The modules that each built-in kind imports."""


def open_engine(spec: str, **options: Any) -> Engine:
    """Opens an engine by its spec.

    ``nano``, ``local:MODEL[+ADAPTER]``, ``vllm:MODEL[+ADAPTER...]``, ``server:URL[#MODEL]`` or
    ``package.module:Class[:ARGUMENT]``; `options` go to the engine's class.
    Raises `EngineError` when the kind is unknown, an extra is missing, or the engine cannot start.
    """
    kind, _, argument = spec.partition(":")
    if kind in KINDS:
        module, name, extra = KINDS[kind]
    elif "." in kind and argument:
        module, extra = kind, ""
        name, _, argument = argument.partition(":")
    else:
        raise EngineError(f"{spec}: unknown engine kind {kind!r}\n  one of {', '.join(KINDS)}, or package.module:Class")
    try:
        maker = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise EngineError(_missing(spec, module, extra, error)) from None
    except AttributeError:
        raise EngineError(f"{spec}: module {module} has no {name!r}") from None
    arguments = [argument] if argument else []
    try:
        inspect.signature(maker).bind(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise EngineError(f"{spec}: {error}") from None
    engine: Engine = maker(*arguments, **options)
    if not callable(getattr(engine, "complete", None)):
        raise EngineError(f"{spec}: {name} is not an engine: it has no method `complete`")
    return engine


def _missing(spec: str, module: str, extra: str, error: ModuleNotFoundError) -> str:
    if error.name and not module.startswith(error.name):
        hint = f"\n  pip install 'moderator[{extra}]'" if extra else f"\n  pip install {error.name}"
        return f"{spec}: {error.name} is not installed{hint}"
    return f"{spec}: there is no module {module!r}"
