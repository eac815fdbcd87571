"""Golden tables of published policy packs: ragged, with disclaimers, sections and headers of several styles."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.errors import DataError
from moderator.suite.prepare import prepare_set

DISCLAIMER = "These are synthetic prompts, generated for demonstration.,  ,  ,  \n"


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / "datasets" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    "header",
    [
        "example,classification,Responses,Response Label",
        "Example,Classification,Responses,Response Label",
        "Example Prompt,Prompt label,Example Generation,Generation Label",
    ],
)
def test_prompts_and_responses_are_items_whatever_the_columns_are_called(tmp_path: Path, header: str) -> None:
    body = 'How do stairs work,GS0,"Step by step,\nmostly.",GS0\nAnd lifts,,They rise,GS1\n'
    path = written(tmp_path, "graphic-sexual-content.csv", f"{DISCLAIMER}{header}\n{body}")
    (result,) = prepare_set("roost-teen-safety", path)
    suite = result.suite
    assert [(item.id.removeprefix("teen-graphic-sexual-content-"), item.text) for item in suite.items] == [
        ("1-prompt", "How do stairs work"),
        ("1-response", "Step by step,\nmostly."),
        ("2-prompt", "And lifts"),
        ("2-response", "They rise"),
    ]
    assert [[suite.answer(label) for label in item.labels] for item in suite.items] == [["no"], ["no"], [], ["yes"]]
    assert [turn.text for turn in suite.items[3].thread] == ["And lifts"]
    assert suite.items[0].cluster == suite.items[1].cluster
    assert (suite.policy, suite.source and suite.source.licence) == (
        "teen-graphic-sexual-content.md",
        "Apache-2.0, with the pack's usage policy",
    )
    assert not result.problems


def test_commas_that_are_not_quoted_are_put_back_and_what_cannot_be_is_reported(tmp_path: Path) -> None:
    body = "One, two, three,DC2,Well, no,DC0\nOne, two,maybe,No,DC0\nShort,DC1\nFine,DC9,No,DC0\n"
    header = "example,classification,Responses,Response Label\n"
    path = written(tmp_path, "dangerous-content.csv", DISCLAIMER + header + body)
    (result,) = prepare_set("roost-teen-safety", path)
    assert [(item.text, item.labels[0].value) for item in result.suite.items] == [
        ("One, two, three", "DC2"),
        ("Well, no", "DC0"),
        ("No", "DC0"),
    ]
    assert [(problem.line, problem.what.split(" where")[0]) for problem in result.problems] == [
        (4, "5 fields"),
        (5, "2 fields"),
        (6, "'DC9' is not on the scale: DC0, DC1, DC2, DC3"),
    ]


def test_a_folder_of_packs_gives_a_suite_for_each_policy(tmp_path: Path) -> None:
    for name, code in (("dangerous-content", "DC1"), ("harmful-body-ideals", "HBI0")):
        written(tmp_path, f"{name}.csv", f"{DISCLAIMER}example,classification\nText,{code}\n")
    suites = [one.suite for one in prepare_set("roost-teen-safety", tmp_path)]
    assert [suite.policy for suite in suites] == ["teen-dangerous-content.md", "teen-harmful-body-ideals.md"]
    assert [len(suite.items) for suite in suites] == [1, 1]


def test_a_table_without_a_header_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, "dangerous-content.csv", "Text,DC1\n")
    with pytest.raises(DataError, match="no header"):
        prepare_set("roost-teen-safety", path)


def test_sections_are_the_labels_and_what_a_model_said_is_not(tmp_path: Path) -> None:
    text = (
        ',,,gpt-oss-safeguard classification ,\nSP0,,,,\n1,Your order has shipped,,SP0,\n2,"Lunch, today?",,SP2,\n'
        "SP3 ,,,,\n1,Followers, cheap,SP0,\n,no number here,,SP3,\n,,,Accuracy,0.9\n,,,,\n"
    )
    (result,) = prepare_set("gpt-oss-safeguard-spam", written(tmp_path, "golden_dataset.csv", text))
    suite = result.suite
    assert [(item.text, item.labels[0].value) for item in suite.items] == [
        ("Your order has shipped", "SP0"),
        ("Lunch, today?", "SP0"),
        ("Followers, cheap", "SP3"),
    ]
    assert [suite.answer(item.labels[0]) for item in suite.items] == ["no", "no", "yes"]
    assert [suite.scale.rank(item.labels[0].value) for item in suite.items] == [0, 0, 2]
    assert [problem.line for problem in result.problems] == [7]
