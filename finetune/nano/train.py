"""The two stages of training: what texts and rules mean, then answers under policies."""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from finetune.nano import augment, lessons, packing, policies
from finetune.nano import model as nano
from finetune.nano import network as decoder
from finetune.nano.prepare import Example
from moderator.content import Content
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt, load_family

Loss = tuple[torch.Tensor, dict[str, float]]


def run(
    config: dict, network: Qwen3ForCausalLM, taught: lessons.Lessons, losses: Iterator[Loss], every: Callable[[], None]
) -> None:
    """Train for `steps` or `minutes`, `groups` losses a step; `every` is called at the end and after each `save` steps."""
    optimizers = [
        *nano.optimizers(network, config["muon"], config["adam"]),
        torch.optim.AdamW(taught.parameters(), lr=3 * config["adam"], weight_decay=0.0),
    ]
    base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    started, seen = time.time(), []
    for step in range(config["steps"]):
        progress = max(step / config["steps"], (time.time() - started) / (60 * config["minutes"]))
        if progress >= 1:
            break
        for optimizer, rates in zip(optimizers, base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * nano.schedule(step, progress, config["warmup"])
        for loss, numbers in itertools.islice(losses, config["groups"]):
            (loss / config["groups"]).backward()
            seen.append(numbers)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 20 == 19:
            means = {
                name: np.mean([one[name] for one in seen if name in one]) for name in dict.fromkeys(itertools.chain(*seen))
            }
            spent = f"step {step + 1} progress {progress:.3f} seconds {time.time() - started:.0f}"
            print(spent, *(f"{name} {value:.3f}" for name, value in means.items()), flush=True)
            seen = []
        if step % config["save"] == config["save"] - 1:
            every()
    every()


def plain(texts: list[str]) -> list[Example]:
    """Texts that nobody labelled."""
    return [Example(text, "plain", unsure=frozenset(policies.DOMAIN_NAMES)) for text in texts]


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
    return chosen + [replace(example, text=augment.fill(draw, line)) for example, line in lines for _ in range(config["fills"])]


def meaning_losses(
    config: dict,
    network: Qwen3ForCausalLM,
    taught: lessons.Lessons,
    chat: ChatTokenizer,
    examples: list[Example],
    vectors: lessons.Vectors,
) -> Iterator[Loss]:
    """Batches of contents of like length, each behind the prefix of some policy that says nothing about them."""
    draw, known, family = random.Random(config["seed"]), policies.shipped(), load_family("nano")
    asking = compile_prompt(known[0].policy, family)
    rows = []
    for start in range(0, len(examples), 5000):
        part = examples[start : start + 5000]
        asked = chat.suffixes([asking.ask(Content(id="x", text=example.text)).label() for example in part])
        rows += [
            packing.Row(tuple(ids), (0,) * len(ids), len(ids) - 1, (), example)
            for ids, example in zip(asked, part, strict=True)
            if len(ids) <= config["longest"]
        ]
    print(f"{len(rows)} texts, {sum(len(row.ids) for row in rows) / 1e6:.2f} M tokens", flush=True)
    while True:
        mixed = draw.sample(rows, len(rows))
        drawn = [
            batch
            for start in range(0, len(mixed), 4096)
            for batch in packing.batches(mixed[start : start + 4096], config["tokens"])
        ]
        for batch in draw.sample(drawn, len(drawn)):
            stance = policies.draw_stance(draw, known, config["shares"])
            system = compile_prompt(stance.policy, family).system
            prefix = packing.encode_prefix(chat, system, list(lessons.line_texts(stance)))
            before, past, _ = decoder.forward(network, torch.tensor([prefix.ids]), None, config["depth"])
            states, _, _ = decoder.forward(network, packing.padded(batch), past, config["depth"])
            read = states[-1][torch.arange(len(batch)), torch.tensor([row.read for row in batch])]
            topics, far = lessons.content_loss(taught, vectors, batch, read)
            lines, off = lessons.line_loss(taught, vectors, stance, prefix, before[-1][0])
            loss = topics + config["vector"] * far + config["lines"] * (lines + config["vector"] * off)
            yield loss, {"topics": topics.item(), "far": far.item(), "lines": lines.item(), "off": off.item()}


NAMES = {packing.LABEL: "label", packing.ID: "id", packing.REST: "rest", packing.HEAD: "head"}


def answer_losses(
    config: dict,
    network: Qwen3ForCausalLM,
    taught: lessons.Lessons,
    chat: ChatTokenizer,
    examples: list[Example],
    vectors: lessons.Vectors,
) -> Iterator[Loss]:
    """Groups without end: a policy, contents after it, their answers; each kind of token weighted as the config says."""
    draw, known, family = random.Random(config["seed"]), policies.shipped(), load_family("nano")
    pools = augment.Pools(examples, draw, config["caps"])
    depth, weights = config["depth"], config["weights"]
    while True:
        stance = policies.draw_stance(draw, known, config["shares"])
        group = augment.make_group(
            draw, pools, stance, family, config["group"], config["reasoned"], config["cut"], config["elsewhere"]
        )
        if not group:
            continue
        prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(stance)))
        asked = packing.ask(chat, [item.prompt for item in group.items])
        rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
        rows = [row for row in rows if len(row.ids) <= config["longest"]]
        if not rows:
            continue
        before, past, _ = decoder.forward(network, torch.tensor([prefix.ids]))
        lines, off = lessons.line_loss(taught, vectors, stance, prefix, before[depth][0])
        parts = {name: [] for name in (*NAMES.values(), "topics", "far", "look0", "look1", "look2")}
        for batch in packing.batches(rows, config["tokens"]):
            states, _, looks = decoder.forward(network, packing.padded(batch), past, None, depth)
            places = [(index, place, kind) for index, row in enumerate(batch) for place, kind in enumerate(row.kinds) if kind]
            row, place, kinds = (torch.tensor(column) for column in zip(*places, strict=True))
            wanted = torch.tensor([batch[index].ids[column] for index, column, _ in places])
            each = functional.cross_entropy(decoder.last(network, states[-1][row, place - 1]), wanted, reduction="none")
            for kind, name in NAMES.items():
                parts[name].append(each[kinds == kind])
            read = states[depth][torch.arange(len(batch)), torch.tensor([one.read for one in batch])]
            topics, far = lessons.content_loss(taught, vectors, batch, read)
            parts["topics"].append(topics.expand(len(batch)))
            parts["far"].append(far.expand(len(batch)))
            for head, values in lessons.look_loss(batch, prefix, looks).items():
                parts[f"look{head}"].append(values)
        means = {name: torch.cat(values).mean() for name, values in parts.items() if values and sum(map(len, values))}
        loss = sum(weights[name.rstrip("012")] * value for name, value in means.items())
        loss = loss + weights["lines"] * (lines + weights["far"] / max(weights["topics"], 1e-6) * off)
        yield loss, {name: value.item() for name, value in means.items()} | {"lines": lines.item(), "contents": len(rows)}


def export(network: Qwen3ForCausalLM, tokenizer_folder: Path, folder: Path) -> None:
    """A model folder that loads, tokenizer, prompt family and all."""
    nano.save(network, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "moderator.json"):
        shutil.copy(tokenizer_folder / name, folder / name)
