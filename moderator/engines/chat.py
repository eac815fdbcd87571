"""Prompts as token ids: structure as control tokens, everything else as plain text.

The model's own chat template says where the turns begin and end. It is rendered once around empty slots, and only its own
text is allowed to become control tokens; policy, content and answer are encoded with control tokens switched off, so no text
can forge a turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from moderator.answer import AnswerFormat, Label
from moderator.engines.folder import read_json
from moderator.errors import EngineError
from moderator.prompt import Prompt

_SYSTEM_SLOT: Final = "\ue000system\ue001"
_USER_SLOT: Final = "\ue000user\ue001"
_ANSWER_SLOT: Final = "\ue000answer\ue001"


@dataclass(frozen=True, slots=True)
class Frame:
    """The text that a chat template puts around the slots: ``before SYSTEM between USER after``."""

    before: str
    between: str
    after: str


class ChatTokenizer:
    """Encodes prompts for one model, from its `tokenizers` tokenizer and its chat template."""

    def __init__(
        self, tokenizer: Tokenizer, template: str, variables: Mapping[str, Any] | None = None, *, model: str = "model"
    ):
        self._structure = Tokenizer.from_str(tokenizer.to_str())
        self._text = _deaf(tokenizer)
        for copy in (self._structure, self._text):
            copy.no_truncation()
            copy.no_padding()
        self._model = model
        self.frame = _frame(template, variables or {}, model)
        self.prefix = lru_cache(maxsize=64)(self._prefix)
        self.after = tuple(self.encode_structure(self.frame.after))
        self._closing = _closing(template, variables or {})

    @classmethod
    def from_folder(cls, folder: str | Path) -> ChatTokenizer:
        """Reads ``tokenizer.json`` and the chat template of a model folder. Raises `EngineError`."""
        folder = Path(folder)
        config = read_json(folder / "tokenizer_config.json")
        beside = folder / "chat_template.jinja"
        try:
            template = beside.read_text(encoding="utf-8") if beside.is_file() else config.get("chat_template")
        except (OSError, ValueError) as error:
            raise EngineError(f"{beside}: {error}") from None
        if not isinstance(template, str):
            raise EngineError(f"{folder}: the model has no chat template\n  add chat_template.jinja")
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the plain class is what `tokenizers` raises for a missing or broken file
            raise EngineError(f"{folder}: no usable tokenizer: {error}") from None
        return cls(tokenizer, template, special_tokens(config), model=str(folder))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer underneath, control tokens switched on: for grammars and for decoding."""
        return self._structure

    @property
    def control_ids(self) -> frozenset[int]:
        """The ids of the tokenizer's control tokens: all that were added to its vocabulary but runs of white space.

        Those not flagged ``special`` too: Qwen's ``<think>`` and DeepSeek's ``<｜User｜>`` are not.
        """
        added = self._structure.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if not token.content.isspace())

    def encode(self, text: str) -> list[int]:
        """A text as text: whatever it says, no control token comes of it."""
        return self._text.encode(text, add_special_tokens=False).ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """`encode`, and the characters of the text that each token stands for: start and end, exclusive."""
        encoding = self._text.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def encode_structure(self, text: str) -> list[int]:
        """A text of the template's own, in which control tokens are what they are."""
        return self._structure.encode(text, add_special_tokens=False).ids

    @cached_property
    def end_of_turn(self) -> int | None:
        """The token that the template puts behind an answer; None where it puts none."""
        ids = self.encode_structure(self._closing)
        return ids[0] if ids and ids[0] in self.control_ids else None

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` over many texts."""
        return [encoding.ids for encoding in self._text.encode_batch_fast(list(texts), add_special_tokens=False)]

    def suffixes(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """What follows the shared prefix in each prompt: the user turn, and the assistant's turn as far as it is given."""
        users = self.encode_batch([prompt.user for prompt in prompts])
        prefills = {prefill: self.encode(prefill) for prefill in {prompt.prefill for prompt in prompts}}
        return [[*user, *self.after, *prefills[prompt.prefill]] for user, prompt in zip(users, prompts, strict=True)]

    def label_ids(self, form: AnswerFormat) -> dict[Label, int]:
        """The token of each label after the answer's head. Raises `EngineError` when one is not one token of its own there."""
        return dict(self._label_ids(form.head("."), form.labels))

    @lru_cache(maxsize=64)  # noqa: B019 - lives as long as the engine that owns it
    def _label_ids(self, head: str, labels: tuple[Label, ...]) -> tuple[tuple[Label, int], ...]:
        before = self.encode(head)
        found: dict[Label, int] = {}
        for label in labels:
            ids = self.encode(head + label)
            if ids[:-1] != before or ids[-1] in found.values():
                raise EngineError(f"{self._model}: label {label!r} is not one distinct token after {head!r}")
            found[label] = ids[-1]
        return tuple(found.items())

    def _prefix(self, system: str) -> tuple[int, ...]:
        """The shared prefix: everything up to the slot of the content. Cached by text."""
        return (*self.encode_structure(self.frame.before), *self.encode(system), *self.encode_structure(self.frame.between))


def _deaf(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that finds no control token in a text. It leaves alone only those that are flagged: so all are flagged."""
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = not token["content"].isspace()
    copy: Tokenizer = Tokenizer.from_str(json.dumps(state))
    copy.encode_special_tokens = True
    return copy


def special_tokens(config: Mapping[str, Any]) -> dict[str, Any]:
    """``bos_token`` and its like from a tokenizer_config.json, as chat templates expect them."""
    tokens = {name: value for name, value in config.items() if name.endswith("_token")}
    return {name: value["content"] if isinstance(value, Mapping) else value for name, value in tokens.items()}


def _frame(template: str, variables: Mapping[str, Any], model: str) -> Frame:
    for messages in _TURNS:
        rendered = _render(template, messages, variables, answered=False)
        before, found_system, rest = rendered.partition(_SYSTEM_SLOT)
        between, found_user, after = rest.partition(_USER_SLOT)
        if found_system and found_user and _USER_SLOT not in after and _SYSTEM_SLOT not in after:
            return Frame(before, between, after)
    raise EngineError(
        f"{model}: the chat template does not put a system and a user turn into the prompt, once each and in this order"
    )


def _closing(template: str, variables: Mapping[str, Any]) -> str:
    """What the template puts behind an answer; empty where it puts nothing, or takes no answers."""
    answer = {"role": "assistant", "content": _ANSWER_SLOT}
    rendered = (_render(template, [*messages, answer], variables, answered=True) for messages in _TURNS)
    return next((text.partition(_ANSWER_SLOT)[2] for text in rendered if _ANSWER_SLOT in text), "")


_TURNS: Final[Sequence[Sequence[Mapping[str, str]]]] = (
    ({"role": "system", "content": _SYSTEM_SLOT}, {"role": "user", "content": _USER_SLOT}),
    # templates that know no system turn
    ({"role": "user", "content": f"{_SYSTEM_SLOT}\n\n{_USER_SLOT}"},),
)


def _render(template: str, messages: Sequence[Mapping[str, str]], variables: Mapping[str, Any], *, answered: bool) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    # some templates print today's date: a fixed one, so that the same content makes the same prompt on every day
    environment.globals["strftime_now"] = date(2025, 1, 1).strftime
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=not answered, enable_thinking=False, **variables
        )
    except jinja2.TemplateError:
        return ""
