"""Public sets: each in its raw format, with the traps that its columns hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moderator.errors import DataError
from moderator.suite import Item
from tests.suite.prepare.conftest import Write, by_id, label, prepared


def quotes(item: Item) -> list[str]:
    return [item.text[span.start : span.end] for label in item.labels for span in label.spans]


def test_hatexplain_token_rationales_become_character_spans(lines: Write) -> None:
    row = {"post_id": "1_gab", "split": "val", "source": "gab", "tokens": ["<user>", "all", "of", "them", "are", "bad"]}
    folder = lines(
        "train_val.jsonl",
        {**row, "label": "hatespeech", "rationale_spans": [[1, 3], [5, 6]]},
        {**row, "post_id": "2_gab", "split": "train", "tokens": ["good", "day"], "label": "normal"},
        {**row, "post_id": "3_gab", "split": "train", "tokens": ["oh"], "label": None, "label_ambiguous": ["normal"]},
    )
    result = prepared("hatexplain", folder)
    items = by_id(result.suite)
    assert items["1_gab"].text == "@user all of them are bad"
    assert quotes(items["1_gab"]) == ["all of", "bad"]
    assert (items["1_gab"].split, items["1_gab"].slices) == ("test", {"platform": "gab"})
    assert result.suite.answer(label(items["1_gab"])) == "yes"
    assert label(items["1_gab"]).rules == {}, "which rule it was, the set does not say"
    assert label(items["2_gab"]).rules == dict.fromkeys(("H1", "H2", "H3", "H4", "H5", "H6"), "no")
    assert result.left_out == {"without a majority label": 1}


def test_hatexplain_names_its_test_part_as_the_publisher_does(lines: Write) -> None:
    row = {"post_id": "1", "split": "val", "source": "gab", "tokens": ["good", "day"], "label": "normal"}
    folder = lines("train_val.jsonl", row)
    assert prepared("hatexplain", folder, "test").suite.slug == "hatexplain-val"
    assert prepared("hatexplain", folder, "all").suite.slug == "hatexplain"


def test_edos_vectors_are_rules_and_what_is_not_sexist_breaks_none(table: Write) -> None:
    folder = table(
        "edos_labelled_aggregated.csv.gz",
        ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split"),
        ("s-1", "first [USER]", "sexist", "2. derogation", "2.1 descriptive attacks", "test"),
        ("s-2", "second", "sexist", "4. prejudiced discussions", "4.1 supporting mistreatment of individual women", "dev"),
        ("s-3", "third", "not sexist", "none", "none", "train"),
        ("s-4", "fourth", "sexist", "9. new", "9.9 unheard of", "train"),
    )
    result = prepared("edos", folder)
    items = by_id(result.suite)
    assert [items[name].split for name in ("s-1", "s-2", "s-3")] == ["test", "train", "train"]
    assert [label(items[name]).rules.get("H4") for name in ("s-1", "s-2", "s-3")] == ["yes", None, "no"]
    assert [result.suite.answer(label(items[name])) for name in ("s-1", "s-2", "s-3")] == ["yes", "yes", "no"]
    assert items["s-1"].text == "first @user"
    assert [(problem.line, "9.9" in problem.what) for problem in result.problems] == [(5, True)]


def toxic_spans(table: Write) -> Path:
    table("comments.csv.gz", ("comment_id", "comment_text"), (7, "Hi @some_name, you goose and duck"), (8, "You swan"))
    table(
        "annotations.csv",
        ("annotation", "comment_id", "worker", "country", "all toxic", "not toxic"),
        *((0, 7, 11, "USA", "False", "False"), (1, 7, 12, "USA", "True", "True"), (2, 7, 13, "VEN", "False", "True")),
        *((3, 7, 14, "USA", "False", "False"), (4, 7, 11, "USA", "True", "True"), (5, 8, 11, "USA", "True", "False")),
    )
    table(
        "spans.csv",
        ("annotation", "type", "start", "end"),
        *((0, "Insult", 19, 24), (0, "Threat", 29, 33), (2, "Insult", 19, 24), (3, "Profane/Obscene", 29, 33)),
        *((3, "Insu", 19, 24), (3, "Insult", 29, 99)),
    )
    return table("tsd_test.csv", ("spans", "text"), ("[4]", "Hi @some_name, you goose and duck"))


def test_toxic_spans_keep_each_annotators_spans_where_their_words_are(table: Write) -> None:
    items = by_id(prepared("toxic-spans", toxic_spans(table)).suite)
    goose = items["comment-7"]
    assert goose.text == "Hi @user, you goose and duck"
    assert (goose.split, items["comment-8"].split) == ("test", "train")
    first, _, _, fourth = goose.labels
    assert [(goose.text[span.start : span.end], span.rule) for span in first.spans] == [("goose", "A1"), ("duck", "A2")]
    assert [(goose.text[span.start : span.end], span.rule) for span in fourth.spans] == [("duck", None), ("goose", None)]
    assert first.rules == {"A1": "yes", "A2": "yes"}


def test_toxic_spans_whoever_ticked_both_boxes_said_nothing(table: Write) -> None:
    suite = prepared("toxic-spans", toxic_spans(table)).suite
    judged = [(label.by, label.value, suite.answer(label)) for label in by_id(suite)["comment-7"].labels]
    assert judged == [
        ("worker-11", "toxic", "yes"),
        ("worker-12", "unclear", "unknown"),
        ("worker-13", "unclear", "unknown"),
        ("worker-14", "toxic", "unknown"),
    ]
    assert label(by_id(suite)["comment-8"]).value == "toxic"


def test_toxic_spans_reports_what_does_not_fit_with_its_line(table: Write) -> None:
    told = [
        (Path(problem.file).name, problem.line, problem.what)
        for problem in prepared("toxic-spans", toxic_spans(table)).problems
    ]
    assert told == [
        ("annotations.csv", 6, "worker 11 judges the comment twice"),
        ("spans.csv", 6, "unknown type of span 'Insu'; the span is kept without it"),
        ("spans.csv", 7, "span 29-99 is outside the text of 33 characters"),
    ]


def test_toxic_spans_needs_all_of_its_files(table: Write) -> None:
    folder = toxic_spans(table)
    (folder / "spans.csv").unlink()
    with pytest.raises(DataError, match=r"has no spans\.csv"):
        prepared("toxic-spans", folder)


def test_context_toxicity_gives_a_comment_alone_and_the_same_under_its_parent(table: Write) -> None:
    table("gc.csv", ("id", "text", "parent", "label", "api"), ("1.2", "indeed", "is it so?", "1", "0.1"))
    table("gn.csv", ("id", "text", "label", "api", "parent"), ("3.4", "not at all", "0", "0.1", ""))
    folder = table(
        "cat_small.csv",
        ("text", "parent_text", "tox_codes_oc", "label_oc", "tox_codes_ic", "label_ic"),
        ("of course", "you would say that", "[0.  0.  0.5]", "0", "[1. 0. 1. 1.]", "1"),
    )
    suite = prepared("context-toxicity", folder).suite
    alone, under = suite.split("test")
    assert (alone.thread, [turn.text for turn in under.thread]) == ((), ["you would say that"])
    assert {label.value: label.count for label in alone.labels} == {"not toxic": 2, "unsure": 1}
    assert {label.value: label.count for label in under.labels} == {"not toxic": 1, "toxic": 3}
    assert alone.cluster == under.cluster
    assert [item.slices["context"] for item in suite.items] == ["parent", "none", "none", "parent"]
    assert [label(item).value for item in suite.split("train")] == ["toxic", "not toxic"]


def convabuse_row(example: str, user: str, judgements: dict[int, dict[str, str]]) -> list[str]:
    row = [example, "conv-9", "How are you?", "well", "Go on.", user, "Bot"]
    for judge in range(1, 9):
        given = judgements.get(judge, {})
        row += [given.get(column, "0" if given else "") for column in CONVABUSE]
    return row


CONVABUSE = (
    "is_abuse.1",
    "is_abuse.0",
    "is_abuse.-1",
    "is_abuse.-2",
    "is_abuse.-3",
    "sex_harassment",
    "intellectual",
    "transphobic",
)
CONVABUSE_HEADER = (
    *("example_id", "conv_id", "prev_agent", "prev_user", "agent", "user", "bot"),
    # the published files name one column of annotators 6, 7 and 8 alike
    *(f"Annotator{min(judge, 6) if name == 'transphobic' else judge}_{name}" for judge in range(1, 9) for name in CONVABUSE),
)


def test_convabuse_keeps_every_annotators_grade(table: Write) -> None:
    judgements = {2: {"is_abuse.1": "1"}, 7: {"is_abuse.-2": "1", "intellectual": "1"}, 8: {"is_abuse.0": "1.0"}}
    folder = table("ConvAbuseEMNLPtest.csv", CONVABUSE_HEADER, convabuse_row("4", "you are a toaster", judgements))
    result = prepared("convabuse", folder)
    (item,) = result.suite.items
    assert [(one.by, one.value, result.suite.answer(one)) for one in item.labels] == [
        ("annotator-2", "1", "no"),
        ("annotator-7", "-2", "yes"),
        ("annotator-8", "0", "no"),
    ]
    assert item.labels[0].rules["A1"] == "no"
    assert item.labels[1].rules == {"A1": "yes"}
    assert [turn.author for turn in item.thread] == ["agent", "user", "agent"]
    assert (item.group, item.slices) == ("conv-9", {"bot": "Bot"})
    assert "several columns are named 'Annotator6_transphobic'" in result.problems[0].what


def test_convabuse_the_first_of_repeated_judgements_counts(table: Write) -> None:
    repeated = {1: {"is_abuse.1": "0, 1", "is_abuse.-1": "1, 0", "is_abuse.0": "0, 0", "sex_harassment": "1, 0"}}
    folder = table("ConvAbuseEMNLPtest.csv", CONVABUSE_HEADER, convabuse_row("4", "you are a toaster", repeated))
    (item,) = prepared("convabuse", folder).suite.items
    assert (label(item).value, label(item).rules) == ("-1", {"A3": "yes"})


MISOGYNY = (
    *("entry_id", "link_id", "parent_id", "entry_utc", "subreddit", "author", "body", "image", "label_date", "week", "group"),
    *("sheet_order", "level_1", "level_2", "level_3", "strength", "highlight", "split"),
)


def misogyny_row(
    entry: str, parent: str, body: str, kind: str, detail: str = "", highlight: str = "", split: str = "test"
) -> Any:
    level = "Nonmisogynistic" if kind == "None_of_the_categories" else "Misogynistic"
    return (entry, "t3_a", parent, 1, "sub", "A Name", body, "", "", 1, 1, "(1,)", level, kind, detail, "", highlight, split)


def test_misogyny_entries_have_their_thread_and_all_their_categories(table: Write) -> None:
    folder = table(
        "final_labels.csv.gz",
        MISOGYNY,
        misogyny_row("a", "", "the post", "None_of_the_categories"),
        misogyny_row("b", "t3_a", "an answer", "None_of_the_categories"),
        misogyny_row("c", "t1_b", "a claim and another", "Derogation", "Other", "a claim"),
        misogyny_row("c", "t1_b", "a claim and another", "Treatment", "Threatening_Privacy", "another"),
        misogyny_row("d", "t1_b", "[deleted]", "None_of_the_categories"),
    )
    result = prepared("misogyny", folder)
    items = by_id(result.suite)
    assert set(items) == {"a", "b", "c"}
    assert [turn.text for turn in items["c"].thread] == ["the post", "an answer"]
    assert label(items["c"]).rules == {"H4": "yes", "H1": "yes"}
    assert [(items["c"].text[span.start : span.end], span.rule) for span in label(items["c"]).spans] == [
        ("a claim", "H4"),
        ("another", "H1"),
    ]
    assert {item.group for item in result.suite.items} == {"t3_a"}
    assert result.left_out == {"deleted or removed": 1}
    assert "A Name" not in result.suite.model_dump_json()


def test_stormfront_gives_the_sentences_that_annotators_asked_for(lines: Write) -> None:
    row = {"user_id": "9", "subforum_id": "1", "sampled_split": None}
    folder = lines(
        "sentences.jsonl",
        {**row, "file_id": "5_1", "num_contexts": "0", "label": "noHate", "text": "first"},
        {**row, "file_id": "5_2", "num_contexts": "0", "label": "relation", "text": "second"},
        {**row, "file_id": "5_3", "num_contexts": "1", "label": "hate", "text": "third"},
        {**row, "file_id": "6_1", "num_contexts": "2", "label": "idk/skip", "text": "other"},
    )
    suite = prepared("stormfront", folder, "test").suite
    assert [[turn.text for turn in item.thread] for item in suite.items] == [[], [], ["second"], []]
    assert [suite.answer(label(item)) for item in suite.items] == ["no", "unknown", "yes", "unknown"]
    assert [item.group for item in suite.items] == ["5", "5", "5", "6"]


HATEMOJI = (
    *(
        "entry_id",
        "text",
        "type",
        "target",
        "round.base",
        "round.set",
        "set",
        "split",
        "label_gold",
        "matched_text",
        "matched_id",
    ),
)


def test_hatemoji_contrast_pairs_are_groups(table: Write) -> None:
    first = ("1", "I 🙂 cats", "none", "['none']", "5", "5b", "perturbation", "test", "0", "I 🙁 dogs", "0")
    second = ("0", "I 🙁 dogs", "dehumanizinglanguage", "['a', 'b']", "5", "5a", "original", "train", "1", "I 🙂 cats", "1")
    table("HatemojiBuild_test.csv", HATEMOJI, first)
    result = prepared("hatemoji", table("HatemojiBuild_train.csv", HATEMOJI, second))
    test, train = (by_id(result.suite)[f"hatemoji-{number}"] for number in (1, 0))
    assert (test.split, train.split) == ("test", "train")
    assert test.group == train.group == "pair-0"
    assert label(train).rules == {"H2": "yes"}
    assert train.slices == {"set": "original", "target": "several"}


def test_hatemoji_a_training_text_that_is_an_emoji_away_from_the_test_is_dropped(table: Write) -> None:
    first = ("1", "I 🙂 them", "none", "['none']", "5", "5b", "perturbation", "test", "0", "I 🙁 them", "0")
    second = ("0", "I 🙁 them", "derogation", "['a']", "5", "5a", "original", "train", "1", "I 🙂 them", "1")
    table("HatemojiBuild_test.csv", HATEMOJI, first)
    result = prepared("hatemoji", table("HatemojiBuild_train.csv", HATEMOJI, second))
    assert ([item.id for item in result.suite.items], result.duplicates) == (["hatemoji-1"], 1)


def test_davidson_votes_are_counted(table: Write) -> None:
    folder = table(
        "labeled_data.csv",
        ("", "count", "hate_speech", "offensive_language", "neither", "class", "tweet"),
        (0, 3, 1, 2, 0, 1, "RT @some_name: rain &amp; wind &#128514;"),
    )
    suite = prepared("davidson", folder).suite
    (item,) = suite.items
    assert {one.value: one.count for one in item.labels} == {"hate_speech": 1, "offensive_language": 2}
    assert item.text == "RT @user: rain & wind 😂"
    assert [suite.answer(one) for one in item.labels] == ["yes", "no"]


def test_sms_quotes_are_characters_and_the_split_is_by_hash(lines: Write) -> None:
    messages = [f'{"spam" if number % 2 else "ham"}\t"message {number}, he said' for number in range(40)]
    result = prepared("sms-spam", lines("sms.tsv", *messages, "no label here"))
    assert len(result.suite.items) == 40
    assert result.suite.items[3].text == '"message 3, he said'
    assert {item.split for item in result.suite.items} == {"train", "test"}
    assert [problem.line for problem in result.problems] == [41]


def test_youtube_one_video_is_the_test(table: Write) -> None:
    header = ("COMMENT_ID", "DATE", "CONTENT", "CLASS")
    table("Youtube01-Psy.csv", header, ("z1", "2013", "nice<br />song", "0"), ("z2", "2013", "SEE my channel!", "1"))
    folder = table("Youtube05-Shakira.csv.gz", header, ("z3", "2015", "see my channel\ufeff", "1"))
    result = prepared("youtube-spam", folder)
    assert [(item.id, item.text, item.split) for item in result.suite.items] == [
        ("z1", "nice\nsong", "train"),
        ("z3", "see my channel", "test"),
    ]
    assert result.duplicates == 1


def test_surge_the_second_of_a_text_has_an_id_of_its_own(table: Write) -> None:
    folder = table("toxicity_en.csv", ("text", "is_toxic"), ("same", "Toxic"), ("same", "Not Toxic"), ("", "Toxic"))
    result = prepared("surge-toxicity", folder)
    first, second = result.suite.items
    assert second.id == f"{first.id}-2"
    assert [result.suite.answer(label(item)) for item in (first, second)] == ["yes", "no"]
    assert result.left_out == {"without a text": 1}


def test_ailuminate_says_something_only_about_hazards_that_the_policy_covers(table: Write) -> None:
    folder = table(
        "airr_official_1.0_demo_en_us_prompt_set_release.csv",
        ("release_prompt_id", "prompt_text", "hazard", "persona", "locale", "prompt_hash"),
        ("a1", "first", "vcr", "skilled", "en_US", "0"),
        ("a2", "second", "ssh", "skilled", "en_US", "0"),
        ("a3", "third", "cse", "skilled", "en_US", "0"),
    )
    result = prepared("ailuminate-demo", folder)
    assert [result.suite.answer(label(item)) for item in result.suite.items] == ["yes", "unknown"]
    assert label(result.suite.items[0]).rules == {"D2": "yes"}
    assert result.left_out == {"about the sexual exploitation of children": 1}
    other = prepared("ailuminate-demo", folder, policy="self-harm").suite
    assert [other.answer(label(item)) for item in other.items] == ["unknown", "yes"]
    assert label(other.items[1]).rules == {"S1": "yes"}


def test_a_short_answer_under_another_message_is_no_duplicate(table: Write) -> None:
    grade = {1: {"is_abuse.1": "1"}}
    other = ["5", "conv-8", "Something else", *convabuse_row("5", "yes", grade)[3:]]
    table("ConvAbuseEMNLPtrain.csv", CONVABUSE_HEADER, convabuse_row("4", "Yes!", grade), other)
    folder = table("ConvAbuseEMNLPtest.csv", CONVABUSE_HEADER, convabuse_row("4", "yes", grade))
    result = prepared("convabuse", folder)
    assert [item.id for item in result.suite.items] == ["convabuse-train-5", "convabuse-test-4"]


def test_the_labels_of_a_set_can_be_read_otherwise(lines: Write) -> None:
    """Other labels violate another policy: nothing is known of single rules, and the suite's name says what was done."""
    row = {"post_id": "1", "split": "val", "source": "gab", "tokens": ["oh", "you"], "label": "offensive"}
    folder = lines("train_val.jsonl", row, {**row, "post_id": "2", "label": "normal"})
    suite = prepared("hatexplain", folder, "test", policy="harassment", violates=("hatespeech", "offensive")).suite
    assert (suite.slug, suite.policy) == ("hatexplain-hatespeech-offensive-val", "harassment")
    assert [suite.answer(label(item)) for item in suite.items] == ["yes", "no"]
    assert not any(label(item).rules for item in suite.items)
    with pytest.raises(DataError, match=r"(?s)'rude' is not among the values.*labels are .*offensive"):
        prepared("hatexplain", folder, violates=("rude",))
