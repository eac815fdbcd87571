"""An id goes from its line to the answer, whatever the policy calls its rules."""

from __future__ import annotations

import pytest
import torch

from finetune.nano import citing, fusion, lessons, network, packing
from moderator.prompt import compile_prompt
from tests.finetune import tiny

OPENING = 3


@pytest.fixture(scope="module")
def written(chat, known):
    """A decoder whose heads name and cite, fitted on all policies but two; axes of first and last tokens; codes."""
    torch.manual_seed(1)
    decoder = tiny.make_decoder(4, 480, 3)
    states = torch.randn(3000, 384) * torch.linspace(0.01, 2, 384)
    for layer in decoder.model.layers[2:]:
        fusion.clear(layer)
    lines = citing.read(decoder, chat, known[2:], 2)
    citing.write(decoder, lines, states, 1, OPENING)
    free = citing.evidence.axes(states, lessons.WIDTH + citing.AXES + 64)[:, lessons.WIDTH + citing.AXES :]
    return decoder, free.split(32, 1), citing.find_codes(decoder, lines, 32)


@torch.no_grad()
def test_heads_look_back_at_the_nearest_of_many():
    torch.manual_seed(2)
    decoder, way = tiny.make_decoder(1), torch.randn(384)
    layer, size = decoder.model.layers[0], decoder.config.head_dim
    ends = torch.rand(4000) < 0.03
    given = torch.randn(4000, 384) + ends[:, None] * way
    citing.look_back(layer, 8, given, ends)
    places = sorted({1, 30, 45, 46, 160, 300, 420, 555})
    states = torch.randn(600, 384)
    states[places] += way
    _, _, (look,) = network.climb(decoder, states[None], None, range(1))
    for place in range(1, 600, 7):
        scores = look.queries[0, 8, place].float() @ look.keys[0, 8, : place + 1].float().T / size**0.5
        nearest = max(one for one in places if one <= place)
        assert scores.softmax(-1)[nearest] > 0.9


@torch.no_grad()
def test_the_words_of_a_line_know_its_id(chat, known, written):
    decoder, ways, codes = written
    for stance in known[:2]:
        system = compile_prompt(stance.policy, "nano").system
        prefix = packing.encode_prefix(chat, system, list(lessons.line_texts(stance)))
        states, _, looks = network.forward(decoder, torch.tensor([prefix.ids]), None, 3)
        assert lessons.name_loss(prefix, looks[2]).mean() < 0.2
        for end, way in zip((0, 1), ways, strict=True):
            tokens = {name: prefix.ids[(first, past - 1)[end]] for name, (first, past) in prefix.names.items()}
            table = codes.table[sorted(set(tokens.values()))]
            told = [
                sorted(set(tokens.values()))[(states[3][0, prefix.lines[name][1] - 1] @ way @ table.T).argmax()] == token
                for name, token in tokens.items()
            ]
            assert sum(told) >= 0.8 * len(told)


@torch.no_grad()
def test_what_a_line_is_called_moves_the_answer(chat, known, written):
    decoder, ways, codes = written
    layer, size = decoder.model.layers[-1], decoder.config.head_dim
    rows = torch.arange(size)
    opening = network.forward(decoder, torch.tensor([[OPENING]]), None, 3)[0][-1][0, 0]
    token, other = (chat.tokenizer.encode(name, add_special_tokens=False).ids[-1] for name in ("H4", "H2"))
    line = opening + sum(way @ codes.table[token] for way in ways)
    for head in (head for heads in lessons.CITING for head in heads):
        some = head * size + rows

        def added(state, some=some):
            inside = network.normal(state, layer.input_layernorm.weight)
            values = network.linear(inside, layer.self_attn.v_proj).float()[some]
            return layer.self_attn.o_proj.weight[:, some] @ values

        logits = decoder.lm_head.weight * decoder.model.norm.weight @ added(line)
        assert logits[token] > logits[other] + 0.1
        assert added(opening).abs().max() < 1e-3
