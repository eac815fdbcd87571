"""What the tests do with a grammar: say whether it accepts a text, and draw one that it accepts."""

from __future__ import annotations

import random
from functools import cache

from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer

from tests.small import byte_tokenizer


@cache
def vocabulary() -> tuple[Tokenizer, LLTokenizer]:
    """Bytes, and some tokens that reach over the borders of the answer's parts."""
    merged = [
        '","',
        '"}',
        '{"',
        '":"',
        '"},{"',
        '":["',
        '"]',
        "],",
        "id",
        "quote",
        "rules",
        "violates",
        'no"}',
        "H1",
        "yo",
        "u003c",
    ]
    tokenizer = byte_tokenizer(["<|end|>"], merged)
    return tokenizer, LLTokenizer(tokenizer.to_str(), eos_token=tokenizer.token_to_id("<|end|>"))


def accepts(grammar: str, text: str, *, whole: bool = True) -> bool:
    """Whether the grammar accepts the text, to its end; not `whole`: as the beginning of something that it accepts."""
    tokenizer, ll = vocabulary()
    matcher = LLMatcher(ll, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    ids = tokenizer.encode(text).ids
    return bool(matcher.try_consume_tokens(ids) == len(ids) and (matcher.is_accepting() or not whole))


def walk(grammar: str, draw: random.Random, most: int = 3000) -> str:
    """A text that the grammar accepts, each token drawn among all that are allowed."""
    tokenizer, ll = vocabulary()
    matcher = LLMatcher(ll, grammar, log_level=0)
    ids: list[int] = []
    while not matcher.is_stopped():
        assert not matcher.is_error(), matcher.get_error()
        allowed = [index for index, bias in enumerate(matcher.compute_logit_bias()) if bias]
        assert allowed, f"no token after {tokenizer.decode(ids)!r}"
        assert len(ids) < most
        ids.append(draw.choice(allowed))
        if ids[-1] in ll.eos_tokens:
            ids.pop()
            break
        matcher.consume_token(ids[-1])
    assert matcher.is_accepting(), matcher.stop_reason()
    return str(ll.decode_bytes(ids), "utf-8")
