"""The worst errors first, what is shown of them, and the groups that they fall into."""

from __future__ import annotations

import pytest

from moderator.content import Turn
from moderator.scoring import REPORT, Pair, Report
from moderator.scoring.disagreements import errors as ranked_errors
from moderator.scoring.model import Disagreement, Mark
from moderator.suite import Item, Span
from moderator.verdict import Failure, Verdict
from tests.scoring.making import Row, failure, item, outcome_of, report_of, said, scored, suite, verdict

BICYCLES = (
    "the rusty bicycle chain squeaks",
    "mend a bicycle chain today",
    "oil for the bicycle chain",
    "bicycle chain and pedal",
)
KITCHENS = ("soup recipe with onions", "a recipe for onions", "onions and garlic recipe", "fry onions, said the recipe")


def test_errors_are_sorted_by_confidence_and_those_of_people_are_none() -> None:
    rows: list[Row] = [
        ("y", "allowed", 0.4),  # 0: under, 0.6
        ("y", "allowed", 0.1),  # 1: under, 0.9
        ("n", "violates", 0.7),  # 2: over
        ("n", "violates", 0.95),  # 3: over
        ("y", "needs_review", 0.1),
        ("y", "failure", None),
        ("n", "allowed", 0.1),
        ("y", "violates", 0.9),
        ("u", "violates", 0.99),
        ("yn", "allowed", 0.01),
        ("y", "not_covered", None),  # 10: under, no confidence
        ("y", "allowed_by_exception", 0.4),  # 11: under, 0.6, as 0
    ]
    found = report_of(rows).disagreements
    assert [(one.direction, one.id) for one in found] == [
        ("under", "001"), ("under", "000"), ("under", "011"), ("under", "010"), ("over", "003"), ("over", "002"),
    ]  # fmt: skip
    assert [one.confidence for one in found] == [0.9, 0.6, 0.6, None, 0.95, 0.7]
    assert [one.outcome for one in found[2:5]] == ["allowed_by_exception", "not_covered", "violates"]


def test_errors_of_equal_confidence_stand_by_their_ids() -> None:
    of = suite([item(name, "yes") for name in "cab"])
    pairs = [Pair(of, one, verdict(one.id, "allowed", 0.2)) for one in of.items]
    assert [pair.item.id for pair in ranked_errors(pairs, "under")] == ["a", "b", "c"]


def test_no_more_than_25_of_each_direction() -> None:
    rows: list[Row] = [*(("y", "allowed", n / 100) for n in range(30)), *[("n", "violates", 0.9)] * 3]
    found = report_of(rows).disagreements
    assert [sum(one.direction == direction for one in found) for direction in ("under", "over")] == [25, 3]
    assert found[0].score == 0


def disagreement(one: Item, outcome: Verdict | Failure) -> Disagreement:
    (found,) = scored(suite([one]), [outcome]).disagreements
    return found


def test_what_is_known_of_an_error_is_shown() -> None:
    marks = (Span(start=5, end=9, rule="H2"), Span(start=0, end=4))
    one = item(
        "a",
        said("no", rules={"H1": "no", "H2": "yes"}),
        said("no", spans=marks),
        said("yes", spans=marks[:1]),
        "unsure",
        text="some text",
        thread=(Turn(text="before", author="x"),),
    )
    quotes = [("exact", 0, 4), ("absent", None, None)]
    found = disagreement(one, verdict("a", "violates", 0.75, ["H1", "H3"], quotes, rationale="because"))  # type: ignore[arg-type]
    assert found == Disagreement(
        id="a",
        direction="over",
        text="some text",
        thread=("before",),
        label="no",
        votes={"yes": 1, "no": 2},
        rules_labelled=("H2",),
        outcome="violates",
        rules=("H1", "H3"),
        score=0.75,
        confidence=0.75,
        evidence=(Mark(0, 4, "H1"),),
        marked=(Mark(0, 4, None), Mark(5, 9, "H2")),
        rationale="because",
    )


def test_nobodys_votes_are_not_shown() -> None:
    assert disagreement(item("a", "yes"), verdict("a", "allowed")).votes == {"yes": 1}


