"""Groups in tokens are what serving sends and reads; both stages leave a folder that loads."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune.nano import answers, augment, dev, lessons, network, packing, policies, run, train
from finetune.nano.teacher import SIZE
from finetune.nano.tokenizer import LABELS
from moderator.content import Content
from moderator.engines.decoding import Grammars
from moderator.engines.folder import family as read_family
from moderator.prompt import compile_prompt, load_family
from tests.finetune import tiny

SETTINGS = yaml.safe_load((Path(run.__file__).parent / "config.yaml").read_text())
FEW = {"seed": 1, "depth": 1, "compare": 2, "group": 4, "groups": 1, "longest": 1000, "warmup": 1}


def drawn(chat, stance, seed, reasoned, cut):
    """A group, its prefix and its rows."""
    draw = random.Random(seed)
    pools = augment.Pools(tiny.EXAMPLES, draw, {})
    group = augment.make_group(draw, pools, stance, load_family("nano"), 10, reasoned, cut)
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(stance)))
    asked = packing.ask(chat, [item.prompt for item in group.items])
    return group, prefix, [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]


@torch.no_grad()
def test_the_forward_pass_is_that_of_transformers_and_rows_do_not_see_each_other(chat, decoder, hate):
    _, prefix, rows = drawn(chat, hate, 3, 0.3, 0.3)
    _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
    states, _, _ = network.forward(decoder, packing.padded(rows), past)
    packed = network.last(decoder, states[-1])
    close = 0.02 if torch.bfloat16 == network.WORKING else 1e-4
    for index, row in enumerate(rows):
        alone = decoder(input_ids=torch.tensor([[*prefix.ids, *row.ids]])).logits[0, len(prefix.ids) :]
        assert torch.allclose(packed[index, : len(row.ids)], alone, atol=close)


def test_frozen_layers_are_not_learned_and_say_the_same(chat, decoder, hate):
    _, _, rows = drawn(chat, hate, 3, 0.0, 1.0)
    ids = packing.padded(rows)
    states, _, _ = network.forward(decoder, ids, frozen=1)
    assert torch.equal(states[-1], network.forward(decoder, ids)[0][-1])
    states[-1].sum().backward()
    first, second = (list(layer.parameters()) for layer in decoder.model.layers[:2])
    assert all(one.grad is None for one in (*first, *decoder.model.embed_tokens.parameters()))
    assert all(one.grad is not None for one in second)


def test_rows_are_encoded_as_engines_encode_them(chat, hate):
    group, prefix, rows = drawn(chat, hate, 5, 0.0, 1.0)
    assert list(prefix.ids) == list(chat.prefix(group.system))
    for row, item in zip(rows, group.items, strict=True):
        assert list(row.ids[: row.read + 1]) == chat.suffixes([item.prompt])[0]
        assert row.ids[row.read + 1] == chat.label_ids(item.prompt.format)[item.answer[slice(*item.label)]]


def test_lines_of_a_policy_are_found_in_its_tokens(chat, hate):
    system = compile_prompt(hate.policy, "nano").system
    prefix = packing.encode_prefix(chat, system, list(lessons.line_texts(hate)))
    rule = hate.policy.rules[1]
    said = chat.tokenizer.decode(list(prefix.ids[slice(*prefix.lines[rule.id])]))
    assert said.strip() == f"{rule.id} {rule.title}: {rule.summary}"
    assert {rule.id for rule in hate.policy.rules} <= set(prefix.lines)
    for name, span in prefix.names.items():
        assert chat.tokenizer.decode(list(prefix.ids[slice(*span)])).strip() == name


def test_looks_point_at_what_the_label_follows_from(chat, hate):
    example = tiny.EXAMPLES[1]
    question = compile_prompt(hate.policy, "nano").ask(Content(id="x", text=example.text))
    item = augment.answer(random.Random(0), question, hate, example, policies.judge(hate, example), 0.0)
    row = packing.encode_row(chat, packing.ask(chat, [item.prompt])[0], item)
    assert [look.parts for look in row.looks if look.place == row.read] == [("H4",), (), ()]
    (at_id,) = [look for look in row.looks if look.place != row.read]
    assert at_id.parts == ("H4",)
    assert chat.tokenizer.decode([row.ids[at_id.place + 1]]) == "H"


def test_citing_points_from_an_id_to_its_line_and_quoting_to_the_words(chat, known):
    stance = next(stance for stance in known if stance.policy.slug == "harassment")
    example = tiny.EXAMPLES[0]
    question = compile_prompt(stance.policy, "nano").ask(Content(id="x", text=example.text))
    item = augment.answer(random.Random(0), question, stance, example, policies.judge(stance, example), 0.0)
    row = packing.encode_row(chat, packing.ask(chat, [item.prompt])[0], item)
    (quoted,) = row.quotes
    (rule,) = policies.judge(stance, example).rules
    assert {look.parts for look in row.cites} == {(rule,)}
    assert chat.tokenizer.decode([row.ids[look.place + 1] for look in row.cites]) == rule
    assert chat.tokenizer.decode([row.ids[place] for place in quoted.sources]).strip() == "fool"
    assert row.ids[quoted.place + 1] == row.ids[quoted.sources[0]]
    assert max(quoted.sources) < row.read


def test_what_is_not_said_has_no_places(chat):
    ids = chat.tokenizer.encode("see you at lunch, see", add_special_tokens=False).ids
    assert chat.tokenizer.decode([ids[place] for place in packing.places_of(chat, ids, "see")]).strip() == "see"
    assert packing.places_of(chat, ids, "see")[-1] == len(ids) - 1
    assert packing.places_of(chat, ids, "dinner") == packing.places_of(chat, ids, "") == ()


@torch.no_grad()
@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_the_label_is_learned_among_the_labels_and_the_rest_where_an_answer_goes_on(chat, decoder, hate, cut):
    _, prefix, rows = drawn(chat, hate, 3, 0.0, cut)
    _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
    states, _, _ = network.forward(decoder, packing.padded(rows), past)
    read = states[-1][torch.arange(len(rows)), torch.tensor([row.read for row in rows])]
    said = [chat.tokenizer.decode([row.ids[row.read + 1]]) for row in rows]
    wanted = torch.nn.functional.one_hot(torch.tensor([LABELS.index(label) for label in said]), len(LABELS)).float()
    lost = answers.label_losses(decoder, chat, read, wanted)
    labels = dev.Reader(decoder, chat).labels
    for index, row in enumerate(rows):
        logits = network.last(decoder, states[-1][index, row.read])
        chances = logits[labels].log_softmax(-1)
        assert lost["label"][index].item() == pytest.approx(-chances[labels.index(row.ids[row.read + 1])].item(), abs=1e-4)
        assert lost["mass"][index].item() == pytest.approx(-logits.softmax(-1)[labels].sum().log().item(), abs=1e-4)
    settings = SETTINGS["answers"] | FEW
    ids = torch.tensor([prefix.ids])
    before = answers.Before(decoder, "lexical", settings["compare"], network.forward(decoder, ids, None, 2)[0][-1])
    open_to = answers.Open(chat, tiny.VOCABULARY)
    parts = answers.batch_losses(settings, decoder, before, chat, open_to, prefix, past, rows)
    assert parts["label"].tolist() == pytest.approx(lost["label"].tolist())
    assert ({"rest", "head"} <= set(parts)) is (cut == 0.0)


def test_what_is_open_in_an_answer_is_what_serving_chooses_among(chat, hate):
    """Serving that gets its way at every open token writes the answer, token by token."""
    group, _, rows = drawn(chat, hate, 3, 0.0, 0.0)
    grammars, open_to = Grammars(chat.tokenizer, tiny.VOCABULARY, [packing.END]), answers.Open(chat, tiny.VOCABULARY)
    chosen = 0
    for row, item in zip(rows, group.items, strict=True):
        behind = row.ids[row.read + 2 : -1]
        found, question = open_to.of(row), compile_prompt(hate.policy, "nano").ask(Content(id="x", text=item.example.text))
        writer, before = grammars.writer(question.rest(item.said).task, 1000), chosen
        while not writer.done:
            place = len(writer.ids)
            assert len(found[place]) > 1
            assert behind[place] in found[place]
            writer.choose(torch.nn.functional.one_hot(torch.tensor(behind[place]), tiny.VOCABULARY).float().numpy())
            chosen += 1
        assert tuple(writer.ids) == behind
        assert chosen - before == sum(len(allowed) > 1 for allowed in found)
        assert chat.tokenizer.decode(row.ids[row.read + 1 : -1]) == item.answer[item.label[0] :]
    assert chosen > len(rows)


def test_what_a_grammar_forbids_is_not_learned(chat, hate):
    _, _, rows = drawn(chat, hate, 3, 0.0, 0.0)
    said = next(row for row in rows if len(row.ids) > row.read + 5)
    wrong = replace(said, ids=(*said.ids[: said.read + 2], said.ids[0], *said.ids[said.read + 3 :]))
    with pytest.raises(ValueError, match="forbids"):
        answers.Open(chat, tiny.VOCABULARY).of(wrong)


@torch.no_grad()
def test_writing_loses_among_what_the_grammar_allows_and_nothing_of_ids_that_people_did_not_settle(chat, decoder, hate):
    _, prefix, rows = drawn(chat, hate, 3, 0.0, 0.0)
    _, past, _ = network.forward(decoder, torch.tensor([prefix.ids]))
    states, _, _ = network.forward(decoder, packing.padded(rows), past)
    open_to = answers.Open(chat, tiny.VOCABULARY)
    found = answers.written_losses(decoder, open_to, states[-1], rows)
    by_hand = {"id": [], "rest": []}
    for index, row in enumerate(rows):
        for behind, allowed in enumerate(open_to.of(row)):
            place = row.read + 2 + behind
            if len(allowed) > 1 and row.kinds[place]:
                among = network.last(decoder, states[-1][index, place - 1])[allowed.tolist()].log_softmax(-1)
                by_hand[answers.NAMES[row.kinds[place]]].append(-among[allowed.tolist().index(row.ids[place])].item())
    assert by_hand["id"]
    for name, values in by_hand.items():
        assert sorted(found[name].tolist()) == pytest.approx(sorted(values), abs=1e-3)
    unsure = [replace(row, kinds=tuple(0 if kind == packing.ID else kind for kind in row.kinds)) for row in rows]
    assert set(answers.written_losses(decoder, open_to, states[-1], unsure)) == {"rest"}


def test_ids_that_people_did_not_settle_are_no_ids_to_learn(chat, hate):
    example = tiny.EXAMPLES[1]
    question = compile_prompt(hate.policy, "nano").ask(Content(id="x", text=example.text))
    ruling = policies.judge(hate, example)
    kinds = {}
    for sure in (True, False):
        item = augment.answer(random.Random(0), question, hate, example, replace(ruling, sure=sure), 0.0)
        row = packing.encode_row(chat, packing.ask(chat, [item.prompt])[0], item)
        kinds[sure] = [kind for kind, token in zip(row.kinds, row.ids, strict=True) if kind or token == row.ids[-1]]
        assert bool(row.cites) is sure
    assert packing.ID in kinds[True]
    assert packing.ID not in kinds[False]
    assert kinds[False].count(packing.REST) == kinds[True].count(packing.REST)


@torch.no_grad()
def test_labels_stay_what_they_were_where_a_policys_own_rules_decide(chat, decoder, hate):
    """And are learned where an exception applies, where something is around a text, and under rules that code decides."""
    _, prefix, rows = drawn(chat, hate, 3, 0.0, 1.0)
    rows = [replace(row, example=replace(row.example, core="a part" if index == 1 else "")) for index, row in enumerate(rows)]
    labels = ["exception", "yes", *["no"] * (len(rows) - 2)]
    ids = torch.tensor([prefix.ids])
    past, below = network.forward(decoder, ids)[1], network.forward(decoder, ids, None, 1)
    states, _, _ = network.forward(decoder, packing.padded(rows), past)
    read = network.last(decoder, states[-1][torch.arange(len(rows)), torch.tensor([row.read for row in rows])])
    were = read[:, dev.Reader(decoder, chat).labels].softmax(-1)
    given = torch.nn.functional.one_hot(torch.tensor([LABELS.index(label) for label in labels]), len(LABELS)).float()
    for kind, held in (("shipped", range(2, len(rows))), ("carveout", ())):
        before = answers.Before(copy.deepcopy(decoder), kind, 1, below[0][-1])
        wanted = before.wanted(chat, states[1], rows, labels)
        for index in range(len(rows)):
            expected = were if index in held else given
            assert wanted[index].numpy() == pytest.approx(expected[index].numpy(), abs=0.01)
    lost = answers.label_losses(decoder, chat, states[-1][torch.arange(len(rows)), [row.read for row in rows]], were)
    assert lost["label"].abs().max() < 0.01


def test_a_content_as_a_whole_is_read_without_its_padding_and_answer():
    states = [torch.zeros(2, 4, 3), torch.arange(24.0).view(2, 4, 3), torch.arange(24.0).view(2, 4, 3) * 10]
    mean, read = packing.wholes([packing.Row((5, 6, 7), (), 1), packing.Row((5, 6, 7, 8), (), 3)], states, 1, 2)
    assert mean.tolist() == [states[1][0, :2].mean(0).tolist(), states[1][1].mean(0).tolist()]
    assert read.tolist() == [states[2][0, 1].tolist(), states[2][1, 3].tolist()]


def test_the_stage_learns_above_a_depth_and_leaves_a_folder_that_loads(chat, decoder, tokenizer_folder, tmp_path):
    settings = SETTINGS["answers"] | FEW | {"steps": 6}
    written = copy.deepcopy(decoder)
    losses = answers.losses(settings, decoder, written, chat, tiny.EXAMPLES, tiny.TEXTS, lambda *_: None)
    below, above = ([parameter.clone() for parameter in layer.parameters()] for layer in decoder.model.layers[1:3])
    adam = train.optimizer(decoder, lessons.Lessons(SIZE), settings["compare"], settings["rates"])
    train.run(settings, decoder, adam, losses, lambda: None)
    assert all(map(torch.equal, below, decoder.model.layers[1].parameters()))
    assert not any(map(torch.equal, above, decoder.model.layers[2].parameters()))
    train.export(decoder, tokenizer_folder, tmp_path / "model")
    model, loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    turns = [{"role": "system", "content": "POLICY A"}, {"role": "user", "content": 'TEXT "b"'}]
    text = loaded.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert text == '<|system|>POLICY A<|user|>TEXT "b"<|assistant|>'
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.dtype == torch.bfloat16
    assert read_family(tmp_path / "model") == "nano"


@torch.no_grad()
def test_a_look_during_training_reads_what_serving_reads(chat, decoder, hate):
    reader = dev.Reader(decoder, chat)
    chances = reader.read(hate.policy, tiny.EXAMPLES)
    assert chances.sum(1) == pytest.approx(1, abs=1e-5)
    compiled = compile_prompt(hate.policy, "nano")
    for example, row in zip(tiny.EXAMPLES, chances, strict=True):
        question = compiled.ask(Content(id="x", text=example.text)).label()
        ids = [*chat.prefix(compiled.system), *chat.suffixes([question])[0]]
        alone = decoder(input_ids=torch.tensor([ids])).logits[0, -1, reader.labels].softmax(-1)
        assert row == pytest.approx(alone.numpy(), abs=0.02)


def test_what_is_looked_at_is_not_trained_on():
    learn, looked_at = dev.held_out([tiny.Example(f"text number {number}", "edos") for number in range(400)])
    assert len(learn) + len(looked_at) == 400
    assert 5 < len(looked_at) < 40
    assert not {one.text for one in learn} & {one.text for one in looked_at}
