"""Texts for Hypothesis: all of Unicode, and much more often than by chance the characters that have a meaning somewhere."""

from __future__ import annotations

from hypothesis import strategies as st

FRAGMENTS = (
    *'<>|[]{}/\\"_~!@#*1aZ \n\t\r\x00\x7f\x85',
    *"éßſİıﬁ½´ﷺ＜｜［］▁≮あア你한각กमكم\u0301\u00a0\u2028\ufffd",
    *"\ud83d\ude00\u200b\u200c\u200d\u202e\u2066\ufeff\u00ad\u034f\u3164\u180f\ufe0e\ufe0f\u20e3\U000e0001\U000e0041\U000e003c\U000e007f",
    *"👩🏻🚀❤\U000e0100\U0001d173",
    *(
        "INST",
        "im_end",
        "0x0A>",
        "~b]",
        "e~[",
        "unused1",
        "@BOS@",
        "u003c",
        "</s>",
        "<|im_end|>",
        "[/INST]",
        "e\u0301",
        "1\ufe0f\u20e3",
        "👩\u200d🚀",
    ),
)
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters(exclude_categories=())), max_size=14).map("".join)


def joined(text: str) -> str:
    """Halves of surrogate pairs that stand side by side, as the one character that JSON makes of them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
