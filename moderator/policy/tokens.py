"""How many tokens a text has, when no tokenizer is at hand."""

from __future__ import annotations

import re

_PIECES = re.compile(r"[^\W\d_]+|\d{1,3}|_|[^\w\s]+|\n+")


def estimate_tokens(text: str) -> int:
    """An estimate for byte-level BPE vocabularies of 100,000 entries and more: one per word of up to eight letters, one more
    for each further six, one per three digits and per run of signs."""
    return sum(1 + max(0, len(piece) - 3) // 6 if len(piece) > 8 else 1 for piece in _PIECES.findall(text))
