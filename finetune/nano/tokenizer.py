"""The tokenizer of nano: byte-level BPE of its own, five special tokens, labels that are one token each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
LABELS = ("yes", "no", "exception", "unknown", "none")
HEAD = '{"violates":"'
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def answer_lines(seed: int, number: int = 6000) -> Iterator[str]:
    """Answers and prompt skeletons, so that their pieces are merged into few tokens."""
    draw = random.Random(seed)
    for index in range(number):
        letter, digit, other = draw.choice("ABCDEFGHIJKLMNOPQRSTUVWYZ"), draw.randint(1, 12), draw.randint(1, 5)
        yield f'{HEAD}{LABELS[index % 5]}"}}'
        yield f'{HEAD}yes","rules":[{{"id":"{letter}{digit}","quote":"you"}}],"exceptions":[],"escalations":[]}}'
        rules = f'{{"id":"{letter}{digit}","quote":"you"}},{{"id":"{letter}{other}","quote":"the"}}'
        yield f'{HEAD}exception","rules":[{rules}],"exceptions":["X{other}"],"escalations":["E{other}"]}}'
        yield f'{HEAD}unknown","rules":[],"escalations":["E{other}"],"missing":["thread","target"]}}'
        yield '{"rationale":"No rule fits: it is news.","violates":"no"}\nSURFACE comment\nTHREAD "a"\nTEXT "b"'
        yield f"POLICY Hate\n{letter}{digit} Threat: A\n{letter}{other} Insult: B\nEXCEPTIONS"
        yield f"X{other} Quote: C (covers {letter}{digit}, {letter}{other})\nESCALATE\nE{other} Context missing: D\n(none)"


def train(corpus: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE; the ids of the special tokens are 0 to 4."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def check_labels(tokenizer: Tokenizer) -> dict[str, int]:
    """The token of each label after the head; raises when one is not a single, distinct token."""
    ids = {}
    for head in (HEAD, '{"rationale":"No rule fits: it is news.","violates":"'):
        before = tokenizer.encode(head, add_special_tokens=False).ids
        for label in LABELS:
            whole = tokenizer.encode(head + label, add_special_tokens=False).ids
            closed = tokenizer.encode(head + label + '"', add_special_tokens=False).ids
            if whole[:-1] != before or closed[: len(whole)] != whole:
                raise ValueError(f"tokenizer: label {label!r} is not one token after {head!r}: {whole}")
            ids[label] = whole[-1]
    if len(set(ids.values())) != len(LABELS):
        raise ValueError(f"tokenizer: labels share a token: {ids}")
    return ids


def save(tokenizer: Tokenizer, folder: Path, positions: int) -> PreTrainedTokenizerFast:
    """Write the files that transformers and vLLM load."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"chat_template": TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "moderator.json").write_text('{"family": "nano"}\n')
    return fast
