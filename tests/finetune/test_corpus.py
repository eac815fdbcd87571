"""Lines that break nothing: comments in which people found nothing else, and as many of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from finetune.nano import corpus


def pack(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(zstandard.compress(text.encode()))


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "goemotions-reddit"
    comments = [
        "Thank you so much, that was kind\t1\ta",
        "What a lovely day to be outside\t1,2\tb",
        "Thank you, you absolute genius, not\t1,0\tc",
        "I will never forgive you for this\t0\td",
    ]
    for part in ("train", "dev", "test"):
        pack(home / f"{part}.tsv.zst", "\n".join(comments) if part == "train" else "So happy for you and yours\t2\te")
    (home / "labels.txt").write_text("anger\ngratitude\njoy\n")
    turns = ["i want to change my flight", "ok", "and a window seat if there is one please"]
    pack(tmp_path / "multidogo/customer_turns.jsonl.zst", json.dumps({"turns": turns}))
    meeting = {
        "turns": [
            ["A", "So we agree on the second design then ."],
            ["B", "{vocalsound} Yes , and on the budget of last week ."],
        ]
    }
    pack(tmp_path / "qmsum-meetings/meetings.jsonl.zst", json.dumps(meeting))
    orders = {"turns": [["user", "one large coffee with milk please"], ["clerk", "Anything to eat with that today?"]]}
    pack(tmp_path / "taskmaster-4/dialogues.jsonl.zst", json.dumps(orders))
    return tmp_path


def test_comments_with_any_other_feeling_are_left_out(folder):
    found = list(corpus.calm(folder))
    assert found == ["Thank you so much, that was kind", "What a lovely day to be outside", *["So happy for you and yours"] * 2]


def test_every_kind_is_there_as_often_and_in_the_same_order_every_time(folder):
    found = corpus.everyday(folder, 1)
    assert len(found) == len(set(found)) == 6
    assert {"one large coffee with milk please", "Anything to eat with that today?"} < set(found)
    assert sum(line in set(corpus.calm(folder)) for line in found) == 2
    assert found == corpus.everyday(folder, 1)
    assert "ok" not in found
