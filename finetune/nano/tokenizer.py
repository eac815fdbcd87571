"""The tokenizer of nano: the encoder's word pieces with their case and spaces, over bytes; labels that are one token each.

Words are cut where the encoder cuts them, so that its embeddings can be taken over: the longest match first (WordPiece,
Schuster and Nakajima 2012) over the bytes of each word. Every text has a form, and decodes to itself.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
LABELS = ("yes", "no", "exception", "unknown", "none")
HEAD = '{"violates":"'
SPLIT = r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
LONGEST = 24
"""Bytes of a token, unless it is frequent."""
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WORDS = pre_tokenizers.Split(Regex(SPLIT), "isolated")
RUNS = pre_tokenizers.Split(Regex(r"[\s\S]{1,64}"), "isolated")
"""A word is cut after 64 characters: matching takes the cube of its length, and one too long for it would be `<|pad|>`."""
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


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
        yield '{"rationale":"","violates":"no"}\nSURFACE comment\nTHREAD "a"\nTEXT "b"'
        yield f"POLICY Hate\n{letter}{digit} Threat: A\n{letter}{other} Insult: B\nEXCEPTIONS"
        yield f"X{other} Quote: C (covers {letter}{digit}, {letter}{other})\nESCALATE\nE{other} Context missing: D\n(none)"


def cut(word: str, pieces: Iterable[str]) -> list[tuple[int, int]] | None:
    """Where the encoder cuts a word (letters only); None when it does not know it, or changes its length."""
    plain = unicodedata.normalize("NFD", word.lower())
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
    if len(plain) != len(word):
        return None
    found, start = [], 0
    while start < len(plain):
        mark = "##" if start else ""
        end = next((end for end in range(len(plain), start, -1) if mark + plain[start:end] in pieces), 0)
        if not end:
            return None
        found.append((start, end))
        start = end
    return found


def count_pieces(corpus: Iterable[str], pieces: Iterable[str]) -> Counter[str]:
    """How often each cased piece stands in the corpus; one that begins a word after a space has the space."""
    words: Counter[str] = Counter()
    for text in corpus:
        words.update(word for word, _ in WORDS.pre_tokenize_str(text))
    found: Counter[str] = Counter()
    for word, number in words.items():
        bare = word.removeprefix(" ")
        places = cut(bare, pieces) if bare.isalpha() else None
        if places is None:
            found[word] += number
            continue
        for start, end in places:
            found[" " * (len(word) > len(bare) and not start) + bare[start:end]] += number
    return found


def train(corpus: Iterable[str], answers: Iterable[str], pieces: Sequence[str], vocabulary: int) -> Tokenizer:
    """The most frequent pieces of the corpus and the words of answers; the ids of the special tokens are 0 to 4."""
    known = frozenset(pieces)
    counts = count_pieces(corpus, known)
    for text in answers:
        counts.update({word: 5 for word, _ in WORDS.pre_tokenize_str(text)})
    tokens = dict.fromkeys((*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())))
    for word, number in counts.most_common():
        if len(tokens) == vocabulary:
            break
        written = "".join(part for part, _ in BYTES.pre_tokenize_str(word))
        if len(written) <= LONGEST or number > 200:
            tokens.setdefault(written)
    model = models.WordPiece(
        {token: index for index, token in enumerate(tokens)},
        unk_token=SPECIAL[0],
        continuing_subword_prefix="",
        max_input_chars_per_word=64 * 4,
    )
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([WORDS, RUNS, BYTES])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def check_labels(tokenizer: Tokenizer) -> dict[str, int]:
    """The token of each label after the head; raises when one is not a single, distinct token."""
    ids = {}
    for head in (HEAD, '{"rationale":"","violates":"'):
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
