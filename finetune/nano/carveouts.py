"""Exceptions that code decides (`carveouts` of words.yaml): drawn, decided, and how a content comes to meet one."""

from __future__ import annotations

import random
import re

from finetune.nano.conditions import (
    Condition,
    Kind,
    after,
    around,
    before,
    both,
    changed,
    either,
    elsewhere,
    found,
    inside,
    longer,
    posted,
    tag,
    with_text,
    word,
    words_of,
)
from finetune.nano.prepare import Example
from finetune.nano.stance import WORDS

SLOTS = WORDS["carveout_slots"]
OTHER_TAGS = tuple(f"#{one}" for one in (*SLOTS["other"], "music", "fyp", "news", "monday", "help"))
MARKS = re.compile(r"^[\s.]+|[\s.]+$")


def core(example: Example) -> str:
    """The text in lower case, without white space and full stops around it."""
    return MARKS.sub("", example.text).lower()


def ends(*signs: str) -> Kind:
    """Whether the last characters are one of these signs."""
    said = lambda example, slots: example.text.rstrip().endswith(signs)  # noqa: E731
    return Kind(said, changed(lambda text: text.rstrip(" .!?…") + signs[0]), changed(lambda text: f"{signs[0]} {text}."))


def cased(example: Example, function: str) -> bool:
    """Whether all letters are of one case, and there are some."""
    return any(letter.isalpha() for letter in example.text) and example.text == getattr(example.text, function)()


def framed(example: Example, opening: str, closing: str) -> bool:
    text = example.text.strip()
    return len(text) > 2 and text[0] in opening and text[-1] in closing


def enclosed(left: str, right: str) -> Kind:
    """Between two signs."""
    return Kind(
        lambda example, slots: framed(example, left, right),
        changed(lambda text: f"{left[0]}{text.strip()}{right[0]}"),
        either(changed(lambda text: f"{left[0]}{text.strip()}"), changed(lambda text: half(text, left[0], right[0]))),
    )


