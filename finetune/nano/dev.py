"""A look during training: labels as serving reads them, over examples that training does not see.

Only to stop early and to choose; what the model comes to is measured with `moderator eval` on the test splits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

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

PARTS = 20
"""One part in so many of the training examples, by hash, is kept for looking."""


def held_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """What is trained on, and what is looked at."""
    apart = [hashed(example.text + "dev", PARTS) == 0 for example in examples]
    return (
        [example for example, out in zip(examples, apart, strict=True) if not out],
        [example for example, out in zip(examples, apart, strict=True) if out],
    )


class Reader:
    """A decoder and its tokenizer; reads labels the way serving does."""

    def __init__(self, decoder: LlamaForCausalLM, chat: ChatTokenizer) -> None:
        self.decoder, self.chat = decoder, chat
        self.labels = [check_labels(chat.tokenizer)[label] for label in LABELS]

    @torch.no_grad()
    def read(self, policy: Policy, examples: Sequence[Example]) -> np.ndarray:
        """The probabilities of the labels, one row an example, in the order of `LABELS`."""
        compiled = compile_prompt(policy, "nano")
        contents = [Content(id="x", text=one.text, thread=tuple(Turn(text=turn) for turn in one.thread)) for one in examples]
        head = self.chat.encode(HEAD)
        asked = packing.ask(self.chat, [compiled.ask(content).label() for content in contents])
        rows = [packing.Row((*ids, *head), (), len(ids) + len(head) - 1) for ids in asked]
        _, past, _ = network.forward(self.decoder, torch.tensor([self.chat.prefix(compiled.system)]))
        found, start = np.zeros((len(rows), len(LABELS))), 0
        order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))  # that of `batches`
        for batch in packing.batches(rows, 4096):
            states, _, _ = network.forward(self.decoder, packing.padded(batch), past)
            read = states[-1][torch.arange(len(batch)), torch.tensor([row.read for row in batch])]
            chances = network.last(self.decoder, read)[:, self.labels].softmax(-1)
            found[order[start : start + len(batch)]] = chances.numpy()
            start += len(batch)
        return found


def yes(chances: np.ndarray) -> np.ndarray:
    """The probability that the content violates."""
    return chances[:, LABELS.index("yes")]


def settled(stance: Stance, examples: Sequence[Example]) -> list[tuple[Example, policies.Ruling]]:
    """The examples that the labels settle under the policy, as plain yes or no, with the ruling."""
    found = [(example, policies.judge(stance, example)) for example in examples]
    return [(example, ruling) for example, ruling in found if ruling and ruling.label in ("yes", "no")]


def glance(reader: Reader, examples: Sequence[Example], size: int = 200) -> dict[str, float]:
    """By set: ranking and macro F1 under the set's policy; `deleted`: share of flagged that stay so without their rules."""
    stances, found = {stance.policy.slug: stance for stance in policies.shipped()}, {}
    pairs = {"hatexplain": "hate", "edos": "hate", "misogyny": "hate", "hatemoji": "hate", "davidson": "hate",
             "convabuse": "harassment", "toxic-spans": "harassment", "sms-spam": "spam", "youtube-spam": "spam"}  # fmt: skip
    scores, stay, flagged = [], 0, 0
    for source, slug in pairs.items():
        known = settled(stances[slug], [example for example in examples if example.source == source])
        known = random.Random(0).sample(known, min(size, len(known)))
        truth = np.array([ruling.label == "yes" for _, ruling in known])
        if not 0 < truth.sum() < len(truth):
            continue
        chances = yes(reader.read(stances[slug].policy, [example for example, _ in known]))
        found[f"{source} auroc"] = float(roc_auc_score(truth, chances))
        scores.append(f1_score(truth, chances >= 0.5, average="macro"))
        found[f"{source} f1"] = float(scores[-1])
        for rules in {ruling.rules for (_, ruling), p in zip(known, chances, strict=True) if ruling.rules and p >= 0.5}:
            kept = [rule.id for rule in stances[slug].policy.rules if rule.id not in rules]
            chosen = [one for (one, ruling), p in zip(known, chances, strict=True) if ruling.rules == rules and p >= 0.5]
            flagged += len(chosen)
            stay += int((yes(reader.read(stances[slug].policy.slice(kept), chosen)) >= 0.5).sum())
    return found | {"macro f1": float(np.mean(scores)), "deleted, still flagged": stay / max(1, flagged)}
