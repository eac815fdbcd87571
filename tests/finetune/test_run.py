"""The recipe's own pieces: texts that the start is fitted on stand where serving puts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from finetune.nano import lessons, run
from finetune.nano.teacher import SIZE
from moderator.content import Content
from moderator.prompt import compile_prompt, load_family
from tests.finetune import tiny


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


CONFIG = Path(run.__file__).with_name("config.yaml")
SMALL = {
    "start": {"layers": [0], "curved": 96, "texts": 4, "policies": 2, "longest": 400},
    "meaning": {"fills": 1, "tokens": 600, "plain": 2},
    "shelf": {"policies": 3, "sets": {"edos": 1}, "group": 4},
    "recognition": {"sample": 400},
    "labels": {"fitted": 2, "policies": 3, "quoted": 4},
    "answers": {"groups": 2},  # pairs, and whole answers
}
"""What makes a stage short; every stage takes one step."""


@pytest.fixture
def recipe(teacher, chat, tmp_path, monkeypatch):
    config = yaml.safe_load(CONFIG.read_text())
    for name, short in SMALL.items():
        config[name] |= {"steps": 1, "groups": 1, "minutes": 5, "warmup": 1, "caps": {}} | short
    config["everyday"] = dict.fromkeys(config["everyday"], 1)
    examples, plain = [*tiny.EXAMPLES], [*tiny.TEXTS]
    vectors = run.make_vectors(config | {"vectors": 5}, teacher, plain)
    paths = run.Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path / "out")
    vocabulary = chat.tokenizer.get_vocab_size()
    decoder, taught = tiny.make_decoder(5, vocabulary=vocabulary), lessons.Lessons(SIZE)
    monkeypatch.setattr(
        run.corpus, "everyday", lambda *given: ["thanks a lot", "the bus was late again", "could you book a table"]
    )
    return run.Recipe(config, paths, teacher, examples, examples, examples, plain, vectors, chat, decoder, taught)


def tells_labels(decoder) -> bool:
    """Whether the last layer's first two neurons are those of `mass`: they open at one place and say the opposite."""
    mlp = decoder.model.layers[-1].mlp
    (first, second), (said, unsaid) = mlp.gate_proj.weight[:2], mlp.down_proj.weight[:, :2].T
    return bool(torch.equal(first, second) and torch.equal(said, -unsaid) and said.any())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_stage_leaves_its_file_and_the_next_one_begins_there(recipe):
    """On four examples; from `recognition` on the layers that gather are left alone, and `labels` writes the neurons that say
    where one is read."""
    before = {}
    for name in run.STAGES:
        getattr(recipe, name)()
        recipe.take_up(name)
        weights = recipe.decoder.state_dict()
        changed = {key for key, value in weights.items() if key not in before or not torch.equal(value, before[key])}
        assert changed
        learned = {key.split(".")[2] for key in changed if "layers" in key}
        assert learned <= ({"2", "3", "4"} if name in run.STAGES[2:] else {"0", "1", "2", "3", "4"})
        before = {key: value.clone() for key, value in weights.items()}
        if name == "labels":
            assert tells_labels(recipe.decoder)


def test_answers_keep_the_best_of_their_own(recipe, monkeypatch):
    """However well the stage before them looked."""
    seen = iter([0.9, 0.3, 0.5, 0.4])
    monkeypatch.setattr(run.dev, "glance", lambda reader, examples: {"macro f1": next(seen)})
    kept = []
    monkeypatch.setattr(recipe, "keep", lambda name: kept.append((name, recipe.best)))
    monkeypatch.setattr(run.answers, "losses", lambda *given: iter(()))
    monkeypatch.setattr(run.pairing, "losses", lambda *given: iter(()))
    monkeypatch.setattr(recipe, "contents", lambda: None)
    monkeypatch.setattr(run.train, "in_turn", lambda *given: iter(()))

    monkeypatch.setattr(run.train, "run", lambda settings, decoder, adam, losses, every: [every() for _ in range(3)])
    recipe.keep_seen("labels")
    recipe.answers()
    assert kept == [("labels", 0.9), ("answers", 0.3), ("answers", 0.5)]
