"""Whole answers under policies. One prefix, many contents behind it; each kind of token has its weight.

Where a policy's own rules decide, training holds to what the labels were before it (learning without forgetting, Li & Hoiem
2016): people's labels of single sets pull them towards what tells these sets apart (log: runs 53, 54). Exceptions, questions,
rules about topics or letters and rules turned round are learned from people's labels and from code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch.nn import functional
from transformers import LlamaForCausalLM

from finetune.nano import augment, lessons, network, packing, policies
from finetune.nano.prepare import Example
from finetune.nano.tokenizer import LABELS, check_labels
from finetune.nano.topical import Closeness
from finetune.nano.train import Loss
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import load_family

PLAIN = frozenset({"shipped", "edited", "written", "merged"})
"""The kinds of policies whose rules are about harms and nothing else."""
SETTLED = frozenset({"yes", "no", "none"})
"""Labels that such rules decide by themselves."""
NAMES = {packing.ID: "id", packing.REST: "rest"}
"""The kinds of tokens behind a label, on which a grammar decides beside the model."""


def groups(config: dict, examples: Sequence[Example], plain: Sequence[str], closeness: Closeness) -> Iterator[augment.Group]:
    """Without end: a policy, contents after it, their answers. `plain`: unlabelled texts, for topical rules."""
    draw, family = random.Random(config["seed"]), load_family("nano")
    pools = augment.Pools(examples, draw, config["caps"], plain)
    return augment.groups(draw, pools, policies.shipped(), family, config, closeness)


def losses(
    config: dict,
    decoder: LlamaForCausalLM,
    written: LlamaForCausalLM,
    chat: ChatTokenizer,
    examples: Sequence[Example],
    plain: Sequence[str],
    closeness: Closeness,
) -> Iterator[Loss]:
    """Losses without end, of `groups`; `written`: the decoder before training."""
    open_to = Open(chat, decoder.config.vocab_size)
    for group in groups(config, examples, plain, closeness):
        if loss := group_loss(config, decoder, written, chat, open_to, group):
            yield loss


def group_loss(
    config: dict,
    decoder: LlamaForCausalLM,
    written: LlamaForCausalLM,
    chat: ChatTokenizer,
    open_to: Open,
    group: augment.Group,
) -> Loss | None:
    """The loss of one group; None when all of its contents are too long. Layers below `compare` are not learned."""
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(group.stance)))
    asked = packing.ask(chat, [item.prompt for item in group.items])
    rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
    rows = [row for row in rows if len(row.ids) <= config["longest"]]
    if not rows:
        return None
    states, past, looks = network.forward(decoder, torch.tensor([prefix.ids]), frozen=config["compare"])
    before = Before(written, group.stance.kind, config["compare"], states[config["compare"]])
    parts = {"named": [lessons.name_loss(prefix, looks[config["compare"]])]}
    for batch in packing.batches(rows, config["tokens"]):
        for name, values in batch_losses(config, decoder, before, chat, open_to, prefix, past, batch).items():
            parts.setdefault(name, []).append(values)
    means = {name: torch.cat(values).mean() for name, values in parts.items() if sum(map(len, values))}
    loss = sum(config["weights"][name.rstrip("0123456789")] * value for name, value in means.items())
    return loss, {name: value.item() for name, value in means.items()} | {"contents": len(rows)}


def batch_losses(
    config: dict,
    decoder: LlamaForCausalLM,
    before: Before,
    chat: ChatTokenizer,
    open_to: Open,
    prefix: packing.Prefix,
    past: network.Past,
    batch: Sequence[packing.Row],
) -> dict[str, torch.Tensor]:
    """What each token, each content and each look loses, by name: `head` before the label over the vocabulary, behind it as
    `written_losses` says."""
    states, _, looks = network.forward(decoder, packing.padded(batch), past, frozen=config["compare"])
    said = {index: label for label, index in check_labels(chat.tokenizer).items()}
    reads = torch.tensor([row.read for row in batch])
    labels = [said[row.ids[row.read + 1]] for row in batch]
    wanted = before.wanted(chat, states[config["compare"]], batch, labels)
    parts = label_losses(decoder, chat, states[-1][torch.arange(len(batch)), reads], wanted)
    parts |= head_losses(decoder, states[-1], batch) | written_losses(decoder, open_to, states[-1], batch)
    for part, values in lessons.look_loss(batch, prefix, looks[config["compare"]]).items():
        parts[f"look{part}"] = values
    return parts | {
        "cited": lessons.cite_loss(batch, prefix, looks[-1]),
        "quoted": lessons.quote_loss(batch, looks[-1]),
    }


def head_losses(decoder: LlamaForCausalLM, states: torch.Tensor, batch: Sequence[packing.Row]) -> dict[str, torch.Tensor]:
    """Minus the log of the probability of each token before a label, in the vocabulary; of states (rows, tokens, width)."""
    places = [(index, at) for index, row in enumerate(batch) for at, kind in enumerate(row.written) if kind == packing.HEAD]
    if not places:
        return {}
    row, place = (torch.tensor(column) for column in zip(*places, strict=True))
    wanted = torch.tensor([batch[index].ids[at] for index, at in places])
    each = functional.cross_entropy(network.last(decoder, states[row, place - 1]), wanted, reduction="none")
    return {"head": each}


def written_losses(
    decoder: LlamaForCausalLM, open_to: Open, states: torch.Tensor, batch: Sequence[packing.Row]
) -> dict[str, torch.Tensor]:
    """Minus the log of the probability of each token behind a label among those that the grammar allows in its place, which is
    what serving compares; where it allows one alone nothing is lost. Of states (rows, tokens, width)."""
    some = [
        (index, row.read + 2 + behind, allowed)
        for index, row in enumerate(batch)
        for behind, allowed in enumerate(open_to.of(row))
        if len(allowed) > 1 and row.kinds[row.read + 2 + behind] in NAMES
    ]
    if not some:
        return {}
    rows, places, allowed = zip(*some, strict=True)
    tokens = np.unique(np.concatenate(allowed))
    closed = torch.ones(len(some), len(tokens), dtype=torch.bool)
    for number, one in enumerate(allowed):
        closed[number, np.searchsorted(tokens, one)] = False
    logits = network.last(decoder, states[list(rows), [place - 1 for place in places]], torch.from_numpy(tokens))
    given = np.searchsorted(tokens, [batch[index].ids[place] for index, place in zip(rows, places, strict=True)])
    each = functional.cross_entropy(logits.masked_fill(closed, -math.inf), torch.from_numpy(given), reduction="none")
    kinds = torch.tensor([batch[index].kinds[place] for index, place in zip(rows, places, strict=True)])
    return {NAMES[kind]: each[kinds == kind] for kind in sorted(NAMES) if (kinds == kind).any()}


class Open:
    """What a grammar leaves open, token by token."""

    def __init__(self, chat: ChatTokenizer, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = LLTokenizer(chat.tokenizer.to_str(), n_vocab=vocabulary, eos_token=[packing.END])

    def of(self, row: packing.Row) -> list[np.ndarray]:
        """The tokens that the row's grammar allows in the place of each token behind its label, but for the one that ends it;
        none of an answer that is cut. Where it forces the text there is one, however many begin like it: that is what serving
        writes. Raises ValueError where it forbids what the row says."""
        if not row.rest:
            return []
        matcher, found = LLMatcher(self._tokenizer, row.rest, log_level=0), []
        for token in row.ids[row.read + 2 : -1]:
            forced = matcher.compute_ff_tokens()[:1]
            allowed = forced or np.flatnonzero(np.frombuffer(matcher.compute_logit_bias(), np.uint8)[: self._vocabulary])
            found.append(np.array(allowed))
            if not matcher.consume_tokens([token]):
                raise ValueError(f"the grammar forbids token {token} of {row.example}: {matcher.get_error()}")
        return found


class Before:
    """Labels of the decoder before training, behind one policy; `prefix` is its states (1, tokens, width) below the layer that
    compares: the layers down there are those of the decoder that is trained."""

    def __init__(self, written: LlamaForCausalLM, kind: str, compare: int, prefix: torch.Tensor) -> None:
        self.written, self.settled = written, kind in PLAIN
        self.layers = range(compare, len(written.model.layers))
        if self.settled:
            with torch.no_grad():
                self.past = network.climb(written, prefix, None, self.layers)[1]

    @torch.no_grad()
    def wanted(
        self, chat: ChatTokenizer, hidden: torch.Tensor, rows: Sequence[packing.Row], labels: Sequence[str]
    ) -> torch.Tensor:
        """The distribution of labels to come to (rows, labels), of contents (rows, tokens, width) below `compare`: what it was
        where the policy's own rules decide about a text with nothing around it, else the label given."""
        found = functional.one_hot(torch.tensor([LABELS.index(label) for label in labels]), len(LABELS)).float()
        held = [
            index
            for index, (row, label) in enumerate(zip(rows, labels, strict=True))
            if self.settled and label in SETTLED and not row.example.core
        ]
        if held:
            reads = torch.tensor([rows[index].read for index in held])
            known = check_labels(chat.tokenizer)
            states = network.climb(self.written, hidden[held], self.past, self.layers, places=reads)[0][-1][:, 0]
            found[held] = network.last(self.written, states)[:, [known[label] for label in LABELS]].softmax(-1)
        return found


def label_losses(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, read: torch.Tensor, wanted: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Of the states (rows, width) where labels are read: `label`, the divergence (nats) from the `wanted` probabilities (rows,
    labels) to those among all labels, as serving compares them; and minus the log of the probability of all labels in the
    vocabulary (`mass`), without which serving asks a person."""
    known = check_labels(chat.tokenizer)
    logits = network.last(decoder, read)
    among = logits[:, [known[label] for label in LABELS]]
    label = functional.kl_div(among.log_softmax(-1), wanted, reduction="none").sum(-1)
    return {"label": label, "mass": logits.logsumexp(-1) - among.logsumexp(-1)}
