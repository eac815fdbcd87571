"""The recipe's own pieces: texts that the start is fitted on stand where serving puts them."""

from __future__ import annotations

from finetune.nano import run
from moderator.content import Content
from moderator.prompt import compile_prompt, load_family


def test_openings_end_where_a_text_begins(chat, known):
    found = run.openings(chat, 1, 3, 400)
    assert len(found) == 3
    compiled = compile_prompt(known[0].policy, load_family("nano"))
    (asked,) = chat.suffixes([compiled.ask(Content(id="x", text="see you at lunch")).label()])
    said = chat.tokenizer.encode("see you at lunch", add_special_tokens=False).ids
    start = next(place for place in range(len(asked)) if asked[place : place + len(said)] == said)
    for opening in found:
        assert opening[-start:] == asked[:start]
        assert len(opening) <= 400
