"""Finetuning: loss on answers only, most of it on the label."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from finetune.nano import augment, packing, policies
from finetune.nano import model as nano
from finetune.nano.prepare import Example
from moderator.prompt import load_family


def groups(
    config: dict, tokenizer: Tokenizer, examples: list[Example]
) -> Iterator[tuple[tuple[int, ...], list[packing.Row], tuple[float, ...]]]:
    """Training groups without end."""
    draw = random.Random(config["seed"])
    pools = augment.Pools(examples, draw, config["caps"])
    known, family = policies.shipped(), load_family("nano")
    while True:
        stance = policies.draw_stance(draw, known, config["shares"])
        group = augment.make_group(
            draw, pools, stance, family, config["group"], config["reasoned"], config["cut"], config["elsewhere"]
        )
        if group:
            prefix, rows = packing.encode_group(tokenizer, group, config["longest"])
            if rows:
                yield prefix, rows, group.covered


def answer_loss(
    logits: torch.Tensor, targets: torch.Tensor, kinds: torch.Tensor, weights: dict[str, float]
) -> tuple[torch.Tensor, float]:
    """The weighted mean over the kinds of tokens, and the label's part."""
    each = functional.cross_entropy(logits, targets, reduction="none")
    parts = {
        name: each[kinds == kind]
        for name, kind in (("label", packing.LABEL), ("id", packing.ID), ("rest", packing.REST), ("head", packing.HEAD))
    }
    total = sum(weights[name] * part.mean() for name, part in parts.items() if part.numel())
    return total, parts["label"].mean().item()


HEADS = ("policy", "content", "read", "both")


def topic_loss(
    heads: torch.nn.ModuleDict, passed: packing.Passed, covered: tuple[float, ...], broken: list[tuple[float, ...]]
) -> torch.Tensor:
    """What a label compares: the policy's topics (where it ends, and at the label), the content's, and what is in both."""
    policy, content = torch.tensor(covered), torch.tensor(broken)
    known, content = content >= 0, content.clamp(min=0)
    said = {name: heads[name](passed.labels.float()) for name in HEADS[1:]}
    measure = functional.binary_cross_entropy_with_logits
    ends = measure(heads["policy"](passed.policy.float()), policy)
    read = measure(said["read"], policy.expand_as(content))
    return (
        ends
        + read
        + measure(said["content"], content, reduction="none")[known].mean()
        + (measure(said["both"], content * policy, reduction="none")[known].mean())
    )


def export(network: torch.nn.Module, tokenizer_folder: Path, folder: Path) -> None:
    """A model folder that loads, tokenizer and all."""
    nano.save(network, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_folder / name, folder / name)


def main(config: dict, network: torch.nn.Module, tokenizer_folder: Path, examples: list[Example], out: Path) -> torch.nn.Module:
    """Train for `steps` or `minutes` of the config; a loadable folder lands in `out` every `save` steps and at the end."""
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    heads = torch.nn.ModuleDict(
        {name: torch.nn.Linear(network.config.hidden_size, len(policies.DOMAIN_NAMES) + len(policies.TOPICS)) for name in HEADS}
    )
    optimizers = [
        *nano.optimizers(network, config["muon"], config["adam"]),
        torch.optim.AdamW(heads.parameters(), lr=3 * config["adam"]),
    ]
    base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    stream, started = groups(config, tokenizer, examples), time.time()
    labels, losses, seen, progress = [], [], 0, 0.0
    for step in range(config["steps"]):
        progress = max(step / config["steps"], (time.time() - started) / (60 * config["minutes"]))
        if progress >= 1:
            break
        for optimizer, rates in zip(optimizers, base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * nano.schedule(step, progress, config["warmup"])
        for _ in range(config["groups"]):
            prefix, rows, covered = next(stream)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                passed = packing.forward(network, prefix, rows, config["tokens"])
            loss, label = answer_loss(passed.logits, passed.targets, passed.kinds, config["weights"])
            sides = topic_loss(heads, passed, covered, [row.broken for row in rows])
            loss = loss + config["weights"]["topics"] * sides
            (loss / config["groups"]).backward()
            labels.append(label)
            losses.append(sides.item())
            seen += len(rows)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 20 == 19:
            recent = 20 * config["groups"]
            print(
                f"step {step + 1} progress {progress:.3f} contents {seen} label {np.mean(labels[-recent:]):.4f}"
                f" sides {np.mean(losses[-recent:]):.3f}",
                flush=True,
            )
        if step % config["save"] == config["save"] - 1:
            export(network, tokenizer_folder, out)
    export(network, tokenizer_folder, out)
    return network
