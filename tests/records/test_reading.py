"""Contents out of records: which column is which field, what each may hold, and the ids of those that brought none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderator.content import Content, Turn, text_id
from moderator.errors import DataError
from moderator.records import FACTS, open_source

Read = Callable[..., list[Content]]
Write = Callable[[str, bytes | str], Path]

BUY = hashlib.sha256(b"buy").hexdigest()[:16]


def refused(read: Read, *arguments: Any, **options: Any) -> str:
    """The message of the `DataError` that reading ends with."""
    with pytest.raises(DataError) as caught:
        read(*arguments, **options)
    return str(caught.value)


def test_a_record_makes_a_content(read_records: Read) -> None:
    """Each field is read from the column of its name, and columns that are no field are left out."""
    record = {
        "id": "a1",
        "text": "hello",
        "thread": ["first"],
        "facts": {"verified": "yes"},
        "images": ["cat.png"],
        "policies": ["spam"],
        "author": "somebody",
    }
    assert read_records(record) == [
        Content(
            id="a1",
            text="hello",
            thread=(Turn(text="first"),),
            facts={"verified": "yes"},
            images=("cat.png",),
            policies=("spam",),
        )
    ]


class TestColumns:
    def test_map_reads_a_field_from_another_column(self, read_records: Read) -> None:
        mapping = {"text": "body", "id": "post", "surface": "where"}
        assert read_records({"body": "hi", "post": 7, "where": "comment", "text": "not this"}, mapping=mapping) == [
            Content(id="7", text="hi", facts={"surface": "comment"})
        ]

    def test_map_of_an_unknown_field_names_the_fields(self) -> None:
        with pytest.raises(
            DataError, match=r"map: no field 'body'\n  fields are id, text, thread, facts, images, policies, surface"
        ):
            open_source([], mapping={"body": "text"})

    def test_a_missing_text_names_the_fields_there_are(self, read_records: Read) -> None:
        message = refused(read_records, {"id": "1", "body": "hi"})
        assert "records.jsonl:1: no field 'text'; fields are id, body\n  say which one it is: --map text=FIELD" in message

    def test_a_text_missing_further_down_is_an_error_too(self, read_records: Read) -> None:
        assert "records.jsonl:2: no field 'text'" in refused(read_records, {"text": "a"}, {"body": "b"})

    @pytest.mark.parametrize("options", [{"mapping": {"surface": "srf"}}, {"keep": ["srf"]}, {"mapping": {"id": "srf"}}])
    def test_a_column_named_on_purpose_must_be_there(self, read_records: Read, options: dict[str, Any]) -> None:
        """A slip in --map or --keep would otherwise judge everything under other ids, or other variants, in silence."""
        assert "records.jsonl:1: no field 'srf'; fields are text, surface" in refused(
            read_records, {"text": "a", "surface": "post"}, **options
        )

    def test_a_column_named_on_purpose_may_be_missing_further_down_unless_it_is_the_id(self, read_records: Read) -> None:
        records = [{"text": "a", "where": "post", "key": "1"}, {"text": "b", "key": "2"}]
        assert [content.facts for content in read_records(*records, mapping={"surface": "where"})] == [{"surface": "post"}, {}]
        assert "records.jsonl:2: no field 'where'" in refused(read_records, *records, mapping={"id": "where"})

    def test_keep_copies_columns_as_they_are(self, read_records: Read) -> None:
        record = {"text": "a", "note": {"by": ["x", 1.5, None]}, "other": 1}
        assert read_records(record, keep=["note"])[0].metadata == {"note": {"by": ["x", 1.5, None]}}


class TestIds:
    def test_whole_numbers_are_ids(self, read_records: Read) -> None:
        ids = [
            content.id for content in read_records({"id": 7, "text": "a"}, {"id": 2**70, "text": "b"}, {"id": -1, "text": "c"})
        ]
        assert ids == ["7", "1180591620717411303424", "-1"]

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "1.5", "1.0", "true", "[1]", '{"a": 1}'])
    def test_other_values_are_not(self, write: Write, read: Read, value: str) -> None:
        """``str(nan)`` or ``"1.0"`` for 1 would make ids that join with nothing."""
        path = write("a.jsonl", f'{{"id": {value}, "text": "a"}}\n')
        assert "a.jsonl:1: field 'id' is" in refused(read, path)

    def test_an_integer_too_long_to_read_is_an_error_of_its_line(self, write: Write, read: Read) -> None:
        path = write("a.jsonl", f'{{"id": {"9" * 5000}, "text": "a"}}\n')
        assert "a.jsonl:1: not JSON: " in refused(read, path)

    def test_without_one_it_is_made_from_the_text(self, read_records: Read) -> None:
        """Null, an empty string and no column at all are no id; the same text has the same id in every file."""
        assert [content.id for content in read_records({"text": "buy"})] == [BUY]
        ids = [content.id for content in read_records({"id": None, "text": "a"}, {"id": "", "text": "buy"})]
        assert ids == [text_id("a"), BUY]

    def test_repeats_of_a_text_are_numbered(self, read_records: Read) -> None:
        ids = [content.id for content in read_records(*({"text": "buy"} for _ in range(70)))]
        assert ids == [BUY, *(f"{BUY}-{number}" for number in range(2, 71))]

    def test_numbers_go_on_over_files_and_around_ids_that_were_given(self, write: Write, read: Read) -> None:
        one = write("1.txt", "buy\nbuy\n")
        two = write("2.jsonl", json.dumps({"id": f"{BUY}-3", "text": "x"}) + '\n{"text": "buy"}\n')
        assert [content.id for content in read(one, two)] == [BUY, f"{BUY}-2", f"{BUY}-3", f"{BUY}-4"]

    def test_the_same_id_twice_is_an_error(self, write: Write, read: Read) -> None:
        one, two = (
            write("1.jsonl", '{"id": "a", "text": "x"}\n'),
            write("2.jsonl", '{"id": "b", "text": "x"}\n{"id": "a", "text": "y"}\n'),
        )
        assert "2.jsonl:2: id 'a' was used before" in refused(read, one, two)
        assert "1.jsonl:1: id 'a' was used before" in refused(read, one, one)

    def test_a_number_and_its_text_are_the_same_id(self, read_records: Read) -> None:
        assert "id '7' was used before" in refused(read_records, {"id": 7, "text": "x"}, {"id": "7", "text": "y"})


class TestFacts:
    def test_columns_and_object_become_facts(self, read_records: Read) -> None:
        record = {"text": "a", "surface": "post", "audience": "teen", "jurisdiction": "DE", "locale": "de", "facts": {"age": 3}}
        assert read_records(record)[0].facts == {
            "surface": "post",
            "audience": "teen",
            "jurisdiction": "DE",
            "locale": "de",
            "age": "3",
        }

    def test_the_object_wins_over_the_column(self, read_records: Read) -> None:
        assert read_records({"text": "a", "surface": "post", "facts": {"surface": "comment"}})[0].facts == {
            "surface": "comment"
        }

    def test_nothing_is_no_fact(self, read_records: Read) -> None:
        record = {"text": "a", "surface": "", "audience": None, "facts": {"locale": None}}
        assert read_records(record)[0].facts == {}

    def test_json_values_are_written_as_in_json(self, read_records: Read) -> None:
        assert read_records({"text": "a", "facts": {"paid": True, "rate": 1.5}})[0].facts == {"paid": "true", "rate": "1.5"}

    @pytest.mark.parametrize(
        ("record", "what"),
        [
            ({"surface": ["post"]}, "surface: a single value was expected, not list"),
            ({"facts": {"age": {"min": 3}}}, "age: a single value was expected, not dict"),
            ({"facts": ["post"]}, "facts: an object was expected, not list"),
            ({"facts": "post"}, "facts: not JSON: "),
            ({"facts": 3}, "facts: an object was expected, not int"),
        ],
    )
    def test_wrong_types(self, read_records: Read, record: dict[str, Any], what: str) -> None:
        assert f"records.jsonl:1: {what}" in refused(read_records, {"text": "a", **record})


class TestThread:
    @pytest.mark.parametrize(
        "thread",
        [
            ["hi", "ho"],
            [{"text": "hi"}, {"text": "ho", "author": None}],
            ["hi", {"text": "ho", "posted": "2026-01-01"}],
            '["hi", {"text": "ho"}]',
        ],
    )
    def test_strings_objects_and_json_text(self, read_records: Read, thread: object) -> None:
        assert read_records({"text": "a", "thread": thread})[0].thread == (Turn(text="hi"), Turn(text="ho"))

    def test_authors_are_kept(self, read_records: Read) -> None:
        assert read_records({"text": "a", "thread": [{"text": "hi", "author": "ann"}]})[0].thread == (
            Turn(text="hi", author="ann"),
        )

    @pytest.mark.parametrize("thread", [None, "", []])
    def test_none(self, read_records: Read, thread: object) -> None:
        assert read_records({"text": "a", "thread": thread})[0].thread == ()

    @pytest.mark.parametrize(
        ("thread", "what"),
        [
            ("hello", "thread: not JSON: "),
            ('{"text": "a"}', "thread: a list of messages was expected, not dict"),
            (5, "thread: a list of messages was expected, not int"),
            ([5], "thread: a message is a string or "),
            ([{"body": "a"}], "thread: a message is a string or "),
            ([{"text": None}], "thread: a message is a string or "),
        ],
    )
    def test_wrong_types(self, read_records: Read, thread: object, what: str) -> None:
        assert f"records.jsonl:1: {what}" in refused(read_records, {"text": "a", "thread": thread})


class TestLists:
    @pytest.mark.parametrize("policies", [["hate", "spam"], "hate, spam", '["hate", "spam"]', ["hate", "spam", "hate"]])
    def test_policies_are_a_list_or_names_with_commas(self, read_records: Read, policies: object) -> None:
        """A policy named twice is one policy: two outcomes of one content under one policy would be one too many."""
        assert read_records({"text": "a", "policies": policies})[0].policies == ("hate", "spam")

    @pytest.mark.parametrize(("field", "value"), [("policies", 5), ("policies", [5]), ("images", {"a": 1}), ("images", "[1")])
    def test_wrong_types(self, read_records: Read, field: str, value: object) -> None:
        assert f"records.jsonl:1: {field}: " in refused(read_records, {"text": "a", field: value})


class TestText:
    def test_null_is_an_empty_text(self, read_records: Read) -> None:
        """Which the judge answers with a failure: one deleted post does not end a run of a million."""
        assert read_records({"id": "a", "text": None}) == [Content(id="a", text="")]

    @pytest.mark.parametrize(("value", "kind"), [(5, "int"), (["a"], "list"), ({"a": 1}, "dict"), (True, "bool")])
    def test_wrong_types(self, read_records: Read, value: object, kind: str) -> None:
        assert f"records.jsonl:1: field 'text' is {kind}, not text" in refused(read_records, {"text": value})

    def test_a_million_characters(self, read_records: Read) -> None:
        assert len(read_records({"text": "ab" * 500_000})[0].text) == 1_000_000

    def test_half_a_surrogate_pair_becomes_one_replacement_character(self, write: Write, read: Read) -> None:
        """No UTF-8 file can hold it, so the outcome could not be written; a whole pair is the character it stands for."""
        line = (
            r'{"id": "i\uDC00", "text": "a\ud800b \ud83d\ude00", "thread": ["\udfff"], "facts": {"k": "\udabc"},'
            r' "n": {"\ud800": 1}}'
        )
        assert read(write("a.jsonl", line), keep=["n"]) == [
            Content(
                id="i\ufffd",
                text="a\ufffdb 😀",
                thread=(Turn(text="\ufffd"),),
                facts={"k": "\ufffd"},
                metadata={"n": {"\ufffd": 1}},
            )
        ]

    def test_half_a_pair_in_json_inside_csv(self, write: Write, read: Read) -> None:
        path = write("a.csv", 'text,thread\na,"[""\\ud800""]"\n')
        assert read(path)[0].thread == (Turn(text="\ufffd"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(record=st.dictionaries(st.sampled_from(["id", "text", "thread", "facts", "images", "policies", *FACTS, "x"]), JSON))
def test_any_record_is_a_content_or_a_data_error(tmp_path: Path, record: dict[str, Any]) -> None:
    """No JSON object ends reading in any other way, and what is read can be written again."""
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    try:
        contents = list(open_source([str(path)], keep=["x"] if "x" in record else []))
        message = ""
    except DataError as error:
        contents, message = [], str(error)
    if contents:
        assert Content.model_validate_json(contents[0].model_dump_json()).id
    else:
        assert message.startswith(f"{path}:1: ")
