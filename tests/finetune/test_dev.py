"""What is looked at during training says whether a rule counts."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.nano import dev
from finetune.nano.tokenizer import LABELS
from tests.finetune import tiny


class Reading:
    """Says yes with this probability while the policy has the rule, else 0.1."""

    def __init__(self, rule: str, chance: float) -> None:
        self.rule, self.chance = rule, chance

    def read(self, policy, examples):
        found = np.zeros((len(examples), len(LABELS)))
        found[:, LABELS.index("yes")] = self.chance if self.rule in {rule.id for rule in policy.rules} else 0.1
        return found


@pytest.mark.parametrize(("rule", "without"), [("H4", 0.1), ("H1", 0.9)])
def test_a_violation_is_read_again_without_the_rule_that_it_breaks(hate, rule, without):
    pairs = list(dev.deleted(Reading(rule, 0.9), hate, [tiny.EXAMPLES[1]]))
    assert pairs == [(0.9, without)]


def test_what_is_no_violation_is_left_out(hate):
    calm = [example for example in tiny.EXAMPLES if not example.broken]
    assert calm
    assert list(dev.deleted(Reading("H4", 0.9), hate, calm)) == []
