"""Public sets about hate: one pure function a set, `row -> Item | None`, and what is declared about each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from moderator.content import Turn
from moderator.suite.model import Annotation, Answer, Item, Scale, Source, Span
from moderator.suite.prepare.recipe import HATE, Fields, Files, Recipe, Row, no, split_of, yes
from moderator.suite.prepare.texts import fifth, strip, strip_html


def hatexplain(row: Fields) -> Item | None:
    """Majority of three annotators; the rationale is the tokens that the majority marked, of no rule in particular."""
    if row["label"] is None:
        return None
    tokens = row["tokens"]
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token) + 1)
    stripped = strip(" ".join(tokens))
    marked = (stripped.span(starts[first], starts[last] - 1) for first, last in row.get("rationale_spans") or [])
    spans = tuple(Span(start=span[0], end=span[1]) for span in marked if span)
    rules = no(HATE) if row["label"] == "normal" else {}
    label = Annotation(value=row["label"], rules=rules, spans=spans)
    split, slices = "train" if row["split"] == "train" else "test", {"platform": row["source"]}
    return Item(id=row["post_id"], text=stripped.text, split=split, slices=slices, labels=(label,))


EDOS_RULES: Final[Mapping[str, str]] = {
    "1.1 threats of harm": "H1",
    "1.2 incitement and encouragement of harm": "H1",
    "2.1 descriptive attacks": "H4",
    "2.2 aggressive and emotive attacks": "H4",
    "2.3 dehumanising attacks & overt sexual objectification": "H2",
    "3.1 casual use of gendered slurs, profanities, and insults": "H3",
    "3.2 immutable gender differences and gender stereotypes": "H5",
    "3.3 backhanded gendered compliments": "H5",
    "3.4 condescending explanations or unwelcome advice": "H5",
    "4.1 supporting mistreatment of individual women": "H6",
    "4.2 supporting systemic discrimination against women as a group": "H6",
}


def edos(row: Fields) -> Item | None:
    """The finest label of the set, its vector; every vector of sexism is one rule's."""
    sexist = row["label_sexist"] == "sexist"
    value = row["label_vector"] if sexist else row["label_sexist"]
    rules = yes(EDOS_RULES[value]) if sexist else no(HATE)
    label = Annotation(value=value, rules=rules)
    return Item(id=row["rewire_id"], text=strip(row["text"]).text, split=split_of(row), labels=(label,))


MISOGYNY_RULES: Final[Mapping[str, str | None]] = {
    "Misogynistic_pejorative": "H3",
    "Derogation": "H4",
    "Treatment": None,  # its detail decides
    "Misogynistic_personal_attack": None,
}


def misogyny(row: Fields) -> Item | None:
    """An entry with all its `categories` (level_2, level_3, highlight) and the texts that it answers (`thread`)."""
    stripped = strip(row["body"])
    if stripped.text in ("", "[deleted]", "[removed]"):
        return None
    rules: dict[str, Answer] = {}
    spans: list[Span] = []
    # the kinds of misogyny come before the others, so that the label is the weightiest
    categories = sorted(row["categories"], key=lambda one: one[0] not in MISOGYNY_RULES)
    for kind, detail, highlight in categories:
        treatment = "H1" if detail.startswith("Threatening") else "H6"
        rule = MISOGYNY_RULES.get(kind) or (treatment if kind == "Treatment" else None)
        rules |= yes(rule)
        start = row["body"].find(highlight) if highlight and kind in MISOGYNY_RULES else -1
        if start >= 0 and (span := stripped.span(start, start + len(highlight))):
            spans.append(Span(start=span[0], end=span[1], rule=rule))
    value = categories[0][0]
    label = Annotation(value=value, rules=no(HATE) if value == "None_of_the_categories" else rules, spans=tuple(spans))
    thread = tuple(Turn(text=text) for text in (strip(text).text for text in row["thread"]) if text)
    return Item(
        id=row["entry_id"], text=stripped.text, thread=thread, split=split_of(row), group=row["link_id"], labels=(label,)
    )


def _misogyny_rows(recipe: Recipe, files: Files) -> Iterator[Row]:
    """One row an entry: the file has one for each category that an entry was given."""
    entries: dict[str, list[Row]] = defaultdict(list)
    for name in files.paths:
        for row in files.rows(name):
            entries[row.fields["entry_id"]].append(row)
    for first, *more in entries.values():
        categories = [(row.fields["level_2"], row.fields["level_3"], row.fields["highlight"]) for row in (first, *more)]
        thread: list[str] = []
        above = entries.get(first.fields["parent_id"][3:])
        while above and len(thread) < len(entries):
            thread.insert(0, above[0].fields["body"])
            above = entries.get(above[0].fields["parent_id"][3:])
        yield first._replace(fields={**first.fields, "categories": categories, "thread": thread})


def stormfront(row: Fields) -> Item | None:
    """A sentence; `thread` holds the sentences before it in the post that annotators asked for."""
    thread = tuple(Turn(text=strip(text).text) for text in row["thread"])
    label = Annotation(value=row["label"], rules=no(HATE) if row["label"] == "noHate" else {})
    post = row["file_id"].rpartition("_")[0]
    return Item(id=row["file_id"], text=strip(row["text"]).text, thread=thread, group=post, labels=(label,))


def _stormfront_rows(recipe: Recipe, files: Files) -> Iterator[Row]:
    posts: dict[str, list[str]] = defaultdict(list)
    for name in files.paths:
        for row in files.rows(name):
            before = posts[row.fields["file_id"].rpartition("_")[0]]
            asked = int(row.fields["num_contexts"])
            yield row._replace(fields={**row.fields, "thread": before[-asked:] if asked else []})
            before.append(row.fields["text"])


