"""The first stage pairs tokens with the encoder's pieces, and learns."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from finetune.nano import lessons, meaning, run, train
from finetune.nano.prepare import Example, topics
from finetune.nano.stance import DOMAIN_NAMES, KIND_NAMES, SETS, TOPICS, targets
from finetune.nano.teacher import SIZE
from tests.finetune import tiny

SETTINGS = yaml.safe_load((Path(run.__file__).parent / "config.yaml").read_text())
FEW = {"seed": 1, "first": 1, "depth": 2, "groups": 1, "longest": 1000, "steps": 2, "warmup": 1}


def test_token_bytes_are_those_of_the_text(chat):
    lengths = meaning.token_bytes(chat)
    ids = chat.encode('TEXT "café 😀 you"')
    assert sum(lengths[index] for index in ids) == len('TEXT "café 😀 you"'.encode())
    assert {lengths[index] for index in chat.control_ids} == {0}


def test_places_are_where_the_words_of_a_text_end(chat):
    (one,) = meaning.readings(chat, [replace(tiny.EXAMPLES[0], text="café you")], 200)
    ends = {chat.tokenizer.decode([one.row.ids[one.places[byte]]]).strip() for byte in (5, 9)}
    assert "you" in ends
    assert one.row.read == len(one.row.ids) - 1


def test_a_text_that_is_shown_with_escapes_has_no_places(chat):
    (one,) = meaning.readings(chat, [replace(tiny.EXAMPLES[0], text='say "you"')], 200)
    assert not one.places
    assert meaning.readings(chat, tiny.EXAMPLES, 3) == []


def test_batches_hold_every_text_once_a_round(chat):
    rows = meaning.readings(chat, tiny.EXAMPLES, 200)
    drawn = meaning.batches(random.Random(0), rows, 60)
    seen = [one for batch in (next(drawn) for _ in range(len(rows))) for one in batch][: len(rows)]
    assert sorted(one.row.ids for one in seen) == sorted(one.row.ids for one in rows)


def test_the_same_states_are_no_distance_from_the_encoder(chat, teacher):
    batch = meaning.readings(chat, tiny.EXAMPLES[:1], 200)
    lesson = teacher.lesson([batch[0].row.example.text])
    states = torch.randn(1, len(batch[0].row.ids), SIZE)
    far = meaning.word_loss(lesson, batch, states).item()
    for piece, (start, end) in enumerate(lesson.encodings[0].offsets):
        if end > start and end in batch[0].places:
            states[0, batch[0].places[end]] = lesson.states[-1][0, piece]
    assert meaning.word_loss(lesson, batch, states).item() == pytest.approx(0, abs=1e-5)
    assert far > 0.5


def test_texts_of_which_no_token_ends_with_a_piece_cost_nothing(chat, teacher):
    """A text that is written otherwise in the prompt (a quotation mark) has no places."""
    batch = meaning.readings(chat, [tiny.Example('say "no"', "edos")], 200)
    lesson = teacher.lesson(['say "no"'])
    assert not batch[0].places
    assert meaning.word_loss(lesson, batch, torch.randn(1, len(batch[0].row.ids), SIZE)).item() == 0


def test_the_stage_learns(chat, teacher, decoder):
    vectors = lessons.Vectors([], np.zeros((0, SIZE), np.float16), np.zeros(SIZE, np.float32))
    taught, settings = lessons.Lessons(SIZE), SETTINGS["meaning"] | FEW | {"steps": 12, "teach": 2}
    losses = meaning.losses(settings, decoder, taught, chat, tiny.EXAMPLES, teacher, vectors)
    first, numbers = next(losses)
    assert {"topics", "lines", "line_far", "words", "aside", "far"} == set(numbers)
    adam, saved = train.optimizer(decoder, taught, 1, settings["rates"]), []
    train.run(settings, decoder, adam, losses, lambda: saved.append(1))
    losses = meaning.losses(settings, decoder, taught, chat, tiny.EXAMPLES, teacher, vectors)
    again, _ = next(losses)
    assert again.item() < 0.8 * first.item()
    assert saved
    assert math.isfinite(again.item())


def test_what_stands_around_a_text_changes_nothing_of_what_is_known_of_it():
    rude = Example("you are such a fool", "toxic-spans", broken=topics("harassment.insult"), quotes=("fool",))
    draw = random.Random(3)
    found = [meaning.around(draw, rude, ("A1",)) for _ in range(1000)]
    more = [one for one in found if one.text != rude.text]
    assert len(more) / len(found) == pytest.approx(meaning.ORDERS + meaning.PADDING, abs=0.05)
    assert all("you are such a fool" in one.text.lower() for one in more)
    assert {targets(one) for one in found} == {targets(rude)}


def test_of_plain_texts_no_topic_is_known_and_everyday_ones_break_none():
    chosen = meaning.select(random.Random(1), tiny.EXAMPLES, ["it depends"], ["see you at noon"], {}, 1)
    plain, everyday = ([targets(one) for one in chosen if one.source == source] for source in ("plain", "everyday"))
    assert len(plain) == len(everyday) == 1
    known = len(DOMAIN_NAMES) + len(TOPICS)
    assert set(plain[0][:known]) == {-1.0}
    assert set(everyday[0][: -len(SETS)]) == {0.0}
    assert len(everyday[0]) == known + len(KIND_NAMES) + len(SETS)
