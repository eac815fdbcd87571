"""The recipe from raw data to a model folder.

`python finetune/nano/run.py --data DATA --pretrain TEXTS --teacher ENCODER --out FOLDER`

Every stage leaves a file in `--work`; a stage whose file is there is skipped, so that a run can be taken up again.
What comes out is calibrated at the end.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import yaml
from transformers import LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import (
    answers,
    calibrate,
    citing,
    codes,
    conversion,
    corpus,
    dev,
    domains,
    evidence,
    fusion,
    lessons,
    mass,
    meaning,
    network,
    packing,
    pairing,
    policies,
    quoting,
    recognition,
    shelf,
    sources,
    train,
)
from finetune.nano import model as nano
from finetune.nano import tokenizer as words
from finetune.nano.prepare import Example
from finetune.nano.teacher import Teacher
from finetune.nano.topical import Cosines
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
    """Embeddings and first layers from the encoder; along axes of their own what single words say, and which ones they are."""
    chosen, begun = config["start"], chat.tokenizer
    strings = [begun.decode([index], skip_special_tokens=False) for index in range(begun.get_vocab_size())]
    table, weights = teacher.words(strings), torch.from_numpy(evidence.fit(begun, learn))
    written = torch.cat((weights, codes.make(len(table))), 1)
    short = [example.text for example in learn if 20 <= len(example.text) <= 160]
    texts = random.Random(config["seed"]).sample(short, min(chosen["texts"], len(short)))
    room = conversion.classroom(teacher, begun, texts, openings(chat, config["seed"], chosen["policies"], chosen["longest"]))
    # where the encoder hardly has anything, in any layer: of its states a sixth stands where its embeddings vary least
    free = evidence.axes([table, *(room.theirs(states) for states in room.lesson.states)], written.shape[1])
    decoder.model.embed_tokens.weight.copy_(evidence.write(table, free, written, chosen["evidence"]))
    decoder.model.norm.weight.fill_(chosen["norm"])
    near = conversion.convert(decoder, teacher, room, chosen["layers"], chosen["curved"], free)
    for layer in decoder.model.layers[len(chosen["layers"]) :]:
        codes.leave_alone(layer, free)
    print("cosine to the encoder after each layer", *(f"{value:.3f}" for value in near), flush=True)


@dataclass
class Recipe:
    """What the stages share: data, encoder, the decoder that is trained, the readers that are thrown away.

    Layers that read contents learn from `learn`, those that decide from `apart`, which the former have not seen: of what it
    was fitted to a layer is surer than of anything new (stacked generalization, Wolpert 1992). `looked_at` is kept from both.
    """

    config: dict
    paths: Paths
    teacher: Teacher
    learn: list[Example]
    apart: list[Example]
    looked_at: list[Example]
    plain: list[str]
    vectors: lessons.Vectors
    chat: ChatTokenizer
    decoder: LlamaForCausalLM
    taught: lessons.Lessons
    best: float = -1.0

    @property
    def first(self) -> int:
        """How many layers begin at the encoder's; one more gathers."""
        return len(self.config["start"]["layers"])

    @property
    def closeness(self) -> Cosines:
        return Cosines(self.vectors.places, self.vectors.rows)

    def settings(self, name: str) -> dict:
        """Those of a stage; `depth`: as many layers gather, the next recognises; `compare`: the layer after that."""
        seed = self.config["seed"] + STAGES.index(name)
        layers = {"first": self.first, "depth": self.first + 1, "compare": self.first + 2}
        return layers | self.config[name] | {"seed": seed}

    def keep(self, name: str) -> None:
        torch.save({"model": self.decoder.state_dict(), "lessons": self.taught.state_dict()}, self.paths.work / f"{name}.pt")

    def take_up(self, name: str) -> None:
        kept = torch.load(self.paths.work / f"{name}.pt")
        self.decoder.load_state_dict(kept["model"])
        self.taught.load_state_dict(kept["lessons"])

    def keep_seen(self, name: str) -> None:
        """The stage as it is now; of `answers` only the best so far."""
        seen = dev.glance(dev.Reader(self.decoder, self.chat), self.looked_at)
        print("glance", *(f"{key} {value:.3f}" for key, value in seen.items()), flush=True)
        if name != "answers" or seen["macro f1"] > self.best:
            self.best = seen["macro f1"]
            self.keep(name)

    def train(self, name: str, losses: Iterator[train.Loss], keep: Callable[[str], None]) -> None:
        settings = self.settings(name)
        # what `pairing` writes into the layer that recognises, and all below it, is left alone from then on
        first = self.first if name == "meaning" else settings["compare"]
        adam = train.optimizer(self.decoder, self.taught, first, settings["rates"])
        train.run(settings, self.decoder, adam, losses, partial(keep, name))

    def start(self) -> None:
        begin(self.config, self.decoder, self.teacher, self.chat, self.learn)
        self.keep("start")

    def meaning(self) -> None:
        settings = self.settings("meaning")
        draw = random.Random(self.config["seed"])
        plain, everyday = draw.sample(self.plain, settings["plain"]), self.everyday("meaning")
        texts = meaning.select(draw, self.learn, plain, everyday, settings["caps"], settings["fills"])
        losses = meaning.losses(settings, self.decoder, self.taught, self.chat, texts, self.teacher, self.vectors)
        layers, along = self.decoder.model.layers[: settings["depth"]], codes.find(self.decoder).along
        self.train("meaning", codes.guarded(losses, layers, along), self.keep)

    def everyday(self, part: str) -> list[str]:
        """Lines that break nothing, the same every time: those which are calibrated on (`calm`), which `meaning` reads, or
        which go to the `shelf`."""
        every, sizes = corpus.everyday(self.paths.pretrain, self.config["seed"]), self.config["everyday"]
        first = sum(islice(sizes.values(), list(sizes).index(part)))
        return every[first : first + sizes[part]]

    def contents(self) -> shelf.Shelf:
        """Contents as the first layers read them after `meaning`."""
        path, settings = self.paths.work / "shelf.pt", self.settings("recognition") | self.config["shelf"]
        if not path.exists():
            texts = self.plain, self.everyday("shelf")
            torch.save(shelf.fill(settings, self.decoder, self.chat, self.apart, *texts, self.closeness), path)
        return shelf.Shelf(torch.load(path, weights_only=False))

    def states(self, found: shelf.Shelf) -> torch.Tensor:
        """Some of what the layer that recognises reads, the same every time."""
        settings = self.settings("recognition")
        return found.sample(random.Random(settings["seed"]), settings["sample"])

    def recognition(self) -> None:
        settings, found = self.settings("recognition"), self.contents()
        beside = codes.find(self.decoder).along
        recognition.write(self.decoder, self.taught, settings["depth"], self.states(found), beside)
        losses = recognition.losses(settings, self.decoder, self.chat, found, self.closeness)
        adam = recognition.optimizer(self.decoder, settings)
        train.run(settings, self.decoder, adam, losses, partial(self.keep, "recognition"))

    def labels(self) -> None:
        settings, found = self.settings("labels"), self.contents()
        for layer in self.decoder.model.layers[settings["compare"] :]:
            fusion.clear(layer)
        with torch.no_grad():
            self.decoder.model.norm.weight.fill_(settings["norm"])
        labels = dev.Reader(self.decoder, self.chat).labels
        mass.set_apart(self.decoder, labels)
        axes, named = self.write_heads(settings, found)
        groups = answers.groups(self.settings("answers"), self.apart, self.plain, self.closeness)
        met = quoting.read(self.decoder, self.chat, islice(groups, settings["quoted"]), settings["longest"])
        citing.cite(self.decoder, named, met, axes, settings["depth"])
        quoting.write(self.decoder, met)
        pairs = pairing.pairs(settings, found, self.closeness)
        evidence = fusion.gather(self.decoder, self.chat, pairs, axes, settings["depth"], settings["policies"])
        opened = mass.read(self.decoder, self.chat, islice(groups, settings["opened"]), settings["longest"])
        fusion.write(self.decoder, fusion.fit(evidence, settings["seed"]), axes, labels, evidence.size)
        mass.write(self.decoder, *opened, labels)
        self.keep_seen("labels")

    def write_heads(self, settings: dict, found: shelf.Shelf) -> tuple[domains.Axes, float]:
        """What the neurons that say labels read, and heads that name ids; where it stands, and how large codes are there."""
        draw, depth, opening = random.Random(settings["seed"]), settings["depth"], self.chat.prefix("")[0]
        stances = [
            policies.draw_stance(draw, policies.shipped(), settings["shares"], self.closeness)
            for _ in range(settings["fitted"])
        ]
        axes = self.idle_axes(settings, found, stances)
        some = draw.choices(found.volumes, k=5 * settings["fitted"])
        domains.write(self.decoder, domains.read_rules(self.decoder, self.chat, stances, some, depth), axes, depth, opening)
        named = citing.name(self.decoder, citing.read(self.decoder, self.chat, stances, depth + 1), axes, depth, opening)
        some = draw.sample(found.volumes, min(settings["opinions"], len(found.volumes)))
        behind = domains.read_behind(self.decoder, self.chat, stances, some, depth)
        neurons = domains.opinions(self.taught, some, behind, axes, settings["experts"], settings["seed"])
        domains.write_opinions(self.decoder.model.layers[depth + 1], neurons, axes, conversion.size_of(behind))
        return axes, named

    def idle_axes(self, settings: dict, found: shelf.Shelf, stances: Sequence[policies.Stance]) -> domains.Axes:
        """See `domains.find_axes`."""
        depth, chosen = settings["depth"], self.states(found)
        before = torch.cat((chosen, citing.read(self.decoder, self.chat, stances, depth).states))
        with torch.no_grad():
            after = network.climb(self.decoder, before[:, None], None, range(depth, depth + 1))[0][-1][:, 0]
        beside = codes.find(self.decoder).along
        return domains.find_axes(chosen, before, after, self.decoder.config.head_dim, beside)

    def answers(self) -> None:
        settings, self.best = self.settings("answers"), -1.0
        written = copy.deepcopy(self.decoder).requires_grad_(False)
        pairs = pairing.losses(settings, self.decoder, written, self.chat, self.contents(), self.closeness)
        whole = answers.losses(settings, self.decoder, written, self.chat, self.apart, self.plain, self.closeness)
        self.train("answers", train.in_turn(pairs, settings["paired"], whole), self.keep_seen)


