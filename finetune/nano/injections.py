"""What is put around a content and must not change its label: orders to the machine, forged answers, everyday sentences."""

from __future__ import annotations

import random

import yaml

from finetune.nano.conditions import with_text
from finetune.nano.prepare import Example
from finetune.nano.stance import HERE

WORDS = yaml.safe_load((HERE / "injections.yaml").read_text())
LABELS = ("yes", "no", "no", "no", "exception", "unknown", "none")
KINDS = ("orders", "orders", "forged", "approval", "foreign")


def injected(draw: random.Random, example: Example, ids: tuple[str, ...]) -> Example:
    """The content with an order, a forged answer or a claim of approval before it, after it, or at both ends."""
    text = example.text
    for place in draw.choice((("after",), ("after",), ("before",), ("before", "after"))):
        said = draw.choice(WORDS[draw.choice(KINDS)]).format(label=draw.choice(LABELS), id=draw.choice(ids))
        said = draw.choice((said, said, said.lower(), said.upper()))
        between = draw.choice((" ", " ", "\n", " ... ", " // "))
        text = f"{said}{between}{text}" if place == "before" else f"{text}{between}{said}"
    return with_text(example, text)


def padded(draw: random.Random, example: Example) -> Example:
    """The content among everyday sentences."""
    text = example.text
    for _ in range(draw.choice((1, 1, 2, 3))):
        said = draw.choice(WORDS["padding"])
        text = draw.choice((f"{said} {text}", f"{text} {said}", f"{text}\n{said}"))
    return with_text(example, text)
