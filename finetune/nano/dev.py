"""A look during training: labels as serving reads them, over examples that training does not see.

Only to stop early and to choose; what the model comes to is measured with `moderator eval` on the test splits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import f1_score, roc_auc_score
from transformers import LlamaForCausalLM

from finetune.nano import network, packing, policies
from finetune.nano.policies import Stance
from finetune.nano.prepare import Example, hashed
from finetune.nano.tokenizer import HEAD, LABELS, check_labels
from moderator.content import Content, Turn
from moderator.engines.chat import ChatTokenizer
from moderator.policy.model import Policy
from moderator.prompt import compile_prompt

PAIRS = {"hatexplain": "hate", "edos": "hate", "misogyny": "hate", "hatemoji": "hate", "davidson": "hate",
         "convabuse": "harassment", "toxic-spans": "harassment", "sms-spam": "spam", "youtube-spam": "spam"}  # fmt: skip
"""The shipped policy under which each set is looked at."""
PARTS = 20
"""One part in so many of the training examples, by hash, is kept for looking."""


Known = list[tuple[Example, policies.Ruling]]


def held_out(examples: Sequence[Example], salt: str = "dev", parts: int = PARTS) -> tuple[list[Example], list[Example]]:
    """The rest, and one part of so many by hash; as given, what is trained on and what is looked at."""
    apart = [hashed(example.text + salt, parts) == 0 for example in examples]
    return (
        [example for example, out in zip(examples, apart, strict=True) if not out],
        [example for example, out in zip(examples, apart, strict=True) if out],
    )


class Reader:
    """A decoder and its tokenizer; reads labels the way serving does."""

    def __init__(self, decoder: LlamaForCausalLM, chat: ChatTokenizer) -> None:
        self.decoder, self.chat = decoder, chat
        self.labels = [check_labels(chat.tokenizer)[label] for label in LABELS]

    def read(self, policy: Policy, examples: Sequence[Example]) -> np.ndarray:
        """The probabilities of the labels, one row an example, in the order of `LABELS`."""
        with torch.no_grad():
            return network.last(self.decoder, self.states(policy, examples))[:, self.labels].softmax(-1).numpy()

    @torch.no_grad()
    def states(self, policy: Policy, examples: Sequence[Example]) -> torch.Tensor:
        """The last layer's output where the label is read (examples, width)."""
        compiled = compile_prompt(policy, "nano")
        contents = [Content(id="x", text=one.text, thread=tuple(Turn(text=turn) for turn in one.thread)) for one in examples]
        head = self.chat.encode(HEAD)
        asked = packing.ask(self.chat, [compiled.ask(content).label() for content in contents])
        rows = [packing.Row((*ids, *head), (), len(ids) + len(head) - 1) for ids in asked]
        _, past, _ = network.forward(self.decoder, torch.tensor([self.chat.prefix(compiled.system)]))
        found, start = torch.zeros(len(rows), self.decoder.config.hidden_size), 0
        order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))  # that of `batches`
        for batch in packing.batches(rows, 4096):
            after, _, _ = network.forward(self.decoder, packing.padded(batch), past)
            places = torch.tensor(order[start : start + len(batch)])
            found[places] = after[-1][torch.arange(len(batch)), torch.tensor([row.read for row in batch])]
            start += len(batch)
        return found


def yes(chances: np.ndarray) -> np.ndarray:
    """The probability that the content violates."""
    return chances[:, LABELS.index("yes")]


def settled(stance: Stance, examples: Sequence[Example]) -> Known:
    """The examples that the labels settle under the policy, as plain yes or no, with the ruling."""
    found = [(example, policies.judge(stance, example)) for example in examples]
    return [(example, ruling) for example, ruling in found if ruling and ruling.label in ("yes", "no")]


def by_set(examples: Sequence[Example], size: int = 400) -> Iterator[tuple[str, Stance, Known]]:
    """By set, in a fixed order: its policy, and at most `size` of its examples that the labels settle under it."""
    stances = {stance.policy.slug: stance for stance in policies.shipped()}
    for source, slug in PAIRS.items():
        known = settled(stances[slug], [example for example in examples if example.source == source])
        yield source, stances[slug], random.Random(0).sample(known, min(size, len(known)))


def behind_all(texts: Sequence[str]) -> Iterator[tuple[str, Stance, Known]]:
    """Texts that break nothing, each behind one of the shipped policies, as `by_set` gives those of sets."""
    stances = policies.shipped()
    for number, stance in enumerate(stances):
        some = [Example(text, "everyday") for text in texts[number :: len(stances)]]
        if some:
            yield "everyday", stance, [(example, policies.Ruling("no")) for example in some]


def glance(reader: Reader, examples: Sequence[Example], size: int = 200) -> dict[str, float]:
    """By set: ranking and macro F1 under the set's policy; `deleted`: share of flagged that stay so without their rules."""
    scores, found = [], {}
    for source, stance, known in by_set(examples, size):
        truth = np.array([ruling.label == "yes" for _, ruling in known])
        if not 0 < truth.sum() < len(truth):
            continue
        chances = yes(reader.read(stance.policy, [example for example, _ in known]))
        found[f"{source} auroc"] = float(roc_auc_score(truth, chances))
        scores.append(f1_score(truth, chances >= 0.5, average="macro"))
        found[f"{source} f1"] = float(scores[-1])
    pairs = [pair for stance in policies.shipped() for pair in deleted(reader, stance, examples)]
    stay = [without >= 0.5 for whole, without in pairs if whole >= 0.5]
    return found | {
        "macro f1": float(np.mean(scores)),
        "flagged": len(stay),
        "deleted, still flagged": float(np.mean(stay)) if stay else math.nan,
    }


def deleted(reader: Reader, stance: Stance, examples: Sequence[Example], size: int = 60) -> Iterator[tuple[float, float]]:
    """p(yes) of violations under the policy, and without the rules that they are known to break, where they break no other."""
    by_rules: dict[tuple[str, ...], list[Example]] = {}
    for example, ruling in settled(stance, examples):
        if ruling.label == "yes" and ruling.sure:
            by_rules.setdefault(ruling.rules, []).append(example)
    for rules, some in by_rules.items():
        kept = {name: meaning for name, meaning in stance.rules.items() if name not in rules}
        if not kept:
            continue
        less = replace(stance, policy=stance.policy.slice(list(kept)), rules=kept)
        chosen = [example for example, ruling in settled(less, some) if ruling.label == "no"][:size]
        if chosen:
            yield from zip(*(yes(reader.read(one.policy, chosen)).tolist() for one in (stance, less)), strict=True)
