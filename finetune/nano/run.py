"""The recipe from raw data to a model folder: `python finetune/nano/run.py --data DATA --pretrain TEXTS --out FOLDER`.

Every stage leaves a file in `--work`; a stage whose file is there is skipped, so that a run can be taken up again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import card, corpus, evaluate, pretrain, sources, topics, train
from finetune.nano import model as nano
from finetune.nano import tokenizer as words


def main(config: dict, data: Path, texts: Path, out: Path, work: Path) -> None:
    """Prepare, tokenizer, pretraining, topics, finetuning, evaluation."""
    work.mkdir(parents=True, exist_ok=True)
    learn, test = sources.load(data)
    print(f"{len(learn)} training examples, {len(test)} test examples", flush=True)
    folder = work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        sample = corpus.texts(texts, learn, config["tokenizer_shares"], config["seed"])
        made = words.train([*sample, *words.answer_lines(config["seed"])], config["vocabulary"])
        words.check_labels(made)
        words.save(made, folder, config["positions"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    network = nano.build(config["shape"], config["seed"])
    if not (work / "pretrained.pt").exists():
        sample = corpus.texts(texts, learn, config["pretrain"]["shares"], config["seed"])
        shared = {"shape": config["shape"], "seed": config["seed"]}
        pretrain.main(config["pretrain"] | shared, tokenizer, sample, learn, work / "pretrained.pt")
    if not (work / "topics.pt").exists():
        network.load_state_dict(torch.load(work / "pretrained.pt"))
        topics.main(config["topics"] | {"seed": config["seed"]}, network, tokenizer, learn, work / "topics.pt")
    network.load_state_dict(torch.load(work / "topics.pt")["model"])
    for stage in config["stages"]:
        network = train.main(config[stage] | {"seed": config["seed"]}, network, folder, learn, out)
    report = evaluate.main(out, data, test, work / "report.json")
    stages = ("pretrain", "topics", *config["stages"])
    spent = ", ".join(f"{name} {config[name]['minutes']}" for name in stages)
    card.main(report, out, f"The stages of `finetune/nano/config.yaml`, each with at most so many minutes: {spent}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--pretrain", type=Path, required=True, help="folder of the plain texts")
    parser.add_argument("--out", type=Path, required=True, help="where the model folder goes")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="where the stages leave their files")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "config.yaml")
    given = parser.parse_args()
    torch.set_num_threads(2)
    main(yaml.safe_load(given.config.read_text()), given.data, given.pretrain, given.out, given.work)
