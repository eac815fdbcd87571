"""How a content is dressed under a policy: wrapped, padded, given orders, made to meet or to miss what code decides."""

from __future__ import annotations

import random
from dataclasses import replace

from finetune.nano.conditions import SURFACES, Condition, with_text
from finetune.nano.injections import injected, padded
from finetune.nano.prepare import Example
from finetune.nano.stance import WORDS, Stance

ORDERS, PADDING, WRAPS, CASES = 0.07, 0.07, 0.14, 0.2
"""How often a content gets orders to the machine, everyday sentences, a frame such as a quotation, other letters."""


def dressed(draw: random.Random, example: Example) -> Example:
    """Sometimes the example in quotation, fiction or lesson; sometimes in other letters."""
    roll = draw.random()
    if roll < WRAPS and not example.doubt and not example.excused and len(example.text) < 140 and not example.thread:
        kind = draw.choice(("quoted", "quoted", "quoted", "fiction", "education", "endorsed", "endorsed"))
        wrapped = with_text(example, draw.choice(WORDS["wraps"][kind]).format(example.text))
        return replace(wrapped, excused="" if kind == "endorsed" else kind)
    if WRAPS < roll < WRAPS + CASES:
        return with_text(example, draw.choice((str.lower, str.capitalize))(example.text))
    return example


def wanted(draw: random.Random, stance: Stance, example: Example, breaks: bool) -> Example:
    """The example made to break one of the rules that code decides, or none of them."""
    conditions = [test for test in stance.tests.values() if isinstance(test, Condition)]
    aim = draw.choice(conditions) if conditions and breaks else None
    for test in conditions:
        if test is not aim:
            example = test.dressed(draw, example, False)
    return aim.dressed(draw, example, True) if aim else example


def waived(draw: random.Random, stance: Stance, example: Example) -> Example:
    """The example made to meet an exception that code decides, as often as not."""
    conditions = [test for test in stance.waivers.values() if isinstance(test, Condition)]
    if not conditions:
        return example
    aim, meets = draw.choice(conditions), draw.random() < 0.5
    for test in conditions:
        if test is not aim:
            example = test.dressed(draw, example, False)
    return aim.dressed(draw, example, meets)


def under(draw: random.Random, stance: Stance, example: Example, breaks: bool) -> Example:
    """The example as it is shown under the policy; `breaks`: it should break a rule that code decides, if there is one."""
    if not stance.inverted and not stance.tests:
        example = dressed(draw, example)
    roll = draw.random()
    if roll < ORDERS:
        example = injected(draw, example, tuple(rule.id for rule in stance.policy.rules))
    elif roll < ORDERS + PADDING:
        example = padded(draw, example)
    if draw.random() < 0.3:
        example = replace(example, surface=draw.choice(SURFACES))
    return waived(draw, stance, wanted(draw, stance, example, breaks))
