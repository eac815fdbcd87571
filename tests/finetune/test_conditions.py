"""What code decides from a text: carve-outs and lexical rules."""

from __future__ import annotations

import random

import pytest

from finetune.nano import carveouts, lexical
from finetune.nano.conditions import Condition
from finetune.nano.prepare import Example
from finetune.nano.stance import WORDS

SLOTS = {
    "word": "amber", "otherword": "copper", "other": "violet", "phrase": "as agreed", "otherphrase": "open mic night",
    "surface": "post", "emoji": "🟢", "otheremoji": "🔔", "number": "5", "lines": "3", "name": "Quill", "othername": "Jun",
    "code": "TK", "othercode": "QX", "letter": "B",
}  # fmt: skip

CARVED = [
    ("tag", "so it is #amber", "so it is amber"),
    ("tag", "#Amber!", "#ambers"),
    ("phrase", "As agreed, we go", "as it was agreed"),
    ("opening", "as agreed: no", "no, as agreed"),
    ("closing", "we go, as agreed.", "as agreed we go"),
    ("emoji", "ok 🟢 then", "ok 🔔"),
    ("opening-emoji", "🟢 go", "go 🟢"),
    ("twice", "amber is amber", "amber is ambers"),
    ("word", "an amber light", "an ambered light"),
    ("no-word", "a light", "an Amber light"),
    ("under", "one two three four", "one two three four five"),
    ("over", "one two three four five six", "one two three four five"),
    ("question", "is it? ", "is it? no"),
    ("exclamation", "no!", "no!."),
    ("dots", "well...", "well.."),
    ("capitals", "NO WAY 7", "NO WAy"),
    ("lower", "no way", "No way"),
    ("digit", "b2", "two"),
    ("no-digit", "two", "2"),
    ("link", "see www.a.org", "see the web"),
    ("mention", "hi @ann", "at @ 5"),
    ("quotes", "“all of it”", '"some" of it'),
    ("brackets", "[all]", "[some] of it"),
    ("lines", "a\nb\nc", "a\nb\n"),
    ("hashtags", "#a #b #c", "#a #b c"),
    ("signed", "no more - Quill", "no more - Jun"),
    ("from", "Quill: no", "no Quill:"),
    ("date", "2023-04-17 no", "no 2023-04-17"),
    ("code", "see TK-1234", "see TK-123"),
    ("either", "#violet", "violet"),
    ("tag-without", "#amber", "#amber #violet"),
    ("word-and-question", "is it amber?", "is it red?"),
    ("comma", "a b", "a, b"),
    ("semicolon", "a; b", "a: b"),
    ("first-letter", '"but no"', "no but"),
    ("last-word", "it is amber!", "amber it is"),
    ("star", "*no*", "*no* more"),
]


@pytest.mark.parametrize(("kind", "met", "missed"), CARVED)
def test_a_carve_out_is_decided_from_the_text(kind, met, missed):
    condition = Condition(kind, carveouts.CARVEOUTS[kind], SLOTS)
    assert condition.holds(Example(met, "written"))
    assert not condition.holds(Example(missed, "written"))


def test_a_surface_must_be_declared():
    here, elsewhere, nowhere = (Example("#amber", "written", surface=name) for name in ("post", "profile", ""))
    for kind, expected in (
        ("surface", [True, False, False]),
        ("not-surface", [False, True, False]),
        ("both", [True, False, False]),
    ):
        condition = Condition(kind, carveouts.CARVEOUTS[kind], SLOTS)
        assert [condition.holds(example) for example in (here, elsewhere, nowhere)] == expected


def test_every_carve_out_of_the_word_list_can_be_drawn_and_decided():
    assert {entry["kind"] for entry in WORDS["carveouts"]} == set(carveouts.CARVEOUTS)
    for seed in range(400):
        title, text, condition = carveouts.draw_carveout(random.Random(seed))
        assert "{" not in title + text
        assert condition.holds(Example("Nobody knows, really.", "written")) in (True, False)


