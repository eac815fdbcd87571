"""Rules that code decides from the text alone (lexical.yaml), and how a text comes to break one."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from functools import cache

import yaml

from finetune.nano.conditions import (
    Condition,
    Kind,
    after,
    around,
    before,
    changed,
    either,
    found,
    inside,
    longer,
    tag,
    with_text,
    word,
    words_of,
)
from finetune.nano.prepare import Example
from finetune.nano.stance import HERE, WORDS

ENTRIES = yaml.safe_load((HERE / "lexical.yaml").read_text())
TEMPLATES = yaml.safe_load((HERE / "templates.yaml").read_text())
MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
EMOJI = "[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55\U0001f1e6-\U0001f1ff]"
LINK = r"https?://\S+|www\.\S+|\[link\]"
PHONE = re.compile(r"(?<![\w$£€.])\+?\(?\d[\d ().-]{5,}\d(?!\w)|\[number\]")


def phone(example: Example, slots: object) -> bool | None:
    """Nine digits or more are a telephone number; with fewer it cannot be told."""
    sizes = [9 if one == "[number]" else sum(map(str.isdigit, one)) for one in PHONE.findall(example.text)]
    return True if max(sizes, default=0) >= 9 else None if max(sizes, default=0) >= 6 else False


def date(example: Example, slots: object) -> bool | None:
    """A month with a day, or a numeric date with a year; two numbers around a stroke may be anything."""
    if re.search(
        rf"\b\d{{1,2}}(st|nd|rd|th)?( of)? ({MONTHS})\b|\b({MONTHS}) \d{{1,2}}(st|nd|rd|th)?\b"
        r"|\b\d{1,2}[/.-]\d{1,2}[/.-](\d{2}|\d{4})\b|\b\d{4}-\d\d-\d\d\b", example.text, re.IGNORECASE
    ):  # fmt: skip
        return True
    return None if re.search(r"\b\d{1,2}[/.]\d{1,2}\b|\b\d{1,2}(st|nd|rd|th)\b", example.text) else False


def calendar(example: Example, slots: object) -> bool | None:
    """A weekday or month; small `may` and `march` are mostly verbs, and short forms are left out."""
    names = rf"\b(?:{DAYS}|{MONTHS})s?\b"
    said = [name for name in re.findall(names, example.text, re.IGNORECASE) if name.lower() not in ("may", "march")]
    if said:
        return True
    return (
        None
        if re.search(r"\b(may|march|mon|tues?|wed|thurs?|fri|sat|sun|jan|feb|sept?|oct|nov|dec)\b", example.text, re.I)
        else False
    )


def clock(example: Example, slots: object) -> bool | None:
    """Hours with minutes or with am, pm, o'clock; `7.30` alone may be a price."""
    if re.search(
        r"\b([01]?\d|2[0-3]):[0-5]\d\b|\b\d{1,2}([.:][0-5]\d)? ?([ap]m\b|[ap]\.m\.)|o'clock", example.text, re.IGNORECASE
    ):
        return True
    return None if re.search(r"(?<![$£€\d])\b([01]?\d|2[0-3])\.[0-5]\d\b|\bat \d{1,2}\b", example.text) else False


def first_word(example: Example, slots: dict) -> bool:
    return words_of(example.text)[:1] == [slots["word"].lower()]


def last_word(example: Example, slots: dict) -> bool:
    return words_of(example.text)[-1:] == [slots["word"].lower()]


def length(example: Example) -> int:
    return len(example.text.split())


def letters(example: Example) -> str:
    return "".join(sign for sign in example.text if sign.isalpha())


def stretched(draw: random.Random, example: Example, slots: dict, times: int = 4) -> Example:
    """One of the words with its last vowel drawn out."""
    places = [hit.start() for hit in re.finditer(r"[aeiou](?=\w{0,2}\b)", example.text)]
    if not places:
        return with_text(example, f"{example.text} {'s' + 'o' * times}")
    place = draw.choice(places)
    return with_text(example, example.text[:place] + example.text[place] * times + example.text[place + 1 :])


