"""A tokenizer, an encoder and a decoder with random weights, small enough for tests, in the files of real ones."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast, LlamaForCausalLM

from finetune.nano import codes, evidence, model, tokenizer
from finetune.nano.prepare import Example, topics
from finetune.nano.teacher import SIZE, Teacher

TEXTS = (
    "you are a fool",
    "what a lovely day",
    "buy my pills at my page",
    "they are all criminals and liars",
    "see you at lunch",
)
EXAMPLES = (
    Example("you are such a fool", "toxic-spans", broken=topics("harassment.insult", "toxicity.any"), quotes=("fool",)),
    Example("they are all criminals, every one", "edos", broken=topics("sexism.derogate")),
    Example("what a lovely day it is", "edos"),
    Example("see you at lunch then", "toxic-spans"),
)
VOCABULARY = 700


def make_teacher(folder: Path, layers: int = 2) -> Teacher:
    """An encoder that knows the words of `TEXTS`."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({piece for text in TEXTS for piece in text.split()}), "##s"]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=SIZE, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=96
    )
    BertModel(config).save_pretrained(folder)
    return Teacher(folder)


def make_tokenizer(teacher: Teacher):
    return tokenizer.train(TEXTS * 50, tokenizer.answer_lines(1, 200), list(teacher.tokenizer.get_vocab()), VOCABULARY)


def make_decoder(layers: int = 3, neurons: int = 480, seed: int = 0, vocabulary: int = VOCABULARY) -> LlamaForCausalLM:
    shape = {
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "hidden_size": SIZE,
        "intermediate_size": neurons,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "head_dim": 32,
    }
    return model.build(shape, seed)


@torch.no_grad()
def coded(decoder: LlamaForCausalLM) -> tuple[LlamaForCausalLM, torch.Tensor]:
    """The decoder with codes in its embeddings, and where they are (width, size)."""
    table = decoder.model.embed_tokens.weight
    along = evidence.axes([table], codes.SIZE)
    table.copy_(evidence.write(table, along, codes.make(len(table)), 1.5))
    return decoder, along
