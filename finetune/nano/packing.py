"""A group in tokens, and its forward pass: the prefix once, every content after it, none seeing another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, Qwen3ForCausalLM

from finetune.nano.augment import Group, Item

LABEL, ID, REST, HEAD = 1, 2, 3, 4
"""What a token of an answer is: its label, a rule id that people settled, the part after the label, the part before it."""


@dataclass(frozen=True)
class Row:
    """One content after the prefix; `kinds[i]` says what token i is, 0 for the prompt."""

    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    broken: tuple[float, ...] = ()


def encode_row(tokenizer: Tokenizer, item: Item) -> Row:
    """The user's turn and the answer in tokens."""
    asked = tokenizer.encode(f"<|user|>{item.user}<|assistant|>", add_special_tokens=False).ids
    answer = tokenizer.encode(item.answer, add_special_tokens=False)
    ids, kinds = [*asked], [0] * len(asked)
    for token, (start, end) in zip(answer.ids, answer.offsets, strict=True):
        known = any(first <= start < last for first, last in item.ids)
        ids.append(token)
        kinds.append(LABEL if start == item.label[0] else HEAD if end <= item.label[0] else ID if known else REST)
        if start == item.label[0] and item.cut:
            return Row(tuple(ids), tuple(kinds), item.broken)
    return Row((*ids, 1), (*kinds, REST), item.broken)


def encode_group(tokenizer: Tokenizer, group: Group, longest: int) -> tuple[tuple[int, ...], list[Row]]:
    """The prefix and the rows of a group; rows that are too long are left out."""
    prefix = tokenizer.encode(f"<|system|>{group.system}", add_special_tokens=False).ids
    rows = [encode_row(tokenizer, item) for item in group.items]
    return tuple(prefix), sorted((row for row in rows if len(row.ids) <= longest), key=lambda row: len(row.ids))


def batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows of like length, at most `tokens` with padding."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.ids) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def after_prefix(network: Qwen3ForCausalLM, cache: DynamicCache, rows: Sequence[Row]) -> torch.Tensor:
    """Hidden states of the rows, each attending to the prefix and to itself; padding is on the right, where nothing looks."""
    ids = torch.zeros(len(rows), max(len(row.ids) for row in rows), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
    shared = DynamicCache(config=network.config)
    for index, layer in enumerate(cache.layers):
        shared.update(layer.keys.expand(len(rows), -1, -1, -1), layer.values.expand(len(rows), -1, -1, -1), index)
    return network.model(input_ids=ids, past_key_values=shared, use_cache=True).last_hidden_state


@dataclass(frozen=True)
class Passed:
    """A group after the forward pass: its answer tokens, and the hidden states where the policy ends and labels are read."""

    logits: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    policy: torch.Tensor
    labels: torch.Tensor


def forward(network: Qwen3ForCausalLM, prefix: Sequence[int], rows: Sequence[Row], tokens: int = 2048) -> Passed:
    """The prefix once, the rows behind it, in the order given."""
    start = network.model(input_ids=torch.tensor([prefix]), use_cache=True)
    cache = start.past_key_values
    logits, targets, kinds, labels = [], [], [], []
    for batch in batches(rows, tokens):
        hidden = after_prefix(network, cache, batch)
        places = [(index, place) for index, row in enumerate(batch) for place, kind in enumerate(row.kinds) if kind]
        index, place = torch.tensor(places).T
        logits.append(network.lm_head(hidden[index, place - 1]).float())
        labels.append(hidden[torch.arange(len(batch)), torch.tensor([row.kinds.index(LABEL) - 1 for row in batch])])
        targets += [batch[row].ids[column] for row, column in places]
        kinds += [batch[row].kinds[column] for row, column in places]
    return Passed(
        torch.cat(logits), torch.tensor(targets), torch.tensor(kinds), start.last_hidden_state[0, -1], torch.cat(labels)
    )
