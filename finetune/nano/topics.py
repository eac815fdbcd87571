"""A lesson between language and policies: which topics a text breaks, all at once, read where the label will be written.

No policy stands before the text, so a text costs a tenth of a policy prompt; the linear head is thrown away afterwards.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from finetune.nano import augment
from finetune.nano import model as nano
from finetune.nano.policies import DOMAIN_NAMES, TOPICS, targets
from finetune.nano.prepare import Example
from moderator.quoting import literal


def prompts(tokenizer: Tokenizer, examples: list[Example], longest: int) -> list[list[int]]:
    """The user's turn as serving writes it, and the head of the answer."""
    head = tokenizer.encode('<|assistant|>{"violates":"', add_special_tokens=False).ids
    asked = tokenizer.encode_batch([f"<|user|>TEXT {literal(example.text)}" for example in examples], add_special_tokens=False)
    return [[*one.ids[:longest], *head] for one in asked]


def select(examples: list[Example], config: dict) -> list[Example]:
    """One pass: everything short enough, the calm sources capped, written texts filled a few times."""
    draw, left = random.Random(config["seed"]), dict(config["caps"])
    chosen = []
    for example in draw.sample(examples, len(examples)):
        if len(example.text) > 420 or (not example.broken and left.get(example.source, 1) <= 0):
            continue
        if example.source in left and not example.broken:
            left[example.source] -= 1
        chosen.append(augment.dressed(draw, example))
    lines = [(example, line) for example, line in augment.written_lines() if example.split == "train"]
    chosen += [replace(example, text=augment.fill(draw, line)) for example, line in lines for _ in range(config["fills"])]
    return draw.sample(chosen, len(chosen))


def main(config: dict, network: torch.nn.Module, tokenizer: Tokenizer, examples: list[Example], out: Path) -> torch.nn.Module:
    """Train for `config['passes']` passes or `config['minutes']`."""
    chosen = select(examples, config)
    rows, wanted = prompts(tokenizer, chosen, config["longest"]), torch.tensor([targets(example) for example in chosen])
    weights = torch.tensor([config["domain"]] * len(DOMAIN_NAMES) + [1.0] * len(TOPICS))
    head = torch.nn.Linear(network.config.hidden_size, wanted.shape[1])
    optimizers = [
        *nano.optimizers(network, config["muon"], config["adam"]),
        torch.optim.AdamW(head.parameters(), lr=config["adam"]),
    ]
    base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]) + random.Random(index).random() * 6)
    batches = [order[start : start + config["batch"]] for start in range(0, len(order), config["batch"])]
    random.Random(config["seed"]).shuffle(batches)
    steps, started, losses, progress = int(len(batches) * config["passes"]), time.time(), [], 0.0
    print(f"{len(rows)} texts, {sum(map(len, rows)) / 1e6:.2f} M tokens, {steps} steps", flush=True)
    for step in range(steps):
        progress = max(step / steps, (time.time() - started) / (60 * config["minutes"]))
        if progress >= 1:
            break
        for optimizer, rates in zip(optimizers, base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * nano.schedule(step, progress, config["warmup"], 0.2)
        batch = batches[step % len(batches)]
        lengths = torch.tensor([len(rows[index]) for index in batch])
        ids = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
        for place, index in enumerate(batch):
            ids[place, : len(rows[index])] = torch.tensor(rows[index])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = network.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = head(hidden[torch.arange(len(batch)), lengths - 1].float())
        known = wanted[batch] >= 0
        each = functional.binary_cross_entropy_with_logits(logits, wanted[batch].clamp(min=0), reduction="none") * weights
        loss = each[known].sum() / len(batch)
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 20 == 19:
            print(
                f"step {step + 1} progress {progress:.3f} loss {np.mean(losses[-40:]):.4f}",
                flush=True,
            )
        if step % 100 == 99:
            torch.save({"model": network.state_dict(), "head": head.state_dict()}, out)
    torch.save({"model": network.state_dict(), "head": head.state_dict()}, out)
    return network
