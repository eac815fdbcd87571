"""The model that an adapter is learned for, opened with the adapter on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
    prepare_model_for_kbit_training,
    set_peft_model_state_dict,
)
from transformers import BitsAndBytesConfig

from moderator.engines.adapters import adapted, quiet
from moderator.engines.chat import ChatTokenizer
from moderator.engines.folder import adapter_folder, check_base, versioned_name
from moderator.engines.local import (
    NetworkEngine,
    can_be_packed,
    device_of,
    dtype_of,
    engine_errors,
    model_files,
    open_chat,
    open_network,
)
from moderator.engines.whole import HARMONY_ANSWER
from moderator.finetuning.checkpoint import State
from moderator.finetuning.config import Config, Load, Lora
from moderator.finetuning.encoding import Turn


@dataclass(frozen=True)
class Base:
    """A model with the adapter that is to learn."""

    name: str
    """With the beginning of its weights' digest."""
    network: Any
    """peft's, around the model."""
    chat: ChatTokenizer
    turn: Turn
    engine: NetworkEngine
    """Answers with the model as it is at the moment."""
    together: bool
    """Whether contents can be packed behind their policy."""

    def adapter(self) -> State:
        """The adapter as it is now."""
        # peft would look on the Hub whether the base's vocabulary has grown
        weights = get_peft_model_state_dict(self.network, save_embedding_layers=False)
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def put(self, adapter: State) -> None:
        """Puts other weights into the adapter."""
        set_peft_model_state_dict(self.network, adapter)


def open_base(config: Config) -> Base:
    """Opens the base of a configuration and puts its adapter on it, or a fresh one. Raises `EngineError`."""
    with engine_errors(config.base):
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        chat, ends = open_chat(config.base)
        model = _load(config.base, config.load)
        together = can_be_packed(model)
        if config.load.four_bit:
            model = prepare_model_for_kbit_training(
                model, use_gradient_checkpointing=config.learning.checkpointing, gradient_checkpointing_kwargs=_ANEW
            )
        elif config.learning.checkpointing:
            model.gradient_checkpointing_enable(_ANEW)
            model.enable_input_require_grads()
        folder = model_files(config.base)
        name = versioned_name(folder.name if Path(config.base).is_dir() else config.base, folder)
        if config.adapter is None:
            with quiet():
                network = get_peft_model(model, _lora(config.lora))
        else:
            check_base(adapter_folder(config.adapter), name)
            network = adapted(model, str(config.adapter), to_learn=True)
    harmony = model.config.model_type == "gpt_oss"
    opening = tuple(chat.encode_structure(HARMONY_ANSWER)) if harmony else ()
    end = chat.end_of_turn if chat.end_of_turn is not None else next(iter(ends), None)
    engine = NetworkEngine(name, model, chat, ends)
    return Base(name, network, chat, Turn(opening, end), engine, together)


_ANEW = {"use_reentrant": False}


def _load(source: str, load: Load) -> Any:
    device = device_of(load.device)
    dtype = dtype_of(load.dtype, device)
    options: dict[str, Any] = {"attn_implementation": load.attention} if load.attention else {}
    if not load.four_bit:
        return open_network(source, dtype, **options).to(device)
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return open_network(source, dtype, quantization_config=four_bit, device_map={"": device}, **options)


def _lora(lora: Lora) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.rank_stabilised,
        use_dora=lora.decomposed,
    )
