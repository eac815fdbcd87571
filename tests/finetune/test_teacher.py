"""The encoder gives each text its own vector, and each string a row to begin at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.finetune import tiny


def test_each_text_has_its_own_vector_whatever_the_batch(teacher):
    texts = [*tiny.TEXTS, f"{tiny.TEXTS[0]} {tiny.TEXTS[1]}"]
    together = teacher.embed(texts, batch=4).astype(np.float32)
    alone = np.concatenate([teacher.embed([text]) for text in texts]).astype(np.float32)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=0.01)
    assert (together * alone).sum(1).min() > 0.999
    assert (together[0] * together[1]).sum() < 0.999


def test_long_texts_are_cut(teacher):
    assert len(teacher.lesson(["you are " * 50], longest=10).encodings[0].ids) == 10


def test_strings_begin_at_their_pieces_and_apart_by_case_and_space(teacher):
    rows = torch.nn.functional.normalize(teacher.words(["you", " you", "You", "YOU", " fool", "#", "s"]), dim=-1)
    like = (rows @ rows.T).numpy()
    assert like[0, 1:4].min() > 0.95
    assert like[0, 1:4].max() < 0.9999
    assert like[0, 4] < 0.9
    assert teacher.words(["you"])[0] == pytest.approx(teacher.words(["you", "#"])[0], abs=1e-5)


def test_a_piece_that_only_continues_words_is_found_as_one(teacher):
    pieces = list(teacher._pieces("s"))
    assert [teacher.tokenizer.id_to_token(piece) for piece in pieces] == ["##s"]
    assert list(teacher._pieces(" ")) == []
