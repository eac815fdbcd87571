"""Training kept away from what is evaluated."""

from __future__ import annotations

from finetune.nano.near import Held
from finetune.nano.prepare import Example
from finetune.nano.sources import identity, policy_texts

HELD = Held(["You have won a prize of 500 pounds, call 0900 now to claim it before Friday", "yes"])


def test_the_same_letters_are_the_same_text():
    assert HELD.why("YES!") == "same"
    assert HELD.why("yes please") == ""


def test_a_text_that_differs_in_a_few_words_is_alike():
    assert HELD.why("You have won a prize of 900 pounds, ring 0900 now to claim it before Friday") == "alike"
    assert HELD.why("You have lost a bet of 500 pounds, and Friday is the day to pay it back") == ""


def test_a_turn_after_another_turn_is_another_content():
    first, second = Example("yes", "convabuse", thread=("ready?",)), Example("yes", "convabuse", thread=("are you a fool?",))
    assert identity(first) != identity(second)
    assert identity(first) == identity(Example("Yes.", "convabuse", thread=("Ready",)))


def test_examples_of_the_policies_are_kept_away():
    assert sum(1 for _ in policy_texts()) > 100
