"""Answers that were given once are not asked for again, and nothing that is no answer is kept."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moderator.content import Content
from moderator.engines import Completion, Engine, EngineDescription, close
from moderator.engines.cached import CachedEngine
from moderator.engines.scripted import ScriptedEngine, always
from moderator.errors import DataError, EngineError
from moderator.judge import Moderator
from moderator.prompt import Prompt, ReadLabel, Write, compile_prompt
from moderator.verdict import Usage, Verdict
from tests.small import StepEngine, house, leaning, rest

COMPILED = compile_prompt(house(), "nano")
FOUND = rest(("H2", "wheel"), exceptions=(), escalations=())


def prompts(*texts: str) -> list[Prompt]:
    return [COMPILED.ask(Content.of(text)).label() for text in texts]


def steps(**options: Any) -> StepEngine:
    return StepEngine(lambda prompt: leaning("yes" if "wheel" in prompt.user else "no"), lambda prompt: FOUND, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def test_only_what_is_new_is_asked_for_in_order(path: Path) -> None:
    first, second = CachedEngine(steps(), path), CachedEngine(steps(), path)
    given = first.complete(prompts("a", "wheel", "c"))
    again = second.complete(prompts("c", "d", "wheel", "e", "a"))
    assert isinstance(second.engine, StepEngine)
    assert second.engine.prompts == prompts("d", "e")
    assert [answer.labels for answer in again] == [leaning(label) for label in ("no", "no", "yes", "no", "no")]
    assert [answer.labels for answer in given] == [leaning(label) for label in ("no", "yes", "no")]
    assert (first.hits, second.hits) == (0, 3)


def test_an_answer_that_was_not_asked_for_cost_nothing(path: Path) -> None:
    """Equal prompts of one call are one question, too."""
    engine = CachedEngine(steps(), path)
    assert [answer.prompt_tokens for answer in engine.complete(prompts("a", "a", "b"))] == [10, 0, 10]
    assert engine.hits == 1
    assert [answer.completion_tokens for answer in engine.complete(prompts("b"))] == [0]


def thorough() -> StepEngine:
    """Answers whatever is asked: finds the first rule of the call where a wheel is in the content."""

    def write(prompt: Prompt) -> str:
        form = prompt.format
        if form.mode == "reasoned" and prompt.prefill == form.opening:
            return 'so","violates":"'
        fields: dict[str, Any] = {name: () for name in ("exceptions", "escalations") if getattr(form, name)}
        return rest((form.rules[0], "wheel"), rationale="said" if form.mode == "fast" else None, **fields)

    return StepEngine(lambda prompt: leaning("yes" if "wheel" in prompt.user else "no"), write)


@pytest.mark.parametrize("options", [{}, {"plan": "rule"}, {"mode": "reasoned", "samples": 2}], ids=str)
def test_verdicts_are_the_same_from_the_cache(path: Path, options: dict[str, Any]) -> None:
    """Label reads and writes, plain and sampled; but for what they cost."""
    contents = [Content(id="1", text="my wheel"), Content(id="2", text="hello \ud83d"), Content(id="3", text="naïve 😀")]

    def judged(engine: Engine) -> list[Verdict]:
        found = list(Moderator(house(), engine, **options).judge_all(contents))
        return [verdict.model_copy(update={"usage": Usage()}) for verdict in found if isinstance(verdict, Verdict)]

    plain, kept = judged(thorough()), thorough()
    assert len(plain) == 3
    assert judged(CachedEngine(thorough(), path)) == plain
    assert judged(CachedEngine(kept, path)) == plain
    assert kept.prompts == []


def changed(prompt: Prompt) -> dict[str, Prompt]:
    """The prompt with each of its parts changed, one at a time."""
    form = prompt.format
    write = Write("start: X", 8)
    return {
        "system": replace(prompt, system=prompt.system + "."),
        "user": replace(prompt, user=prompt.user + "."),
        "prefill": replace(prompt, prefill=prompt.prefill + "."),
        "labels": replace(prompt, task=ReadLabel(("no", "yes"))),
        "task": replace(prompt, task=write),
        "grammar": replace(prompt, task=replace(write, grammar="start: Y")),
        "tokens": replace(prompt, task=replace(write, max_tokens=9)),
        "heat": replace(prompt, task=replace(write, temperature=0.7)),
        "seed": replace(prompt, task=replace(write, seed=1)),
        "ids": replace(prompt, format=replace(form, rules=(*form.rules, "H9"))),
        "mode": replace(prompt, format=replace(form, mode="reasoned")),
        "quote": replace(prompt, format=replace(form, quote_chars=9)),
    }


def test_everything_that_is_asked_is_in_the_key(path: Path) -> None:
    (prompt,) = prompts("a")
    engine = CachedEngine(steps(), path)
    variants = [prompt, *changed(prompt).values()]
    engine.complete(variants)
    assert engine.hits == 0
    assert isinstance(engine.engine, StepEngine)
    assert engine.engine.prompts == variants


@pytest.mark.parametrize(
    "description",
    [
        EngineDescription(engine="steps 2", model="none"),
        EngineDescription(engine="steps", model="other"),
        EngineDescription(engine="steps", model="none", adapter_digest="sha256:1"),
        EngineDescription(engine="steps", model="none", parameters={"dtype": "float16"}),
    ],
)
def test_everything_that_answers_is_in_the_key(path: Path, description: EngineDescription) -> None:
    CachedEngine(steps(), path).complete(prompts("a"))
    other = steps()
    other.description = description
    engine = CachedEngine(other, path)
    engine.complete(prompts("a"))
    assert engine.hits == 0
    other.description = replace(description, batch=1)
    engine = CachedEngine(other, path)
    engine.complete(prompts("a"))
    assert engine.hits == 1


@pytest.mark.parametrize(
    "answer",
    [
        Completion(problem="refused"),
        Completion(problem="timeout"),
        Completion(problem="engine"),
        Completion(problem="cut", text='{"violates":"no"}', whole=True),
        Completion(text="Sorry, no.", whole=True),
        Completion(text='{"violates":"no"', whole=True),
        Completion(labels={"no": float("nan"), "yes": 0.1}),
        Completion(labels={"no": 0.0}),
        Completion(labels={"no": 1.0, "yes": -0.1}),
        Completion(),
    ],
)
def test_what_is_no_answer_is_asked_for_again(path: Path, answer: Completion) -> None:
    answers = [answer, Completion(text='{"violates":"no"}', whole=True)]
    engine = CachedEngine(ScriptedEngine(lambda prompt: answers.pop(0)), path)
    assert [engine.complete(prompts("a"))[0].text for _ in range(3)] == [answer.text, '{"violates":"no"}', '{"violates":"no"}']
    assert engine.hits == 1


def test_a_rest_that_cannot_be_read_is_asked_for_again(path: Path) -> None:
    question = COMPILED.ask(Content.of("wheel")).rest("yes")
    right = rest(("H2", "wheel"), exceptions=(), escalations=(), rationale=None)
    answers = ['",', right.replace("H2", "H9"), right]
    engine = CachedEngine(StepEngine(lambda prompt: {}, lambda prompt: answers.pop(0)), path)
    assert [engine.complete([question])[0].text for _ in range(5)][2:] == [right] * 3
    assert engine.hits == 2


def _text(path: Path) -> None:
    path.write_text("id,text\n" * 200, encoding="utf-8")


def _database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE answers (key, answer)")
    database.close()


def _torn(path: Path) -> None:
    CachedEngine(steps(), path).complete(prompts(*map(str, range(300))))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)


def _strange(path: Path) -> None:
    CachedEngine(steps(), path).complete(prompts("1"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE answers SET answer = '[1]'")
    database.close()


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_text, _database, _torn, _strange, _folder])
def test_a_file_that_is_no_cache_is_an_error_with_a_hint(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(DataError, match=r"answers\.sqlite: .*\n  .*--cache"):
        CachedEngine(steps(), path).complete(prompts(*map(str, range(300))))
    assert (path.read_bytes() if path.is_file() else b"") == before


def _fill(path: Path, number: int) -> int:
    engine = CachedEngine(ScriptedEngine(always()), path)
    for start in range(0, 60, 5):
        engine.complete(prompts(*(f"text {(number * 7 + start + n) % 80}" for n in range(5))))
    return engine.hits


def test_several_processes_share_a_file(path: Path) -> None:
    """All come at once, to a file that is not there yet."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        hits = pool.starmap(_fill, [(path, number) for number in range(4)])
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (80,)
        assert {answer for (answer,) in database.execute("SELECT answer FROM answers")} == {
            json.dumps(['{"violates":"no"}', None, True, True])
        }
    database.close()
    assert sum(hits) > 0


def test_it_is_the_engine_it_stands_for(path: Path) -> None:
    engine = steps(batch=7)
    cached = CachedEngine(engine, path)
    assert (cached.name, cached.description) == (engine.name, engine.description)
    close(cached)
    assert engine.closed
    assert cached.complete([]) == []


def test_an_engine_that_loses_count_is_found_out(path: Path) -> None:
    class Short(StepEngine):
        def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
            return super().complete(prompts)[1:]

    with pytest.raises(EngineError, match="1 completions for 2 prompts"):
        CachedEngine(Short(lambda prompt: leaning("no")), path).complete(prompts("a", "b"))
