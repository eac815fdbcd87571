"""What a set was not asked about."""

from __future__ import annotations

from finetune.nano.hygiene import careful
from finetune.nano.prepare import Example, topics


def test_words_that_a_set_was_not_asked_about_make_no_safe_no():
    calm = Example("that bitch is late", "edos", unsure=topics("violence"))
    assert careful(calm).unsure == {"violence", "hate.slur", "sexism.slur", "toxicity.profane"}


def test_what_was_labelled_or_is_open_anyway_stays_as_it_is():
    labelled = Example("that bitch", "misogyny", broken=topics("sexism.slur"), unsure=topics("toxicity"))
    assert careful(labelled).unsure == {"toxicity", "hate.slur"}
    whole = Example("kys", "ailuminate", broken=topics("selfharm.encourage"))
    assert careful(whole) is whole


def test_a_word_that_only_begins_alike_is_not_meant():
    calm = Example("a niche shirt in class", "edos")
    assert careful(calm) is calm
