"""One pass over many contents: in order, lazily, each outcome written once and then passed on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from moderator.content import Content
from moderator.engines import Completion, EngineDescription
from moderator.engines.scripted import ScriptedEngine
from moderator.errors import DataError, EngineError
from moderator.judge import Moderator
from moderator.prompt import Prompt
from moderator.records import Journal, read_outcomes
from moderator.running import Tally, run
from moderator.verdict import Failure, Verdict

IDS = [f"p{number}" for number in range(200)]


class Engine(ScriptedEngine):
    """Answers ``no`` in batches of 16, ``yes`` to texts with ``buy``; keeps what it was asked, and gives up at ``die``."""

    def __init__(self) -> None:
        super().__init__(self._scripted)
        self.description = EngineDescription(engine="test", model="test", batch=16)
        self.asked: list[str] = []

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        if any("die" in prompt.user for prompt in prompts):
            raise EngineError("test: gave up")
        return super().complete(prompts)

    def _scripted(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt.user)
        if "buy" not in prompt.user:
            return Completion(text='{"violates":"no"}', whole=True)
        found = f'[{{"id":"{prompt.format.rules[0]}","quote":"buy"}}]'
        return Completion(text=f'{{"violates":"yes","rules":{found},"exceptions":[],"escalations":[]}}', whole=True)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def contents(ids: Sequence[str] = IDS, text: str = "hello") -> list[Content]:
    return [Content(id=content_id, text=text) for content_id in ids]


def judge(
    engine: Engine, given: Sequence[Content], path: Path, *, policies: Sequence[str] = ("spam",), **options: object
) -> Tally:
    journal = Journal(path, resume=True)
    try:
        return run(Moderator(policies, engine), given, journal=journal, **options)  # type: ignore[arg-type]
    finally:
        journal.close()


def keys_in(path: Path) -> list[tuple[str, str]]:
    return [(outcome.content_id, outcome.policy) for outcome in read_outcomes(path)]


def test_each_outcome_is_written_before_it_is_passed_on(engine: Engine, path: Path) -> None:
    """In order, once, and counted: whoever sees an outcome can rely on it being in the journal."""
    seen: list[str] = []

    def each(outcome: Verdict | Failure, tally: Tally) -> None:
        seen.append(outcome.content_id)
        assert outcome.content_id in {content_id for content_id, _ in keys_in(path)}
        assert tally.total == len(seen)

    tally = judge(engine, contents(), path, each=each)
    assert seen == IDS
    assert [content_id for content_id, _ in keys_in(path)] == IDS
    assert tally.outcomes == {"allowed": 200}


def test_without_a_journal(engine: Engine) -> None:
    given = [*contents(["a"], "buy"), *contents(["b"], " "), *contents(["c"])]
    tally = run(Moderator("spam", engine), given)
    assert tally.outcomes == {"violates": 1, "failure": 1, "allowed": 1}
    assert not tally.before


def test_what_is_in_the_journal_is_not_judged_again(engine: Engine, path: Path) -> None:
    judge(engine, contents(IDS[:70]), path)
    engine.asked.clear()
    drawn: list[str] = []
    tally = judge(engine, contents(), path, drawn=lambda content: drawn.append(content.id))
    assert len(engine.asked) == 130
    assert drawn == IDS[70:]
    assert (tally.before, tally.outcomes) == ({"allowed": 70}, {"allowed": 130})
    assert keys_in(path) == [(content_id, "spam") for content_id in IDS]


def test_a_policy_that_joins_is_judged_alone(engine: Engine, path: Path) -> None:
    """The unit of work is a content under a policy, not a content."""
    judge(engine, contents(IDS[:5]), path)
    judge(engine, contents(IDS[:6]), path, policies=("spam", "hate"))
    assert sorted(keys_in(path)) == sorted((content_id, policy) for content_id in IDS[:6] for policy in ("spam", "hate"))


def test_a_content_that_names_policies_is_resumed_under_those(engine: Engine, path: Path) -> None:
    content = Content(id="a", text="x", policies=("hate",))
    judge(engine, [content], path, policies=("spam", "hate"))
    assert judge(engine, [content], path, policies=("spam", "hate")).total == 0
    assert keys_in(path) == [("a", "hate")]


def test_limit_counts_what_is_read(engine: Engine, path: Path) -> None:
    """Three at a time, four times, would otherwise never be the first three again."""
    assert judge(engine, contents(), path, limit=3).total == 3
    assert judge(engine, contents(), path, limit=3).total == 0
    assert judge(engine, contents(), path, limit=5).total == 2


def test_contents_are_drawn_as_they_are_needed(engine: Engine) -> None:
    drawn = 0

    def endless() -> Iterator[Content]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Content(id=str(drawn), text="hello")

    def stop(outcome: Verdict | Failure, tally: Tally) -> None:
        if tally.total == 10:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        run(Moderator("spam", engine), endless(), each=stop)
    assert drawn <= 64 + 16


class TestInterrupted:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError, RuntimeError])
    def test_nothing_is_written_twice(self, engine: Engine, path: Path, error: type[BaseException]) -> None:
        """An error while outcomes are passed on: their batch is in the journal already, and must not be written once more."""

        def fail(outcome: Verdict | Failure, tally: Tally) -> None:
            if outcome.content_id == "p70":
                raise error

        tally = Tally()
        with pytest.raises(error):
            judge(engine, contents(), path, each=fail, tally=tally)
        assert keys_in(path) == [(content_id, "spam") for content_id in IDS[:80]]
        assert tally.total == 80
        judge(engine, contents(), path)
        assert keys_in(path) == [(content_id, "spam") for content_id in IDS]

    def test_what_was_judged_before_the_engine_gave_up_is_kept(self, engine: Engine, path: Path) -> None:
        given = [*contents(IDS[:40]), Content(id="x", text="die"), *contents(IDS[40:])]
        with pytest.raises(EngineError, match="gave up"):
            judge(engine, given, path)
        assert keys_in(path) == [(content_id, "spam") for content_id in IDS[:32]]

    def test_what_was_judged_before_a_broken_record_is_kept(self, engine: Engine, path: Path) -> None:
        def broken() -> Iterator[Content]:
            yield from contents(IDS[:40])
            raise DataError("posts.jsonl:41: not JSON")

        with pytest.raises(DataError, match=r"posts\.jsonl:41"):
            judge(engine, broken(), path)  # type: ignore[arg-type]
        assert keys_in(path) == [(content_id, "spam") for content_id in IDS[:32]]

    def test_a_journal_that_fails_ends_the_run(self, engine: Engine, path: Path) -> None:
        """A run whose outcomes cannot be kept is not gone on with: not for one more batch."""

        class Full(Journal):
            def write(self, outcomes: object) -> None:
                raise DataError("out.jsonl: No space left on device")

        journal = Full(path)
        with pytest.raises(DataError, match="No space left"):
            run(Moderator("spam", engine), contents(), journal=journal)
        journal.close()
        assert len(engine.asked) == 16


GROWTH = """
import re, sys
from pathlib import Path
from moderator import Completion, Moderator, ScriptedEngine
from moderator.records import Journal, open_source
from moderator.running import run

moderator = Moderator("spam", ScriptedEngine(lambda prompt: Completion(labels={"no": 1.0})))
journal = Journal(Path(sys.argv[2]), resume=True, expected=moderator.provenances())
run(moderator, open_source([sys.argv[1]]), journal=journal)
journal.close()
# not ru_maxrss, which begins with what the process that started this one had
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_grows_by_the_ids_and_nothing_else(tmp_path: Path) -> None:
    """At most 100 bytes a content, the ids made and every text there twice; and when all was done before, too."""
    peaks: dict[str, list[int]] = {"new": [], "resumed": []}
    for count in (100_000, 300_000):
        source, out = tmp_path / f"{count}.jsonl", tmp_path / f"{count}.out.jsonl"
        source.write_text("".join(f'{{"text": "hello {number // 2}"}}\n' for number in range(count)))
        for seen in peaks.values():
            done = subprocess.run([sys.executable, "-c", GROWTH, source, out], capture_output=True, text=True, check=True)
            seen.append(int(done.stdout))
        assert out.read_bytes().count(b"\n") == count
    growth = {kind: (seen[1] - seen[0]) / 200_000 for kind, seen in peaks.items()}
    assert all(value <= 100 for value in growth.values()), growth
