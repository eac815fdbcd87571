"""vLLM in this process: token ids in, label probabilities and grammar-bound texts out.

Every prompt is sent as ids from `ChatTokenizer`, so no text can forge a turn, and the policy is tokenised once. Its keys and
values stay in vLLM's prefix cache; a policy that is new is run alone first, or every content of the first batch would run it.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import multiprocessing.connection
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

# read when vllm is imported: standard output belongs to the results, and nothing is reported to anyone
os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import vllm
from huggingface_hub import snapshot_download
from vllm.exceptions import VLLMClientError
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.engine.exceptions import EngineDeadError

from moderator.answer import AnswerFormat
from moderator.engines import Completion, EngineDescription
from moderator.engines.adapters import write_merged
from moderator.engines.chat import ChatTokenizer
from moderator.engines.folder import (
    check_base,
    digest,
    family,
    read_json,
    split_adapters,
    trained_for,
    versioned_name,
    weight_files,
)
from moderator.engines.vllm_core import end, errors, in_short, watch
from moderator.engines.whole import HARMONY_ANSWER, sampling, schema, tokens_for, unwrapped
from moderator.errors import EngineError
from moderator.prompt import Prompt, ReadLabel, Write

_CPU_BLOCK: Final = 32
"""Tokens of a block of the prefix cache on CPU: the least that its attention takes. The default of 128 is 2.3 times slower."""
_CPU_CACHE_BYTES: Final = 2 << 30
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM can be started with."""
_WARM: Final = 64
"""Policies that are remembered as being in the prefix cache."""
_THOUGHT_TOKENS: Final = 4096
Ids = list[int]


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """How a kind of model is made to keep to a form.

    The backend is always named: vLLM's ``auto`` keeps the one of its first request and then drops what that one cannot say.
    """

    backend: Literal["guidance", "xgrammar"] = "guidance"
    harmony: bool = False
    """Thinks in a channel of its own before it answers: no prefill, no label read; whole answers by JSON Schema."""

    @classmethod
    def of(cls, folder: Path) -> ModelProfile:
        """The profile for the model in the folder. ``guidance`` cannot take the tags that harmony answers need."""
        if read_json(folder / "config.json").get("model_type") == "gpt_oss":
            return cls(backend="xgrammar", harmony=True)
        return cls()


class _Prefix(NamedTuple):
    """What prompts share in the prefix cache: a system turn, as one adapter reads it."""

    system: str
    lora: LoRARequest | None