def doubled(draw: random.Random, example: Example, slots: dict) -> Example:
    """One of the words written twice."""
    parts = example.text.split(" ")
    place = draw.randrange(len(parts))
    return with_text(example, " ".join([*parts[: place + 1], parts[place].strip(".,!?\"'"), *parts[place + 1 :]]))


def shouted(draw: random.Random, example: Example, slots: dict) -> Example:
    """One of its longer words in capitals."""
    parts = example.text.split(" ")
    long = [place for place, part in enumerate(parts) if len(part) >= 4 and part.isalpha()]
    place = draw.choice(long or [0])
    parts[place] = parts[place].upper()
    return with_text(example, " ".join(parts))


def quoted(draw: random.Random, example: Example, slots: dict, left: str = '"', right: str = '"') -> Example:
    """One of the words between two signs."""
    parts = example.text.split(" ")
    place = draw.randrange(len(parts))
    parts[place] = f"{left}{parts[place]}{right}"
    return with_text(example, " ".join(parts))


def listed(draw: random.Random, example: Example, slots: dict) -> Example:
    """The words as the first point of a list."""
    sign = draw.choice(("- ", "* ", "• ", "1. "))
    more = draw.choice(("bring a pen", "more tomorrow", "water the plants", "see below"))
    return with_text(example, f"{sign}{example.text}\n{'2. ' if sign == '1. ' else sign}{more}")


def alone(draw: random.Random, example: Example, slots: dict) -> Example:
    """One of its words only; a text that somebody labelled stays whole."""
    parts = re.findall(r"[A-Za-z']{2,}", example.text)
    return with_text(example, draw.choice(parts)) if parts and example.source == "plain" else example


def swapped(sign: str, other: str) -> Kind:
    """Whether the sign is in the text; a text loses it by the other one."""
    return Kind(lambda one, slots: sign in one.text, after(sign), changed(lambda text: text.replace(sign, other)))


