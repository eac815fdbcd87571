"""The slot of the content: nothing closes it, no control token comes of it, what is hidden is shown, and quotes are found."""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.quoting import LONGEST_CHUNK, Span, chunks, literal, locate, visible
from tests.texts import TEXTS, joined

# one for each family of models: what their tokenizers look for in a text
CONTROL_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|",
    "|>\n<|user|>",
    "</s>",
    "<s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<0x0A>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<unused99>",
    "<｜User｜>",
    "<｜end▁of▁sentence｜>",
    "<用户>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[TOOL_CALLS]",
    "[BOS]",
    "[SEP]",
    "[gMASK]",
    "[control_8]",
    "[unused1]",
    "[UNUSED_TOKEN_146]",
    "[start_header_id]",
    "[|user|]",
    "[|endofturn|]",
    "<<SYS>>",
    "<</SYS>>",
    "<think>",
    "</think>",
    "<tool_call>",
    "<tool_response>",
    "<!--",
    "]~b]",
    "]~!b[",
    "[e~[",
)
TOKEN_FORM = re.compile(
    r"<[|｜/!]|<[^\W\d]|<0x[0-9A-F]{2}>|<▁|\[/?(?:[A-Z]{2,20}|\w{0,10}_\w{0,10}|gMASK|unused\d)\]|\[[|@]|\]~!?b|\[e~"
)


def folded(text: str) -> str:
    """The comparison that `locate` promises, written another way."""
    spelled = "".join(chr(ord(c) - 0xE0000) if "\U000e0020" <= c <= "\U000e007e" else c for c in text)
    seen = "".join(c for c in spelled if not _ignorable(c))
    words = [unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold()) for word in seen.split()]
    return " ".join(words)


def _ignorable(character: str) -> bool:
    hidden = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\ufeff"
    runs = "\u180b\u180f\u200b\u200f\u202a\u202e\u2060\u206f\ufe00\ufe0f\ufff0\ufffb"
    runs += "\U0001bca0\U0001bca3\U0001d173\U0001d17a\U000e0000\U000e0fff"
    return character in hidden or any(runs[i] <= character <= runs[i + 1] for i in range(0, len(runs), 2))


@given(TEXTS)
@settings(max_examples=500)
def test_literal_is_a_json_string_of_the_visible_text(text: str) -> None:
    """Valid JSON, one line, storable as UTF-8, and nothing is lost but what nobody sees."""
    shown = literal(text)
    assert json.loads(shown) == joined(visible(text))
    assert shown.encode().decode() == shown
    assert shown.splitlines() == [shown]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", shown)


@given(TEXTS)
def test_no_text_closes_its_slot(text: str) -> None:
    """Two quotation marks stand without a backslash: the first character and the last."""
    shown = literal(text)
    unescaped = re.sub(r"\\.", "", shown)
    assert unescaped.count('"') == 2
    assert (unescaped[0], unescaped[-1]) == ('"', '"')


@given(TEXTS)
@settings(max_examples=500)
def test_no_control_token_comes_through(text: str) -> None:
    assert not TOKEN_FORM.search(literal(text))


@pytest.mark.parametrize("token", CONTROL_TOKENS)
@pytest.mark.parametrize("between", ["", "\u200b", "\u200d", "\u200d\u200b", "\ufe0f", "\u2060\u00ad", "\U000e0001"])
def test_a_control_token_is_broken_however_it_is_hidden(token: str, between: str) -> None:
    """Also with unseen characters inside, which some tokenizers drop and which `visible` leaves out."""
    shown = literal(f"a {between.join(token)} b")
    assert token not in shown
    # a selector after a Han character may be seen: it stays
    assert json.loads(shown) == f"a {token} b" or (between == "\ufe0f" and not token.isascii())


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_a_control_token_spelled_in_tag_characters_is_shown_and_broken(token: str) -> None:
    hidden = "".join(chr(0xE0000 + ord(c)) if c.isascii() and c != "\n" else c for c in token)
    assert token not in literal(hidden)
    assert json.loads(literal(hidden)) == token


