"""The project's own suites: what `evals/suites/README.md` promises of them is true of the files."""

from __future__ import annotations

from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from moderator.metrics import Confusion, Votes, cohen_kappa, krippendorff_alpha, percent_agreement
from moderator.metrics.intervals import Estimate
from moderator.policy import Policy, list_policies, load_policy
from moderator.suite import Answer, Item, Split, Suite, load_suite, open_suite
from moderator.suite.prepare.texts import fingerprint

EVALS = Path(__file__).parent.parent / "evals"
FOLDER = EVALS / "suites"
NAMES = ("dangerous", "misinformation", "privacy", "self-harm", "sexual", "violence")
LEFT_OUT = {"sexual": {"N4"}}
"""Rules for which nothing is written, on purpose."""


@cache
def suite(name: str) -> Suite:
    return load_suite(FOLDER / f"{name}.yaml")


@cache
def policy(name: str) -> Policy:
    return load_policy(name)


def pairs(name: str) -> dict[str, tuple[Item, Item]]:
    """The violating and the allowed text of each pair, by its name; the author's word decides which is which."""
    items = suite(name).items
    return {yes.group: (yes, no) for yes, no in zip(items[::2], items[1::2], strict=True)}


def split_of(pair: str) -> Split:
    return "test" if sha256(f"13/{pair}".encode()).digest()[0] % 2 == 0 else "train"


def answers(name: str) -> list[tuple[Answer, Answer]]:
    """What the author and the reviewer say of each item."""
    author_and_reviewer = [item.labels for item in suite(name).items]
    return [(suite(name).answer(author), suite(name).answer(reviewer)) for author, reviewer in author_and_reviewer]


def test_the_suites_are_these() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.yaml"))) == NAMES
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.jsonl"))) == NAMES
    assert len({suite(name).slug for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestSuite:
    def test_is_for_the_shipped_policy_and_free_to_use(self, name: str) -> None:
        source = suite(name).source
        assert suite(name).policy == name
        assert source is not None
        assert (source.licence, source.citation) == ("Apache-2.0", "Written for this project")
        assert suite(name).minimum == 30

    def test_has_many_pairs_of_a_violating_and_an_allowed_text(self, name: str) -> None:
        assert len(pairs(name)) >= 150
        for pair, (yes, no) in pairs(name).items():
            assert (yes.id, no.id) == (f"{pair}-yes", f"{pair}-no")
            assert yes.group == no.group == pair
            assert (yes.labels[0].value, no.labels[0].value) == ("violates", "allowed")

    def test_is_split_by_the_hash_of_the_pair(self, name: str) -> None:
        for item in suite(name).items:
            assert item.split == split_of(item.group), item.id

    def test_half_of_every_rule_is_the_test(self, name: str) -> None:
        count = Counter((yes.slices["rule"], yes.split) for yes, _ in pairs(name).values())
        assert {rule for rule, _ in count} == {rule.id for rule in policy(name).rules} - LEFT_OUT.get(name, set())
        for rule in {rule for rule, _ in count}:
            assert 0.35 <= count[rule, "test"] / (count[rule, "test"] + count[rule, "train"]) <= 0.65, rule
        assert 0.45 <= len(suite(name).split("test")) / len(suite(name).items) <= 0.55

    def test_has_two_labels_an_item_and_says_which_rules_hold(self, name: str) -> None:
        rules = {rule.id for rule in policy(name).rules}
        for item in suite(name).items:
            assert [label.by for label in item.labels] == ["author", "reviewer"]
            for label in item.labels:
                match label.value:
                    case "violates":
                        assert label.rules
                        assert set(label.rules.values()) == {"yes"}, item.id
                        assert not LEFT_OUT.get(name, set()) & set(label.rules), item.id
                    case "allowed":
                        assert dict(label.rules) == dict.fromkeys(rules, "no"), item.id
                    case _:
                        assert not label.rules, item.id

    def test_evidence_is_words_of_a_violating_text_for_the_rule_of_the_pair(self, name: str) -> None:
        for yes, no in pairs(name).values():
            [span] = yes.labels[0].spans
            words = yes.text[span.start : span.end]
            assert words == words.strip() != "", yes.id
            assert span.rule == yes.slices["rule"]
            assert yes.labels[0].rules[span.rule] == "yes"
            assert not yes.labels[1].spans + no.labels[0].spans + no.labels[1].spans

    def test_slices_name_the_rule_of_the_pair_and_an_exception_that_covers_what_it_sets_aside(self, name: str) -> None:
        covers = {exception.id: set(exception.covers) for exception in policy(name).exceptions}
        for yes, no in pairs(name).values():
            assert set(yes.slices) == {"rule"}
            assert no.slices["rule"] == yes.slices["rule"]
            assert set(no.slices) in ({"rule"}, {"rule", "exception", "waived"})
            if "exception" in no.slices:
                assert set(no.slices["waived"].split(",")) <= covers[no.slices["exception"]], no.id

    def test_counts_in_the_readme_are_those_of_the_files(self, name: str) -> None:
        assert row(name) in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()


# -- no text is in two places ------------------------------------------------------------------------------------------------


def marks(split: Split) -> set[str]:
    return {fingerprint(item.text) for name in NAMES for item in suite(name).split(split)}


def test_no_text_is_in_training_and_test_of_whatever_suite() -> None:
    assert marks("train").isdisjoint(marks("test"))


def test_no_two_items_have_the_same_text() -> None:
    assert len(marks("train") | marks("test")) == sum(len(suite(name).items) for name in NAMES)


def test_no_text_is_a_functional_test() -> None:
    functional = {fingerprint(item.text) for path in (EVALS / "functional").glob("*.yaml") for item in open_suite(path).items}
    assert functional
    assert functional.isdisjoint(marks("train") | marks("test"))


def test_no_text_is_an_example_of_a_policy() -> None:
    examples = {fingerprint(one.text) for name in list_policies() for rule in policy(name).rules for one in rule.examples}
    assert examples
    assert examples.isdisjoint(marks("train") | marks("test"))


# -- how far the two agree ---------------------------------------------------------------------------------------------------


def row(name: str) -> str:
    """The suite's row in the README."""
    count = Counter(item.split for item in suite(name).items)
    known = [(author, reviewer) for author, reviewer in answers(name) if "unknown" not in (author, reviewer)]
    votes = Votes.of(known, ("yes", "no"))
    kappa = Confusion.of([author for author, _ in known], [reviewer for _, reviewer in known], ("yes", "no")).value(cohen_kappa)
    cells = (
        f"`{name}.yaml`",
        len(pairs(name)),
        len(suite(name).items),
        count["train"],
        count["test"],
        f"{100 * value(percent_agreement(votes)):.1f} %",
        f"{kappa:.3f}",
        f"{value(krippendorff_alpha(votes)):.3f}",
        sum(author != reviewer for author, reviewer in known),
        len(suite(name).items) - len(known),
        sum(other_rules(item) for item in suite(name).items),
    )
    return f"| {' | '.join(map(str, cells))} |"


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def other_rules(item: Item) -> bool:
    """Both say that the text violates, and name different rules."""
    author, reviewer = item.labels
    return author.value == reviewer.value == "violates" and author.rules != reviewer.rules
