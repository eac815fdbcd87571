"""Public sets about abuse and toxicity: one pure function a set, `row -> Item | None`, and what is declared about each."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from moderator.content import Turn, text_id
from moderator.suite.model import Annotation, Answer, Item, Scale, Source, Span
from moderator.suite.prepare.recipe import HARASSMENT, Fields, Files, Recipe, Row, no, split_of, yes
from moderator.suite.prepare.texts import strip

SPAN_RULES: Final[Mapping[str, str | None]] = {
    "Insult": "A1", "Threat": "A2", "Other Toxicity": "A5", "Profane/Obscene": None, "Identity based Attack": None,
}  # fmt: skip


def toxic_spans(row: Fields) -> Item | None:
    """A comment with its judgements: `judgements` hold worker, all_toxic, not_toxic and spans (type, start, end).

    Both boxes are ticked, "the whole is toxic" and "not toxic", for nearly all who marked nothing: that is unclear, not a "no".
    """
    stripped = strip(row["comment_text"])
    labels = []
    for judgement in row["judgements"]:
        spans = []
        for kind, start, end in judgement["spans"]:
            if place := stripped.span(start, end):
                spans.append(Span(start=place[0], end=place[1], rule=SPAN_RULES.get(kind)))
        rules = yes(*dict.fromkeys(span.rule for span in spans))
        toxic = (judgement["all_toxic"] or bool(judgement["spans"])) and not judgement["not_toxic"]
        violates: Answer | None = None if rules or not toxic else "unknown"
        label = Annotation(
            by=f"worker-{judgement['worker']}",
            value="toxic" if toxic else "unclear",
            violates=violates,
            rules=rules if toxic else {},
            spans=tuple(spans),
        )
        labels.append(label)
    return Item(id=f"comment-{row['comment_id']}", text=stripped.text, split=split_of(row), labels=tuple(labels))


def _toxic_span_rows(recipe: Recipe, files: Files) -> Iterator[Row]:
    """Comments with their judgements; the test is what SemEval-2021 held out, found by its text."""
    test = {row.fields["text"] for row in files.rows("tsd_test.csv")}
    comments = {row.fields["comment_id"]: row for row in files.rows("comments.csv")}
    judged: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    by_annotation: dict[str, tuple[dict[str, Any], int]] = {}
    for row in files.rows("annotations.csv"):
        comment, worker = row.fields["comment_id"], row.fields["worker"]
        if comment not in comments or worker in judged[comment]:
            what = "judges the comment twice" if comment in comments else "judges a comment that is not there"
            files.report(row.file, row.line, f"worker {worker} {what}")
            continue
        ticked = {name: row.fields[name.replace("_", " ")] == "True" for name in ("all_toxic", "not_toxic")}
        judgement = {"worker": worker, **ticked, "spans": []}
        judged[comment][worker] = judgement
        by_annotation[row.fields["annotation"]] = judgement, len(comments[comment].fields["comment_text"])
    for row in files.rows("spans.csv"):
        _add_span(files, row, by_annotation)
    for comment, row in comments.items():
        split = "test" if row.fields["comment_text"] in test else "train"
        yield row._replace(fields={**row.fields, "split": split, "judgements": list(judged[comment].values())})


def _add_span(files: Files, row: Row, by_annotation: Mapping[str, tuple[dict[str, Any], int]]) -> None:
    """Adds a span to its judgement; one of an unknown type is kept without it, one outside the text is not."""
    kind, start, end = row.fields["type"], int(row.fields["start"]), int(row.fields["end"])
    judgement, length = by_annotation.get(row.fields["annotation"], ({}, 0))
    if not judgement:
        files.report(row.file, row.line, f"span of annotation {row.fields['annotation']}, which is not there")
    elif not 0 <= start < end <= length:
        files.report(row.file, row.line, f"span {start}-{end} is outside the text of {length} characters")
    else:
        if kind not in SPAN_RULES:
            files.report(row.file, row.line, f"unknown type of span {kind!r}; the span is kept without it")
        judgement["spans"].append((kind, start, end))


CODES: Final[Mapping[float, str]] = {0: "not toxic", 0.5: "unsure", 1: "toxic"}


def context_toxicity(row: Fields) -> Item | None:
    """A comment judged alone or (`parent` given) under the comment that it answers; `votes` are codes in no order."""
    text = strip(row["text"]).text
    parent = strip(row["parent"] or "").text
    votes = Counter(CODES[float(code)] for code in row["votes"])
    labels = tuple(
        Annotation(value=value, count=votes[value], rules=no(HARASSMENT) if value == "not toxic" else {})
        for value in CODES.values()
        if votes[value]
    )
    context = "parent" if parent else "none"
    return Item(
        id=f"{row.get('id') or text_id(row['text'])}-{context}",
        text=text,
        thread=(Turn(text=parent),) if parent else (),
        split=split_of(row),
        group=text_id(row["text"]),
        slices={"context": context},
        labels=labels,
    )


def _context_rows(recipe: Recipe, files: Files) -> Iterator[Row]:
    """The large sets are the training split, with one label each; every row of the small one is two: alone, and in context."""
    for name in files.paths:
        for row in files.rows(name):
            if name != "cat_small.csv":
                yield row._replace(fields={**row.fields, "split": "train", "votes": [row.fields["label"]]})
                continue
            for codes, parent in (("tox_codes_oc", ""), ("tox_codes_ic", row.fields["parent_text"])):
                votes = re.findall(r"\d(?:\.\d*)?", row.fields[codes])
                fields = {"text": row.fields["text"], "parent": parent, "votes": votes, "split": "test"}
                yield row._replace(fields=fields)


GRADES: Final = ("1", "0", "-1", "-2", "-3")
ABUSE_RULES: Final[Mapping[str, str]] = {"sex_harassment": "A3", "intellectual": "A1"}
"""The kinds of abuse that are harassment's; the others are about protected groups."""