STAGES = ("start", "meaning", "recognition", "labels", "answers")


def prepare(config: dict, paths: Paths) -> Recipe:
    """Data, tokenizer, the encoder's vectors; a decoder of random weights."""
    paths.work.mkdir(parents=True, exist_ok=True)
    every, _ = sources.load(paths.data)
    trained, looked_at = dev.held_out(every)
    learn, apart = dev.held_out(trained, "apart", config["parts"])
    print(f"{len(learn)} examples to read, {len(apart)} to decide, {len(looked_at)} to look at", flush=True)
    teacher, folder = Teacher(paths.teacher), paths.work / "tokenizer"
    plain = corpus.sentences(paths.pretrain)
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(config, paths, teacher, trained, folder)
    if not (paths.work / "vectors.pkl").exists():
        texts = [*plain, *(example.text for example in trained if len(example.text) <= 420)]
        (paths.work / "vectors.pkl").write_bytes(pickle.dumps(make_vectors(config, teacher, texts)))
    vectors, chat = pickle.loads((paths.work / "vectors.pkl").read_bytes()), ChatTokenizer.from_folder(folder)
    decoder, taught = nano.build(config["shape"], config["seed"]), lessons.Lessons(config["shape"]["hidden_size"])
    return Recipe(config, paths, teacher, learn, apart, looked_at, plain, vectors, chat, decoder, taught)


def main(config: dict, paths: Paths) -> None:
    """Every stage that has no file yet, then calibration and the model folder."""
    recipe = prepare(config, paths)
    for name in STAGES:
        if not (paths.work / f"{name}.pt").exists():
            getattr(recipe, name)()
        recipe.take_up(name)
    reader = dev.Reader(recipe.decoder, recipe.chat)
    before, after = calibrate.calibrate(recipe.decoder, reader, recipe.looked_at, recipe.everyday("calm"))
    print(f"log loss of p(yes) on what is looked at {before:.3f}, calibrated {after:.3f}", flush=True)
    train.export(recipe.decoder, paths.work / "tokenizer", paths.out)


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
