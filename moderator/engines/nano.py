"""The embedded model, in numpy: no download, no torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from moderator.assets import directory
from moderator.engines import EngineDescription
from moderator.engines.chat import ChatTokenizer
from moderator.engines.decoder import Decoder, Prefix
from moderator.engines.decoding import Grammars
from moderator.engines.folder import family, model_folder, versioned_name
from moderator.engines.packing import Limits, PackingEngine


class NanoEngine(PackingEngine[Prefix]):
    """Runs a Qwen3 or Llama folder; without one, the shipped model. Its threads are those of numpy (``OMP_NUM_THREADS``)."""

    def __init__(self, model: str | Path = "", *, batch_tokens: int = 1024):
        self._folder = model_folder(model or directory("models") / "nano")
        self.name = f"nano:{model}" if model else "nano"
        chat = ChatTokenizer.from_folder(self._folder)
        network = Decoder(self._folder)
        grammars = Grammars(chat.tokenizer, network.shape.vocabulary, network.shape.end, model=str(self._folder))
        super().__init__(chat, network, grammars, Limits(tokens=batch_tokens, prefixes=32))

    @cached_property
    def description(self) -> EngineDescription:
        return EngineDescription(
            engine=f"nano numpy {np.__version__}",
            model=versioned_name(self._folder.name, self._folder),
            parameters={"dtype": "float32"},
            family=family(self._folder),
            folders=(self._folder,),
        )