@pytest.mark.parametrize("token", ["＜s＞", "＜|im_end|＞", "﹤/s﹥", "＜ｓ＞", "［INST］", "［/ＩＮＳＴ］"])
def test_full_width_forms_are_broken_for_tokenizers_that_fold_them(token: str) -> None:
    assert not TOKEN_FORM.search(unicodedata.normalize("NFKC", literal(token)))


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you, 1 < 2, a <- b, x <= y, <",
        "[link] [1] [Name] [sic] [ ] [x] array[0]",
        "می‌خواهم نمی‌دانم",
        "क्‍ष और क्ष",
        "👩‍🚀 👨‍👩‍👧‍👦 ❤️ 1️⃣ #️⃣ 🏳️‍🌈 👍🏽 ©️ ™️",
        "葛󠄀城",
        "naïve café, 100 %, „so“, it’s – fine…",
        "שלום עולם مرحبا",
        "https://example.com/a?b=c&d=[e]#f",
    ],
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    """No escape and no loss where nothing is hidden: prompts stay readable, and joiners that shape words are kept."""
    assert literal(text) == f'"{text}"'


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("k\u200bi\u2060n\u00add\ufeff", "kind"),
        ("k\u200di\u200cnd", "kind"),
        ("k\u200d\u200bind", "kind"),
        ("k\u200dі\u200dnd", "kіnd"),
        ("k\ufe0fi\ufe0end", "kind"),
        ("a\U000e0068\U000e0069\U000e007fb", "ahib"),
        ("😀\ufe0f\ufe01\ufe02\U000e0150\U000e0151", "😀\ufe0f"),
        ("\u202edesrever\u202c", "desrever"),
        ("\u2066x\u2069", "x"),
        ("\u200b\u200d\ufeff", ""),
    ],
)
def test_what_is_hidden_is_shown_or_left_out(text: str, seen: str) -> None:
    assert visible(text) == seen