LETTERS = [
    ("link", "see http://a.org/b", "see a dot org"),
    ("handle", "hi @ann_1", "ann@example.com"),
    ("hashtag", "so #tired", "we are #1"),
    ("has_tag", "it is #amber", "it is #ambers"),
    ("phone_number", "ring +44 20 7946 1234", "room 12"),
    ("email_address", "ann.b@example.org", "@ann"),
    ("money_amount", "it was $5", "it was 5"),
    ("money_amount", "300 euros", "300 people"),
    ("number", "7 of us", "seven of us"),
    ("percentage", "50 % off", "50 of us"),
    ("question_mark", "who? me", "who"),
    ("exclamation_mark", "ha! no", "ha"),
    ("repeated_punctuation", "what?!", "what? no!"),
    ("ellipsis", "well… no", "well.. no"),
    ("caps_word", "I SAID no", "I SAY OK"),
    ("all_caps", "NO 7 WAY", "NO WAY ok"),
    ("no_capitals", "no 7 way", "no Way"),
    ("emoji", "ha 😂", "ha :)"),
    ("bullet_list", "- a\n- b", "- a"),
    ("bullet_list", "1. a\n2) b", "1. a\nb"),
    ("several_lines", "a\nb", "a b"),
    ("more_than_words", "a b c d e f", "a b c d e"),
    ("fewer_than_words", "a b c d", "a b c d e"),
    ("one_word", "no.", "no way"),
    ("contains_word", "the Amber one", "the ambers"),
    ("lacks_word", "the ambers", "amber, then"),
    ("starts_with_word", '"Amber" it is', "an amber"),
    ("ends_with_word", "it is amber!", "amber it is"),
    ("repeated_letters", "sooo good", "soo good www.a.org"),
    ("repeated_word", "very very good", "very good, very"),
    ("quotation_marks", 'a "good" one', "a 'good' 5\" one"),
    ("brackets", "a (good) one", "a good one :)"),
    ("date", "on 4 May", "in May"),
    ("date", "12/05/2021", "2021"),
    ("year", "in 1998", "in 2150"),
    ("time_of_day", "at 7 pm", "7 of us"),
    ("time_of_day", "18:30", "$3.50"),
    ("month_or_weekday", "on Monday", "today"),
    ("first_person", "it is mine", "it is ours"),
]


@pytest.mark.parametrize(("kind", "breaks", "keeps"), LETTERS)
def test_a_lexical_rule_is_decided_from_the_text(kind, breaks, keeps):
    condition = Condition(kind, lexical.LEXICAL[kind], SLOTS)
    assert condition.holds(Example(breaks, "plain")) is True
    assert condition.holds(Example(keeps, "plain")) is False


@pytest.mark.parametrize(
    ("kind", "text"),
    [("date", "24/7"), ("time_of_day", "it was 7.30"), ("month_or_weekday", "you may"), ("phone_number", "555 0199")],
)
def test_what_a_lexical_rule_cannot_tell_is_left_open(kind, text):
    assert Condition(kind, lexical.LEXICAL[kind], SLOTS).holds(Example(text, "plain")) is None


def test_every_lexical_line_can_be_drawn():
    assert {entry["kind"] for entry in lexical.ENTRIES} == set(lexical.LEXICAL)
    for seed in range(300):
        title, text, condition = lexical.draw_lexical(random.Random(seed))
        assert "{" not in title + text
        assert condition.holds(Example("Nobody knows, really.", "plain")) in (True, False)


TEXTS = ("nobody knows what happened to the old bridge", "You are wrong, again!", "Is that 5 or 6?")


@pytest.mark.parametrize("table", [carveouts.CARVEOUTS, lexical.LEXICAL], ids=["carveouts", "lexical"])
def test_a_text_can_be_made_to_meet_a_condition_and_to_miss_it(table):
    for name, kind in table.items():
        condition, draw = Condition(name, kind, SLOTS), random.Random(name)
        for wanted, change in ((True, kind.meet), (False, kind.miss)):
            made = [condition.dressed(draw, Example(text, "plain"), wanted) for text in TEXTS for _ in range(10)]
            reached = sum(condition.holds(example) is wanted for example in made) / len(made)
            assert change is None or reached > 0.6, (name, wanted, reached)


def test_what_is_put_around_a_text_is_not_taken_for_the_text():
    condition = Condition("tag", carveouts.CARVEOUTS["tag"], SLOTS)
    made = condition.dressed(random.Random(1), Example("a bad word", "written", quotes=("bad word",)), True)
    assert made.origin == "a bad word"
    assert made.core in (made.origin, "")
    assert "#amber" in made.text
