"""The recipe from raw data to a model folder.

`python finetune/nano/run.py --data DATA --pretrain TEXTS --teacher ENCODER --out FOLDER`

Every stage leaves a file in `--work`; a stage whose file is there is skipped, so that a run can be taken up again.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import card, corpus, evaluate, lessons, policies, sources, train
from finetune.nano import model as nano
from finetune.nano import tokenizer as words
from finetune.nano.prepare import Example
from finetune.nano.teacher import Teacher
from moderator.engines.chat import ChatTokenizer


def make_tokenizer(config: dict, texts: Path, learn: list[Example], folder: Path) -> None:
    """Train and save the tokenizer."""
    sample = corpus.texts(texts, learn, config["tokenizer_shares"], config["seed"])
    made = words.train([*sample, *words.answer_lines(config["seed"])], config["vocabulary"])
    words.check_labels(made)
    words.save(made, folder, config["positions"])


def make_vectors(teacher: Teacher, learn: list[Example], texts: list[str], work: Path) -> None:
    """The teacher's vectors of every short text and of every line of a policy."""
    lines = [line for entry in policies.BANK for line in entry["lines"]]
    lines += [line for kind in ("exceptions", "escalations") for some in policies.WORDS[kind].values() for line in some]
    lines += [line for stance in policies.shipped() for line in lessons.line_texts(stance).values()]
    every = list(dict.fromkeys([*(example.text for example in learn if len(example.text) <= 420), *texts, *lines]))
    np.save(work / "vectors.npy", teacher.embed(every))
    (work / "texts.pkl").write_bytes(pickle.dumps(every))


def main(config: dict, data: Path, texts: Path, teacher: Path, out: Path, work: Path) -> None:
    """Prepare, tokenizer, teacher, meaning, answers, evaluation."""
    work.mkdir(parents=True, exist_ok=True)
    learn, test = sources.load(data)
    unlabelled = corpus.sentences(texts)
    print(f"{len(learn)} training examples, {len(test)} test examples, {len(unlabelled)} plain texts", flush=True)
    folder = work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(config, texts, learn, folder)
    if not (work / "texts.pkl").exists():
        make_vectors(Teacher(teacher), learn, unlabelled, work)
    vectors = lessons.Vectors(pickle.loads((work / "texts.pkl").read_bytes()), np.load(work / "vectors.npy"))
    chat = ChatTokenizer.from_folder(folder)
    network, taught = nano.build(config["shape"], config["seed"]), lessons.Lessons(config["shape"]["hidden_size"])
    shared = {name: config[name] for name in ("seed", "depth")}

    def keep(name: str) -> None:
        torch.save({"model": network.state_dict(), "lessons": taught.state_dict()}, work / name)
        if name == "answers.pt":
            train.export(network, folder, out)
            seen = evaluate.glance(evaluate.Reader(network, chat), test)
            print("glance", *(f"{key} {value:.2f}" for key, value in seen.items()), flush=True)

    for name in ("meaning", "answers"):
        path = work / f"{name}.pt"
        if not path.exists():
            if name == "meaning":
                nano.start(network, Teacher(teacher).words(Tokenizer.from_file(str(folder / "tokenizer.json"))), config["seed"])
                examples = train.select(learn, config[name] | shared) + train.plain(unlabelled)
                losses = train.meaning_losses(config[name] | shared, network, taught, chat, examples, vectors)
            else:
                losses = train.answer_losses(config[name] | shared, network, taught, chat, learn, vectors)
            train.run(config[name], network, taught, losses, partial(keep, f"{name}.pt"))
        kept = torch.load(path)
        network.load_state_dict(kept["model"])
        taught.load_state_dict(kept["lessons"])
    report = evaluate.main(out, data, test, work / "report.json")
    minutes = {name: config[name]["minutes"] for name in ("meaning", "answers")}
    spent = f"{minutes['meaning']} minutes of `meaning`, {minutes['answers']} of `answers`"
    card.main(report, out, f"Two CPU cores, {spent} (`finetune/nano/config.yaml`).")


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
    main(yaml.safe_load(given.config.read_text()), given.data, given.pretrain, given.teacher, given.out, given.work)