def convabuse(row: Fields) -> Item | None:
    """A user's turn to a conversational agent, graded by some of eight experts; of repeated judgements the first counts.

    The grade 0, ambiguous, is not abusive, as in the set's own binary label; which rules hold is then unknown.
    """
    labels = []
    for judge in range(1, 9):
        grade = next((grade for grade in GRADES if _ticked(row, f"Annotator{judge}_is_abuse.{grade}")), None)
        if grade is None:
            continue
        kinds = (rule for kind, rule in ABUSE_RULES.items() if _ticked(row, f"Annotator{judge}_{kind}"))
        rules = no(HARASSMENT) if grade == "1" else yes(*kinds) if int(grade) < 0 else {}
        labels.append(Annotation(by=f"annotator-{judge}", value=grade, rules=rules))
    turns = (("agent", row["prev_agent"]), ("user", row["prev_user"]), ("agent", row["agent"]))
    thread = tuple(Turn(author=author, text=text) for author, raw in turns if (text := strip(raw).text))
    return Item(
        id=f"convabuse-{row['split']}-{row['example_id']}",
        text=strip(row["user"]).text,
        thread=thread,
        split=split_of(row),
        group=row["conv_id"],
        slices={"bot": row["bot"]},
        labels=tuple(labels),
    )


def _ticked(row: Fields, column: str) -> bool:
    """A cell holds one tick for each time that the annotator judged the row: ``1`` or ``1, 0``."""
    return str(row[column]).split(",")[0].strip() in ("1", "1.0")


def surge_toxicity(row: Fields) -> Item | None:
    """One label; what kind of toxicity it is, the set does not say."""
    text = strip(row["text"]).text
    label = Annotation(value=row["is_toxic"], rules=no(HARASSMENT) if row["is_toxic"] == "Not Toxic" else {})
    return Item(id=text_id(row["text"]), text=text, labels=(label,))


TOXIC_SPANS = Recipe(
    slug="toxic-spans",
    title="Toxic Spans, judgements per annotator",
    policy="harassment",
    source=Source(
        name="Toxic Spans",
        url="https://github.com/ipavlopoulos/toxic_spans",
        licence="CC0-1.0",
        citation="Pavlopoulos et al., SemEval-2021 Task 5: Toxic Spans Detection; Pavlopoulos et al., ACL 2022",
    ),
    scale=Scale(values=("toxic", "unclear"), violates=("toxic",), unknown=("unclear",)),
    files={"comments.csv": None, "annotations.csv": None, "spans.csv": None, "tsd_test.csv": None},
    item=toxic_spans,
    read=_toxic_span_rows,
    whole=True,
    note="measures evidence: all comments were found toxic before spans were marked, so there is no negative class",
)
CONTEXT_TOXICITY = Recipe(
    slug="context-toxicity",
    title="Toxicity with and without the parent comment",
    policy="harassment",
    source=Source(
        name="Context toxicity (CAT)",
        url="https://github.com/ipavlopoulos/context_toxicity",
        licence="Apache-2.0",
        citation="Pavlopoulos et al., Toxicity Detection: Does Context Really Matter?, ACL 2020",
    ),
    scale=Scale(kind="ordinal", values=tuple(CODES.values()), violates=("toxic",), unknown=("unsure",)),
    files={"gc.csv": "train", "gn.csv": "train", "cat_small.csv": "test"},
    item=context_toxicity,
    read=_context_rows,
    slices=("context",),
)
CONVABUSE = Recipe(
    slug="convabuse",
    title="ConvAbuse, grades per annotator",
    policy="harassment",
    source=Source(
        name="ConvAbuse",
        url="https://github.com/amandacurry/convabuse",
        licence="CC-BY-4.0",
        citation="Cercas Curry et al., ConvAbuse: Data, Analysis, and Benchmarks for Nuanced Abuse Detection, EMNLP 2021",
    ),
    scale=Scale(kind="ordinal", values=GRADES, violates=("-1", "-2", "-3")),
    files={"ConvAbuseEMNLPtrain.csv": "train", "ConvAbuseEMNLPvalid.csv": "train", "ConvAbuseEMNLPtest.csv": "test"},
    item=convabuse,
    slices=("bot",),
)
SURGE_TOXICITY = Recipe(
    slug="surge-toxicity",
    title="Surge AI toxicity sample",
    policy="harassment",
    source=Source(
        name="Surge AI toxicity sample",
        url="https://github.com/surge-ai/toxicity",
        licence="MIT",
        citation="Surge AI, The Toxicity Dataset",
    ),
    scale=Scale(values=("Not Toxic", "Toxic"), violates=("Toxic",)),
    files={"toxicity_en.csv": None},
    item=surge_toxicity,
)