def test_a_huge_text_is_cut_and_so_are_its_marks() -> None:
    spans = (Span(start=1990, end=2010), Span(start=2000, end=2001), Span(start=0, end=5000))
    one = item("a", said("no"), said("no", spans=spans), text="x" * 100_000, thread=(Turn(text="y" * 100_000),))
    quotes = [("exact", 1999, 3000), ("exact", 2000, 2010), ("exact", 3, 7)]
    found = disagreement(one, verdict("a", "violates", 0.9, ["H1"], quotes, rationale="z" * 100_000))  # type: ignore[arg-type]
    assert [len(text) for text in (found.text, *found.thread, found.rationale)] == [2000, 2000, 2000]
    assert found.evidence == (Mark(1999, 2000, "H1"), Mark(3, 7, "H1"))
    assert found.marked == (Mark(0, 2000, None), Mark(1990, 2000, None))


def test_half_a_surrogate_pair_does_not_keep_a_report_from_being_written() -> None:
    one = item("a", "no", text="half \ud83d here", thread=(Turn(text="\ud83d"),))
    report = scored(suite([one]), [verdict("a", "violates", rules=["H1"], rationale="\ud83d")])
    assert REPORT.validate_json(REPORT.dump_json(report)) == report
    assert report.disagreements[0].text == "half \ufffd here"


def errors(texts: list[str], outcome: str = "allowed") -> Report:
    items = [item(f"{place:03}", "yes" if outcome == "allowed" else "no", text=text) for place, text in enumerate(texts)]
    return scored(suite(items), [outcome_of(one.id, outcome, 0.5) for one in items])


@pytest.mark.parametrize(("outcome", "direction"), [("allowed", "under"), ("violates", "over")])
def test_two_planted_groups_of_errors_are_found(outcome: str, direction: str) -> None:
    texts = [BICYCLES[n % 4] if n % 5 < 3 else KITCHENS[n % 4] for n in range(29)]
    first, second = errors(texts, outcome).clusters
    assert (first.direction, second.direction) == (direction, direction)
    assert set(first.ids) == {f"{n:03}" for n in range(29) if n % 5 < 3}
    assert set(second.ids) == {f"{n:03}" for n in range(29) if n % 5 >= 3}
    assert (first.n, second.n) == (18, 11)
    assert [first.share, second.share] == pytest.approx([18 / 29, 11 / 29])
    assert {"onions", "recipe"} <= set(second.terms)
    assert not {"onions", "recipe"} & set(first.terms)
    assert len(first.terms) <= 6


def test_few_errors_are_read_one_by_one() -> None:
    texts = [BICYCLES[n % 4] if n % 2 else KITCHENS[n % 4] for n in range(19)]
    assert errors(texts).clusters == ()


@pytest.mark.parametrize(
    "texts",
    [
        ["the very same words"] * 30,
        [""] * 30,
        [f"word{n}" for n in range(30)],
        ["123 456"] * 30,
    ],
)
def test_texts_that_cannot_be_told_apart_make_no_cluster(texts: list[str]) -> None:
    assert errors(texts).clusters == ()


def test_fewer_kinds_of_text_than_clusters_are_no_trouble() -> None:
    texts = [("red apple pie", "blue sky high", "green grass field", "old oak tree")[n % 4] for n in range(130)]
    found = errors(texts).clusters
    assert [cluster.n for cluster in found] == [33, 33, 32, 32]


def test_small_clusters_are_left_out() -> None:
    texts = [*(f"{BICYCLES[n % 4]} {n}" for n in range(17)), *KITCHENS[:3]]
    assert all(cluster.n >= 5 for cluster in errors(texts).clusters)


def test_what_was_decided_rightly_or_left_to_people_is_in_no_cluster() -> None:
    items = [item(f"{n:03}", "yes", text=BICYCLES[n % 4]) for n in range(60)]
    outcomes = [failure(one.id) if n % 3 else outcome_of(one.id, "needs_review", 0.1) for n, one in enumerate(items)]
    assert scored(suite(items), outcomes).clusters == ()
