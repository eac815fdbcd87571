"""A policy and a prompt family, bound: the fixed prefix, the form of the answer, and a slot for the content.

A family is a folder of `prompts/`: `system.jinja` (sees the policy, never the content), `user.jinja` (sees the content, never
the policy) and `family.yaml`. Compiling is pure: same policy, family, mode and budget, same bytes, same digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import jinja2
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moderator.answer import AnswerFormat, Label, Mode
from moderator.assets import directory
from moderator.content import Content
from moderator.errors import PromptError
from moderator.policy.model import Policy
from moderator.policy.tokens import estimate_tokens
from moderator.quoting import LONGEST_CHUNK, literal

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False, autoescape=False
)
_ENVIRONMENT.globals.clear()  # templates see what they are given; and copying them takes longer than a rendering
_SYSTEM_MAY_SEE: Final = frozenset({"policy", "answer"})
_USER_MAY_SEE: Final = frozenset({"text", "thread", "facts", "images"})
_PLAIN_NAME: Final = re.compile(r"[\w .()-]{1,64}")
_BYTES_OF_A_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True)
class ReadLabel:
    """Wanted: the probability of each of these words as the next token."""

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Wanted: text that the grammar (llguidance Lark) accepts; greedy at temperature 0."""

    grammar: str
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call to an engine: a system turn, a user turn, the beginning of the assistant's turn, and what is wanted next.

    All prompts of one compiled policy share the same `system` object, which is what engines cache by.
    """

    system: str
    user: str
    prefill: str
    task: ReadLabel | Write
    format: AnswerFormat
    """The form of the whole answer, for engines that cannot continue a prefill."""
    policy: str = ""
    """The slug of the policy that it is about, for engines that have an adapter for each."""


class _FamilySettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    quote_chars: Annotated[int, Field(ge=LONGEST_CHUNK)] = 160
    rationale_chars: Annotated[int, Field(ge=0)] = 240
    """At most; 0: the model writes none, in ``reasoned`` mode an empty one."""
    rationale_in_fast: bool = True
    budget: int | None = None
    """Tokens that the system turn may have; None: no limit."""


@dataclass(frozen=True, slots=True)
class Family:
    """A prompt family: two templates and their settings."""

    name: str
    settings: _FamilySettings
    system: jinja2.Template
    user: jinja2.Template
    digest: str


def load_family(name: str | Path) -> Family:
    """A shipped family by name, or a folder of one's own. Raises `PromptError`.

    A shipped name means the shipped family, whatever folders the working directory has.
    """
    folder = Path(name)
    if isinstance(name, str) and (not folder.is_dir() or (directory("prompts") / name / "family.yaml").is_file()):
        folder = directory("prompts") / name
    if not (folder / "family.yaml").is_file():
        known = sorted(path.parent.name for path in directory("prompts").glob("*/family.yaml"))
        raise PromptError(f"{name}: no such prompt family\n  one of {', '.join(known)}, or a folder with family.yaml")
    sources = {file: _read(folder / file) for file in ("family.yaml", "system.jinja", "user.jinja")}
    try:
        settings = _FamilySettings.model_validate(yaml.safe_load(sources["family.yaml"]))
    except (yaml.YAMLError, ValidationError) as error:
        raise PromptError(f"{folder / 'family.yaml'}: {' '.join(str(error).split())}") from None
    user = _template(folder / "user.jinja", sources["user.jinja"], _USER_MAY_SEE, needs="text")
    return Family(
        name=folder.resolve().name,
        settings=settings,
        system=_template(folder / "system.jinja", sources["system.jinja"], _SYSTEM_MAY_SEE, needs="policy"),
        user=user,
        digest=_digest(sources),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: {error}") from None


def _template(path: Path, source: str, may_see: frozenset[str], needs: str) -> jinja2.Template:
    try:
        parsed = _ENVIRONMENT.parse(source)
        template = _ENVIRONMENT.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"{path}:{error.lineno}: {error.message}") from None
    seen = meta.find_undeclared_variables(parsed)
    if forbidden := sorted(seen - may_see):
        raise PromptError(f"{path}: the template mentions {forbidden[0]!r}\n  it may see {', '.join(sorted(may_see))}")
    if needs not in seen:
        raise PromptError(f"{path}: the template does not mention {needs!r}")
    if any(True for _ in meta.find_referenced_templates(parsed)):
        raise PromptError(f"{path}: the template refers to another one\n  a family's templates stand alone")
    return template


def _render(template: jinja2.Template, where: str, **values: Any) -> str:
    try:
        return template.render(**values)
    except jinja2.TemplateError as error:
        raise PromptError(f"prompt family {where}: {error}") from None


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class CompiledPrompt:
    """The fixed part of every prompt about one policy, and the form of the answers."""

    policy: Policy
    family: Family
    format: AnswerFormat
    system: str
    tokens: int
    """Of the system turn, by the counter that compiling was given."""
    dropped: tuple[str, ...] = ()
    """What the budget left out, in drop order."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that reaches the model but the content."""
        return _digest([self.system, self.family.digest, self.format.mode, self.format.schema()])

    def ask(self, content: Content) -> Question:
        """The question that this content makes of the compiled prompt.

        Raises `PromptError` when the family's template does not show the whole text.
        """
        shown = literal(content.text)
        where = f"{self.family.name}: user.jinja"
        user = _render(
            self.family.user,
            where,
            text=shown,
            thread=[{"author": literal(turn.author), "text": literal(turn.text)} for turn in content.thread],
            facts={_name(name): literal(value) for name, value in sorted(content.facts.items())},
            images=[literal(name) for name in content.images],
        )
        if shown not in user:
            raise PromptError(f"prompt family {where}: the template does not show the text as it is given")
        return Question(self, user, shown[1:-1])


