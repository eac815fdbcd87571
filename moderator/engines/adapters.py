"""Adapters, on their model and merged into its weights."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict, load_peft_weights
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from moderator.engines.folder import MANIFEST, adapter_folder, check_base, family, model_folder, versioned_name
from moderator.errors import EngineError


def merged(network: Any, adapter: str) -> Any:
    """The model with the adapter's weights added to its own. Raises `EngineError` when they do not fit it to the last one."""
    if PeftConfig.from_pretrained(adapter).is_prompt_learning:
        raise EngineError(f"{adapter}: an adapter of this kind cannot be merged into weights")
    return adapted(network, adapter).merge_and_unload()


def adapted(network: Any, adapter: str, *, to_learn: bool = False) -> Any:
    """The model with the adapter on it, peft's. Raises `EngineError` when its weights do not fit to the last one."""
    with quiet(), warnings.catch_warnings():
        # of missing weights peft only warns, of superfluous ones it says nothing; both are found below
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        found = PeftModel.from_pretrained(network, adapter, is_trainable=to_learn)
    stored = set(load_peft_weights(adapter, device="cpu"))
    used = set(get_peft_model_state_dict(found, save_embedding_layers=False))
    # whole embeddings may have been saved along; those are not the adapter's own
    if odd := sorted(name for name in stored ^ used if not name.endswith(("embed_tokens.weight", "lm_head.weight"))):
        raise EngineError(
            f"{adapter}: the adapter does not fit the model: {len(odd)} weights without a counterpart, such as {odd[0]}"
        )
    return found


def write_merged(model: Path, adapter: Path, target: Path) -> None:
    """Writes the model with the adapter merged into a folder: added up in float32, rounded once to the model's own type.

    Everything else of the model's folder is copied, byte for byte. Raises `EngineError` for an adapter that does not fit.
    """
    with quiet():
        network = AutoModelForCausalLM.from_pretrained(str(model), dtype="auto")
        own = network.dtype
        merged(network.to(torch.float32), str(adapter)).to(own).save_pretrained(target)
    for path in model.iterdir():
        # the tokenizer and what belongs to it; nothing that says where weights are
        belongs = path.suffix in (".json", ".jinja", ".model", ".txt") and not path.name.endswith(".index.json")
        if belongs and not (target / path.name).exists():
            shutil.copy(path, target)
    if (chosen := family(adapter)) is not None:
        (target / MANIFEST).write_text(json.dumps({"family": chosen}) + "\n", encoding="utf-8")


def merge(model: str, adapter: str, target: Path) -> None:
    """`write_merged` for folders that are given by name, once the adapter is known to be this model's. Raises `EngineError`."""
    folder, own = model_folder(model), adapter_folder(adapter)
    check_base(own, versioned_name(folder.name, folder))
    try:
        write_merged(folder, own, target)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"{model}+{adapter}: {' '.join(str(error).split())[:300]}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, and without warnings of what peft uses and transformers deprecates."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
