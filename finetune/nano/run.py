"""The recipe from raw data to a model folder.

`python finetune/nano/run.py --data DATA --pretrain TEXTS --teacher ENCODER --out FOLDER`

Every stage leaves a file in `--work`; a stage whose file is there is skipped, so that a run can be taken up again.
What comes out is calibrated at the end.
"""

from __future__ import annotations

import argparse
import pickle
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import (
    answers,
    calibrate,
    conversion,
    corpus,
    dev,
    evidence,
    lessons,
    meaning,
    packing,
    policies,
    sources,
    train,
)
from finetune.nano import model as nano
from finetune.nano import tokenizer as words
from finetune.nano.prepare import Example
from finetune.nano.teacher import Teacher
from moderator.content import Content
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt, load_family


@dataclass(frozen=True)
class Paths:
    """Folders: the labelled sets, plain texts, the encoder; where stages leave their files, where the model goes."""

    data: Path
    pretrain: Path
    teacher: Path
    work: Path
    out: Path


def make_tokenizer(config: dict, paths: Paths, teacher: Teacher, learn: Sequence[Example], folder: Path) -> None:
    """Choose the pieces and save the tokenizer."""
    sample = corpus.texts(paths.pretrain, list(learn), config["tokenizer_shares"], config["seed"])
    pieces = list(teacher.tokenizer.get_vocab())
    made = words.train(sample, words.answer_lines(config["seed"]), pieces, config["vocabulary"])
    words.check_labels(made)
    words.save(made, folder, config["shape"]["max_position_embeddings"])


def make_vectors(config: dict, teacher: Teacher, texts: Sequence[str]) -> lessons.Vectors:
    """The encoder's vectors of every line of a policy and of some texts; what the texts have in common is their mean."""
    sample = random.Random(config["seed"]).sample(list(texts), min(config["vectors"], len(texts)))
    every = list(dict.fromkeys([*policies.lines(), *sample]))
    rows = teacher.embed(every)
    return lessons.Vectors(every, rows, rows[-len(sample) :].astype(np.float32).mean(0))


def openings(chat: ChatTokenizer, seed: int, number: int, longest: int) -> list[list[int]]:
    """Prompts of short policies up to where a text begins, in tokens."""
    draw, found = random.Random(seed), []
    while len(found) < number:
        stance = policies.draw_stance(draw, policies.shipped())
        compiled = compile_prompt(stance.policy, load_family("nano"))
        asked = packing.ask(chat, [compiled.ask(Content(id="x", text=text)).label() for text in ("a", "b")])
        shared = next(place for place, pair in enumerate(zip(*asked, strict=True)) if pair[0] != pair[1])
        ids = [*chat.prefix(compiled.system), *asked[0][:shared]]
        if len(ids) <= longest:
            found.append(ids)
    return found


@torch.no_grad()
def begin(config: dict, decoder: torch.nn.Module, teacher: Teacher, chat: ChatTokenizer, learn: Sequence[Example]) -> None:
    """Embeddings and first layers from the encoder, and along axes of their own what single words say."""
    chosen, begun = config["start"], chat.tokenizer
    strings = [begun.decode([index], skip_special_tokens=False) for index in range(begun.get_vocab_size())]
    table, weights = teacher.words(strings), torch.from_numpy(evidence.fit(begun, learn))
    free = evidence.axes(table, weights.shape[1])
    decoder.model.embed_tokens.weight.copy_(evidence.write(table, free, weights, chosen["evidence"]))
    decoder.model.norm.weight.fill_(chosen["norm"])
    short = [example.text for example in learn if 20 <= len(example.text) <= 160]
    texts = random.Random(config["seed"]).sample(short, min(chosen["texts"], len(short)))
    room = conversion.classroom(teacher, begun, texts, openings(chat, config["seed"], chosen["policies"], chosen["longest"]))
    near = conversion.convert(decoder, teacher, room, chosen["layers"], chosen["curved"], free)
    print("cosine to the encoder after each layer", *(f"{value:.3f}" for value in near), flush=True)


def main(config: dict, paths: Paths) -> None:
    """Prepare, tokenizer, start, meaning, matching, answers, calibration."""
    paths.work.mkdir(parents=True, exist_ok=True)
    every, _ = sources.load(paths.data)
    learn, looked_at = dev.held_out(every)
    print(f"{len(learn)} training examples, {len(looked_at)} to look at", flush=True)
    teacher, folder = Teacher(paths.teacher), paths.work / "tokenizer"
    plain = corpus.sentences(paths.pretrain)
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(config, paths, teacher, learn, folder)
    if not (paths.work / "vectors.pkl").exists():
        texts = [*plain, *(example.text for example in learn if len(example.text) <= 420)]
        (paths.work / "vectors.pkl").write_bytes(pickle.dumps(make_vectors(config, teacher, texts)))
    vectors, chat = pickle.loads((paths.work / "vectors.pkl").read_bytes()), ChatTokenizer.from_folder(folder)
    decoder, taught = nano.build(config["shape"], config["seed"]), lessons.Lessons(config["shape"]["hidden_size"])
    first = len(config["start"]["layers"])
    shared = {"first": first, "depth": first + 1}
    best = -1.0

    def keep(name: str) -> None:
        torch.save({"model": decoder.state_dict(), "lessons": taught.state_dict()}, paths.work / f"{name}.pt")

    def keep_answers(name: str) -> None:
        """`matching` as it is now; `answers` only when they are the best of their stage so far."""
        nonlocal best
        seen = dev.glance(dev.Reader(decoder, chat), looked_at)
        print("glance", *(f"{key} {value:.3f}" for key, value in seen.items()), flush=True)
        if name == "answers":
            if seen["macro f1"] <= best:
                return
            best = seen["macro f1"]
        keep(name)

    for number, name in enumerate(("start", "meaning", "matching", "answers")):
        path = paths.work / f"{name}.pt"
        if not path.exists():
            settings = shared | config[name] | {"seed": config["seed"] + number}
            if name == "start":
                begin(config, decoder, teacher, chat, learn)
                keep(name)
                continue
            adam = train.optimizer(decoder, taught, first, settings["rates"])
            if name == "meaning":
                texts = meaning.select(random.Random(config["seed"]), learn, settings["caps"], settings["fills"])
                losses = meaning.losses(settings, decoder, taught, chat, texts, teacher, vectors)
                train.run(settings, decoder, adam, losses, partial(keep, name))
            else:
                losses = answers.losses(settings, decoder, taught, chat, learn, plain, vectors)
                train.run(settings, decoder, adam, losses, partial(keep_answers, name))
        kept = torch.load(path)
        decoder.load_state_dict(kept["model"])
        taught.load_state_dict(kept["lessons"])
    before, after = calibrate.calibrate(decoder, dev.Reader(decoder, chat), looked_at)
    print(f"log loss of p(yes) on what is looked at {before:.3f}, calibrated {after:.3f}", flush=True)
    train.export(decoder, folder, paths.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--pretrain", type=Path, required=True, help="folder of the plain texts")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the sentence encoder, as transformers loads it")
    parser.add_argument("--out", type=Path, required=True, help="where the model folder goes")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="where the stages leave their files")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "config.yaml")
    given = parser.parse_args()
    torch.set_num_threads(2)
    folders = Paths(given.data, given.pretrain, given.teacher, given.work, given.out)
    main(yaml.safe_load(given.config.read_text()), folders)
