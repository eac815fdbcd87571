"""Perturbations: spans stay on their words, a seed decides the text, and nothing is added that was not promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.suite import Annotation, Item, Scale, Span, Suite
from moderator.suite.functional_file import load_functional_suite
from moderator.suite.perturb import (
    EMOJI,
    HOMOGLYPHS,
    KEYS,
    LEET,
    PERTURBATIONS,
    PICTURES,
    SEPARATORS,
    TRANSLATION_NOTES,
    ZERO_WIDTH,
    Edit,
    Perturbed,
    perturb,
    perturb_items,
    perturb_suite,
)
from tests.texts import TEXTS

NAMES = st.sampled_from(list(PERTURBATIONS))
WORDS = (
    *(
        "You",
        "people",
        "stole",
        "my",
        "phone",
        "and",
        "MONEY",
        "Don't",
        "mother-in-law",
        "rats",
        "rats,",
        "(rats)",
        "Straße",
        "İd",
    ),
    *("@jordan_ex", "@jordan", "#Monday", "example.com/x7k2", "3.99", "555-0142", "f*****", "s.l.u.r", "😂", "ΣΑΣ", "ﬁne", "x"),
)
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
ANY_TEXT = st.one_of(SENTENCES, TEXTS, st.tuples(SENTENCES, TEXTS).map("".join))
FIXED = ("@jordan_ex", "@jordan", "#Monday", "example.com/x7k2", "3.99", "555-0142", "f*****", "s.l.u.r")

ADDS: dict[str, Callable[[str], str]] = {
    "spelling": lambda text: "".join(KEYS),
    "leetspeak": lambda text: "".join(LEET.values()),
    "spaced-letters": lambda text: SEPARATORS,
    "missing-spaces": lambda text: "",
    "emoji-inserted": lambda text: EMOJI + " ",
    "emoji-substituted": lambda text: "".join(PICTURES.values()),
    "zero-width": lambda text: ZERO_WIDTH,
    "homoglyphs": lambda text: "".join(HOMOGLYPHS.values()),
    "upper-case": str.upper,
    "lower-case": lambda text: "".join(map(str.lower, text)),
    "repeated-letters": lambda text: "aeiouAEIOU",
    "translation-note": lambda text: "".join(TRANSLATION_NOTES),
}
"""The characters that each perturbation may add, and no others."""


@st.composite
def texts_with_span(draw: st.DrawFn) -> tuple[str, int, int]:
    text = draw(ANY_TEXT.filter(bool))
    start = draw(st.integers(0, len(text) - 1))
    return text, start, draw(st.integers(start + 1, len(text)))


def pieces(text: str, changed: Perturbed) -> tuple[list[str], list[str]]:
    """What is inserted before each character, and what became of it: an edit of several goes to the first of them."""
    before, after = [""] * (len(text) + 1), list(text)
    for edit in changed.edits:
        if edit.start == edit.end:
            before[edit.start] += edit.new
        else:
            after[edit.start] = edit.new
            for at in range(edit.start + 1, edit.end):
                after[at] = ""
    return before, after


@given(name=NAMES, text=ANY_TEXT, seed=st.integers())
def test_the_same_seed_gives_the_same_text(name: str, text: str, seed: int) -> None:
    assert perturb(name, text, Random(seed)) == perturb(name, text, Random(seed))


@given(name=NAMES, text=ANY_TEXT, seed=st.integers())
def test_edits_are_in_order_apart_and_make_the_text(name: str, text: str, seed: int) -> None:
    changed = perturb(name, text, Random(seed))
    done = 0
    for edit in changed.edits:
        assert done <= edit.start <= edit.end <= len(text)
        assert text[edit.start : edit.end] != edit.new
        done = edit.end
    before, after = pieces(text, changed)
    assert changed.text == "".join(b + a for b, a in zip(before, [*after, ""], strict=True))


@given(name=NAMES, drawn=texts_with_span(), seed=st.integers())
def test_a_span_holds_its_own_words_after_a_perturbation(name: str, drawn: tuple[str, int, int], seed: int) -> None:
    text, start, end = drawn
    changed = perturb(name, text, Random(seed))
    for edit in changed.edits:
        # an edit over an edge is taken in whole
        start = edit.start if edit.start < start < edit.end else start
        end = edit.end if edit.start < end < edit.end else end
    before, after = pieces(text, changed)
    inside = "".join((before[at] if at > start else "") + after[at] for at in range(start, end))
    first, last = changed.moved(drawn[1], drawn[2])
    assert changed.text[first:last] == inside


@given(name=NAMES, text=ANY_TEXT, seed=st.integers())
def test_only_promised_characters_are_added(name: str, text: str, seed: int) -> None:
    added = Counter(perturb(name, text, Random(seed)).text) - Counter(text)
    allowed = set(ADDS[name](text))
    # a letter may also be doubled
    assert set(added) <= allowed | (set(text) if name == "spelling" else set())


@given(text=ANY_TEXT, seed=st.integers())
def test_what_is_put_between_letters_can_be_taken_out_again(text: str, seed: int) -> None:
    for name, extra in (("zero-width", ZERO_WIDTH), ("spaced-letters", SEPARATORS), ("emoji-inserted", EMOJI + " ")):
        table = str.maketrans("", "", extra)
        assert perturb(name, text, Random(seed)).text.translate(table) == text.translate(table)


@given(name=NAMES, text=SENTENCES, seed=st.integers())
def test_handles_links_amounts_and_masked_words_stay_as_they_are(name: str, text: str, seed: int) -> None:
    tokens = Counter(token for token in text.split() if token in FIXED)
    assert tokens <= Counter(perturb(name, text, Random(seed)).text.split())


@given(name=NAMES, seed=st.integers())
def test_every_perturbation_changes_a_plain_sentence(name: str, seed: int) -> None:
    assert perturb(name, "Those people with the rats stole our money", Random(seed)).text != (
        "Those people with the rats stole our money"
    )


@pytest.mark.parametrize("text", ["", " ", "😂", "@jordan_ex"])
def test_nothing_to_change_is_left_as_it_is(text: str) -> None:
    unchanged = {name for name in PERTURBATIONS if perturb(name, text, Random(1)).text == text}
    assert set(PERTURBATIONS) - unchanged <= {"emoji-inserted", "translation-note"}


def test_each_perturbation_does_what_its_name_says() -> None:
    text = "Rats stole my money"
    assert perturb("upper-case", text, Random(1)).text == "RATS STOLE MY MONEY"
    assert perturb("lower-case", text, Random(1)).text == "rats stole my money"
    assert perturb("emoji-substituted", text, Random(1)).text == "🐀🐀 stole my 💰"
    assert perturb("translation-note", text, Random(1)).text.removesuffix(text) in TRANSLATION_NOTES
    assert perturb("missing-spaces", "a b", Random(1)).text == "ab"
    assert perturb("upper-case", "Straße", Random(1)).text == "STRASSE"


@given(word=st.from_regex(r"[a-z]{5,12}", fullmatch=True), seed=st.integers())
def test_a_slip_keeps_the_ends_of_a_word_and_moves_its_length_by_one_at_most(word: str, seed: int) -> None:
    slipped = perturb("spelling", word, Random(seed)).text
    assert (slipped[0], slipped[-1]) == (word[0], word[-1])
    assert abs(len(slipped) - len(word)) <= 1


def test_insertions_at_the_edges_of_a_span_stay_outside() -> None:
    changed = Perturbed("-a-b-c-", (Edit(0, 0, "-"), Edit(1, 1, "-"), Edit(2, 2, "-"), Edit(3, 3, "-")))
    assert changed.moved(1, 2) == (3, 4)
    assert changed.moved(0, 3) == (1, 6)


def test_an_edit_over_an_edge_is_taken_in_whole() -> None:
    # "xabcdx" with "bc" become "Q": a span that begins or ends between b and c holds Q
    changed = Perturbed("xaQdx", (Edit(2, 4, "Q"),))
    assert changed.moved(3, 5) == (2, 4)
    assert changed.moved(1, 3) == (1, 3)


def item(item_id: str, text: str, *spans: Span, group: str = "") -> Item:
    label = Annotation(value="violates", violates="yes", rules={"H2": "yes"}, spans=spans)
    return Item(id=item_id, text=text, group=group, slices={"kind": "rule"}, labels=(label,))


def test_copies_follow_their_original_with_its_labels_and_group() -> None:
    original = item("a", "They are rats, every one of them", Span(start=9, end=13, rule="H2"), group="template-3")
    first, *copies = perturb_items([original], seed=3)
    assert first == original.model_copy(update={"slices": {"kind": "rule", "perturbation": "none"}})
    assert [copy.id for copy in copies] == [f"a+{name}" for name in PERTURBATIONS]
    assert [copy.slices["perturbation"] for copy in copies] == list(PERTURBATIONS)
    assert {copy.group for copy in copies} == {"template-3"}
    assert {copy.labels[0].violates for copy in copies} == {"yes"}
    [span] = next(copy for copy in copies if copy.id == "a+emoji-substituted").labels[0].spans
    assert (span.start, span.end, span.rule) == (9, 11, "H2")


def test_an_item_without_a_group_lends_its_id_to_its_copies() -> None:
    assert {one.group for one in perturb_items([item("a", "They are rats")])} == {"a"}


def test_a_copy_that_would_be_its_original_is_not_made() -> None:
    assert [one.id for one in perturb_items([item("a", "No picture here")], ["emoji-substituted"])] == ["a"]


def test_a_span_of_which_nothing_is_left_is_dropped() -> None:
    _, copy = perturb_items([item("a", "b c", Span(start=1, end=2))], ["missing-spaces"])
    assert copy.text == "bc"
    assert copy.labels[0].spans == ()


def test_a_name_that_is_no_perturbation_is_refused() -> None:
    with pytest.raises(KeyError, match="mirrored"):
        list(perturb_items([item("a", "b")], ["mirrored"]))


def test_what_is_drawn_for_an_item_does_not_depend_on_the_others() -> None:
    alone = list(perturb_items([item("b", "Those people stole our money")], seed=5))
    among = list(perturb_items([item("a", "Something else"), item("b", "Those people stole our money")], seed=5))
    assert among[-len(alone) :] == alone
    assert list(perturb_items([item("b", "Those people stole our money")], seed=6)) != alone


def test_items_of_one_text_are_drawn_for_apart() -> None:
    items = [item(str(number), "Those people stole our money") for number in range(8)]
    assert len({one.text for one in perturb_items(items, ["homoglyphs"])}) > 5


def test_a_perturbed_suite_is_a_valid_suite_that_reports_by_perturbation() -> None:
    scale = Scale(values=("violates", "allowed"), violates=("violates",))
    suite = Suite(slug="s", title="S", policy="hate", scale=scale, slices=("kind",), items=(item("a", "They are rats"),))
    before = suite.digest
    perturbed = perturb_suite(suite, ["leetspeak", "upper-case"])
    assert perturbed.digest != before == suite.digest
    assert perturbed.slices == ("kind", "perturbation")
    assert [one.id for one in perturbed.items] == ["a", "a+leetspeak", "a+upper-case"]
    assert Suite.model_validate(perturbed.model_dump()) == perturbed


def test_the_evidence_of_the_shipped_functional_tests_survives_every_perturbation() -> None:
    folder = Path(__file__).parent.parent.parent / "evals" / "functional"
    whole = load_functional_suite(folder / "hate.yaml")
    suite = perturb_suite(whole.model_copy(update={"items": whole.items[::9]}))
    assert len({one.id for one in suite.items}) == len(suite.items)
    by_id = {one.id: one for one in suite.items}
    for one in suite.items:
        assert Item.model_validate(one.model_dump()) == one
        original = by_id[one.id.partition("+")[0]]
        [was, now] = [[found.text[s.start : s.end] for s in found.labels[0].spans] for found in (original, one)]
        if one.slices["perturbation"] == "zero-width":
            assert [words.translate(str.maketrans("", "", ZERO_WIDTH)) for words in now] == was
        if one.slices["perturbation"] == "upper-case":
            assert [words.upper() for words in now] == [words.upper() for words in was]
        assert len(was) == len(now)
