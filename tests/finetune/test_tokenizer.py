"""The tokenizer cuts words where the encoder does, keeps every byte, and has one token a label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.nano import tokenizer
from tests.finetune import tiny

KNOWN = {"re", "##mark", "##able", "you", "cafe", "##s"}


@given(st.text(max_size=40))
def test_every_text_decodes_to_itself(pieces, text):
    ids = pieces.encode(text, add_special_tokens=False).ids
    assert pieces.decode(ids, skip_special_tokens=False) == text
    assert all(pieces.id_to_token(index) is not None for index in ids)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("run", ["a" * 200_000, "漢" * 20_000, "zxqv" * 5_000])
def test_a_word_without_end_costs_no_more_than_its_length_and_makes_no_control_token(pieces, run):
    ids = pieces.encode(run, add_special_tokens=False).ids
    assert min(ids) >= len(tokenizer.SPECIAL)
    assert pieces.decode(ids) == run


def test_labels_are_one_token(pieces):
    assert len(set(tokenizer.check_labels(pieces).values())) == len(tokenizer.LABELS)


def test_a_label_that_is_no_token_is_an_error(teacher):
    without = tokenizer.train(tiny.TEXTS, [], list(teacher.tokenizer.get_vocab()), 270)
    with pytest.raises(ValueError, match="is not one token"):
        tokenizer.check_labels(without)


@pytest.mark.parametrize(
    ("word", "places"),
    [
        ("Remarkable", [(0, 2), (2, 6), (6, 10)]),  # the longest piece first, whatever the case
        ("Cafés", [(0, 4), (4, 5)]),  # accents are the encoder's letters without them
        ("markable", None),  # a piece that continues a word begins none
        ("yous", [(0, 3), (3, 4)]),
    ],
)
def test_words_are_cut_where_the_encoder_cuts_them(word, places):
    assert tokenizer.cut(word, KNOWN) == places


def test_pieces_are_counted_with_their_case_and_space():
    counts = tokenizer.count_pieces(["You remarkable you", "yous!!"], KNOWN)
    assert counts == {"You": 1, " re": 1, "mark": 1, "able": 1, " you": 1, "you": 1, "s": 1, "!!": 1}


def test_frequent_pieces_become_tokens_and_no_more_than_asked_for(pieces, teacher):
    assert {"Ġlovely", "Ġfool", "you"} <= set(pieces.get_vocab())
    assert [pieces.id_to_token(index) for index in range(5)] == list(tokenizer.SPECIAL)
    few = tokenizer.train(["you you fool"] * 9, [], list(teacher.tokenizer.get_vocab()), 263).get_vocab()
    assert len(few) == 263
    assert len({"you", "Ġyou", "Ġfool"} & set(few)) == 2
