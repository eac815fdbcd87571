"""Adapters, merged into the weights of their model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict, load_peft_weights
from transformers.utils import logging as transformers_logging

from moderator.errors import EngineError


def merged(network: Any, adapter: str) -> Any:
    """The model with the adapter's weights added to its own. Raises `EngineError` when they do not fit it to the last one."""
    if PeftConfig.from_pretrained(adapter).is_prompt_learning:
        raise EngineError(f"{adapter}: an adapter of this kind cannot be merged into weights")
    with warnings.catch_warnings():
        # of missing weights peft only warns, of superfluous ones it says nothing; both are found below
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        # what peft uses and transformers deprecates is not for our users to mend
        warnings.simplefilter("ignore", FutureWarning)
        adapted = PeftModel.from_pretrained(network, adapter)
    stored = set(load_peft_weights(adapter, device="cpu"))
    used = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    # whole embeddings may have been saved along; those are not the adapter's own
    if odd := sorted(name for name in stored ^ used if not name.endswith(("embed_tokens.weight", "lm_head.weight"))):
        raise EngineError(
            f"{adapter}: the adapter does not fit the model: {len(odd)} weights without a counterpart, such as {odd[0]}"
        )
    return adapted.merge_and_unload()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers: an engine opens in silence."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