@dataclass(frozen=True, slots=True)
class Question:
    """One content in the slot of one compiled prompt: makes the prompts of each step of an answer."""

    compiled: CompiledPrompt
    user: str
    shown: str
    """The content's text as the slot shows it, without the quotation marks."""

    def rationale(self, *, temperature: float = 0.0, seed: int = 0) -> Prompt:
        """The first step in ``reasoned`` mode: write the rationale, up to the label."""
        form = self.compiled.format
        task = Write(form.rationale_grammar(), _tokens_for(_BYTES_OF_A_CHARACTER * form.rationale_chars), temperature, seed)
        return self._prompt(form.opening, task)

    def label(self, rationale: str = "") -> Prompt:
        """Read the label. `rationale` is the text of the rationale step, if there was one."""
        form = self.compiled.format
        return self._prompt(form.head(rationale), ReadLabel(form.labels))

    def rest(self, label: Label, rationale: str = "") -> Prompt:
        """Write what follows the label: ids, quotes, and in ``fast`` mode the rationale."""
        form = self.compiled.format
        grammar = form.rest_grammar(label, self.shown)
        quote = min(_BYTES_OF_A_CHARACTER * form.quote_chars, len(self.shown.encode()))
        entries = 4 * (quote + 48) + 8 * 12
        task = Write(grammar, _tokens_for(entries + _BYTES_OF_A_CHARACTER * form.rationale_chars))
        return self._prompt(form.head(rationale) + label, task)

    def _prompt(self, prefill: str, task: ReadLabel | Write) -> Prompt:
        return Prompt(self.compiled.system, self.user, prefill, task, self.compiled.format, self.compiled.policy.slug)


def _tokens_for(size: int) -> int:
    """Tokens enough for this many bytes of UTF-8 and the signs around them, in any vocabulary."""
    return size + 64


def _name(name: str) -> str:
    """The name of a fact as it is shown: as it stands, if it can be nothing else than a name."""
    return name if _PLAIN_NAME.fullmatch(name) else literal(name)


def compile_prompt(
    policy: Policy,
    family: Family | str = "default",
    mode: Mode = "fast",
    *,
    budget: int | None = None,
    count: Callable[[str], int] = estimate_tokens,
) -> CompiledPrompt:
    """Binds a policy to a family.

    `budget` is the number of tokens the system turn may have (default: the family's); what goes first when it is exceeded is
    the rationale, then the borderline notes, then the third and later examples of each rule. Reviewer notes are never in.
    Raises `PromptError` when the policy does not fit even then.
    """
    family = load_family(family) if isinstance(family, str) else family
    settings = family.settings
    form = AnswerFormat(
        rules=tuple(rule.id for rule in policy.rules),
        exceptions=tuple(exception.id for exception in policy.exceptions),
        escalations=tuple(escalation.id for escalation in policy.escalations if not escalation.triggers),
        mode=mode,
        quote_chars=settings.quote_chars,
        rationale_chars=settings.rationale_chars if mode == "reasoned" or settings.rationale_in_fast else 0,
    )
    limit = budget if budget is not None else settings.budget
    shown, dropped = _without_what_code_decides(policy), []
    for name, drop in (("", None), *_DROPS):
        if drop is not None:
            shown = drop(shown)
            dropped.append(name)
        system = _render(family.system, f"{family.name}: system.jinja", policy=shown, answer=form).strip()
        tokens = count(system)
        if limit is None or tokens <= limit:
            compiled = CompiledPrompt(policy, family, form, system, tokens, tuple(dropped))
            compiled.ask(_BARE)
            return compiled
    left_out = ", ".join(dropped)
    raise PromptError(
        f"{policy.name}: {tokens} tokens in family {family.name!r} where the budget is {limit}, with {left_out} left out\n"
        "  raise the budget, shorten the rules, or judge rule by rule (plan `rule`)"
    )


_BARE: Final = Content(id="", text="Anything, so long as it is a text.")
"""A content with nothing but a text: what a template takes for granted beside it is noticed when the prompt is compiled."""


def _without_what_code_decides(policy: Policy) -> Policy:
    """What no template can show, whatever it mentions."""
    return policy.replace(reviewer_notes="", precedence=(), notices={}, changelog=())


def _without_rationale(policy: Policy) -> Policy:
    return policy.replace(rationale="")


def _without_borderline(policy: Policy) -> Policy:
    return policy.replace(rules=tuple(rule.replace(borderline=()) for rule in policy.rules))


def _two_examples(policy: Policy) -> Policy:
    return policy.replace(rules=tuple(rule.replace(examples=rule.examples[:2]) for rule in policy.rules))


_DROPS: Final[Sequence[tuple[str, Callable[[Policy], Policy]]]] = (
    ("rationale", _without_rationale),
    ("borderline notes", _without_borderline),
    ("third and later examples", _two_examples),
)