class VLLMEngine:
    """Runs a model folder or a Hugging Face name, ``MODEL[+ADAPTER...]``; adapters are folders that peft wrote.

    Of several adapters each answers about the policies that its manifest names, and the model itself about all others. A
    single one answers about everything; on CPU it is merged into the model first: there vLLM's own adapters make every label
    read four times slower.
    """

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        max_model_len: int | None = None,
        kv_cache_memory_bytes: int | None = None,
        enforce_eager: bool = False,
        profile: ModelProfile | None = None,
        **options: Any,
    ):
        self.name = f"vllm:{model}"
        self._base, adapters = split_adapters(model)
        self._folder = _folder(self.name, self._base, "config.json")
        self._adapters = tuple(_folder(self.name, adapter, "adapter_config.json") for adapter in adapters)
        self._model = versioned_name(self._folder.name if Path(self._base).is_dir() else self._base, self._folder)
        for adapter in self._adapters:
            check_base(adapter, self._model)
        self._profile = profile or ModelProfile.of(self._folder)
        self._chat = ChatTokenizer.from_folder(self._folder)
        self._everything: LoRARequest | None = None
        """The adapter that answers about all policies."""
        self._of_policy: dict[str, LoRARequest] = {}
        settings: dict[str, Any] = {
            "dtype": dtype,
            "enforce_eager": enforce_eager,
            "max_model_len": max_model_len,
            "kv_cache_memory_bytes": kv_cache_memory_bytes,
            "enable_prefix_caching": True,
            "structured_outputs_config": {"backend": self._profile.backend, "disable_any_whitespace": True},
        }
        others = multiprocessing.active_children()
        with errors(self.name):
            self._llm = self._start(settings | (_cpu(settings) if current_platform.is_cpu() else {}) | options)
        self._ended = watch(self._llm, [child.sentinel for child in multiprocessing.active_children() if child not in others])
        self._limit: int = self._llm.llm_engine.vllm_config.model_config.max_model_len
        self._warm: OrderedDict[_Prefix, None] = OrderedDict()
        self._reads: dict[tuple[int, ...], vllm.SamplingParams] = {}
        self._lock = threading.Lock()

    @cached_property
    def description(self) -> EngineDescription:
        config = self._llm.llm_engine.vllm_config
        return EngineDescription(
            engine=f"vllm {vllm.__version__}",
            model=self._model,
            adapter_digest=self._digests[0] if len(self._adapters) == 1 else None,
            adapters={slug: request.lora_name for slug, request in self._of_policy.items()},
            parameters={
                "dtype": str(config.model_config.dtype).removeprefix("torch."),
                "grammar": self._profile.backend,
            },
            family=self._family,
            folders=self._adapters or (self._folder,),
        )

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One completion each, in order. Prompts of one policy are run together, whatever their order."""
        if self._profile.harmony:
            prompts = [replace(prompt, prefill="") for prompt in prompts]
        groups: dict[_Prefix, list[tuple[int, Ids]]] = {}
        completions: dict[int, Completion] = {}
        for index, (prompt, suffix) in enumerate(zip(prompts, self._chat.suffixes(prompts), strict=True)):
            prefix = self._chat.prefix(prompt.system)
            # a prompt needs room for one token behind it
            if len(prefix) + len(suffix) < self._limit:
                shared = _Prefix(prompt.system, self._lora(prompt))
                groups.setdefault(shared, []).append((index, [*prefix, *suffix]))
            else:
                completions[index] = self._too_long(len(prefix), len(suffix))
        items = [item for group in groups.values() for item in group]
        loras = [shared.lora for shared, group in groups.items() for _ in group]
        with self._lock:
            self._warm_up({shared: len(group) for shared, group in groups.items()})
            params = [self._params(prompts[index]) for index, _ in items]
            outputs = self._generate([ids for _, ids in items], params, loras)
        for (index, ids), output in zip(items, outputs, strict=True):
            completions[index] = output if isinstance(output, Completion) else self._read(prompts[index], ids, output)
        return [completions[index] for index in range(len(prompts))]

    def close(self) -> None:
        """Ends vLLM's processes, and the sockets to them, which vLLM leaves to the garbage collector."""
        end(self._llm)

    @cached_property
    def _family(self) -> str | None:
        """The prompt family of the adapters, which must be one, or else the model's."""
        found = {name for name in map(family, self._adapters) if name is not None}
        if len(found) > 1:
            raise EngineError(f"{self.name}: the adapters are for several prompt families: {', '.join(sorted(found))}")
        return found.pop() if found else family(self._folder)

    def _start(self, settings: Mapping[str, Any]) -> vllm.LLM:
        if not self._adapters:
            return vllm.LLM(str(self._folder), **settings)
        if current_platform.is_cpu() and len(self._adapters) == 1:
            with tempfile.TemporaryDirectory(prefix="moderator-merged-") as whole:
                write_merged(self._folder, self._adapters[0], Path(whole))
                return vllm.LLM(whole, **settings)
        ranks = [read_json(adapter / "adapter_config.json").get("r") for adapter in self._adapters]
        most = max(rank if isinstance(rank, int) else _RANKS[-1] for rank in ranks)
        least = next((allowed for allowed in _RANKS if most <= allowed), _RANKS[-1])
        requests = self._requests()
        llm = vllm.LLM(str(self._folder), enable_lora=True, max_lora_rank=least, max_loras=len(requests), **settings)
        # they are loaded by the first request: now, so that one that does not fit is noticed here
        for request in requests:
            llm.generate([{"prompt_token_ids": self._chat.encode("x")}], self._once, use_tqdm=False, lora_request=request)
        return llm

    def _requests(self) -> list[LoRARequest]:
        """A request for each adapter, put where its prompts find it. vLLM knows one by its name: the digest of its weights."""
        requests = [
            LoRARequest(weights, number, str(adapter))
            for number, (weights, adapter) in enumerate(zip(self._digests, self._adapters, strict=True), start=1)
        ]
        if len(requests) == 1:
            self._everything = requests[0]
            return requests
        for request, adapter in zip(requests, self._adapters, strict=True):
            slugs = trained_for(adapter)
            if not slugs:
                raise EngineError(
                    f"{self.name}: {adapter} does not say which policies it is for (`policies` in moderator.json)"
                )
            for slug in slugs:
                if self._of_policy.setdefault(slug, request) is not request:
                    raise EngineError(f"{self.name}: two adapters are for policy {slug}")
        return requests

    @cached_property
    def _digests(self) -> list[str]:
        return [digest(weight_files(adapter)) for adapter in self._adapters]

    def _lora(self, prompt: Prompt) -> LoRARequest | None:
        return self._of_policy.get(prompt.policy, self._everything)

    def _too_long(self, prefix: int, suffix: int) -> Completion:
        total = prefix + suffix
        detail = f"{total} tokens ({prefix} of them the policy's) where the model takes {self._limit - 1}"
        return Completion(problem="too_long", detail=detail, prompt_tokens=total)

    def _warm_up(self, counts: Mapping[_Prefix, int]) -> None:
        """Runs the policies that are new, once each. One content alone warms its policy itself."""
        new = [shared for shared, count in counts.items() if count > 1 and shared not in self._warm]
        if new:
            prefixes = [list(self._chat.prefix(shared.system)) for shared in new]
            self._generate(prefixes, [self._once] * len(new), [shared.lora for shared in new])
        for shared in counts:
            self._warm[shared] = None
            self._warm.move_to_end(shared)
        while len(self._warm) > _WARM:
            self._warm.popitem(last=False)

    def _generate(
        self, prompts: list[Ids], params: list[vllm.SamplingParams], loras: list[LoRARequest | None]
    ) -> list[vllm.RequestOutput | Completion]:
        if not prompts:
            return []
        with errors(self.name):
            if self._ended.is_set():
                raise EngineDeadError
            try:
                outputs: list[vllm.RequestOutput | Completion] = self._llm.generate(
                    [{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False, lora_request=loras
                )
                return outputs
            except VLLMClientError as error:
                # vLLM refuses a whole batch for one prompt (a grammar too large, say): look for it by halves
                if len(prompts) == 1:
                    return [Completion(problem="engine", detail=in_short(error), prompt_tokens=len(prompts[0]))]
        half = len(prompts) // 2
        before = self._generate(prompts[:half], params[:half], loras[:half])
        return before + self._generate(prompts[half:], params[half:], loras[half:])

    @cached_property
    def _once(self) -> vllm.SamplingParams:
        return vllm.SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, skip_clone=True)

    def _params(self, prompt: Prompt) -> vllm.SamplingParams:
        if self._profile.harmony:
            return _harmony_params(prompt)
        task = prompt.task
        if isinstance(task, Write):
            return vllm.SamplingParams(
                max_tokens=task.max_tokens,
                temperature=task.temperature,
                seed=task.seed,
                structured_outputs=StructuredOutputsParams(grammar=task.grammar),
                skip_clone=True,
            )
        ids = tuple(self._label_ids(prompt.format, task).values())
        if ids not in self._reads:
            self._reads[ids] = vllm.SamplingParams(
                max_tokens=1, temperature=0.0, logprob_token_ids=list(ids), detokenize=False, skip_clone=True
            )
        return self._reads[ids]

    def _label_ids(self, form: AnswerFormat, task: ReadLabel) -> dict[str, int]:
        ids = self._chat.label_ids(form)
        return {label: ids[label] for label in task.labels}

    def _read(self, prompt: Prompt, ids: Ids, output: vllm.RequestOutput) -> Completion:
        written = output.outputs[0]
        booked = Completion(
            prompt_tokens=len(ids), cached_tokens=output.num_cached_tokens or 0, completion_tokens=len(written.token_ids)
        )
        if written.finish_reason not in ("stop", "length"):
            return replace(booked, problem="engine", detail=f"vLLM ended the request: {written.finish_reason}")
        if isinstance(prompt.task, ReadLabel) and not self._profile.harmony:
            labels = self._label_ids(prompt.format, prompt.task)
            read = written.logprobs[0]
            probabilities = {label: math.exp(read[token].logprob) for label, token in labels.items()}
            if not all(map(math.isfinite, probabilities.values())):
                return replace(booked, problem="engine", detail="the model's probabilities are not numbers")
            return replace(booked, labels=probabilities, label_leads=written.token_ids[0] in labels.values())
        if written.finish_reason == "length":
            return replace(booked, problem="cut", detail=f"the text was not finished after {len(written.token_ids)} tokens")
        if self._profile.harmony:
            return replace(booked, text=unwrapped(written.text), whole=True)
        return replace(booked, text=written.text)


def _harmony_params(prompt: Prompt) -> vllm.SamplingParams:
    """A whole answer in the final channel, after a thought of any content in the analysis channel."""
    temperature, seed = sampling(prompt)
    final = {"type": "json_schema", "json_schema": schema(prompt.format)}
    thought = {"type": "tag", "begin": "<|channel|>analysis<|message|>", "content": {"type": "any_text"}, "end": "<|end|>"}
    spoken = {"type": "sequence", "elements": [thought, {"type": "const_string", "value": "<|start|>assistant"}]}
    # the empty end stands for the control token that stops: xgrammar does not take that one by name
    answer = {"type": "tag", "begin": HARMONY_ANSWER, "content": final, "end": ["<|end|>", ""]}
    form = {"type": "sequence", "elements": [{"type": "optional", "content": spoken}, answer]}
    return vllm.SamplingParams(
        max_tokens=tokens_for(prompt.format) + _THOUGHT_TOKENS,
        temperature=temperature,
        seed=seed,
        skip_special_tokens=False,
        structured_outputs=StructuredOutputsParams(structural_tag=json.dumps({"type": "structural_tag", "format": form})),
        skip_clone=True,
    )


def _cpu(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be said on CPU. vLLM would take most of the machine's memory; -1: as long as the cache allows."""
    return {
        "block_size": _CPU_BLOCK,
        "kv_cache_memory_bytes": settings["kv_cache_memory_bytes"] or _CPU_CACHE_BYTES,
        "max_model_len": settings["max_model_len"] or -1,
    }


def _folder(where: str, source: str, file: str) -> Path:
    """The folder itself, or the place of a Hugging Face name in the Hub's cache; either must have the file."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(source, allow_patterns=["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]))
        except (OSError, ValueError) as error:
            raise EngineError(f"{where}: {source} is no folder, and cannot be fetched: {in_short(error)}") from None
    if not (folder / file).is_file():
        raise EngineError(f"{where}: {source} has no {file}")
    return folder
