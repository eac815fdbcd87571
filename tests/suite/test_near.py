"""Texts that are the same up to a few words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moderator.suite.near import Held

HELD = Held(["You have won a prize of 500 pounds, call 0900 now to claim it before Friday", "yes"])


def test_the_same_letters_are_the_same_text() -> None:
    assert HELD.why("YES!") == "same"
    assert HELD.why("yes please") == ""


def test_a_text_that_differs_in_a_few_words_is_alike() -> None:
    assert HELD.why("You have won a prize of 900 pounds, ring 0900 now to claim it before Friday") == "alike"
    assert HELD.why("You have lost a bet of 500 pounds, and Friday is the day to pay it back") == ""


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_every_text_is_the_same_as_itself(texts: list[str]) -> None:
    held = Held(texts)
    assert all(held.why(text) == "same" for text in texts)
