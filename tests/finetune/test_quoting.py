"""Where a quote begins, heads look at words like those that people marked, and say them."""

from __future__ import annotations

import random

import torch

from finetune.nano import augment, network, quoting
from finetune.nano.stance import judge
from moderator.prompt import load_family
from tests.finetune import tiny


@torch.no_grad()
def test_heads_look_at_marked_words_from_where_a_quote_begins_and_take_them_along():
    torch.manual_seed(0)
    decoder, _ = tiny.coded(tiny.make_decoder(2))
    layer, table, size = decoder.model.layers[-1], decoder.model.embed_tokens.weight, decoder.config.head_dim
    bad, begin, alone = torch.randn(3, 384)
    ids, marked, begins = torch.randint(0, 700, (6000,)), torch.rand(6000) < 0.1, torch.rand(6000) < 0.1
    unit = table.std()
    states = torch.randn(6000, 384) * 0.3 + table[ids] / unit + marked[:, None] * bad
    written = torch.randn(6000, 384) + begins[:, None] * begin
    opening = alone + table[3] / unit
    states[0], first, cites = opening, torch.arange(6000) == 0, torch.zeros(6000, dtype=torch.bool)
    quoting.write(decoder, quoting.Words(states, marked & ~first, first, written, begins, cites))
    content = torch.randint(0, 700, (30,))
    texts = torch.randn(30, 384) * 0.3 + table[content] / unit
    texts[12] += bad
    looked = []
    for end in (begin, torch.zeros(384)):
        row = torch.cat((opening[None], texts, torch.randn(1, 384) + end))
        _, _, (look,) = network.climb(decoder, row[None], None, range(1, 2))
        scores = look.queries[0, 4, -1].float() @ look.keys[0, 4].float().T / size**0.5
        looked.append(scores.softmax(-1)[[13, 0]].tolist())
    (marked_word, rested), (idly, away) = looked
    assert marked_word > 0.9
    assert rested < 0.1
    assert idly < 0.1
    assert away > 0.9

    def said(state: torch.Tensor) -> torch.Tensor:
        """What a look at it alone adds."""
        inside, rows = network.normal(state, layer.input_layernorm.weight), slice(4 * size, 8 * size)
        return layer.self_attn.o_proj.weight[:, rows] @ network.linear(inside, layer.self_attn.v_proj).float()[rows]

    assert (table @ said(texts[12])).argmax() == content[12]
    assert said(opening).norm() < 0.01 * said(texts[12]).norm()


def test_marks_are_those_of_people_and_not_of_whole_texts(chat, decoder, known):
    stance = next(stance for stance in known if stance.policy.slug == "harassment")
    judged = [(example, judge(stance, example)) for example in tiny.EXAMPLES[::3]]
    group = augment.group_of(random.Random(0), stance, judged, load_family("nano"), 0.0, 0.0)
    found = quoting.read(decoder, chat, [group], 1000)
    assert len(found.states) == len(found.marked) > found.marked.sum() > 0
    assert found.first.tolist().count(True) == 1
    assert found.first[0]
    assert len(found.written) == len(found.begins) == len(found.cites)
    assert found.cites.any()
    assert not (found.cites & found.begins).any()
    assert 0 < found.begins.sum() < len(found.begins) / 5
