"""Three classes out of two runs: what each item comes to, and the macro F1 that sklearn finds for the same answers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sklearn.metrics as oracle

from moderator.runs import Run, Selection, execute
from moderator.suite import Annotation, Item, Scale, Suite, linear_floor
from tests.runs.suites import moderator, selling, suite
from tests.small import leaning

WORDS = {"hatespeech": "vile wheel", "offensive": "rude gear", "normal": "calm sea"}
SCALE = Scale(values=tuple(WORDS), violates=("hatespeech",))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parent.parent / "evals" / "three_classes.py"
    spec = importlib.util.spec_from_file_location("three_classes", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def item(number: int, label: str, text: str, split: Any) -> Item:
    return Item(id=f"{split}-{number}", text=text, labels=(Annotation(value=label),), split=split)


def posts() -> Suite:
    """Training texts that the words tell apart; of the test texts the last of each label has the words of another."""
    train = [item(n, label, f"{words} {n}", "train") for n, (label, words) in enumerate([*WORDS.items()] * 12)]
    test = [item(n, label, f"{words} {n + 50}", "test") for n, (label, words) in enumerate([*WORDS.items()] * 9)]
    wrong = [item(n, label, "vile wheel" if label == "normal" else "calm sea", "test") for n, label in enumerate(WORDS, 90)]
    return suite("posts", *train, *test, *wrong, scale=SCALE)


def judged(path: Path, *flagged: str) -> Run:
    """A run that flags the texts with one of these words, and is unsure about one text."""

    def read(prompt: Any) -> dict[str, float]:
        if '59"' in prompt.user:
            return {"yes": 0.4, "no": 0.3, "unknown": 0.3}
        return leaning("yes" if any(word in prompt.user for word in flagged) else "no")

    return execute([posts()], moderator(engine=selling(read)), path, selection=Selection(split="test"))


def test_the_class_is_what_the_two_runs_flag(script: ModuleType) -> None:
    assert script.combined(True, None) == "hatespeech"
    assert script.combined(False, True) == "offensive"
    assert script.combined(False, False) == "normal"
    assert script.combined(None, True) == script.combined(False, None) == script.NONE


def test_macro_f1_is_that_of_the_same_answers(script: ModuleType, tmp_path: Path) -> None:
    hate, toxic = judged(tmp_path / "hate", "wheel"), judged(tmp_path / "toxic", "wheel", "gear")
    linear, model, difference = script.compare(hate, toxic)
    test = posts().split("test")
    gold = [one.labels[0].value for one in test]
    first, second = script.flags(hate), script.flags(toxic)
    answers = [script.combined(first[one.id], second[one.id]) for one in test]
    assert script.NONE in answers
    floor = linear_floor(posts().items, script.gold)
    assert model.value == pytest.approx(oracle.f1_score(gold, answers, average="macro", labels=list(WORDS)))
    assert linear.value == pytest.approx(oracle.f1_score(gold, floor.predicted, average="macro", labels=list(WORDS)))
    assert difference.value == pytest.approx(model.value - linear.value)
    assert difference.low <= difference.value <= difference.high
