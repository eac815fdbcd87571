"""Suites on disk: what is written is read again, and everything that is wrong is told in one go, with its line."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.content import Turn
from moderator.errors import DataError, SuiteError
from moderator.suite import (
    Annotation,
    Item,
    Scale,
    Source,
    Span,
    Suite,
    Targets,
    known_rules,
    load_suite,
    policy_of,
    stream_suite,
    write_suite,
)

HEADER = """\
suite: own
version: 1.0.0
title: Own
policy: hate
contents: own.jsonl
scale: {kind: nominal, values: [yes, no, 1.0], violates: [yes]}
slices: [target]
targets: {f1: 0.75, rules: {H3: {recall: 0.8}}}
"""

words = st.text(max_size=12)
named = words.filter(bool)
rules = st.sampled_from(["H1", "H2", "H3"])
VALUES = ("no", "yes", "1.0", "ünklar: ja", "~")


@st.composite
def items(draw: st.DrawFn, number: int) -> Item:
    text = draw(words.map(lambda word: word + "x"))
    starts = st.integers(0, len(text) - 1)
    spans = starts.flatmap(
        lambda start: st.builds(Span, start=st.just(start), end=st.integers(start + 1, len(text)), rule=rules)
    )
    anonymous = st.builds(
        Annotation,
        value=st.sampled_from(VALUES),
        violates=st.sampled_from([None, "yes", "no", "unknown"]),
        rules=st.dictionaries(rules, st.sampled_from(["yes", "no", "unknown"]), max_size=2),
        spans=st.lists(spans, max_size=2).map(tuple),
        count=st.integers(1, 9),
    )
    by = draw(st.lists(named, unique=True, max_size=2))
    labels = [
        *draw(st.lists(anonymous, max_size=2)),
        *(Annotation(by=name, value=draw(st.sampled_from(VALUES))) for name in by),
    ]
    return Item(
        id=f"{draw(words)}{number}",
        text=text,
        thread=tuple(draw(st.lists(st.builds(Turn, text=words, author=words), max_size=2))),
        facts=draw(st.dictionaries(words, words, max_size=2)),
        split=draw(st.sampled_from(["train", "test"])),
        group=draw(words),
        slices={"target": draw(words)},
        labels=tuple(labels),
    )


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    return Suite(
        slug=draw(st.sampled_from(["own", "no", "2024-set"])),
        title=draw(words),
        policy="hate",
        source=draw(st.none() | st.builds(Source, name=words, url=words, licence=words, citation=words)),
        scale=Scale(kind="ordinal", values=VALUES, violates=("yes",), unknown=("1.0",)),
        slices=("target",),
        minimum=draw(st.integers(1, 99)),
        targets=Targets(
            metrics=draw(st.dictionaries(named.filter(lambda name: name not in ("rules", "metrics")), st.floats(0, 1))),
            rules=draw(st.dictionaries(rules, st.dictionaries(words, st.floats(-1, 1), max_size=2))),
        ),
        items=tuple(draw(items(number)) for number in range(draw(st.integers(1, 3)))),
    )


@given(suites())
def test_what_is_written_is_read_again_with_the_same_digest(suite: Suite) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        write_suite(suite, path)
        read = load_suite(path)
        assert read == suite
        assert read.digest == suite.digest
        header, streamed = stream_suite(path)
        assert (header, tuple(streamed)) == (suite.model_copy(update={"items": ()}), suite.items)


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\r", "\n", "\ufeff", "\xa0", "\t"])
def test_white_space_of_every_kind_stays_what_it_is(tmp_path: Path, character: str) -> None:
    word = f"ein{character}Wört"
    targets = Targets(metrics={word: 0.5})
    suite = Suite(slug="own", title=word, policy="hate", scale=Scale(values=(word,), violates=()), targets=targets)
    write_suite(suite, tmp_path / "own.yaml")
    assert load_suite(tmp_path / "own.yaml") == suite


def written(tmp_path: Path, *lines: Any, header: str = HEADER) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(header, encoding="utf-8")
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (tmp_path / "own.jsonl").write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(SuiteError) as raised:
        load_suite(path)
    return [str(problem).removeprefix(f"{path.parent}/") for problem in raised.value.problems]


ITEM = {"id": "1", "text": "some words", "slices": {"target": "x"}, "labels": [{"value": "yes"}]}


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, ITEM))
    assert suite.scale.values == ("yes", "no", "1.0")
    assert suite.targets.metrics == {"f1": 0.75}
    assert suite.minimum == 30
    assert suite.answer(suite.items[0].labels[0]) == "yes"


def test_all_problems_of_both_files_come_in_one_go_with_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ITEM,
        {**ITEM, "labels": [{"value": "yse"}]},
        "{",
        {"id": "2", "txet": "words"},
        {"id": "3", "text": "abc", "labels": [{"value": "no", "violates": "maybe", "spans": [{"start": 0, "end": 9}]}]},
        {
            "id": "4",
            "text": "abc",
            "labels": [{"value": "no", "rules": {"H99": "yes"}, "spans": [{"start": 0, "end": 1, "rule": "h3"}]}],
        },
        {"id": "5", "text": "abc", "labels": [{"by": "a", "value": "no"}, {"by": "a", "value": "no"}]},
        {"id": "6", "text": "abc", "labels": [{"value": "no", "spans": [{"start": 0, "end": 4}]}]},
        "[]",
    )
    found = problems(path)
    told = "\n".join(found)
    for expected in (
        "own.jsonl:2: id '1' is used twice\n  first used in line 1",
        "own.jsonl:2: value 'yse' is not on the scale (did you mean `yes`?)",
        "own.jsonl:3: not JSON",
        "own.jsonl:4: no `text`",
        "own.jsonl:4: unknown key `txet` (did you mean `text`?)",
        "own.jsonl:5: `labels.0.violates`",
        "one of `yes`, `no`, `unknown`",
        "own.jsonl:6: policy `hate` has no rule 'H99'",
        "own.jsonl:6: policy `hate` has no rule 'h3' (did you mean `H3`?)",
        "own.jsonl:7: annotator 'a' labels the item twice",
        "own.jsonl:8: span 0-4 is outside the text of 3 characters",
        "own.jsonl:9:",
    ):
        assert expected in told
    assert len({text.split(": ")[0] for text in found}) == 8


def test_problems_of_the_header_name_the_line_of_the_key(tmp_path: Path) -> None:
    header = (
        HEADER.replace("version: 1.0.0", "version: one")
        .replace("violates: [yes]", "violates: [maybe]")
        .replace("f1: 0.75", "f1: high")
        + "titel: twice\nsuite: again\nitems: []\n"
    )
    told = "\n".join(problems(written(tmp_path, ITEM, header=header)))
    for expected in (
        "own.yaml:2: `version`",
        "write `version: 1.0.0`",
        "own.yaml:6: `scale`: 'maybe' is not among the values",
        "own.yaml:8: `targets.metrics.f1`",
        "own.yaml:9: unknown key `titel` (did you mean `title`?)",
        "own.yaml:10: `suite` is given twice",
        "own.yaml:11: unknown key `items`",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "not a suite: it has no keys"),
        ("- a\n", "not a suite: it has no keys"),
        ("a: [\n", "not YAML"),
        (HEADER.replace("contents: own.jsonl\n", ""), "no `contents`"),
        (HEADER.replace("own.jsonl", "gone.jsonl"), "gone.jsonl: cannot be read"),
        (HEADER.replace("[target]", "[targte]"), "slices: no item has 'targte' (did you mean `target`?)"),
        (HEADER.replace("H3: {", "H33: {"), "targets: policy `hate` has no rule 'H33'"),
    ],
)
def test_what_is_wrong_with_the_header_is_one_message(tmp_path: Path, header: str, told: str) -> None:
    assert told in "\n".join(problems(written(tmp_path, ITEM, header=header)))


def test_a_file_that_is_not_there_or_not_utf8_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read" in problems(tmp_path / "none.yaml")[0]
    path = written(tmp_path, ITEM)
    (tmp_path / "own.jsonl").write_bytes(b'{"id": "\xff"}\n')
    assert "own.jsonl:1: not UTF-8" in problems(path)[0]
    path.write_bytes(b"suite: \xff")
    assert "not UTF-8" in problems(path)[0]


def test_a_stream_ends_at_the_first_line_that_is_no_item(tmp_path: Path) -> None:
    path = written(tmp_path, ITEM, {"id": "2"}, {**ITEM, "id": "3"})
    suite, stream = stream_suite(path)
    assert suite.items == ()
    assert next(stream).id == "1"
    with pytest.raises(SuiteError, match=r"own.jsonl:2: no `text`"):
        next(stream)


def test_rules_are_checked_only_where_the_policy_can_be_had(tmp_path: Path) -> None:
    line = {**ITEM, "labels": [{"value": "yes", "rules": {"Z9": "yes"}}]}
    header = HEADER.replace("policy: hate", "policy: of-ours").replace("targets", "# targets")
    assert load_suite(written(tmp_path, line, header=header)).items[0].labels[0].rules == {"Z9": "yes"}
    with pytest.raises(SuiteError, match="has no rule 'Z9'"):
        load_suite(written(tmp_path, line))


def test_a_policy_may_stand_beside_the_suite(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "policies" / "spam.md"
    (tmp_path / "mine.md").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    line = {**ITEM, "labels": [{"value": "yes", "rules": {"P1": "yes"}}]}
    path = written(tmp_path, line, header=HEADER.replace("policy: hate", "policy: mine.md").replace("targets", "# targets"))
    suite = load_suite(path)
    assert policy_of(suite, path) == tmp_path / "mine.md"
    assert "P1" in (known_rules(suite, path) or ())


def test_rules_of_overlays_are_the_policys(tmp_path: Path) -> None:
    line = {**ITEM, "facts": {"audience": "teen"}, "labels": [{"value": "yes", "rules": {"H7": "yes"}}]}
    assert load_suite(written(tmp_path, line)).items[0].facts == {"audience": "teen"}


def test_items_may_be_gzipped_and_a_torn_archive_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, header=HEADER.replace("own.jsonl", "own.jsonl.gz"))
    packed = gzip.compress((json.dumps(ITEM) + "\n").encode())
    (tmp_path / "own.jsonl.gz").write_bytes(packed)
    assert load_suite(path).items[0].id == "1"
    (tmp_path / "own.jsonl.gz").write_bytes(packed[:-12])
    assert "not a whole gzip file" in problems(path)[0]


def test_a_suite_is_not_written_over_its_items(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, ITEM))
    with pytest.raises(DataError, match=r"written as \.yaml"):
        write_suite(suite, tmp_path / "other.jsonl")
