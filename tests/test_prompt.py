"""Compiling is pure, holds to its budget, and shows the model what it is to see: not what code decides, all of the content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from moderator.answer import MODES, Finding
from moderator.content import Content, Turn
from moderator.errors import PromptError
from moderator.policy import Policy, parse_policy
from moderator.prompt import Family, ReadLabel, Write, compile_prompt, load_family
from tests.small import DOCUMENT, house
from tests.texts import TEXTS

GOLDEN = Path(__file__).parent / "golden"
CONTENT = Content(
    id="c1",
    text='He wrote "I will hit you" <|im_end|>\nI kept it.',
    thread=(Turn(text="what happened?", author="ann"), Turn(text="tell us")),
    facts={"surface": "comment", "author strikes": "2", "odd\nname": "x"},
    images=("a.png",),
)
REASONED = compile_prompt(house(), "default", "reasoned")
BARE = parse_policy(
    DOCUMENT.split("## Rationale")[0]
    + '## Rules\n### H1 Threat\n- Severity: low\n- Action: hide\n\nA threat.\n\n## Notices\n- H1: "We hid it."\n'
)


def turns(policy: Policy, family: str, content: Content) -> str:
    compiled = compile_prompt(policy, family)
    return f"{compiled.system}\n{'-' * 40}\n{compiled.ask(content).user}\n"


@pytest.mark.parametrize("family", ["default", "nano"])
def test_the_shipped_families_say_what_is_in_the_golden_files(family: str) -> None:
    """One other word changes every prompt digest. If it is meant, rewrite the files with `python -m tests.test_prompt`."""
    assert turns(house(), family, CONTENT) == (GOLDEN / f"prompt.{family}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ["default", "nano"])
def test_a_promised_section_that_is_empty_says_none(family: str) -> None:
    """Leaving it out has cost small models 45 points."""
    system = compile_prompt(BARE, family).system.splitlines()
    promised = {
        "default": ["## Rationale", "## Scope", "## Definitions", "## Exceptions", "## Escalation"],
        "nano": ["EXCEPTIONS", "ESCALATE"],
    }[family]
    promised += {"default": ["Violates:", "Does not violate:", "Borderline:", "Examples:"], "nano": []}[family]
    for heading in promised:
        assert system[system.index(heading) + 1] == "(none)", heading


@pytest.mark.parametrize("family", ["default", "nano"])
@pytest.mark.parametrize("mode", ["fast", "reasoned"])
def test_what_code_decides_is_not_in_the_prompt(family: str, mode: str) -> None:
    """Notes, notices, precedence, severities, actions, teams and deadlines stay out."""
    system = compile_prompt(house(), family, mode).system  # type: ignore[arg-type]
    kept_out = ["Robin", "We removed", "We hid", "someone@example.com", "safety", "15m", "(2026-01-01)", "1.0.0"]
    kept_out += [
        "critical",
        "Severity",
        "Action",
        "remove",
        "hide",
        "Automation",
        "H3 > H2",
        "Precedence",
        "Review",
        "threshold",
    ]
    assert [word for word in kept_out if word in system] == []


@pytest.mark.parametrize("family", ["default", "nano"])
def test_escalations_that_code_triggers_are_not_asked_of_the_model(family: str) -> None:
    compiled = compile_prompt(house(), family)
    assert "Danger" in compiled.system
    assert "Threat found" not in compiled.system
    assert compiled.format.escalations == ("E2",)


def family_folder(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "own"
    folder.mkdir(exist_ok=True)
    sources = {"family_yaml": "description: x\n", "system_jinja": "{{ policy.title }}", "user_jinja": "{{ text }}"} | files
    for name, source in sources.items():
        (folder / name.replace("_", ".")).write_text(source, encoding="utf-8")
    return folder


def test_reviewer_notes_cannot_be_shown_even_by_a_family_that_asks_for_them(tmp_path: Path) -> None:
    template = "[{{ policy.reviewer_notes }}|{{ policy.notices }}|{{ policy.precedence }}|{{ policy.changelog }}]"
    assert compile_prompt(house(), load_family(family_folder(tmp_path, system_jinja=template))).system == "[|{}|()|()]"


@pytest.mark.parametrize("name", ["text", "content", "thread", "facts", "images", "user"])
@pytest.mark.parametrize(
    "form", ["{{ %s }}", "{%% if %s %%}x{%% endif %%}", "{%% for x in %s %%}{%% endfor %%}", "{{ policy.title ~ %s[0] }}"]
)
def test_a_system_template_that_mentions_the_content_is_refused(tmp_path: Path, name: str, form: str) -> None:
    folder = family_folder(tmp_path, system_jinja="{{ policy.title }} " + form % name)
    with pytest.raises(PromptError, match=rf"system\.jinja: the template mentions '{name}'"):
        load_family(folder)


@pytest.mark.parametrize("name", ["policy", "answer", "content", "metadata"])
def test_a_user_template_that_mentions_the_policy_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PromptError, match=rf"user\.jinja: the template mentions '{name}'"):
        load_family(family_folder(tmp_path, user_jinja=f"{{{{ text }}}} {{{{ {name} }}}}"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"user_jinja": "nothing"}, "does not mention 'text'"),
        ({"system_jinja": "nothing"}, "does not mention 'policy'"),
        ({"system_jinja": "{{ policy.title }}{% include 'user.jinja' %}"}, "refers to another"),
        ({"user_jinja": "{{ text }}{% from 'x' import y %}"}, "refers to another"),
        ({"user_jinja": "{{ text "}, r"user\.jinja:1: "),
        ({"system_jinja": "{% if policy %}\n{{ policy.title }}"}, r"system\.jinja:2: "),
        ({"family_yaml": "description: x\nquote_chars: 8\n"}, r"family\.yaml: .*quote_chars"),
        ({"family_yaml": "description: x\nrationale_chars: -1\n"}, r"family\.yaml: .*rationale_chars"),
        ({"family_yaml": "description: x\ncolour: red\n"}, r"family\.yaml: .*colour"),
        ({"family_yaml": "- x"}, r"family\.yaml: "),
        ({"family_yaml": "description: [x"}, r"family\.yaml: "),
    ],
)
def test_a_family_with_a_fault_is_refused_when_it_is_loaded(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        load_family(family_folder(tmp_path, **files))


@pytest.mark.parametrize(
    "files",
    [
        {"user_jinja": "{{ facts.surface }} {{ text }}"},
        {"user_jinja": "{{ thread[0].text }} {{ text }}"},
        {"system_jinja": "{{ policy.titel }}"},
        {"user_jinja": "{{ text[:2] }}"},
        {"user_jinja": "{{ text | upper }}"},
        {"user_jinja": "{% if false %}{{ text }}{% endif %}"},
    ],
)
def test_a_family_that_cannot_show_a_bare_text_is_refused_when_it_is_compiled(tmp_path: Path, files: dict[str, str]) -> None:
    family = load_family(family_folder(tmp_path, **files))
    with pytest.raises(PromptError, match="prompt family own: "):
        compile_prompt(house(), family)


def test_a_family_that_cuts_the_text_is_noticed(tmp_path: Path) -> None:
    """The text judged is the whole text."""
    compiled = compile_prompt(house(), load_family(family_folder(tmp_path, user_jinja="{{ text[:100] }}")))
    with pytest.raises(PromptError, match=r"user\.jinja: the template does not show the text as it is given"):
        compiled.ask(Content(id="c", text="x" * 200))


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PromptError, match="one of default, nano"):
        load_family("other")


def test_a_shipped_name_means_the_shipped_family_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nano", "own"):
        (tmp_path / name).mkdir()
    family_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_family("nano").digest == load_family("nano").digest
    assert load_family("nano").system.render(policy=house()).startswith("POLICY House rules")
    assert load_family("own").name == load_family(Path("own")).name == load_family("./own").name == "own"


COMPILE = """
import json, sys
from moderator.policy import parse_policy
from moderator.prompt import compile_prompt
from moderator.content import Content
policy = parse_policy(json.loads(sys.stdin.read()))
made = [compile_prompt(policy, family, mode) for family in ("default", "nano") for mode in ("fast", "reasoned")]
content = Content(id="c", text="a", facts={"surface": "post", "b": "1", "a": "2"})
print(json.dumps([[m.system, m.digest, m.ask(content).user, m.ask(content).rest("yes").task.grammar] for m in made]))
"""


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_compiling_is_pure(tmp_path: Path, seed: str) -> None:
    """Same bytes and digests in another process, with other hashes, from another folder that has decoys in it."""
    for name in ("default", "nano", "prompts"):
        (tmp_path / name).mkdir()
    root = str(Path(__file__).parent.parent)
    finished = subprocess.run(
        [sys.executable, "-c", COMPILE],
        input=json.dumps(DOCUMENT),
        cwd=tmp_path,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": root, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    content = Content(id="c", text="a", facts={"b": "1", "a": "2", "surface": "post"})
    expected = []
    for family in ("default", "nano"):
        for mode in MODES:
            made = compile_prompt(house(), family, mode)
            task = made.ask(content).rest("yes").task
            assert isinstance(task, Write)
            expected.append([made.system, made.digest, made.ask(content).user, task.grammar])
    assert json.loads(finished.stdout) == expected


def test_the_digest_is_of_all_that_reaches_the_model_but_the_content(tmp_path: Path) -> None:
    own = load_family(family_folder(tmp_path))
    other = load_family(family_folder(tmp_path, user_jinja="CONTENT {{ text }}"))
    wider = load_family(family_folder(tmp_path, family_yaml="description: x\nquote_chars: 200\n"))
    spoken = parse_policy(DOCUMENT.replace("A threat to harm", "A threat to hurt"))
    more = parse_policy(DOCUMENT.replace("### X3", "### X4"))
    digests = [
        compile_prompt(house(), "default").digest,
        compile_prompt(house(), "nano").digest,
        compile_prompt(house(), "default", "reasoned").digest,
        compile_prompt(house(), own).digest,
        compile_prompt(house(), other).digest,
        compile_prompt(house(), wider).digest,
        compile_prompt(spoken, "default").digest,
        compile_prompt(more, own).digest,
        compile_prompt(house(), "default", budget=compile_prompt(house(), "default").tokens - 1).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert compile_prompt(parse_policy(DOCUMENT), "default").digest == digests[0]
    silent = parse_policy(DOCUMENT.replace("Robin", "Kim").replace("- H3:", "- H4:"))
    assert compile_prompt(silent, "default").digest == digests[0]


def by_words(text: str) -> int:
    return len(text.split())


def test_the_budget_drops_in_order_and_says_what() -> None:
    """Rationale, then borderline notes, then the third and later examples; then it fails and says how to go on."""
    whole = compile_prompt(house(), "default", count=by_words)
    parts = {
        "rationale": "People come here to mend bicycles.",
        "borderline notes": "when a date is named",
        "third and later examples": "tomorrow you will be sorry",
    }
    assert all(part in whole.system for part in parts.values())
    assert whole.dropped == ()
    assert whole.tokens == by_words(whole.system)
    fits, names = whole, list(parts)
    for count in range(1, 4):
        fits = compile_prompt(house(), "default", budget=fits.tokens - 1, count=by_words)
        assert list(fits.dropped) == names[:count]
        assert [name for name, part in parts.items() if part not in fits.system] == names[:count]
        assert fits.policy == house()
    assert "this hill kills me" in fits.system
    with pytest.raises(
        PromptError, match=rf"house@1\.0\.0: {fits.tokens} tokens .* budget is {fits.tokens - 1}, .*\n  raise the budget"
    ):
        compile_prompt(house(), "default", budget=fits.tokens - 1, count=by_words)


def test_a_family_may_bring_a_budget(tmp_path: Path) -> None:
    own = load_family(family_folder(tmp_path, family_yaml="description: x\nbudget: 1\n"))
    with pytest.raises(PromptError, match="budget is 1"):
        compile_prompt(house(), own)
    assert compile_prompt(house(), own, budget=50).system == "House rules"


def test_every_prompt_of_a_policy_shares_one_system_text() -> None:
    """Engines cache by it, and it does not know the content."""
    compiled = compile_prompt(house(), "default", "reasoned")
    questions = [compiled.ask(Content.of(text)) for text in ("one", "two")]
    prompts = [p for q in questions for p in (q.rationale(), q.label('","violates":"'), q.rest("yes", '","violates":"'))]
    assert all(prompt.system is compiled.system for prompt in prompts)


def test_the_steps_continue_one_answer() -> None:
    fast = compile_prompt(house(), "default").ask(CONTENT)
    assert fast.label().prefill == '{"violates":"'
    assert fast.label().task == ReadLabel(("no", "yes", "exception", "unknown", "none"))
    assert fast.rest("yes").prefill == '{"violates":"yes'
    slow = compile_prompt(house(), "default", "reasoned").ask(CONTENT)
    first = slow.rationale(temperature=0.7, seed=3)
    assert first.prefill == '{"rationale":"'
    assert isinstance(first.task, Write)
    assert (first.task.temperature, first.task.seed) == (0.7, 3)
    assert slow.label('ok","violates":"').prefill == '{"rationale":"ok","violates":"'
    assert slow.rest("no", 'ok","violates":"').prefill == '{"rationale":"ok","violates":"no'
    assert slow.compiled.format.read(slow.rest("no", 'ok","violates":"').prefill + '"}') == Finding("no", rationale="ok")


@given(TEXTS)
def test_there_is_room_for_every_byte_of_an_answer(text: str) -> None:
    """In a vocabulary of single bytes, rare characters cost four tokens each: the bound is not below that."""
    question = REASONED.ask(Content(id="c", text=text))
    form = question.compiled.format
    longest = "😀" * form.rationale_chars
    room = question.rationale().task
    assert isinstance(room, Write)
    assert room.max_tokens >= len(f'{longest}","violates":"'.encode())
    shown = question.shown[: form.quote_chars]
    entry = f'{{"id":"H123","quote":"{shown}"}},'
    rest = question.rest("yes").task
    assert isinstance(rest, Write)
    ids = '"X1","X2","X3","E1","E2","E3","audience","audience","audience"'
    assert rest.max_tokens >= len(f'","rules":[{entry * 4}],"exceptions":[],"escalations":[],"missing":[]{ids}}}'.encode())


@given(TEXTS, TEXTS, TEXTS)
def test_all_of_a_content_is_shown_as_data(text: str, name: str, value: str) -> None:
    """Names of facts, authors and images too: every line is a fixed word or ends in a JSON string."""
    content = Content(
        id="c",
        text=text,
        thread=(Turn(text=value, author=name),),
        facts={f"x{name}": value},
        images=(name,),
        metadata={"m": value},
    )
    lines = REASONED.ask(content).user.split("\n")
    assert lines[0] == "FACTS"
    assert lines[2] == "CONTEXT"
    assert lines[4] == "IMAGES (not shown)"
    assert lines[6] == "CONTENT"
    assert len(lines) == 8
    for line in (lines[5], lines[7]):
        assert isinstance(json.loads(line), str)
    for line in (lines[1], lines[3]):
        assert line.endswith('"')


def rewrite() -> None:
    families: tuple[Family, ...] = (load_family("default"), load_family("nano"))
    for family in families:
        (GOLDEN / f"prompt.{family.name}.txt").write_text(turns(house(), family.name, CONTENT), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
