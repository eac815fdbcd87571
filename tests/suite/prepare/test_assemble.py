"""Whatever the set: what is declared about it holds, splits are disjoint, and what cannot be used is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.errors import DataError
from moderator.policy import load_policy
from moderator.suite.prepare import SETS, abuse, hate, prepare_set, recipe, spam
from tests.suite.prepare.conftest import Write, label, prepared


def test_under_another_policy_rule_labels_are_left_out(table: Write) -> None:
    header = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")
    row = ("s-1", "first", "sexist", "2. derogation", "2.1 descriptive attacks", "test")
    result = prepared("edos", table("edos_labelled_aggregated.csv", header, row), policy="harassment")
    assert result.suite.policy == "harassment"
    assert label(result.suite.items[0]).rules == {}
    assert "rule labels are left out" in result.note


@pytest.mark.parametrize("name", SETS)
def test_every_set_says_where_it_comes_from_and_names_a_policy(name: str) -> None:
    for known in SETS[name]:
        assert known.source.licence
        assert known.source.citation
        assert known.source.url.startswith("https://")
        if not known.policy.endswith(".md"):
            assert load_policy(known.policy)


def test_rules_that_recipes_name_are_in_the_shipped_policies() -> None:
    named: dict[str, set[str | None]] = {
        "hate": {*recipe.HATE, *hate.EDOS_RULES.values(), *hate.HATEMOJI_RULES.values(), *hate.MISOGYNY_RULES.values()},
        "harassment": {*recipe.HARASSMENT, *abuse.SPAN_RULES.values(), *abuse.ABUSE_RULES.values()},
        "spam": set(recipe.SPAM),
        **{policy: set(hazards.values()) for policy, hazards in spam.HAZARD_RULES.items() if policy != "hate"},
    }
    for policy, rules in named.items():
        assert rules - {None} <= {rule.id for rule in load_policy(policy).rules}
    assert [set(rules) for rules in (recipe.HATE, recipe.HARASSMENT, recipe.SPAM)] == [
        {rule.id for rule in load_policy(policy).rules} for policy in ("hate", "harassment", "spam")
    ], "`no` of all rules means all of them"


def test_a_training_text_of_the_test_is_dropped_whatever_its_case_and_punctuation(table: Write) -> None:
    header = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")
    rows = [
        (f"s-{n}", text, "not sexist", "none", "none", split)
        for n, (text, split) in enumerate([("Same text!", "train"), ("same TEXT", "test"), ("other", "train")])
    ]
    folder = table("edos_labelled_aggregated.csv", header, *rows)
    result = prepared("edos", folder)
    assert ([item.id for item in result.suite.items], result.duplicates) == (["s-1", "s-2"], 1)
    assert [item.id for item in prepared("edos", folder, "train").suite.items] == ["s-2"]


def test_what_is_not_there_is_said(tmp_path: Path, lines: Write) -> None:
    with pytest.raises(DataError, match="no such set"):
        prepare_set("hatexplane", tmp_path)
    with pytest.raises(DataError, match=r"looked for train_val\.jsonl"):
        prepare_set("hatexplain", tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        prepare_set("hatexplain", tmp_path / "none")
    folder = lines("train_val.jsonl.gz", "this is not gzip")
    with pytest.raises(DataError, match=r"not a whole gzip file|Not a gzipped file"):
        prepare_set("hatexplain", folder)


def test_rows_without_a_field_are_reported_and_nothing_at_all_is_an_error(lines: Write) -> None:
    row = {"post_id": "1", "split": "val", "source": "gab", "tokens": ["good"], "label": "normal"}
    folder = lines("train_val.jsonl", row, {"post_id": "2"}, "{", "[]", {**row, "post_id": "3", "label": "nice"})
    told = [(problem.line, problem.what) for problem in prepared("hatexplain", folder).problems]
    assert [line for line, _ in told] == [2, 3, 4, 5]
    assert told[0][1] == "no field 'label'"
    assert "'nice' is not on the scale" in told[3][1]
    with pytest.raises(DataError, match=r"no items in the test split(.|\n)*train_val\.jsonl:1"):
        prepared("hatexplain", lines("train_val.jsonl", {"post_id": "2"}), "test")
