"""The recipe of nano, on rows and models that are made here."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
for name in ("transformers", "tokenizers", "sklearn", "zstandard"):
    pytest.importorskip(name)
sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import augment, lessons, packing, policies, prepare, train  # noqa: E402
from finetune.nano import model as nano  # noqa: E402
from finetune.nano import network as decoder  # noqa: E402
from finetune.nano import tokenizer as words  # noqa: E402
from finetune.nano.teacher import Teacher  # noqa: E402
from moderator.content import Content  # noqa: E402
from moderator.engines.chat import ChatTokenizer  # noqa: E402
from moderator.engines.folder import family as read_family  # noqa: E402
from moderator.prompt import compile_prompt, load_family  # noqa: E402

TEXTS = [
    "you are a fool",
    "what a lovely day",
    "buy my pills at my page",
    "they are all criminals and liars",
    "see you at lunch",
]
EXAMPLES = [
    prepare.Example(
        "you are such a fool", "toxic-spans", broken=prepare.topics("harassment.insult", "toxicity.any"), quotes=("fool",)
    ),
    prepare.Example("they are all criminals, every one", "edos", broken=prepare.topics("sexism.derogate")),
    prepare.Example("what a lovely day it is", "edos"),
    prepare.Example("see you at lunch then", "toxic-spans"),
]


@pytest.fixture(scope="module")
def tokenizer():
    return words.train([*TEXTS * 50, *words.answer_lines(1, 200)], 700)


@pytest.fixture(scope="module")
def tiny():
    shape = {
        "vocab_size": 700,
        "max_position_embeddings": 4096,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    return nano.build(shape, 0)


@pytest.fixture(scope="module")
def chat(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    words.save(tokenizer, folder, 4096)
    return ChatTokenizer.from_folder(folder)


def encoded(chat, stance, group):
    """The prefix and the rows of a group."""
    prefix = packing.encode_prefix(chat, group.system, list(lessons.line_texts(stance)))
    asked = packing.ask(chat, [item.prompt for item in group.items])
    return prefix, [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]


@pytest.fixture(scope="module")
def hate():
    return next(stance for stance in policies.shipped() if stance.policy.slug == "hate")


def test_labels_are_one_token(tokenizer):
    assert len(set(words.check_labels(tokenizer).values())) == 5


def test_the_forward_pass_is_that_of_transformers_and_rows_do_not_see_each_other(chat, tiny, hate):
    draw = random.Random(3)
    group = augment.make_group(draw, augment.Pools(EXAMPLES, draw, {}), hate, load_family("nano"), 10, 0.3, 0.3)
    prefix, rows = encoded(chat, hate, group)
    with torch.no_grad():
        _, past, _ = decoder.forward(tiny, torch.tensor([prefix.ids]))
        states, _, _ = decoder.forward(tiny, packing.padded(rows), past)
        packed = decoder.last(tiny, states[-1])
        for index, row in enumerate(rows):
            alone = tiny(input_ids=torch.tensor([[*prefix.ids, *row.ids]])).logits[0, len(prefix.ids) :]
            assert torch.allclose(packed[index, : len(row.ids)], alone, atol=0.02)  # bf16 against float32


def test_rows_are_encoded_as_engines_encode_them(chat, hate):
    draw = random.Random(5)
    group = augment.make_group(draw, augment.Pools(EXAMPLES, draw, {}), hate, load_family("nano"), 10, 0.0, 1.0)
    prefix, rows = encoded(chat, hate, group)
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


def test_looks_point_at_what_the_label_follows_from(chat, hate):
    question = compile_prompt(hate.policy, "nano").ask(Content(id="x", text=EXAMPLES[1].text))
    item = augment.answer(random.Random(0), question, hate, EXAMPLES[1], policies.judge(hate, EXAMPLES[1]), 0.0)
    row = packing.encode_row(chat, packing.ask(chat, [item.prompt])[0], item)
    at_label = [look.parts for look in row.looks if look.place == row.read]
    assert at_label == [("H4",), (), ()]
    (at_id,) = [look for look in row.looks if look.place != row.read]
    assert at_id.parts == ("H4",)
    assert chat.tokenizer.decode([row.ids[at_id.place + 1]]) == "H"


def test_look_loss_is_the_attention_that_falls_elsewhere():
    """A row behind a prefix of three tokens: the query at its first token sees four keys, of which two are the line."""
    keys = torch.zeros(1, 1, 5, 4)
    keys[0, 0, 1, 0] = 2 * math.log(3)  # scores are divided by two: attention weights 1, 3, 1, 1 of 6
    looks = decoder.Looks(torch.eye(4)[None, None, :1].repeat(1, 3, 2, 1), keys)
    row = packing.Row((7, 8), (0, 1), 0, (packing.Look(0, 0, ("A1",)), packing.Look(0, 2, ())))
    lost = lessons.look_loss([row], packing.Prefix((2, 5, 6), {"A1": (1, 3)}), looks)
    assert lost[0].tolist() == pytest.approx([-math.log(4 / 6)])
    assert lost[2].tolist() == pytest.approx([-math.log(1 / 6)])


def test_both_stages_change_the_model_and_leave_a_folder_that_loads(chat, tokenizer, tiny, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words.save(tokenizer, tmp_path / "tokenizer", 4096)
    settings = yaml.safe_load((Path(train.__file__).parent / "config.yaml").read_text())
    few = {
        "seed": 1,
        "depth": 1,
        "shares": {"written": 1.0},
        "group": 4,
        "groups": 1,
        "longest": 1000,
        "steps": 2,
        "warmup": 1,
    }
    vectors = lessons.Vectors([EXAMPLES[0].text], np.ones((1, 384), dtype=np.float16))
    taught = lessons.Lessons(64)
    nano.start(tiny, np.random.default_rng(0).normal(size=(700, 100)), 0)
    for stage, losses in (("meaning", train.meaning_losses), ("answers", train.answer_losses)):
        config, before = settings[stage] | few, tiny.model.layers[0].mlp.up_proj.weight.clone()
        train.run(config, tiny, taught, losses(config, tiny, taught, chat, EXAMPLES, vectors), lambda: None)
        assert not torch.equal(before, tiny.model.layers[0].mlp.up_proj.weight)
    train.export(tiny, tmp_path / "tokenizer", tmp_path / "model")
    model, loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    text = loaded.apply_chat_template(
        [{"role": "system", "content": "POLICY A"}, {"role": "user", "content": 'TEXT "b"'}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text == '<|system|>POLICY A<|user|>TEXT "b"<|assistant|>'
    assert model.config.architectures == ["Qwen3ForCausalLM"]
    assert model.dtype == torch.bfloat16
    assert read_family(tmp_path / "model") == "nano"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A sentence encoder with random weights, in the files of a real one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("teacher")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({piece for text in TEXTS for piece in text.split()}), "##s"]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=384, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    return Teacher(folder)


def test_the_teacher_gives_each_text_its_own_vector_whatever_the_batch(teacher):
    texts = [*TEXTS, TEXTS[0] + " " + TEXTS[1]]
    together = teacher.embed(texts, tokens=20).astype(np.float32)
    alone = np.concatenate([teacher.embed([text]) for text in texts]).astype(np.float32)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=0.01)
    assert (together * alone).sum(1).min() > 0.999
    assert (together[0] * together[1]).sum() < 0.999


def test_tokens_begin_at_the_word_pieces_of_their_text(teacher, tokenizer):
    vectors = teacher.words(tokenizer)
    names = {tokenizer.decode([index]): index for index in range(tokenizer.get_vocab_size())}
    table = teacher.network.get_input_embeddings().weight.detach().numpy()
    assert vectors[names[" you"]] == pytest.approx((table - table.mean(0))[teacher.tokenizer.vocab["you"]], abs=1e-6)
    assert not vectors[names["#"]].any()