LEXICAL = {
    "link": Kind(
        found(LINK),
        around("https://example.com/{digits}", "www.example.org", "http://blog.example.net/p{digits}"),
        around("(link in bio)", "see the website", "example dot com"),
    ),
    "handle": Kind(
        found(r"(?<![\w.])@[^\W\d_]\w*"),
        around("@{other}_{digits}", "@{other}", "@user"),
        around("@ 5 pm", "at {other}", "{other}@example.com"),
    ),
    "hashtag": Kind(found(r"(?<!\w)#\w*[^\W\d_]"), around("#{other}", "#{word}"), around("# 1", "no. 5", "hashtag {other}")),
    "has_tag": Kind(lambda one, slots: tag(one, slots["word"]), around("#{word}"), around("#{other}", "{word}", "#{word}s")),
    "phone_number": Kind(
        phone,
        around("+44 20 7946 {digits}", "call 0171 555 {digits}", "(212) 555 {digits}"),
        around("call me", "room 12", "ring the office"),
    ),
    "email_address": Kind(
        found(r"[\w.+-]+@[\w-]+\.\w+"),
        around("{other}@example.com", "info.{other}@mail.example.org"),
        around("@{other}", "mail me", "e-mail in profile"),
    ),
    "money_amount": Kind(
        found(r"[$£€]\s?\d|\d[\d,.]*\s?(?:[$£€]|k?\s?(?:dollars?|pounds?|euros?|usd|eur|gbp|bucks|cents)\b)"),
        around("$12", "£40", "300 euros", "9.99 dollars"),
        around("a few dollars", "12 of them", "cheap"),
    ),
    "number": Kind(found(r"\d"), around("12", "3", "2 of 5", "no. 41"), around("seven", "a dozen", "one or two")),
    "percentage": Kind(
        found(r"\d\s?(?:%|per ?cent\b)"),
        around("50%", "12 percent", "99 %", "3 per cent"),
        around("half of it", "50 of them", "a high share"),
    ),
    "question_mark": swapped("?", "."),
    "exclamation_mark": swapped("!", "."),
    "repeated_punctuation": Kind(
        found(r"[!?]{2}"),
        after("!!", "???", "?!", "!!!"),
        changed(lambda text: re.sub(r"([!?])[!?]+", r"\1", text.rstrip(" .") + "!")),
    ),
    "ellipsis": Kind(
        found(r"\.{3}|…"), either(after("..."), inside("...")), changed(lambda text: re.sub(r"\.{2,}|…", ".", text) + "..")
    ),
    "caps_word": Kind(found(r"\b[A-Z]{4,}\b", 0), shouted, around("USA", "OK", "TV")),
    "all_caps": Kind(
        lambda one, slots: len(letters(one)) > 1 and letters(one).isupper(),
        changed(str.upper),
        either(shouted, changed(lambda text: f"{text.upper()} ok")),
    ),
    "no_capitals": Kind(
        lambda one, slots: letters(one).islower(), changed(str.lower), changed(lambda text: text[:1].upper() + text[1:])
    ),
    "emoji": Kind(found(EMOJI), around("😂", "❤️", "🙏", "🎉", "😭"), around(":)", "lol", "<3", ":-D")),
    "bullet_list": Kind(
        lambda one, slots: len(re.findall(r"^\s*(?:[-*•–]|\d+[.)])\s*\S", one.text, re.MULTILINE)) >= 2,
        listed,
        either(before("- "), changed(lambda text: text.replace(" ", "\n", 1))),
    ),
    "several_lines": Kind(
        lambda one, slots: "\n" in one.text.strip(), changed(lambda text: re.sub(r"[.!?,]? ", "\n", text, count=1)), None
    ),
    "more_than_words": Kind(lambda one, slots: length(one) > int(slots["number"]), longer, None),
    "fewer_than_words": Kind(lambda one, slots: length(one) < int(slots["number"]), None, longer),
    "one_word": Kind(lambda one, slots: length(one) == 1, alone, after("indeed", "yes")),
    "contains_word": Kind(lambda one, slots: word(one, slots["word"]), around("{word}"), around("{otherword}")),
    "lacks_word": Kind(lambda one, slots: not word(one, slots["word"]), around("{otherword}"), around("{word}")),
    "starts_with_word": Kind(
        first_word, before("{word}", "{word},", "{word}:"), either(inside("{word}"), after("{word}"), before("{otherword}"))
    ),
    "ends_with_word": Kind(
        last_word, after("{word}", "{word}.", "{word}!"), either(inside("{word}"), before("{word}"), after("{otherword}"))
    ),
    "mentions_name": Kind(lambda one, slots: word(one, slots["word"]), around("{word}"), around("{otherword}")),
    "repeated_letters": Kind(
        lambda one, slots: re.search(r"([^\W\d_])\1\1", re.sub(LINK, "", one.text), re.IGNORECASE) is not None,
        stretched,
        lambda draw, one, slots: stretched(draw, one, slots, 2),
    ),
    "repeated_word": Kind(found(r"\b([^\W\d_]+) \1\b"), doubled, after("again and again", "more or less")),
    "quotation_marks": Kind(
        found(r"\"[^\"\n]*\w[^\"\n]*\"|[“„][^”\n]+[”“]"), quoted, lambda draw, one, slots: quoted(draw, one, slots, "'", "'")
    ),
    "brackets": Kind(
        found(r"\([^)\n]*\w[^)\n]*\)|\[[^\]\n]*\w[^\]\n]*\]"),
        either(lambda draw, one, slots: quoted(draw, one, slots, "(", ")"), after("(sorry)", "(see above)", "[sic]")),
        after("- sorry -", ":)"),
    ),
    "date": Kind(date, around("4 May", "12/05/2021", "on June 3rd", "2 October"), around("in May", "on Monday", "2021")),
    "year": Kind(
        found(r"(?<![\d.,$£€])(?:19|20)\d\d(?![\d%]|[.,]\d)"),
        around("2019", "in 1998", "since 2021", "1984"),
        around("in 305", "2500", "last year"),
    ),
    "time_of_day": Kind(
        clock, around("at 7 pm", "18:30", "10 o'clock", "9:15 am"), around("in the morning", "7 of them", "at noon")
    ),
    "month_or_weekday": Kind(
        calendar, around("on Monday", "in January", "this Friday", "last October"), around("today", "this week", "next month")
    ),
    "first_person": Kind(
        found(r"(?<![\w'])(?:i|me|my|mine|myself)(?![\w])"),
        around("I think", "if you ask me", "my view"),
        around("we", "us", "our view"),
    ),
}


