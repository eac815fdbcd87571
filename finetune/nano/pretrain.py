"""Plain language modelling over short sequences, on a CPU."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from finetune.nano import embeddings
from finetune.nano import model as nano
from finetune.nano.prepare import Example


def pack(tokenizer: Tokenizer, texts: list[str], length: int) -> np.ndarray:
    """Rows of `length` + 1 tokens; texts follow one another, each ended by <|end|>."""
    ids: list[int] = []
    for start in range(0, len(texts), 5000):
        for encoding in tokenizer.encode_batch(texts[start : start + 5000], add_special_tokens=False):
            ids += [*encoding.ids, 1]
    rows = len(ids) // (length + 1)
    return np.array(ids[: rows * (length + 1)], dtype=np.int32).reshape(rows, length + 1)


def next_token_loss(network: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network.lm_head(network.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state)
    return functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


def main(config: dict, tokenizer: Tokenizer, texts: list[str], examples: list[Example], out: Path) -> torch.nn.Module:
    """Train for `steps`, one pass or `minutes` of the config, whichever ends first; the checkpoint lands in `out`."""
    rows = pack(tokenizer, texts, config["length"])
    order = np.random.default_rng(config["seed"]).permutation(len(rows))
    network = nano.build(config["shape"], config["seed"])
    with torch.no_grad():
        network.model.embed_tokens.weight.copy_(
            torch.from_numpy(embeddings.start(tokenizer, rows, examples, config["shape"], config["seed"]))
        )
    optimizers = nano.optimizers(network, config["muon"], config["adam"])
    base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    steps = min(config["steps"], len(rows) // config["batch"])
    print(
        f"{rows.size / 1e6:.2f} M tokens, {steps} steps, {network.num_parameters() / 1e6:.2f} M parameters",
        flush=True,
    )
    measure = torch.compile(next_token_loss) if config["compile"] else next_token_loss
    started, losses, progress = time.time(), [], 0.0
    for step in range(steps):
        progress = max(step / steps, (time.time() - started) / (60 * config["minutes"]))
        if progress >= 1:
            break
        for optimizer, rates in zip(optimizers, base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * nano.schedule(step, progress, config["warmup"])
        for part in np.array_split(order[step * config["batch"] : (step + 1) * config["batch"]], config["parts"]):
            loss = measure(network, torch.from_numpy(rows[part].astype(np.int64)))
            (loss / config["parts"]).backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 20 == 19:
            done = (step + 1) * config["batch"] * config["length"]
            print(f"step {step + 1} loss {np.mean(losses[-40:]):.3f} {done / (time.time() - started):.0f} tokens/s", flush=True)
        if step % 100 == 99:
            torch.save(network.state_dict(), out)
    torch.save(network.state_dict(), out)
    return network