@given(TEXTS)
def test_visible_text_is_seen_as_it_is(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(TEXTS)
@settings(max_examples=500)
def test_chunks_are_the_shown_text(text: str) -> None:
    shown = literal(text)[1:-1]
    pieces = chunks(shown)
    assert "".join(pieces) == shown
    assert all(0 < len(piece) <= LONGEST_CHUNK for piece in pieces)


@given(TEXTS, st.data())
@settings(max_examples=500)
def test_a_run_of_chunks_is_written_alone_as_in_its_place(text: str, data: st.DataObject) -> None:
    """So a quote that training writes is one that the grammar lets a model write: no escape depends on what was cut off."""
    shown = literal(joined(text))[1:-1]
    pieces = chunks(shown)
    if pieces:
        first = data.draw(st.integers(0, len(pieces) - 1))
        run = "".join(pieces[first : data.draw(st.integers(first + 1, len(pieces)))])
        assert literal(json.loads(f'"{run}"'))[1:-1] == run


def test_no_word_is_too_long_to_be_quoted() -> None:
    assert chunks("a" * 70) == ["a" * 32, "a" * 32, "a" * 6]
    assert chunks("你好吗 ไทย") == [*"你好吗", " ", *"ไทย"]
    assert chunks(r"so\n\"much\" \u0007x") == ["so", r"\n", r"\"", "much", r"\"", " ", r"\u0007", "x"]


@given(TEXTS, st.data())
@settings(max_examples=300)
def test_every_piece_of_a_text_is_found_exactly(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    quote = text[start : data.draw(st.integers(start, len(text)))]
    span = locate(quote, text)
    if not quote:
        assert span == Span("absent")
    else:
        assert span.match == "exact"
        assert text[span.start : span.end] == quote


@given(TEXTS, st.data())
@settings(max_examples=500)
def test_every_piece_of_the_visible_text_is_found(text: str, data: st.DataObject) -> None:
    """What a model can quote is found in the original, and the offsets are of the original."""
    seen = visible(text)
    start = data.draw(st.integers(0, len(seen)))
    quote = seen[start : data.draw(st.integers(start, len(seen)))]
    span = locate(quote, text)
    if folded(quote):
        assert span.match != "absent"
    if span.match != "absent":
        assert folded(text[span.start : span.end]) == folded(quote)


@given(TEXTS, st.data(), st.sampled_from([str.upper, str.lower, str.swapcase, str.title, lambda s: s.replace(" ", "\u2003\n")]))
@settings(max_examples=300)
def test_offsets_of_a_changed_quote_hold_what_was_quoted(text: str, data: st.DataObject, change: object) -> None:
    assert callable(change)
    start = data.draw(st.integers(0, len(text)))
    quote = str(change(text[start : data.draw(st.integers(start, len(text)))]))
    span = locate(quote, text)
    if span.match == "absent":
        assert (span.start, span.end) == (None, None)
    else:
        assert folded(text[span.start : span.end]) == folded(quote)


@pytest.mark.parametrize(
    ("quote", "text", "span"),
    [
        ("kind words", "so kind words", Span("exact", 3, 13)),
        ("KIND Words", "so kind words", Span("normalised", 3, 13)),
        ("kind  words", "so kind\n\twords.", Span("normalised", 3, 14)),
        (" kind ", "so, kind.", Span("normalised", 4, 8)),
        ("kind", "so k\u200bi\u200bnd", Span("normalised", 3, 9)),
        ("kind", "k\U000e0069\U000e006ed", Span("normalised", 0, 4)),
        ("strasse", "die STRAßE", Span("normalised", 4, 10)),
        ("café", "un cafe\u0301!", Span("normalised", 3, 8)),
        ("file", "a ﬁle", Span("normalised", 2, 5)),
        ("12", "№ １２", Span("normalised", 2, 4)),
        ("unkind", "so kind words", Span("absent")),
        ("", "so kind words", Span("absent")),
        ("\u200b", "so kind words", Span("absent")),
        # half of a character that folds to several is not in the text
        ("i", "ﬁ", Span("absent")),
        ("cafe!", "café!", Span("absent")),
        ("le", "ﬁ file", Span("exact", 4, 6)),
        ("i", "ﬁ I", Span("normalised", 2, 3)),
        ("kind", "so kіnd", Span("absent")),
    ],
)
def test_locate(quote: str, text: str, span: Span) -> None:
    assert locate(quote, text) == span


MILLION = 10**6


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    started = time.process_time()
    work()
    return time.process_time() - started


def test_a_million_characters_take_a_second_or_two() -> None:
    text = ("Some wörds, <b> and [TAGS]\u200b that are\nno one’s. 👩\u200d🚀 " * 20_000)[:MILLION]
    shown = literal(text)[1:-1]
    assert seconds(lambda: literal(text)) < 1
    assert seconds(lambda: chunks(shown)) < 2
    assert seconds(lambda: locate("not there", text)) < 2


@pytest.mark.parametrize(
    "pattern",
    [
        "word ",
        "ﬁ",
        "<|",
        "[A",
        "[AAAA_",
        "É\u200b ",
        "\U000e0041",
        "👩\u200d\ufe0f",
        "a\u0301",
        '\\"',
        "你",
        "\u200d",
        "\ud800",
        " \n",
    ],
)
def test_no_pattern_is_slow(pattern: str) -> None:
    """More than linear would take minutes: every function on a quarter of a million characters."""
    text = (pattern * MILLION)[: MILLION // 4]
    shown = literal(text)[1:-1]
    for work in (
        lambda: literal(text),
        lambda: chunks(shown),
        lambda: locate("no", text),
        lambda: locate(pattern * 9 + "i", text),
    ):
        assert seconds(work) < 1


@pytest.mark.parametrize("opening", ["[", "<", "[a_", "/", "\\", "<0x"])
def test_an_opening_before_many_letters_is_looked_at_once(opening: str) -> None:
    text = opening + "A" * (MILLION // 4)
    assert seconds(lambda: chunks(literal(text)[1:-1])) < 1
