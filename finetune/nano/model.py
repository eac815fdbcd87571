"""The architecture of nano, and its files."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM


def build(shape: dict, seed: int) -> LlamaForCausalLM:
    """A Llama decoder with biases and random weights; `shape` are fields of LlamaConfig."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
        use_cache=True, rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, dtype="float32",
        **shape,
    )  # fmt: skip
    return LlamaForCausalLM(config).float()


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write weights in bf16 with the configuration, as transformers and vLLM load them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = LlamaConfig.from_dict(model.config.to_dict() | {"dtype": "bfloat16"})
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    GenerationConfig(eos_token_id=1, pad_token_id=0, do_sample=False).save_pretrained(folder)
