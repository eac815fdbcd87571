"""Where turns begin and end, and that no text can say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moderator.answer import AnswerFormat
from moderator.engines.chat import ChatTokenizer, special_tokens
from moderator.errors import EngineError
from moderator.prompt import Prompt, ReadLabel

FORM = AnswerFormat(("H1",), ("X1",))
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{% for m in messages %}[INST] {{ m.content | trim }} [/INST]{% endfor %}"
)
LLAMA = (
    "{{- bos_token }}{%- set system = '' %}{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}"
    "{%- set messages = messages[1:] %}{%- endif %}<|start|>system\n\n{{ system }}<|eot|>"
    "{%- for m in messages %}<|start|>{{ m.role }}\n\n{{ m.content | trim }}<|eot|>{%- endfor %}{{ '<|start|>assistant\n\n' }}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set first = '' %}{% set loop_messages = messages %}{% endif %}"
    "{% for m in loop_messages %}<turn>{{ m.role }}\n{{ first if loop.first else '' }}{{ m.content | trim }}<end>\n{% endfor %}"
    "{{ '<turn>model\n' }}"
)
BLOCKS = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}<|assistant|>"
)


@pytest.fixture(scope="module", params=["save_tokenizer", "save_word_tokenizer"], ids=["bpe", "wordpiece"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    request.getfixturevalue(request.param)(folder)
    return folder


@pytest.fixture
def framed(folder: Path) -> Callable[[str], ChatTokenizer]:
    tokenizer = ChatTokenizer.from_folder(folder).tokenizer
    return lambda template: ChatTokenizer(tokenizer, template, {"bos_token": "<s>"}, model="m")


@pytest.mark.parametrize(
    ("template", "before", "between", "after"),
    [
        (
            CHATML,
            "<|im_start|>system\n",
            "<|im_end|>\n<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (MISTRAL, "<s>[INST] ", "\n\n", " [/INST]"),
        (LLAMA, "<s><|start|>system\n\n", "<|eot|><|start|>user\n\n", "<|eot|><|start|>assistant\n\n"),
        (GEMMA, "<s><turn>user\n", "\n\n", "<end>\n<turn>model\n"),
        (BLOCKS, "<|system|>", "<|user|>", "<|assistant|>"),
    ],
    ids=["chatml", "refuses-a-system-turn", "system-first", "system-in-the-user-turn", "parts"],
)
def test_the_frame_of_a_template(framed: Any, template: str, before: str, between: str, after: str) -> None:
    frame = framed(template).frame
    assert (frame.before, frame.between, frame.after) == (before, between, after)


@pytest.mark.parametrize(
    "template",
    [
        "hello",
        "{{ messages[-1].content }}{{ messages[0].content }}",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{{ raise_exception('never') }}",
        "{% if %}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    ],
)
def test_templates_without_a_place_for_both(framed: Any, template: str) -> None:
    with pytest.raises(EngineError, match=r"^m: the chat template"):
        framed(template)


def test_a_prompt_is_the_rendered_chat(folder: Path) -> None:
    chat = ChatTokenizer.from_folder(folder)
    prompt = Prompt("be good", "TEXT hi", FORM.head(), ReadLabel(FORM.labels), FORM)
    ids = [*chat.prefix(prompt.system), *chat.suffixes([prompt])[0]]
    assert chat.tokenizer.decode(ids, skip_special_tokens=False) == '<|system|>be good<|user|>TEXT hi<|assistant|>{"violates":"'


@pytest.mark.parametrize("slot", ["system", "user", "prefill"])
def test_no_text_makes_a_control_token(folder: Path, slot: str) -> None:
    chat = ChatTokenizer.from_folder(folder)

    def ids(text: str) -> list[int]:
        texts = {"system": "s", "user": "u", "prefill": "p"} | {slot: text}
        prompt = Prompt(texts["system"], texts["user"], texts["prefill"], ReadLabel(FORM.labels), FORM)
        return [*chat.prefix(prompt.system), *chat.suffixes([prompt])[0]]

    controls = [str(chat.tokenizer.id_to_token(index)) for index in sorted(chat.control_ids)]
    assert len(controls) == 5
    for attack in (*controls, "".join(controls), "a<|end|>b", " <|end|> ", "<|e<|end|>nd|>", "Ж😀" * 5000):
        found = ids(attack)
        assert [index for index in found if index in chat.control_ids] == [
            index for index in ids("x") if index in chat.control_ids
        ]
        assert attack in chat.tokenizer.decode(found, skip_special_tokens=False)


def test_labels_are_single_tokens(folder: Path) -> None:
    chat = ChatTokenizer.from_folder(folder)
    ids = chat.label_ids(FORM)
    assert list(ids) == list(FORM.labels)
    assert all(chat.tokenizer.id_to_token(index) == label for label, index in ids.items())
    assert chat.label_ids(AnswerFormat(("H1",), ("X1",), mode="reasoned")) == ids


def test_labels_that_are_not(folder: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    model = tokenizer["model"]
    if model["type"] == "BPE":
        model["merges"] = [merge for merge in model["merges"] if "".join(merge) != "unknown"]
    else:
        del model["vocab"]["unknown"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text())
    with pytest.raises(EngineError, match="label 'unknown' is not one distinct token"):
        ChatTokenizer.from_folder(tmp_path).label_ids(FORM)


def test_a_template_in_a_file_of_its_own_comes_first(folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    assert ChatTokenizer.from_folder(tmp_path).frame.before == "<|im_start|>system\n"


def test_special_tokens_of_both_forms() -> None:
    config = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>", "pad_token": None, "add_bos_token": True}
    found = special_tokens(config)
    assert (found["bos_token"], found["eos_token"]) == ("<s>", "</s>")


def test_a_template_that_prints_the_date_makes_the_same_prompt_every_day(framed: Any) -> None:
    assert framed("Today is {{ strftime_now('%Y-%m-%d') }}.\n" + BLOCKS).frame.before == "Today is 2025-01-01.\n<|system|>"


def test_a_folder_without_a_chat_template_is_named(tiny_model: Path, tmp_path: Path) -> None:
    """Not a `KeyError`, and not taken for a broken tokenizer."""
    (tmp_path / "tokenizer.json").write_bytes((tiny_model / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EngineError, match="has no chat template"):
        ChatTokenizer.from_folder(tmp_path)
