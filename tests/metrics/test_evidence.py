from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.metrics import (
    Resampling,
    Span,
    character_f1,
    character_f1_estimate,
    held_out_character_f1,
    iou,
    iou_f1,
    majority,
    merge,
    pairwise_character_f1,
    quote_exactness,
    union,
)

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=4)
QUICK = Resampling(resamples=200)


def _characters(spans: list[Span] | tuple[Span, ...]) -> set[int]:
    return {place for start, end in spans for place in range(start, end)}


@given(SPANS, SPANS)
@settings(max_examples=40, deadline=None)
def test_f1_and_iou_are_those_of_sets_of_characters(a: list[Span], b: list[Span]) -> None:
    one, other = _characters(a), _characters(b)
    assert _characters(merge(a)) == one
    if one or other:
        assert character_f1(a, b) == pytest.approx(2 * len(one & other) / (len(one) + len(other)))
        assert iou(a, b) == pytest.approx(len(one & other) / len(one | other))
    else:
        assert character_f1(a, b) is None
        assert iou(a, b) is None
    assert character_f1(a, b) == character_f1(b, a)


@given(st.lists(SPANS, max_size=5))
@settings(max_examples=40, deadline=None)
def test_union_and_majority_are_those_of_characters(annotations: list[list[Span]]) -> None:
    marked = [_characters(spans) for spans in annotations]
    everything = set().union(*marked)
    assert _characters(union(annotations)) == everything
    assert _characters(majority(annotations)) == {
        place for place in everything if 2 * sum(place in one for one in marked) > len(marked)
    }


def test_a_span_that_is_no_range_is_an_error() -> None:
    for span in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="not a range"):
            merge([span])


def test_character_f1_against_each_union_and_majority_by_hand() -> None:
    annotations = [[(0, 4)], [(0, 4)], [(2, 8)]]
    predicted = [(0, 4)]
    # union (0, 8): 2 * 4 / 12; majority (0, 4): 1; each: 1, 1, 2 * 2 / 10
    for against, value in (("union", 2 / 3), ("majority", 1.0), ("each", (1 + 1 + 0.4) / 3)):
        found = character_f1_estimate([predicted], [annotations], against, how=QUICK)  # type: ignore[arg-type]
        assert found.value == pytest.approx(value)


def test_a_text_without_any_spans_is_in_no_mean_and_one_sided_spans_score_nothing() -> None:
    annotations: list[list[list[Span]]] = [[[], []], [[], []], [[(0, 4)], [(0, 4)]]]
    predicted: list[list[Span]] = [[], [(0, 2)], [(0, 4)]]
    found = character_f1_estimate(predicted, annotations, "union", how=QUICK)
    assert (found.value, found.n) == (0.5, 2)
    assert character_f1_estimate([[]], [[[]]], "each").value is None


def test_iou_f1_is_erasers_by_hand() -> None:
    predicted = [[(0, 10), (20, 22)], [(0, 4)], []]
    gold = [[(0, 8)], [(2, 12), (20, 30)], []]
    # text 1: (0, 10) with (0, 8) is 0.8, (20, 22) finds nothing: precision 1/2, recall 1/1
    # text 2: (0, 4) with (2, 12) is 2/12: precision 0, recall 0. Means 1/4 and 1/2: F1 1/3
    assert iou_f1(predicted, gold, how=QUICK).value == pytest.approx(1 / 3)
    assert iou_f1(predicted, gold, at_least=0.81, how=QUICK).value == 0.0
    assert iou_f1([[]], [[]], how=QUICK).value is None


def test_people_who_mark_alike() -> None:
    # text 1: pairs 1, 0.4, 0.4 of those who marked something; text 2 has one such; text 3: a pair at 0
    annotations = [[[(0, 4)], [(0, 4)], [(2, 8)], []], [[(0, 3)], []], [[(0, 1)], [(2, 3)]]]
    found = pairwise_character_f1(annotations, how=QUICK)
    assert found.value == pytest.approx((1.8 / 3 + 0) / 2)
    assert found.n == 2


def test_person_and_model_face_the_same_majorities() -> None:
    annotations = [[[(0, 4)], [(0, 4)], []], [[(0, 4)], [(0, 4)]]]
    found = held_out_character_f1(annotations, [[(0, 2)], []], how=QUICK)
    # only holding out the third of text 1 leaves a strict majority that marks something: the person marked nothing there
    assert found.human.value == 0.0
    assert found.model.value == pytest.approx(2 * 2 / 6)
    assert found.difference.value == pytest.approx(2 / 3)
    both = held_out_character_f1([[[(0, 4)]] * 3, [[(0, 4)], [(0, 4)], [(0, 4), (6, 8)]]], [[(0, 4)], [(0, 4)]], how=QUICK)
    assert both.human.value == pytest.approx((5 + 0.8) / 6)
    assert both.model.value == 1.0
    assert held_out_character_f1([], []).human.value is None


def test_quotes_are_exact_or_not_and_are_resampled_by_text() -> None:
    one_each = quote_exactness([1, 0, 1, 0], [1, 1, 1, 0])
    assert one_each.value == pytest.approx(2 / 3)
    assert (one_each.n, one_each.method) == (3, "wilson")
    several = quote_exactness([3, 1], [4, 2], how=QUICK)
    assert several.value == pytest.approx(4 / 6)
    assert (several.n, several.method) == (2, "bootstrap")
    all_exact = quote_exactness([3, 2], [3, 2], how=QUICK)
    assert all_exact.method == "wilson"
    assert not all_exact.degenerate
    assert quote_exactness([0], [0]).value is None
    with pytest.raises(ValueError, match="more exact"):
        quote_exactness([2], [1])
