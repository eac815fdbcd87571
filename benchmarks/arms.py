"""The ways of asking that are compared: same model, same weights and dtype, same token ids, one compute thread each, greedy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import outlines
import torch
from outlines.types import JsonSchema
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from moderator import Content, Moderator, Policy, Verdict
from moderator.engines import Engine
from moderator.engines.chat import ChatTokenizer
from moderator.engines.vllm import VLLMEngine
from moderator.errors import AnswerError
from moderator.prompt import CompiledPrompt

MAX_NEW_TOKENS = 120


@dataclass
class Arm:
    """One way of asking: what it is, how many contents a round gives it, and what came of them."""

    name: str
    size: int
    run: Callable[[Sequence[Content]], Sequence[bool | None]]
    """For each content whether it was flagged (None: the answer could not be read)."""
    milliseconds: list[float] = field(default_factory=list)
    """Per content, one figure a round."""
    flagged: int = 0
    unreadable: int = 0
    judged: int = 0

    def round(self, contents: Sequence[Content]) -> None:
        started = time.perf_counter()
        results = self.run(contents)
        self.milliseconds.append((time.perf_counter() - started) * 1000 / len(contents))
        self.judged += len(results)
        self.flagged += sum(result is True for result in results)
        self.unreadable += sum(result is None for result in results)


class Peers:
    """What people do today, each writing a whole answer for every content."""

    def __init__(self, folder: Path, dtype: str, compiled: CompiledPrompt, engine: VLLMEngine):
        self._compiled = compiled
        self._chat = ChatTokenizer.from_folder(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self._tokenizer = tokenizer
        self._outlines = outlines.from_transformers(self._model, tokenizer)
        schema = json.dumps(compiled.format.schema())
        self._generator = outlines.Generator(self._outlines, JsonSchema(schema))
        self._llm = engine._llm
        self._json = SamplingParams(
            temperature=0, max_tokens=MAX_NEW_TOKENS, structured_outputs=StructuredOutputsParams(json=compiled.format.schema())
        )

    def ids(self, content: Content) -> list[int]:
        prompt = self._compiled.ask(content).label()
        whole = self._chat.suffixes([prompt])[0]
        # the peers begin the answer themselves: without the prefill
        return [*self._chat.prefix(prompt.system), *whole[: len(whole) - len(self._chat.encode(prompt.prefill))]]

    def text(self, content: Content) -> str:
        return str(self._chat.tokenizer.decode(self.ids(content), skip_special_tokens=False))

    def generate_loop(self, contents: Sequence[Content]) -> list[bool | None]:
        """(a) a plain ``transformers.generate`` loop, the answer parsed from its text."""
        results = []
        for content in contents:
            ids = torch.tensor([self.ids(content)])
            with torch.inference_mode():
                out = self._model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_NEW_TOKENS, do_sample=False
                )
            results.append(self._read(self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)))
        return results

    def outlines_batch(self, contents: Sequence[Content]) -> list[bool | None]:
        """(b) outlines' ``Generator.batch`` with the answer's JSON Schema."""
        with torch.inference_mode():
            texts = self._generator.batch([self.text(c) for c in contents], max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        return [self._read(text) for text in texts]

    def vllm_json(self, contents: Sequence[Content]) -> list[bool | None]:
        """(c) ``LLM.generate`` with the answer's JSON Schema, the prefix cache warm."""
        prompts = [{"prompt_token_ids": self.ids(content)} for content in contents]
        outputs = self._llm.generate(prompts, self._json, use_tqdm=False)
        return [self._read(output.outputs[0].text) for output in outputs]

    def _read(self, text: str) -> bool | None:
        try:
            return self._compiled.format.read(text).label == "yes"
        except AnswerError:
            return None

    def floor(self, contents: Sequence[Content]) -> float:
        """(f) milliseconds that the model's own forward pass over a content's uncached tokens takes: the time of one uncached
        pass per token, times the tokens behind the prefix."""
        prompt_tokens = suffix_tokens = 0
        started = time.perf_counter()
        with torch.inference_mode():
            for content in contents:
                ids = self.ids(content)
                self._model(torch.tensor([ids]), logits_to_keep=1, use_cache=False)
                prompt_tokens += len(ids)
                suffix_tokens += len(self._chat.suffixes([self._compiled.ask(content).label()])[0])
        per_token = (time.perf_counter() - started) * 1000 / prompt_tokens
        return per_token * suffix_tokens / len(contents)


def ours(policy: Policy, engine: Engine, family: str) -> Callable[[Sequence[Content]], list[bool | None]]:
    """(d), (e) the moderator as a user calls it: contents in, verdicts out."""
    moderator = Moderator(policy, engine, family=family)

    def run(contents: Sequence[Content]) -> list[bool | None]:
        outcomes = moderator.judge_all(contents)
        return [outcome.outcome != "allowed" if isinstance(outcome, Verdict) else None for outcome in outcomes]

    return run
