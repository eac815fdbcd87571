"""The loop that the stages share: losses in, weights trained, by steps or by the clock."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlamaForCausalLM

from finetune.nano import model as nano

Loss = tuple[torch.Tensor, dict[str, float]]


def optimizer(decoder: LlamaForCausalLM, taught: nn.Module, first: int, rates: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW with a rate for each part: the `first` layers, `new` ones, `embeddings`, the last `norm` (that of the embeddings
    unless it has its own), `lessons`. A part without a rate is not learned, and needs no gradient from then on."""
    parts: dict[str, list[nn.Parameter]] = {"first": [], "new": [], "lessons": list(taught.parameters())}
    for index, layer in enumerate(decoder.model.layers):
        parts["first" if index < first else "new"] += layer.parameters()
    parts |= {"embeddings": [*decoder.model.embed_tokens.parameters()], "norm": [*decoder.model.norm.parameters()]}
    rates = {"norm": rates.get("embeddings", 0.0)} | dict(rates)
    for name, parameters in parts.items():
        for parameter in parameters:
            parameter.requires_grad_(bool(rates.get(name)))
    groups = [{"params": parameters, "lr": rates[name]} for name, parameters in parts.items() if rates.get(name)]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)


def schedule(step: int, progress: float, warmup: int, floor: float = 0.03) -> float:
    """Linear warm-up over steps, then a cosine down to `floor` as progress goes from 0 to 1."""
    return min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def in_turn(often: Iterator[Loss], times: int, seldom: Iterator[Loss]) -> Iterator[Loss]:
    """So many losses of one kind, their numbers called `paired ...`, then one of the other, for ever."""
    while True:
        yield from ((loss, {f"paired {name}": one for name, one in numbers.items()}) for loss, numbers in islice(often, times))
        yield next(seldom)


def run(
    config: dict, decoder: LlamaForCausalLM, adam: torch.optim.AdamW, losses: Iterator[Loss], every: Callable[[], None]
) -> None:
    """Train for `steps` or `minutes`, `groups` losses a step; `every` is called at the end and after each `save` steps."""
    base = [group["lr"] for group in adam.param_groups]
    started, seen = time.time(), []
    for step in range(config["steps"]):
        progress = max(step / config["steps"], (time.time() - started) / (60 * config["minutes"]))
        if progress >= 1:
            break
        for group, rate in zip(adam.param_groups, base, strict=True):
            group["lr"] = rate * schedule(step, progress, config["warmup"])
        for loss, numbers in islice(losses, config["groups"]):
            (loss / config["groups"]).backward()
            seen.append(numbers)
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        if step % 20 == 19:
            names = dict.fromkeys(chain(*seen))
            means = {name: np.mean([one[name] for one in seen if name in one]) for name in names}
            spent = f"step {step + 1} progress {progress:.3f} seconds {time.time() - started:.0f}"
            print(spent, *(f"{name} {value:.3f}" for name, value in means.items()), flush=True)
            seen = []
        if step % config["save"] == config["save"] - 1:
            every()
    every()


def export(decoder: LlamaForCausalLM, tokenizer_folder: Path, folder: Path) -> None:
    """A model folder that loads, tokenizer, prompt family and all."""
    nano.save(decoder, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "moderator.json"):
        shutil.copy(tokenizer_folder / name, folder / name)
