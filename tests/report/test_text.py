from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.report.text import pieces, visible
from moderator.scoring.model import Mark


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain <b>"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u200bb\u00adc", "a⟨U+200B⟩b⟨U+00AD⟩c"),
        ("a\u2028b\u2029", "a⟨U+2028⟩b⟨U+2029⟩"),
        ("half \ud83d", "half ⟨U+D83D⟩"),
        ("\x00\x1b[31m", "⟨U+0000⟩⟨U+001B⟩[31m"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("two\nlines\t👩\u200d🚀 می\u200cخواهم", "two\nlines\t👩\u200d🚀 می\u200cخواهم"),
    ],
)
def test_what_acts_without_being_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_can_be_written_and_turns_nothing_around(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert not {unicodedata.bidirectional(character) for character in shown} & {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI"}


def test_overlapping_marks_are_cut_where_either_begins_or_ends() -> None:
    found = pieces("abcdefgh", [Mark(1, 5, "P1")], [Mark(3, 7, "P1"), Mark(3, 7, None)])
    assert [(piece.text, piece.quoted, piece.marked) for piece in found] == [
        ("a", (), ()),
        ("bc", ("P1",), ()),
        ("de", ("P1",), ("P1", "marked")),
        ("fg", (), ("P1", "marked")),
        ("h", (), ()),
    ]


_MARKS = st.lists(st.builds(lambda a, n: Mark(a, a + n, None), st.integers(0, 30), st.integers(1, 30)))


@given(st.text(max_size=20), _MARKS, _MARKS)
def test_pieces_are_the_text_and_each_character_keeps_its_marks(text: str, evidence: list[Mark], marked: list[Mark]) -> None:
    found = pieces(text, evidence, marked)
    assert "".join(piece.text for piece in found) == text
    place = 0
    for piece in found:
        for offset in range(place, place + len(piece.text)):
            assert bool(piece.quoted) == any(mark.start <= offset < mark.end for mark in evidence)
            assert bool(piece.marked) == any(mark.start <= offset < mark.end for mark in marked)
        place += len(piece.text)
