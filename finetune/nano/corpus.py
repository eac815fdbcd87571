"""Plain text for pretraining and for the tokenizer: moderation texts first, colloquial text next, few novels."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from finetune.nano.prepare import Example, clean

TAGS = re.compile(r"\s*\{\w+\}")
SPACES = re.compile(r" (?=[.,!?;:)'’]|n't)|(?<=\() ")


def records(path: Path) -> Iterator[dict]:
    """The lines of a compressed JSONL file."""
    with path.open("rb") as packed:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed), encoding="utf-8")
        yield from (json.loads(line) for line in text)


def lines(path: Path) -> Iterator[str]:
    with path.open("rb") as packed:
        yield from io.TextIOWrapper(zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed), encoding="utf-8")


def blocks(text: str, size: int = 1200) -> Iterator[str]:
    """Pieces of about `size` characters, cut at line ends."""
    piece: list[str] = []
    for line in text.split("\n"):
        piece.append(line.strip())
        if sum(map(len, piece)) > size:
            yield "\n".join(piece)
            piece = []
    yield "\n".join(piece)


def comments(folder: Path) -> Iterator[tuple[str, set[int]]]:
    """Comments, each with the numbers of the emotions that people found in it (GoEmotions, Demszky et al. 2020)."""
    for name in ("train", "dev", "test"):
        for line in lines(folder / f"goemotions-reddit/{name}.tsv.zst"):
            text, found, _ = line.split("\t")
            yield clean(text), set(map(int, found.split(",")))


def reddit(folder: Path) -> Iterator[str]:
    yield from (text for text, _ in comments(folder))


def talk(folder: Path) -> Iterator[str]:
    """Typed chats and meetings, several turns to a text."""
    for record in records(folder / "multidogo/customer_turns.jsonl.zst"):
        yield clean("\n".join(record["turns"]))
    for record in records(folder / "qmsum-meetings/meetings.jsonl.zst"):
        yield from blocks("\n".join(SPACES.sub("", TAGS.sub("", turn)) for _, turn in record["turns"]))


def service(folder: Path) -> Iterator[str]:
    for record in records(folder / "taskmaster-4/dialogues.jsonl.zst"):
        yield "\n".join(turn for _, turn in record["turns"])


def reviews(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "nltk-open-corpora").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("/") or "README" in name:
                    continue
                text = archive.read(name).decode("utf-8", errors="replace")
                if "masc" in path.name:
                    text = " ".join(word.rsplit("/", 1)[0].rsplit("_", 1)[0] for word in text.split(" "))
                yield from blocks(SPACES.sub("", re.sub(r"</?\w+>", "", text)))


def documents(folder: Path) -> Iterator[str]:
    for record in records(folder / "policy-documents/github_site_policy.jsonl.zst"):
        yield from blocks(record["text"])


def novels(folder: Path) -> Iterator[str]:
    for record in records(folder / "100-english-novels/novels.jsonl.zst"):
        yield from blocks(record["text"].replace("\n", " ").replace("  ", "\n"))


def sentences(folder: Path, documents_most: int = 8000) -> list[str]:
    """Short plain texts for the teacher: posts, and sentences of policy documents."""
    posts = [text for text in reddit(folder) if 8 <= len(text) <= 420]
    said = [line.strip() for block in documents(folder) for line in re.split(r"(?<=[.!?]) +|\n", block)]
    rules = list(dict.fromkeys(line for line in said if 30 < len(line) <= 300))
    return list(dict.fromkeys([*posts, *rules[:documents_most]]))


CALM = frozenset({"admiration", "caring", "excitement", "gratitude", "joy", "optimism", "pride", "relief"})
"""Emotions of texts that break no rule about harm; where another one is named as well, nothing is known."""


def calm(folder: Path) -> Iterator[str]:
    """Comments in which people found nothing but feelings of that kind."""
    names = (folder / "goemotions-reddit/labels.txt").read_text(encoding="utf-8").split()
    yield from (text for text, found in comments(folder) if {names[number] for number in found} <= CALM)


def everyday(folder: Path, seed: int) -> list[str]:
    """Short lines that break no rule about harm, in random order: comments, chats and meetings, orders in a shop; as many of
    each as there are of the fewest."""
    draw, found = random.Random(seed), []
    for source in (calm(folder), talk(folder), service(folder)):
        said = (line.strip() for text in source for line in text.split("\n"))
        some = list(dict.fromkeys(line for line in said if 15 <= len(line) <= 200))
        draw.shuffle(some)
        found.append(some)
    return [line for lines_of_all in zip(*found, strict=False) for line in lines_of_all]


def texts(folder: Path, train: list[Example], shares: dict[str, float], seed: int) -> list[str]:
    """A shuffled corpus; `shares` says which part of each source is taken (above 1: repeated)."""
    sources = {
        "moderation": lambda: ("\n".join((*example.thread, example.text)) for example in train),
        "reddit": lambda: reddit(folder), "talk": lambda: talk(folder), "service": lambda: service(folder),
        "reviews": lambda: reviews(folder), "documents": lambda: documents(folder), "novels": lambda: novels(folder),
    }  # fmt: skip
    draw, corpus = random.Random(seed), []
    for name, share in shares.items():
        for text in sources[name]():
            corpus += [text] * (int(share) + (draw.random() < share % 1))
    draw.shuffle(corpus)
    return [text for text in corpus if text.strip()]
