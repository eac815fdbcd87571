"""The files of the data folder, read row by row; training made disjoint from every suite."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from finetune.nano import pairs
from finetune.nano.hygiene import careful
from finetune.nano.prepare import (
    SPAN_TOPICS,
    Example,
    Row,
    ailuminate,
    clean,
    context_toxicity,
    convabuse,
    davidson,
    edos,
    fingerprint,
    hatemoji,
    hatexplain,
    misogyny,
    sms_spam,
    toxic_spans,
    youtube_spam,
)
from moderator.policy.library import list_policies, load_policy
from moderator.suite.near import Held


def table(path: Path, delimiter: str = ",") -> Iterator[Row]:
    """The rows of a gzipped table."""
    csv.field_size_limit(1 << 24)
    with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="") as lines:
        yield from csv.DictReader(lines, delimiter=delimiter)


def toxic_span_rows(folder: Path) -> Iterator[dict]:
    """Comments of toxic-spans with their judgements, per annotator."""
    marks, judged = defaultdict(list), defaultdict(list)
    for row in table(folder / "spans.csv.gz"):
        if row["type"] in SPAN_TOPICS:
            marks[row["annotation"]].append((row["type"], int(row["start"]), int(row["end"])))
    for row in table(folder / "annotations.csv.gz"):
        ticks = row["not toxic"] == "True", row["all toxic"] == "True"
        judged[row["comment_id"]].append((*ticks, marks.get(row["annotation"], [])))
    yield from (row | {"judged": judged[row["comment_id"]]} for row in table(folder / "comments.csv.gz"))


def rows_of(data: Path) -> Iterator[Example | None]:
    """Every example of every set, training and test alike."""
    with gzip.open(data / "hatexplain/train_val.jsonl.gz", "rt") as lines:
        yield from (hatexplain(json.loads(line)) for line in lines)
    yield from map(edos, table(data / "edos/edos_labelled_aggregated.csv.gz"))
    yield from map(toxic_spans, toxic_span_rows(data / "toxic-spans"))
    for name in ("gc", "gn"):
        yield from map(context_toxicity, table(data / f"context-toxicity/{name}.csv.gz"))
    for name in ("train", "valid", "test"):
        for row in table(data / f"convabuse/ConvAbuseEMNLP{name}.csv.gz"):
            example = convabuse(row)
            yield example and replace(example, split="test" if name == "test" else "train")
    yield from map(misogyny, table(data / "misogyny-eacl2021/final_labels.csv.gz"))
    for name in ("train", "validation", "test"):
        split = "test" if name == "test" else "train"
        yield from (hatemoji(row, split) for row in table(data / f"hatemoji/HatemojiBuild_{name}.csv.gz"))
    yield from map(davidson, table(data / "davidson/labeled_data.csv.gz"))
    with gzip.open(data / "sms-spam/sms.tsv.gz", "rt", encoding="utf-8") as lines:
        yield from (sms_spam(dict(zip(("label", "text"), line.rstrip("\n").split("\t", 1), strict=True))) for line in lines)
    for path in sorted((data / "youtube-spam").glob("Youtube*.csv.gz")):
        split = "test" if "Shakira" in path.name else "train"
        yield from (youtube_spam(row, split) for row in table(path))
    yield from map(ailuminate, table(data / "ailuminate-demo/airr_official_1.0_demo_en_us_prompt_set_release.csv.gz"))


def public_texts(data: Path) -> Iterator[str]:
    """Texts of the public suites that no example above carries."""
    for path, column in (
        ("surge-toxicity/toxicity_en.csv.gz", "text"),
        ("toxic-spans/tsd_test.csv.gz", "text"),
        ("toxic-spans/tsd_trial.csv.gz", "text"),
        ("context-toxicity/cat_small.csv.gz", "text"),
    ):
        yield from (row[column] for row in table(data / path))
    with gzip.open(data / "stormfront/sentences.jsonl.gz", "rt") as lines:
        yield from (json.loads(line)["text"] for line in lines)
    for path in sorted((data / "roost-teen-safety/datasets").glob("*.csv")):
        yield from (row[0] for row in csv.reader(io.StringIO(path.read_text("utf-8", errors="replace"))) if row)
    for row in csv.reader(
        io.StringIO((data / "gpt-oss-safeguard-spam/golden_dataset.csv").read_text("utf-8", errors="replace"))
    ):
        yield from (cell for cell in row if len(cell) > 15)


def policy_texts() -> Iterator[str]:
    """The texts of the examples in the shipped policies: the model must not know them by heart."""
    for slug in list_policies():
        yield from (example.text for rule in load_policy(slug).rules for example in rule.examples)


def suite_texts(data: Path) -> Iterator[str]:
    """Evaluation only: public suites, own suites, functional tests, examples of policies; raw and cleaned."""
    for text in itertools.chain(public_texts(data), pairs.held_out(), policy_texts()):
        yield text
        yield clean(text)


def identity(example: Example) -> str:
    """What makes two examples the same one: the text, and in a conversation what was said before."""
    return fingerprint(" ".join((*example.thread, example.text)))


def load_counted(data: Path) -> tuple[list[Example], list[Example], dict[str, Counter[str]]]:
    """Training and test examples, and by source how many training texts were `kept`, or left out because an evaluation text is
    the `same` or is `alike` up to a few words, or because they stand in training `twice`."""
    labelled = [careful(example) for example in rows_of(data) if example and example.text]
    examples = [*labelled, *pairs.load_pairs()]
    test = [example for example in examples if example.split == "test"]
    held = Held(itertools.chain(suite_texts(data), (example.text for example in test)))
    train, seen, counts = [], set(), defaultdict(Counter)
    for example in examples:
        if example.split == "test":
            continue
        reason = held.why(example.text) or ("twice" if identity(example) in seen else "kept")
        counts[example.source][reason] += 1
        if reason == "kept":
            seen.add(identity(example))
            train.append(example)
    return train, test, dict(counts)


def load(data: Path) -> tuple[list[Example], list[Example]]:
    """Training and test examples, training disjoint from every suite."""
    train, test, _ = load_counted(data)
    return train, test
