"""The teacher of meaning: a small sentence encoder from which the decoder takes its first layers; not needed to run the model.

all-MiniLM-L6-v2 (Apache-2.0; Wang et al. 2020, Reimers and Gurevych 2019), as a folder that transformers loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch.nn import functional
from transformers import AutoModel, BertModel

SIZE = 384


@dataclass(frozen=True)
class Lesson:
    """What the teacher sees in texts: states after each layer (texts, pieces, size), and a vector a text."""

    states: tuple[torch.Tensor, ...]
    attended: tuple[torch.Tensor, ...]
    """What each layer's attention adds, before the residual."""
    vectors: torch.Tensor
    """Mean over the pieces of a text, length one."""
    encodings: tuple[Encoding, ...]


class Teacher:
    """Sentence vectors (mean over tokens, length one), the states they are made of, and an embedding for any string."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.network: BertModel = AutoModel.from_pretrained(folder).float().eval()
        self.unknown = self.tokenizer.token_to_id("[UNK]")

    @torch.no_grad()
    def lesson(self, texts: Sequence[str], longest: int = 96, working: torch.dtype = torch.float32) -> Lesson:
        """Texts are cut to `longest` pieces; `working`: the type of the matrix products."""
        encodings = self.tokenizer.encode_batch(list(texts))
        for encoding in encodings:
            encoding.truncate(longest)
        width = max(len(encoding.ids) for encoding in encodings)
        ids, mask = torch.zeros(len(texts), width, dtype=torch.long), torch.zeros(len(texts), width)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
            mask[row, : len(encoding.ids)] = 1
        attended: list[torch.Tensor] = []
        hooks = [
            layer.attention.output.dense.register_forward_hook(lambda module, given, made: attended.append(made))
            for layer in self.network.encoder.layer
        ]
        with torch.autocast("cpu", working, enabled=working != torch.float32):
            found = self.network(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = [one.float() for one in found]
        for hook in hooks:
            hook.remove()
        mean = (states[-1] * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return Lesson(tuple(states), tuple(attended), functional.normalize(mean, dim=-1), tuple(encodings))

    def embed(self, texts: Sequence[str], batch: int = 64) -> np.ndarray:
        """One row of `SIZE` numbers (float16) a text; texts of like length go together."""
        found = np.zeros((len(texts), SIZE), dtype=np.float16)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            found[part] = self.lesson([texts[index] for index in part]).vectors.half().numpy()
        return found

    @torch.no_grad()
    def words(self, strings: Sequence[str]) -> torch.Tensor:
        """For each string a row (strings, size) as the encoder's first layer reads it, at a position of the middle.

        Strings without a known piece get a random row. Two strings that the encoder does not tell apart (it knows neither case
        nor leading space) are moved apart along directions of their own.
        """
        embeddings, draw = self.network.embeddings, torch.Generator().manual_seed(0)
        table = embeddings.word_embeddings.weight
        place = embeddings.position_embeddings.weight[2:40].mean(0) + embeddings.token_type_embeddings.weight[0]
        spaced, capital, upper = functional.normalize(torch.randn(3, SIZE, generator=draw), dim=-1)
        rows, scale = [], table.std()
        for string in strings:
            pieces = list(self._pieces(string))
            noise = torch.randn(SIZE, generator=draw) * scale
            row = embeddings.LayerNorm((table[pieces].mean(0) * len(pieces) ** 0.5 if pieces else noise) + place)
            word = string.strip()
            apart = spaced * string.startswith(" ") + capital * word[:1].isupper() + upper * (len(word) > 1 and word.isupper())
            rows.append(row + 0.12 * row.norm() * apart)
        return torch.stack(rows)

    def _pieces(self, string: str) -> Iterator[int]:
        """The word pieces of a token: one that continues a word is looked up as such."""
        word = string.strip()
        if not word:
            return
        inside = self.tokenizer.token_to_id("##" + word.lower())
        if self.tokenizer.token_to_id(word.lower()) is None and inside is not None and not string.startswith(" "):
            yield inside
            return
        yield from (piece for piece in self.tokenizer.encode(word, add_special_tokens=False).ids if piece != self.unknown)
