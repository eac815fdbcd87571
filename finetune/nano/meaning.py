"""The first stage: what texts and the lines of policies mean, as the encoder sees them and as people labelled them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from finetune.nano import lessons, network, packing, policies, templates
from finetune.nano.dress import dressed
from finetune.nano.injections import injected, padded
from finetune.nano.prepare import Example
from finetune.nano.stance import DOMAIN_NAMES
from finetune.nano.teacher import Lesson, Teacher
from finetune.nano.train import Loss
from moderator.content import Content
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt, load_family
from moderator.quoting import literal


@dataclass(frozen=True)
class Reading:
    """A content as a prompt's tokens; `places[byte]` is the token that ends where this byte of the text ends."""

    row: packing.Row
    places: dict[int, int]


def token_bytes(chat: ChatTokenizer) -> list[int]:
    """How many bytes of text each token stands for; control tokens stand for none."""
    vocabulary, control = chat.tokenizer.get_vocab(), chat.control_ids
    lengths = [0] * len(vocabulary)
    for token, index in vocabulary.items():
        lengths[index] = 0 if index in control else len(token)
    return lengths


def readings(chat: ChatTokenizer, examples: Sequence[Example], longest: int) -> list[Reading]:
    """The user's turn of each example and the beginning of the answer; what is longer than `longest` tokens is left out."""
    compiled, lengths, found = compile_prompt(policies.shipped()[0].policy, load_family("nano")), token_bytes(chat), []
    for start in range(0, len(examples), 5000):
        part = examples[start : start + 5000]
        prompts = [compiled.ask(Content(id="x", text=example.text)).label() for example in part]
        for example, prompt, ids in zip(part, prompts, chat.suffixes(prompts), strict=True):
            if len(ids) > longest:
                continue
            places, shown, seen = {}, literal(example.text), 0
            if shown[1:-1] == example.text:
                first = len(prompt.user[: prompt.user.rindex(shown) + 1].encode())
                for column, index in enumerate(ids):
                    seen += lengths[index]
                    places[seen - first] = column
            found.append(Reading(packing.Row(tuple(ids), (0,) * len(ids), len(ids) - 1, (), example), places))
    return found


def batches(draw: random.Random, rows: Sequence[Reading], tokens: int) -> Iterator[list[Reading]]:
    """Without end: batches of like length, in any order."""
    while True:
        mixed = draw.sample(rows, len(rows))
        drawn = []
        for start in range(0, len(mixed), 4096):
            by_row = {id(reading.row): reading for reading in mixed[start : start + 4096]}
            drawn += [
                [by_row[id(row)] for row in batch]
                for batch in packing.batches([reading.row for reading in by_row.values()], tokens)
            ]
        yield from draw.sample(drawn, len(drawn))


def losses(
    config: dict,
    decoder: LlamaForCausalLM,
    taught: lessons.Lessons,
    chat: ChatTokenizer,
    examples: Sequence[Example],
    teacher: Teacher,
    vectors: lessons.Vectors,
) -> Iterator[Loss]:
    """Batches of contents, each behind the prefix of some policy that says nothing about them.

    `words`: one minus the cosine to the encoder's last states where tokens end together; `far`: the same for the encoder's
    vector of the text; `aside`: what the first layers give to the policy instead of the text; `topics`: what people labelled;
    `lines`, `line_far`: topics and vectors of the policy's lines. What is said of a text or a line as a whole is read twice:
    off the mean over its tokens after the first layers, and one layer later where the label is read or the line ends.
    """
    draw, known, family = random.Random(config["seed"]), policies.shipped(), load_family("nano")
    rows = readings(chat, examples, config["longest"])
    print(f"{len(rows)} texts, {sum(len(one.row.ids) for one in rows) / 1e6:.2f} M tokens", flush=True)
    first, depth = config["first"], config["depth"]
    for number, batch in enumerate(batches(draw, rows, config["tokens"])):
        stance = policies.draw_stance(draw, known, config.get("shares"))
        system = compile_prompt(stance.policy, family).system
        prefix = packing.encode_prefix(chat, system, list(lessons.line_texts(stance)))
        before, past, _ = network.forward(decoder, torch.tensor([prefix.ids]), None, depth)
        behind = [one.row for one in batch]
        states, _, looks = network.forward(decoder, packing.padded(behind), past, depth)
        wholes = packing.wholes(behind, states, first, depth)
        parts = {"topics": lessons.content_loss(taught, batch_examples(batch), wholes)}
        parts["aside"] = sum(lessons.aside_loss(behind[::4], look.every(4)) for look in looks[:first]) / first
        parts["lines"], parts["line_far"] = lessons.line_loss(taught, vectors, stance, prefix, before, first, depth)
        if number % config["teach"] == 0:
            lesson = teacher.lesson([example.text for example in batch_examples(batch)], working=network.WORKING)
            parts["words"] = word_loss(lesson, batch, states[first])
            parts["far"] = taught.distance(wholes, lesson.vectors - torch.from_numpy(vectors.mean))
        loss = sum(config["weights"][name] * part for name, part in parts.items())
        yield loss, {name: part.item() for name, part in parts.items()}


def batch_examples(batch: Sequence[Reading]) -> list[Example]:
    return [one.row.example for one in batch]


def word_loss(lesson: Lesson, batch: Sequence[Reading], states: torch.Tensor) -> torch.Tensor:
    """One minus the cosine to the encoder's last states, over the tokens that end where one of its pieces ends."""
    rows, columns, pieces = [], [], []
    for row, (one, encoding) in enumerate(zip(batch, lesson.encodings, strict=True)):
        upto = [0, *itertools.accumulate(len(letter.encode()) for letter in one.row.example.text)]
        for piece, (start, end) in enumerate(encoding.offsets):
            column = one.places.get(upto[end]) if end > start else None
            if column is not None:
                rows.append(row)
                columns.append(column)
                pieces.append(piece)
    if not rows:
        return torch.zeros(())
    return 1 - functional.cosine_similarity(states[rows, columns], lesson.states[-1][rows, pieces]).mean()


ORDERS, PADDING = 0.12, 0.18
"""How often a text gets orders to the machine or everyday sentences, which change nothing of what people labelled."""


def around(draw: random.Random, example: Example, ids: tuple[str, ...]) -> Example:
    """Sometimes the example with something around it; orders name one of the `ids`."""
    roll = draw.random()
    if roll < ORDERS:
        return injected(draw, example, ids)
    return padded(draw, example) if roll < ORDERS + PADDING else example


def select(
    draw: random.Random,
    examples: Sequence[Example],
    plain: Sequence[str],
    everyday: Sequence[str],
    caps: dict[str, int],
    fills: int,
) -> list[Example]:
    """One pass: everything short enough, the calm sources capped, written texts filled a few times; `plain` texts, of which
    nothing is known but what the encoder makes of them, and `everyday` ones, which break nothing."""
    chosen, left = [], dict(caps)
    ids = tuple(rule.id for stance in policies.shipped() for rule in stance.policy.rules)
    for example in draw.sample(list(examples), len(examples)):
        if len(example.text) > 420 or (not example.broken and left.get(example.source, 1) <= 0):
            continue
        if example.source in left and not example.broken:
            left[example.source] -= 1
        chosen.append(around(draw, dressed(draw, example), ids))
    unlabelled = [Example(text, "plain", unsure=frozenset(DOMAIN_NAMES)) for text in plain]
    return chosen + templates.sample(draw, fills) + unlabelled + [Example(text, "everyday") for text in everyday]
