"""What a suite is: wrong states cannot be written, labels mean what the scale says, equal suites have equal digests."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from moderator.content import Turn
from moderator.suite import Annotation, Item, Scale, Span, Suite, Targets

SCALE = Scale(kind="ordinal", values=("fine", "unsure", "rude"), violates=("rude",), unknown=("unsure",))


def suite(*items: Item, **fields: object) -> Suite:
    return Suite.model_validate({"suite": "own", "title": "Own", "policy": "hate", "scale": SCALE, "items": items, **fields})


@pytest.mark.parametrize(("value", "answer"), [("fine", "no"), ("unsure", "unknown"), ("rude", "yes")])
def test_a_label_means_what_the_scale_says_of_its_value(value: str, answer: str) -> None:
    assert suite().answer(Annotation(value=value)) == answer


def test_a_labels_own_word_goes_before_the_scale() -> None:
    assert suite().answer(Annotation(value="rude", violates="unknown")) == "unknown"


def test_a_value_off_the_scale_has_no_answer_and_no_rank() -> None:
    assert SCALE.rank("rude") == 2
    with pytest.raises(ValueError, match="'nice' is not on the scale: fine, unsure, rude"):
        SCALE.answer("nice")


@pytest.mark.parametrize(
    "fields",
    [
        {"values": ("a", "a"), "violates": ("a",)},
        {"values": ("a",), "violates": ("b",)},
        {"values": ("a",), "violates": (), "unknown": ("b",)},
        {"values": ("a",), "violates": ("a",), "unknown": ("a",)},
        {"values": (), "violates": ()},
    ],
)
def test_a_scale_that_contradicts_itself_cannot_be_made(fields: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValidationError):
        Scale.model_validate(fields)


def test_spans_lie_within_the_text_and_are_not_empty() -> None:
    assert Item(id="1", text="word", labels=(Annotation(value="rude", spans=(Span(start=0, end=4),)),))
    with pytest.raises(ValidationError, match="span 0-5 is outside the text of 4 characters"):
        Item(id="1", text="word", labels=(Annotation(value="rude", spans=(Span(start=0, end=5),)),))
    with pytest.raises(ValidationError, match="span 2-2 is empty"):
        Span(start=2, end=2)
    with pytest.raises(ValidationError):
        Span(start=-1, end=2)


def test_an_annotator_has_one_vote() -> None:
    assert Annotation(value="rude", count=3).count == 3
    with pytest.raises(ValidationError, match="`count` is 3 for one annotator"):
        Annotation(by="ann", value="rude", count=3)
    with pytest.raises(ValidationError, match="annotator 'ann' labels the item twice"):
        Item(id="1", text="t", labels=(Annotation(by="ann", value="rude"), Annotation(by="ann", value="fine")))


def test_votes_without_names_may_be_several() -> None:
    assert Item(id="1", text="t", labels=(Annotation(value="rude", count=2), Annotation(value="fine"))).labels[0].count == 2


def test_an_item_is_judged_without_its_labels() -> None:
    item = Item(id="1", text="t", thread=(Turn(text="before"),), facts={"audience": "teen"}, labels=(Annotation(value="rude"),))
    content = item.content()
    assert (content.id, content.text, content.thread, content.facts) == ("1", "t", (Turn(text="before"),), {"audience": "teen"})
    assert content.metadata == {}


def test_an_item_of_no_group_is_its_own_cluster() -> None:
    assert [Item(id="1", text="").cluster, Item(id="1", text="", group="g").cluster] == ["1", "g"]


def test_targets_are_written_flat() -> None:
    targets = Targets.model_validate({"f1": "0.75", "rules": {"H3": {"recall": 0.8}}})
    assert (targets.metrics, targets.rules) == ({"f1": 0.75}, {"H3": {"recall": 0.8}})
    assert targets.model_dump() == {"f1": 0.75, "rules": {"H3": {"recall": 0.8}}}
    assert Targets.model_validate(targets.model_dump()) == targets
    with pytest.raises(ValidationError):
        Targets.model_validate({"f1": "nan"})


def test_the_digest_is_of_the_content_alone() -> None:
    one, two = Item(id="1", text="a"), Item(id="2", text="b")
    assert suite(one, two).digest == suite(two, one).digest
    assert suite(one).digest == suite(Item(id="1", text="a", split="test", labels=())).digest
    different = [suite(one), suite(two), suite(one, two), suite(one, minimum=31), suite(one, policy="spam"), suite()]
    assert len({each.digest for each in different}) == len(different)


def test_the_digest_is_the_same_on_every_machine() -> None:
    """A change here breaks the comparison with every run that was stored before."""
    item = Item(id="1", text="é", labels=(Annotation(by="ann", value="rude", spans=(Span(start=0, end=1, rule="H3"),)),))
    assert suite(item).digest == "sha256:bd6796bfd3ab79ec19ce0a9c1c7a0f46c7781e41de954b9cfcc00530a3998114"
