"""The teacher of meaning: a small sentence encoder whose vectors the decoder learns to predict; not needed to run the model.

all-MiniLM-L6-v2 (Apache-2.0; Wang et al. 2020, Reimers and Gurevych 2019), as a folder that transformers loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

SIZE = 384


class Teacher:
    """Sentence vectors (mean over tokens, length one), and a vector for any string from its word pieces."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], longest: int = 96, tokens: int = 8192) -> np.ndarray:
        """One row of `SIZE` numbers (float16) a text; texts are cut to `longest` tokens, batched by length."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=longest, padding=False)["input_ids"]
        found = np.zeros((len(texts), SIZE), dtype=np.float16)
        order, start = sorted(range(len(texts)), key=lambda index: len(ids[index])), 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(ids[order[end]]) <= tokens:
                end += 1
            batch = order[start:end]
            padded = self.tokenizer.pad({"input_ids": [ids[index] for index in batch]}, return_tensors="pt")
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden = self.network(**padded).last_hidden_state.float()
            mask = padded["attention_mask"][:, :, None].float()
            mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
            found[batch] = mean.half().numpy()
            start = end
        return found

    @torch.inference_mode()
    def words(self, tokenizer: Tokenizer) -> np.ndarray:
        """For each token of another tokenizer, the mean of the input embeddings of the word pieces of its text."""
        table = self.network.get_input_embeddings().weight
        table = (table - table.mean(0)).numpy()
        strings = [tokenizer.decode([index], skip_special_tokens=False) for index in range(tokenizer.get_vocab_size())]
        pieces = self.tokenizer([string.strip() for string in strings], add_special_tokens=False)["input_ids"]
        unknown = self.tokenizer.unk_token_id
        rows = [[piece for piece in one if piece != unknown] for one in pieces]
        return np.stack([table[row].mean(0) if row else np.zeros(SIZE, np.float32) for row in rows]).astype(np.float32)
