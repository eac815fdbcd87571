"""Rows of the labelled sets become examples."""

from __future__ import annotations

from finetune.nano import prepare


def test_cleaning_strips_who_and_where():
    assert (
        prepare.clean("@alice see https://a.example/x &amp; call +44 7700 900123 now") == "@user see [link] & call [number] now"
    )


def test_hatexplain_keeps_the_official_split_and_the_spans():
    row = {"tokens": ["go", "away", "you", "vermin"], "label": "hatespeech", "split": "val", "rationale_spans": [[2, 4]]}
    example = prepare.hatexplain(row)
    assert (example.split, example.quotes, example.broken) == ("test", ("you vermin",), {"hate.any"})
    assert "harassment" in example.unsure
    assert prepare.hatexplain(row | {"label": None}) is None


def test_edos_says_nothing_about_insults():
    example = prepare.edos({"text": "hello [USER]", "label_vector": "none", "split": "train"})
    assert not example.broken
    assert "harassment" in example.unsure


CONVERSATION = {"user": "whatever", "prev_agent": "Please go on.", "prev_user": "no", "agent": "Hi"}


def test_convabuse_shows_the_turns_before_and_leaves_them_out_only_where_grades_are_mixed():
    calm = prepare.convabuse(CONVERSATION | {"Annotator1_is_abuse.1": "1"})
    assert (calm.broken, calm.thread) == (frozenset(), ("Please go on.", "no", "Hi"))
    abusive = prepare.convabuse(CONVERSATION | {"Annotator1_is_abuse.-2": "1"})
    assert "harassment.any" in abusive.broken
    assert abusive.thread == calm.thread
    mixed = prepare.convabuse(CONVERSATION | {"Annotator1_is_abuse.-1": "1", "Annotator2_is_abuse.1": "1"})
    assert mixed.doubt == {"harassment", "toxicity"}
    assert not mixed.thread


def test_convabuse_counts_judgements_that_one_annotator_gave_twice():
    twice = CONVERSATION | {"Annotator1_is_abuse.-2": "1, 1", "Annotator1_is_abuse.1": "0, 0", "Annotator1_sexist": "1, 0"}
    example = prepare.convabuse(twice)
    assert {"harassment.any", "sexism.derogate"} <= example.broken
    assert example.score == -2
    undecided = CONVERSATION | {"Annotator1_is_abuse.1": "0, 1", "Annotator1_is_abuse.-1": "1, 0"}
    assert prepare.convabuse(undecided).score == 0
    assert prepare.convabuse(undecided).doubt
    assert prepare.convabuse(CONVERSATION | {"Annotator2_is_abuse.1": "1.0"}).score == 1


COMMENT = {"comment_text": "you fool, go home"}
MARKED = (False, False, [("Insult", 4, 8)])
VOID = (True, True, [])


def test_toxic_spans_follow_those_who_marked():
    example = prepare.toxic_spans(COMMENT | {"judged": [MARKED, MARKED, (True, False, [])]})
    assert "harassment.insult" in example.broken
    assert example.quotes == ("fool",)


def test_toxic_spans_with_both_boxes_ticked_say_nothing():
    """Two void judgements and one mark: neither calm nor an insult that several saw."""
    unclear = prepare.toxic_spans(COMMENT | {"judged": [VOID, VOID, MARKED]})
    assert not unclear.broken
    assert {"harassment", "toxicity", "hate"} <= unclear.unsure
    assert {"harassment", "toxicity"} <= prepare.toxic_spans(COMMENT | {"judged": [VOID, VOID, VOID]}).unsure
    assert "harassment.insult" in prepare.toxic_spans(COMMENT | {"judged": [VOID, MARKED, MARKED]}).broken
    calm = prepare.toxic_spans(COMMENT | {"judged": [(True, False, []), (True, False, []), VOID]})
    assert "toxicity" not in calm.unsure


def test_hatemoji_knows_the_names_of_its_types():
    row = {"text": "they are 🐀", "label_gold": "1", "target": "['jew']"}
    kinds = ("derogation", "animosity", "dehumanizinglanguage", "threateninglanguage")
    assert [prepare.hatemoji(row | {"type": kind}).broken for kind in kinds] == [
        {"hate.derogate"},
        {"hate.stereotype"},
        {"hate.dehumanise"},
        {"hate.threat"},
    ]
    assert prepare.hatemoji(row | {"type": "derogation", "target": "['wom']"}).broken == {"sexism.derogate"}


def test_the_hazard_about_children_is_never_used():
    assert prepare.ailuminate({"hazard": "cse", "prompt_text": "x"}) is None