def half(text: str, left: str, right: str) -> str:
    """The first words between two signs."""
    parts = text.split(" ")
    place = max(1, len(parts) // 2)
    return f"{left}{' '.join(parts[:place])}{right} {' '.join(parts[place:])}".strip()


def surface(example: Example, wanted: str) -> bool:
    return example.surface == wanted


def lettered(draw: random.Random, example: Example, slots: dict) -> Example:
    """With a word before it that begins with the letter."""
    openings = {
        "A": "And", "B": "But", "D": "Damn,", "H": "Hey,", "I": "In short:", "M": "Man,", "S": "So", "T": "Then", "W": "Well,"
    }  # fmt: skip
    return with_text(example, f"{openings[slots['letter']]} {example.text}")


OTHER_TAG = either(around(*OTHER_TAGS), around("{word}"), after("# {word}"))
HERE, THERE = posted(lambda draw, slots: slots["surface"]), posted(elsewhere)
CARVEOUTS = {
    "tag": Kind(lambda one, slots: tag(one, slots["word"]), around("#{word}"), OTHER_TAG),
    "surface": Kind(lambda one, slots: surface(one, slots["surface"]), HERE, THERE),
    "not-surface": Kind(lambda one, slots: bool(one.surface) and not surface(one, slots["surface"]), THERE, HERE),
    "phrase": Kind(
        lambda one, slots: word(one, slots["phrase"]),
        either(around("{phrase}"), before("{phrase}:"), after("({phrase})")),
        around("{otherphrase}"),
    ),
    "opening": Kind(
        lambda one, slots: core(one).startswith(slots["phrase"].lower()),
        either(before("{phrase},"), before("{phrase}:"), before("{phrase}")),
        either(after("{phrase}"), inside("{phrase}"), before("{otherphrase}:")),
    ),
    "closing": Kind(
        lambda one, slots: core(one).endswith(slots["phrase"].lower()),
        either(after("{phrase}"), after("{phrase}."), after("- {phrase}")),
        either(before("{phrase}:"), inside("{phrase}"), after("{otherphrase}")),
    ),
    "emoji": Kind(lambda one, slots: slots["emoji"] in one.text, around("{emoji}"), around("{otheremoji}")),
    "opening-emoji": Kind(
        lambda one, slots: one.text.lstrip().startswith(slots["emoji"]),
        before("{emoji}"),
        either(after("{emoji}"), before("{otheremoji}")),
    ),
    "twice": Kind(
        lambda one, slots: words_of(one.text).count(slots["word"].lower()) >= 2,
        either(after("{word} {word}"), both(before("{word},"), after("{word}"))),
        either(around("{word}"), after("{other} {other}")),
    ),
    "word": Kind(lambda one, slots: word(one, slots["word"]), around("{word}"), around("{other}")),
    "no-word": Kind(lambda one, slots: not word(one, slots["word"]), around("{other}"), around("{word}")),
    "under": Kind(lambda one, slots: len(one.text.split()) < int(slots["number"]), None, longer),
    "over": Kind(lambda one, slots: len(one.text.split()) > int(slots["number"]), longer, None),
    "question": ends("?"),
    "exclamation": ends("!"),
    "dots": ends("...", "…"),
    "capitals": Kind(
        lambda one, slots: cased(one, "upper"),
        changed(str.upper),
        changed(
            lambda text: " ".join(part.upper() if index % 2 else part.lower() for index, part in enumerate(text.split(" ")))
        ),
    ),
    "lower": Kind(
        lambda one, slots: cased(one, "lower"), changed(str.lower), changed(lambda text: text[:1].upper() + text[1:])
    ),
    "digit": Kind(found(r"\d"), around("12", "3", "2 of 5", "at 7", "no. 41"), around("seven", "a dozen", "one or two")),
    "no-digit": Kind(lambda one, slots: not re.search(r"\d", one.text), around("seven", "a dozen"), around("12", "3", "at 7")),
    "link": Kind(
        found(r"\[link\]|https?\b|www\."),
        around("[link]", "https://example.com/p/{digits}", "www.example.org"),
        around("(link in bio)", "see the page", "example dot com"),
    ),
    "mention": Kind(
        found(r"@[^\W\d_]"), around("@user", "@{word}", "@{other}_{digits}"), around("@ 5", "at user", "user {word}")
    ),
    "quotes": enclosed("\"“”'‘’", "\"“”'‘’"),
    "brackets": enclosed("[", "]"),
    "lines": Kind(
        lambda one, slots: len([line for line in one.text.split("\n") if line.strip()]) >= int(slots["lines"]),
        lambda draw, one, slots: broken_up(one, int(slots["lines"])),
        lambda draw, one, slots: broken_up(one, int(slots["lines"]) - 1),
    ),
    "hashtags": Kind(
        lambda one, slots: len(re.findall(r"#\w", one.text)) >= int(slots["lines"]),
        lambda draw, one, slots: tagged(draw, one, int(slots["lines"])),
        lambda draw, one, slots: tagged(draw, one, int(slots["lines"]) - 1),
    ),
    "signed": Kind(
        lambda one, slots: re.search(rf"[-–—] ?{re.escape(slots['name'])}[\s.]*$", one.text) is not None,
        after("- {name}", "– {name}"),
        either(after("- {othername}"), before("{name} -"), after("{name}")),
    ),
    "from": Kind(
        lambda one, slots: one.text.lstrip().lower().startswith(f"{slots['name'].lower()}:"),
        before("{name}:"),
        either(before("{othername}:"), after("({name})"), before("{name},")),
    ),
    "date": Kind(
        lambda one, slots: re.match(r"\s*\d{4}-\d\d-\d\d\b", one.text) is not None,
        before("2023-04-17", "2024-11-02:", "2025-01-30 -"),
        either(after("2023-04-17"), before("17 April:", "Monday:")),
    ),
    "code": Kind(
        lambda one, slots: re.search(rf"(?<!\w){slots['code']}-\d{{4}}(?!\d)", one.text) is not None,
        around("{code}-{digits}"),
        around("{othercode}-{digits}", "{code}{digits}", "{code}-12"),
    ),
    "both": Kind(
        lambda one, slots: tag(one, slots["word"]) and surface(one, slots["surface"]),
        both(around("#{word}"), HERE),
        either(both(around("#{word}"), THERE), HERE, both(around("#{other}"), HERE)),
    ),
    "either": Kind(
        lambda one, slots: tag(one, slots["word"]) or tag(one, slots["other"]), around("#{word}", "#{other}"), OTHER_TAG
    ),
    "tag-without": Kind(
        lambda one, slots: tag(one, slots["word"]) and not tag(one, slots["other"]),
        around("#{word}"),
        either(around("#{word} #{other}"), both(around("#{word}"), around("#{other}")), around("#{other}")),
    ),
    "word-and-question": Kind(
        lambda one, slots: word(one, slots["word"]) and one.text.rstrip().endswith("?"),
        both(around("{word}"), changed(lambda text: text.rstrip(" .!?") + "?")),
        either(around("{word}"), changed(lambda text: text.rstrip(" .!?") + "?")),
    ),
    "comma": Kind(
        lambda one, slots: "," not in one.text,
        changed(lambda text: text.replace(",", "")),
        changed(lambda text: half(text, "", ",") if " " in text else f"{text}, yes"),
    ),
    "semicolon": Kind(
        lambda one, slots: ";" in one.text,
        changed(lambda text: half(text, "", ";") if " " in text else f"{text}; yes"),
        changed(lambda text: half(text, "", ":")),
    ),
    "first-letter": Kind(
        lambda one, slots: next((sign.upper() for sign in one.text if sign.isalpha()), "") == slots["letter"], lettered, None
    ),
    "last-word": Kind(
        lambda one, slots: words_of(one.text)[-1:] == [slots["word"].lower()],
        after("{word}", "{word}.", "{word}!"),
        either(before("{word}"), inside("{word}"), after("{other}")),
    ),
    "star": Kind(
        lambda one, slots: framed(one, "*", "*"),
        changed(lambda text: f"*{text.strip()}*"),
        either(changed(lambda text: f"*{text}"), changed(lambda text: half(text, "*", "*"))),
    ),
}


def broken_up(example: Example, lines: int) -> Example:
    """The same words on this many lines, where there are enough of them."""
    parts = example.text.split()
    size = max(1, len(parts) // max(1, lines))
    cuts = [parts[index * size : (index + 1) * size if index < lines - 1 else None] for index in range(max(1, lines))]
    return with_text(example, "\n".join(" ".join(cut) for cut in cuts if cut))


def tagged(draw: random.Random, example: Example, number: int) -> Example:
    """With hashtags so that there are this many."""
    left = number - len(re.findall(r"#\w", example.text))
    tags = draw.sample([*OTHER_TAGS, *(f"#{one}" for one in SLOTS["word"])], max(0, left))
    return with_text(example, " ".join([example.text, *tags]))


def draw_slots(draw: random.Random) -> dict[str, str]:
    """A value for every slot, and another one for what only looks like it."""
    slots = {}
    for name in ("phrase", "emoji", "name", "code", "surface", "letter", "word", "other"):
        slots[name], slots[f"other{name}"] = map(str, draw.sample(SLOTS[name], 2))
    number = draw.choice(SLOTS["number"])
    return slots | {"number": str(number), "lines": str(min(number, draw.choice((2, 3, 4))))}


def draw_carveout(draw: random.Random) -> tuple[str, str, Condition]:
    """Title and text of an exception, and its condition."""
    kinds = sorted({entry["kind"] for entry in WORDS["carveouts"]})
    name = draw.choice(("tag", "surface", "phrase", *kinds))
    entry = draw.choice([entry for entry in WORDS["carveouts"] if entry["kind"] == name])
    slots = draw_slots(draw)
    shown = slots | {"number": slots["lines"]} if name in ("lines", "hashtags") else slots
    title, text = entry["line"].format_map(shown).split(": ", 1)
    return title, text, Condition(name, CARVEOUTS[name], slots)
