"""What several tests share: a small policy, a tokenizer of bytes that knows control tokens, and an engine that continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from moderator.answer import LABELS
from moderator.engines import Completion, EngineDescription
from moderator.policy import Policy, parse_policy
from moderator.prompt import Prompt, ReadLabel

DOCUMENT = """\
---
policy: house
version: 1.0.0
title: House rules
status: active
owner: someone@example.com
effective: 2026-01-01
review_by: 2027-01-01
locale: en
applies_to: {surfaces: [post, comment], content: [text], audience: [everyone], jurisdictions: ["*"]}
prefix: H
ground: terms
---
# House rules

## Rationale
People come here to mend bicycles.

## Scope
Every text that a member writes.

## Definitions
- **Trade** (`trade`): asking or offering money for a thing or a service.

## Rules

### H1 Threat
- Severity: critical
- Action: remove

A threat to harm a member.

The second paragraph is for long prompts.

#### Violates
- Announcing a blow.

#### Does not violate
- Harsh words for a bicycle.

#### Borderline
- "Watch out" violates when a date is named.

#### Examples
- violates: "I will hit you at noon" – announced
- allowed: "this hill kills me" – figure of speech
- violates: "tomorrow you will be sorry" – third example

### H2 Selling
- Severity: low
- Action: label

Any *trade* outside the market.

#### Examples
- violates: "my old wheel for 20"
- allowed (X2): "on the market: my old wheel for 20"

### H3 Insult
- Severity: medium
- Action: hide

Calling a member a bad name.

### H4 Address
- Severity: high
- Action: remove
- Review: human

Telling where a member lives.

## Exceptions

### X1 Quoted to report it
- Covers: H1, H3
- Never for: H4
- Outcome: allow

The words are another's, and the member reports them.

### X2 On the market
- Covers: H2
- Requires: the market is named in the text
- Outcome: label

### X3 Between friends
- Covers: H3
- Outcome: warn
- Review: human

Friends who tease each other, and both laugh.

## Escalation

### E1 Threat found
- When: H1 is found
- To: safety
- Within: 1h
- Automation: hold

### E2 Danger
- When: someone may be in danger now
- To: safety
- Within: 15m
- Automation: none

## Precedence
1. H3 > H2 > H1

## Notices
- H1: "We removed a threat."
- H2: "We labelled a sale."
- H3: "We hid an insult."

## Reviewer notes
Only people read that Robin wrote this.

## Changelog
- 1.0.0 (2026-01-01): first
"""


@cache
def house() -> Policy:
    """Four rules, three exceptions, an escalation of each kind, and a precedence that turns severity round."""
    return parse_policy(DOCUMENT)


def byte_tokenizer(controls: Sequence[str | AddedToken] = (), merged: Sequence[str] = ()) -> Tokenizer:
    """A tokenizer of bytes, with some pieces of ASCII as one token each, and control tokens."""
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in merged:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    # split into words, which is faster, unless the pieces are to reach over their ends
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not merged)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) if isinstance(t, str) else t for t in controls])
    return tokenizer


def word_tokenizer(controls: Sequence[str], words: Sequence[str]) -> Tokenizer:
    """A tokenizer of bytes that takes the longest of these words from the left (WordPiece); controls come first.

    It takes time with the cube of a stretch's length, and too long a stretch is its unknown token, which is a control token
    here: so none is longer than 64 characters, 256 bytes.
    """
    pieces = [*controls, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces += [piece for word in words for piece, _ in to_bytes.pre_tokenize_str(word)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=controls[0], continuing_subword_prefix="", max_input_chars_per_word=256)
    )
    stretches = Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+")
    splits = [pre_tokenizers.Split(pattern, "isolated") for pattern in (stretches, Regex(r"[\s\S]{1,64}"))]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(control, special=True, normalized=False) for control in controls])
    return tokenizer


class StepEngine:
    """Continues a prefill, as the engines in this process do: reads labels and writes texts that two functions give.

    It is held to no grammar: what it writes is what it was told to write. `prompts` are those that it was given.
    """

    name = "steps"

    def __init__(
        self,
        read: Callable[[Prompt], Mapping[str, float] | Completion],
        write: Callable[[Prompt], str | Completion] = lambda prompt: '"}',
        *,
        batch: int = 256,
    ):
        self._read, self._write = read, write
        self.prompts: list[Prompt] = []
        self.description = EngineDescription(engine=self.name, model="none", batch=batch)
        self.closed = False

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        self.prompts += prompts
        return [self._one(prompt) for prompt in prompts]

    def close(self) -> None:
        self.closed = True

    def _one(self, prompt: Prompt) -> Completion:
        if isinstance(prompt.task, ReadLabel):
            read = self._read(prompt)
            return read if isinstance(read, Completion) else Completion(labels=read, prompt_tokens=10, completion_tokens=1)
        written = self._write(prompt)
        return written if isinstance(written, Completion) else Completion(text=written, prompt_tokens=10, completion_tokens=5)


def leaning(label: str, probability: float = 0.9) -> dict[str, float]:
    """Full-vocabulary probabilities of a label read: this label, and 0.01 for every other."""
    return {name: probability if name == label else 0.01 for name in LABELS}


def rest(*rules: tuple[str, str], rationale: str | None = "said", **fields: Sequence[str]) -> str:
    """What is written behind the label, without white space: rules with quotes, then the other fields."""
    entries = [{"id": rule, "quote": quote} for rule, quote in rules]
    answer: dict[str, object] = {"rules": entries, **{name: list(values) for name, values in fields.items()}}
    if rationale is not None:
        answer["rationale"] = rationale
    return '",' + json.dumps(answer, ensure_ascii=False, separators=(",", ":"))[1:]
