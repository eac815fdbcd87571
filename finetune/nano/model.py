"""The architecture of nano, its optimizers and its files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM


def build(shape: dict, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 decoder with random weights; `shape` are fields of Qwen3Config."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=True, attention_bias=False, use_cache=True,
        head_dim=64, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, dtype="float32", **shape,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).float()


@torch.no_grad()
def start(model: Qwen3ForCausalLM, vectors: np.ndarray, seed: int, scale: float = 0.04, noise: float = 0.3) -> None:
    """Let the token embeddings begin at these vectors (tokens, any width), on their strongest axes, mixed by a rotation.

    The noise lets tokens apart whose vectors are the same, as those of `You` and ` you` are.
    """
    width, draw = model.config.hidden_size, np.random.default_rng(seed)
    left, strength, _ = np.linalg.svd(vectors, full_matrices=False)
    found = (left * strength)[:, :width]
    found = found / (found.std() + 1e-9) + noise * draw.normal(size=found.shape)
    found[~vectors.any(1)] = draw.normal(size=found.shape)[~vectors.any(1)]
    rotation, _ = np.linalg.qr(draw.normal(size=(width, width)))
    model.model.embed_tokens.weight.copy_(torch.from_numpy(found @ rotation * scale))


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Write weights in bf16 with the configuration, as transformers and vLLM load them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = Qwen3Config.from_dict(model.config.to_dict() | {"dtype": "bfloat16"})
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(folder)
    GenerationConfig(eos_token_id=1, pad_token_id=0, do_sample=False).save_pretrained(folder)


@torch.no_grad()
def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz: the nearest matrix whose singular values are near one."""
    wide = matrix.bfloat16() if matrix.shape[0] <= matrix.shape[1] else matrix.bfloat16().T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: for the hidden matrices (Jordan et al. 2024)."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonal(parameter.grad.lerp(mean, group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["decay"])
                parameter.add_(update, alpha=-group["lr"] * math.sqrt(max(1.0, parameter.shape[0] / parameter.shape[1])))


def optimizers(model: nn.Module, muon: float, adam: float, decay: float = 0.0) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [parameter for name, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in name]
    rest = [parameter for name, parameter in model.named_parameters() if parameter.ndim != 2 or "embed" in name]
    return [Muon(matrices, lr=muon, decay=decay), torch.optim.AdamW(rest, lr=adam, betas=(0.9, 0.95), weight_decay=0.0)]


def schedule(step: int, progress: float, warmup: int, floor: float = 0.03) -> float:
    """Linear warm-up over steps, then a cosine down to `floor` as progress goes from 0 to 1."""
    return min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
