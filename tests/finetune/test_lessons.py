"""What is taught beside the answer: topics with their unknowns, and where to look."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.nano import domains, lessons, network, packing, policies, prepare
from finetune.nano.teacher import SIZE
from tests.finetune import tiny

NAMES = (*policies.DOMAIN_NAMES, *policies.TOPICS, *policies.KIND_NAMES, *policies.SETS)


def test_look_loss_is_the_attention_that_falls_elsewhere():
    """A row behind a prefix of three tokens: the query at its first token sees four keys, of which two are the line."""
    keys = torch.zeros(1, 1, 5, 4)
    keys[0, 0, 1, 0] = 2 * math.log(3)  # scores are divided by two: attention weights 1, 3, 1, 1 of 6
    looks = network.Looks(torch.eye(4)[None, None, :1].repeat(1, 7, 2, 1), keys.repeat(1, 7, 1, 1))
    row = packing.Row((7, 8), (0, 1), 0, (packing.Look(0, 0, ("A1",)), packing.Look(0, 2, ())))
    lost = lessons.look_loss([row], packing.Prefix((2, 5, 6), {"A1": (1, 3)}, {"A1": (1, 2)}), looks)
    assert lost[0].tolist() == pytest.approx([-math.log(4 / 6)] * len(lessons.HEADS[0]))
    assert lost[2].tolist() == pytest.approx([-math.log(1 / 6)])


def test_no_two_kinds_of_parts_share_a_head():
    for kinds in ([*lessons.HEADS, lessons.NAMING, (domains.POLICY,)], [*lessons.CITING, lessons.QUOTING]):
        heads = [head for some in kinds for head in some]
        assert len(set(heads)) == len(heads)


def test_name_loss_is_the_attention_of_a_line_that_does_not_fall_on_its_id():
    """A line of five tokens, two of them its id, after one token; each place sees itself and all before it alike."""
    prefix = packing.Prefix((2, 5, 6, 7, 8, 9), {"A1": (1, 6)}, {"A1": (1, 3)})
    looks = network.Looks(torch.zeros(1, 12, 6, 4), torch.zeros(1, 12, 6, 4))
    assert lessons.name_loss(prefix, looks).tolist() == pytest.approx(
        [math.log(seen) for seen in (4, 5, 6) for _ in lessons.NAMING]
    )
    first, last = torch.zeros(2, 1, 12, 6, 4)
    first[0, :, 1, 0] = last[0, :, 2, 0] = 100.0
    asked = torch.eye(4)[0].expand(1, 12, 6, 4) * 10
    lost = lessons.name_loss(prefix, network.Looks(asked, first)).view(3, 2)
    assert lost[:, 0].tolist() == pytest.approx([0] * 3, abs=1e-3)
    assert (lost[:, 1] > 100).all()
    lost = lessons.name_loss(prefix, network.Looks(asked, last)).view(3, 2)
    assert (lost[:, 0] > 100).all()
    assert lost[:, 1].tolist() == pytest.approx([0] * 3, abs=1e-3)


def test_what_cites_and_quotes_loses_the_attention_that_falls_elsewhere():
    """Behind a prefix of three tokens, the places 2 and 3 of a row see six and seven keys alike."""
    looks = network.Looks(torch.zeros(1, 12, 4, 4), torch.zeros(1, 12, 7, 4))
    prefix = packing.Prefix((2, 5, 6), {"A1": (1, 3)}, {"A1": (1, 2)})
    cites, quotes = (packing.Look(2, 0, ("A1",)),), (packing.Quote(3, (0, 1)),)
    row = packing.Row((5, 6, 7, 8), (0, 0, 1, 3), 1, (), None, cites, quotes)
    assert lessons.cite_loss([row], prefix, looks).tolist() == pytest.approx([math.log(6 / 2)] * len(lessons.CITING[0]))
    assert lessons.quote_loss([row], looks).tolist() == pytest.approx([math.log(7 / 2)] * len(lessons.QUOTING))
    nothing = replace(row, cites=(), quotes=())
    assert len(lessons.cite_loss([nothing], prefix, looks)) == len(lessons.quote_loss([nothing], looks)) == 0


def test_aside_loss_is_what_attention_gives_to_a_policy_before_the_text():
    """Behind a prefix of three tokens, the text's first token sees itself and the very first one besides two of the policy."""
    keys = torch.zeros(1, 1, 5, 4)
    keys[0, 0, 1, 0] = 2 * math.log(3)  # weights 1, 3, 1, 1 for the first query; one more 1 for the second
    looks = network.Looks(torch.eye(4)[None, None, :1].repeat(1, 1, 2, 1), keys)
    lost = lessons.aside_loss([packing.Row((7, 8), (0, 0), 1)], looks)
    assert lost.item() == pytest.approx(-(math.log(2 / 6) + math.log(3 / 7)) / 2)
    assert lessons.aside_loss([packing.Row((7, 8), (0, 0), 0)], looks).item() == pytest.approx(-math.log(2 / 6))


def test_topic_targets_keep_what_is_unknown():
    example = replace(tiny.EXAMPLES[1], unsure=prepare.topics("harassment"), excused="correction")
    row = dict(zip(NAMES, policies.targets(example), strict=True))
    assert (row["hate"], row["sexism.derogate"], row["harassment"], row["spam"]) == (1.0, 1.0, -1.0, 0.0)
    assert (row["correction"], row["quoted"], row["fiction"]) == (1.0, 1.0, 0.0)


def test_unknown_topics_cost_nothing():
    taught, whole = lessons.Lessons(8), torch.randn(1, 8)
    wanted = torch.zeros(1, lessons.WIDTH)
    wanted[0, 0] = -1
    lost = taught.topic_loss((whole, whole), wanted)
    with torch.no_grad():
        taught.topics.bias[0] += 5
    assert taught.topic_loss((whole, whole), wanted).item() == pytest.approx(lost.item())


def test_a_rule_is_about_what_it_covers_and_silent_on_what_it_is_near_to(hate):
    found = {name: dict(zip(NAMES, row, strict=True)) for name, row in policies.coverage(hate).items()}
    assert (found["H3"]["hate.slur"], found["H3"]["hate.dehumanise"], found["H3"]["spam.promote"]) == (1.0, -1.0, 0.0)
    assert (found["X1"]["quoted"], found["X1"]["hate.slur"]) == (1.0, 0.0)


def test_vectors_are_found_by_text_less_what_texts_have_in_common():
    rows = np.eye(2, SIZE, dtype=np.float16)
    known, found = lessons.Vectors(["a", "b"], rows, np.full(SIZE, 0.5, np.float32)).find(["x", "b"])
    assert known == [1]
    assert found[0, :3].tolist() == [-0.5, 0.5, -0.5]


def test_the_distance_is_one_minus_the_cosine():
    taught = lessons.Lessons(8)
    whole = torch.randn(3, 8)
    same = taught.vector(taught.seen(whole)).detach()
    assert taught.distance((whole, whole), same).item() == pytest.approx(0, abs=1e-5)
    assert taught.distance((whole, whole), -same).item() == pytest.approx(2, abs=1e-5)