@cache
def vocabulary() -> tuple[str, ...]:
    """Common words of the texts written for this recipe."""
    counts = Counter(
        name
        for function in TEMPLATES["functions"]
        for line in function["templates"]
        for name in words_of(re.sub(r"\{[^}]*\}", " ", line))
    )
    return tuple(sorted(name for name, count in counts.items() if count >= 4 and len(name) > 2))


SHOWN = {
    "link": LINK,
    "handle": r"(?<![\w.])@[^\W\d_]\w*",
    "hashtag": r"(?<!\w)#\w*[^\W\d_]\w*",
    "has_tag": r"#<word>(?!\w)",
    "phone_number": PHONE.pattern,
    "email_address": r"[\w.+-]+@[\w-]+\.\w+",
    "money_amount": r"[$£€]\s?\d[\d,.]*\w*|\d[\d,.]*\s?(?:[$£€]|k?\s?(?:dollars?|pounds?|euros?|usd|eur|gbp|bucks|cents)\b)",
    "percentage": r"\d[\d.,]*\s?(?:%|per ?cent\b)",
    "repeated_punctuation": r"\S*[!?]{2,}",
    "emoji": EMOJI,
    "contains_word": r"(?<!\w)<word>(?!\w)",
    "starts_with_word": r"^\W*<word>(?!\w)",
    "ends_with_word": r"(?<!\w)<word>\W*$",
    "mentions_name": r"(?<!\w)<word>(?!\w)",
    "repeated_word": r"\b([^\W\d_]+) \1\b",
    "year": r"(?<![\d.,$£€])(?:19|20)\d\d(?![\d%]|[.,]\d)",
    "month_or_weekday": rf"\b(?:{DAYS}|{MONTHS})s?\b",
    "first_person": r"(?<![\w'])(?:i|me|my|mine|myself)(?![\w])",
}
"""What of a text shows that a rule of a kind holds, where it is a passage; `<word>` is a slot."""


def draw_lexical(draw: random.Random) -> tuple[str, str, Condition]:
    """Title and text of a rule, and its condition."""
    entry = draw.choice(ENTRIES)
    pool = TEMPLATES["slots"]["names"] if entry["kind"] == "mentions_name" else vocabulary()
    if entry["kind"] == "has_tag" or (entry["kind"] != "mentions_name" and draw.random() < 0.3):
        pool = WORDS["carveout_slots"]["word"]
    one, another = draw.sample(pool, 2)
    other = draw.choice(WORDS["carveout_slots"]["other"])
    number = draw.choice((4, 5, 6, 8, 10, 12, 15, 18, 20, 25))
    slots = {"word": one, "otherword": another, "other": other, "number": str(number)}
    title, text = draw.choice(entry["lines"]).format(word=one, n=number).split(": ", 1)
    kind = replace(LEXICAL[entry["kind"]], shows=SHOWN.get(entry["kind"], ""))
    return title, text, Condition(entry["kind"], kind, slots)
