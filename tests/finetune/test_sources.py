"""Training kept away from what is evaluated."""

from __future__ import annotations

from finetune.nano.prepare import Example
from finetune.nano.sources import identity, policy_texts


def test_a_turn_after_another_turn_is_another_content():
    first, second = Example("yes", "convabuse", thread=("ready?",)), Example("yes", "convabuse", thread=("are you a fool?",))
    assert identity(first) != identity(second)
    assert identity(first) == identity(Example("Yes.", "convabuse", thread=("Ready",)))


def test_examples_of_the_policies_are_kept_away():
    assert sum(1 for _ in policy_texts()) > 100