HATEMOJI_RULES: Final[Mapping[str, str]] = {
    "derogation": "H4", "animosity": "H5", "dehumanizinglanguage": "H2", "threateninglanguage": "H1",
}  # fmt: skip


def hatemoji(row: Fields) -> Item | None:
    """Contrast pairs: the two texts of a pair are one group."""
    rules = no(HATE) if row["type"] == "none" else yes(HATEMOJI_RULES.get(row["type"]))
    label = Annotation(value=row["type"], rules=rules)
    pair = min(int(row["entry_id"]), int(row["matched_id"])) if row["matched_id"] else int(row["entry_id"])
    targets = re.findall(r"'([^']+)'", row["target"])
    return Item(
        id=f"hatemoji-{row['entry_id']}",
        text=strip(row["text"]).text,
        split=split_of(row),
        group=f"pair-{pair}",
        slices={"set": row["set"], "target": targets[0] if len(targets) == 1 else "several"},
        labels=(label,),
    )


VOTES: Final = ("hate_speech", "offensive_language", "neither")


def davidson(row: Fields) -> Item | None:
    """Votes of three or more annotators without ids."""
    votes = {value: int(row[value]) for value in VOTES}
    labels = (
        Annotation(value=value, count=count, rules=no(HATE) if value == "neither" else {})
        for value, count in votes.items()
        if count
    )
    text = strip_html(row["tweet"]).text
    return Item(id=f"davidson-{row['']}", text=text, split=fifth(text), labels=tuple(labels))


HATEXPLAIN = Recipe(
    slug="hatexplain",
    title="HateXplain",
    policy="hate",
    source=Source(
        name="HateXplain",
        url="https://github.com/hate-alert/HateXplain",
        licence="MIT",
        citation="Mathew et al., HateXplain: A Benchmark Dataset for Explainable Hate Speech Detection, AAAI 2021",
    ),
    scale=Scale(values=("hatespeech", "offensive", "normal"), violates=("hatespeech",)),
    files={"train_val.jsonl": None},
    item=hatexplain,
    left_out="without a majority label",
    slices=("platform",),
    test="val",
)
EDOS = Recipe(
    slug="edos",
    title="EDOS, explainable detection of online sexism",
    policy="hate",
    source=Source(
        name="EDOS",
        url="https://github.com/rewire-online/edos",
        licence="CC0-1.0",
        citation="Kirk et al., SemEval-2023 Task 10: Explainable Detection of Online Sexism, SemEval 2023",
    ),
    scale=Scale(values=("not sexist", *EDOS_RULES), violates=tuple(EDOS_RULES)),
    files={"edos_labelled_aggregated.csv": None},
    item=edos,
)
MISOGYNY = Recipe(
    slug="misogyny",
    title="Online misogyny, expert annotations",
    policy="hate",
    source=Source(
        name="Online misogyny EACL 2021",
        url="https://github.com/ellamguest/online-misogyny-eacl2021",
        licence="MIT",
        citation="Guest et al., An Expert Annotated Dataset for the Detection of Online Misogyny, EACL 2021",
    ),
    scale=Scale(
        values=(
            *("None_of_the_categories", "Nonmisogynistic_personal_attack", "Counter_speech"),
            *MISOGYNY_RULES,
        ),
        violates=tuple(MISOGYNY_RULES),
    ),
    files={"final_labels.csv": None},
    item=misogyny,
    read=_misogyny_rows,
    left_out="deleted or removed",
)
STORMFRONT = Recipe(
    slug="stormfront",
    title="Hate speech from a white supremacist forum",
    policy="hate",
    source=Source(
        name="Hate speech dataset from a white supremacist forum",
        url="https://github.com/Vicomtech/hate-speech-dataset",
        licence="CC-BY-SA-3.0-ES",
        citation="de Gibert et al., Hate Speech Dataset from a White Supremacy Forum, ALW2 2018",
    ),
    scale=Scale(values=("noHate", "hate", "relation", "idk/skip"), violates=("hate",), unknown=("relation", "idk/skip")),
    files={"sentences.jsonl": None},
    item=stormfront,
    read=_stormfront_rows,
    note="for evaluation only: its licence is share-alike, and all of it is the test",
)
HATEMOJI = Recipe(
    slug="hatemoji",
    title="HatemojiBuild",
    policy="hate",
    source=Source(
        name="HatemojiBuild",
        url="https://github.com/HannahKirk/Hatemoji",
        licence="CC-BY-4.0",
        citation="Kirk et al., Hatemoji: A Test Suite and Adversarially-Generated Dataset, NAACL 2022",
    ),
    scale=Scale(values=("none", *HATEMOJI_RULES), violates=tuple(HATEMOJI_RULES)),
    files={"HatemojiBuild_train.csv": "train", "HatemojiBuild_validation.csv": "train", "HatemojiBuild_test.csv": "test"},
    item=hatemoji,
    slices=("set", "target"),
)
DAVIDSON = Recipe(
    slug="davidson",
    title="Hate speech and offensive language",
    policy="hate",
    source=Source(
        name="Hate speech and offensive language",
        url="https://github.com/t-davidson/hate-speech-and-offensive-language",
        licence="MIT",
        citation="Davidson et al., Automated Hate Speech Detection and the Problem of Offensive Language, ICWSM 2017",
    ),
    scale=Scale(values=VOTES, violates=VOTES[:1]),
    files={"labeled_data.csv": None},
    item=davidson,
    note="known dialect bias: harmless posts in African American English are often labelled offensive",
)
