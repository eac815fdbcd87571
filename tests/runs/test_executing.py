"""Runs: what is judged, what is written and when, what is gone on with, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from moderator.answering import Thresholds
from moderator.engines import Completion, EngineDescription
from moderator.engines.cached import CachedEngine
from moderator.errors import DataError, EngineError
from moderator.prompt import Prompt
from moderator.records import Journal, Progress
from moderator.running import Tally
from moderator.runs import Run, Selection, execute, load_run
from moderator.runs import executing as module
from moderator.suite import load_suite
from moderator.verdict import Failure, Usage, Verdict
from tests.runs.suites import MARKET, items, moderator, selling, suite
from tests.small import DOCUMENT, StepEngine, house


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def lines(path: Path) -> list[dict[str, Any]]:
    """The journal's lines, without what was measured."""
    found = [json.loads(line) for line in (path / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in found:
        line.get("usage", {}).pop("latency_ms", None)
    return found


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def same(one: Run, other: Run) -> bool:
    """All but times."""

    def timeless(run: Run) -> Any:
        volatile = {"started", "finished", "wall_seconds", "passes"}
        outcomes = {
            (slug, key): outcome.model_copy(update={"usage": Usage()}) if isinstance(outcome, Verdict) else outcome
            for slug, found in run.by_policy.items()
            for key, outcome in found.items()
        }
        return run.manifest.model_dump(exclude=volatile), run.suites, outcomes

    return bool(timeless(one) == timeless(other))


def test_a_run_holds_all_that_scoring_needs(path: Path) -> None:
    given = [suite("one", *items("a", "b"), *items("c", text="my wheel {}")), suite("two", *items("d", text="broken"))]
    run = execute(given, moderator(), path)
    assert files(path) == {
        *("manifest.json", "outcomes.jsonl"),
        *("suites/one.yaml", "suites/one.jsonl", "suites/two.yaml", "suites/two.jsonl"),
    }
    assert run.suites == tuple(given)
    assert list(run.outcomes("one")) == ["a", "b", "c"]
    assert [outcome.outcome for outcome in run.outcomes("one").values() if isinstance(outcome, Verdict)] == [
        *("allowed", "allowed", "violates")
    ]
    assert isinstance(run.outcomes("two")["d"], Failure)
    one, two = run.manifest.suites
    assert (one.items, one.outcomes, one.failures) == (3, {"allowed": 2, "violates": 1}, {})
    assert (two.items, two.outcomes, two.failures) == (1, {}, {"timeout": 1})
    assert run.missing("one") == run.missing("two") == ()
    assert [rule.id for rule in run.manifest.policies["house"].rules] == ["H1", "H2", "H3", "H4"]
    assert run.manifest.provenances == moderator().provenances()
    assert load_run(path) == run
    with pytest.raises(KeyError):
        run.outcomes("three")


def test_rules_that_only_a_variant_has_are_described(tmp_path: Path) -> None:
    (tmp_path / "house.md").write_text(DOCUMENT, encoding="utf-8")
    overlay = "---\nextends: house@^1\nwhen: {audience: teen}\n---\n# Teens\n\n## Rules\n\n### H9 Noise\n"
    text = f"{overlay}- Severity: low\n- Action: label\n\nShouting.\n"
    (tmp_path / "house.teen.md").write_text(text, encoding="utf-8")
    given = suite("own", *items("a"), *items("b", facts={"audience": "teen"}))
    run = execute([given], moderator(tmp_path / "house.md"), tmp_path / "run")  # type: ignore[arg-type]
    assert [rule.id for rule in run.manifest.policies["house"].rules] == ["H1", "H2", "H3", "H4", "H9"]
    assert [outcome.provenance.policy for outcome in run.outcomes("own").values()] == ["house@1.0.0", "house@1.0.0+teen"]
    assert load_run(tmp_path / "run") == run


def test_batches_are_written_as_they_finish_and_the_manifest_last(path: Path) -> None:
    seen: list[int] = []

    def watch(prompt: Prompt) -> dict[str, float]:
        assert not (path / "manifest.json").exists()
        assert load_run(path, partial=True).manifest.finished is None
        seen.append(len(lines(path)))
        return {"no": 1.0}

    execute([suite(count=7)], moderator(engine=selling(watch, batch=2)), path)
    assert seen == [0, 0, 2, 2, 4, 4, 6]
    assert (path / "manifest.json").exists()


def test_items_that_suites_share_are_judged_once(path: Path) -> None:
    engine = selling()
    run = execute([suite("one", *items("a", "b")), suite("two", *items("b", "c"))], moderator(engine=engine), path)
    assert len(engine.prompts) == len(lines(path)) == 3
    assert [list(run.outcomes(slug)) for slug in ("one", "two")] == [["a", "b"], ["b", "c"]]
    execute([suite("one", *items("a", "b")), suite("two", *items("b", "c"))], moderator(engine=engine), path, resume=True)
    assert len(engine.prompts) == 3
    assert load_run(path) == run


def test_shared_items_are_judged_under_the_policy_of_each_suite(path: Path) -> None:
    given = [suite("one", *items("a", "b")), suite("two", *items("b"), policy="market")]
    run = execute(given, moderator(house(), MARKET), path)
    assert [(line["content_id"], line["policy"]) for line in lines(path)] == [("a", "house"), ("b", "house"), ("b", "market")]
    assert {outcome.policy for outcome in run.outcomes("two").values()} == {"market"}
    assert load_run(path) == run


def test_one_id_for_two_contents_is_refused(path: Path) -> None:
    given = [suite("one", *items("a")), suite("two", *items("a", text="other"))]
    with pytest.raises(DataError, match=r"suite two: item 'a' is another content in suite one\n  .*folders of their own"):
        execute(given, moderator(), path)
    assert not path.exists()


def test_a_suite_may_be_judged_under_another_policy(path: Path) -> None:
    run = execute([suite()], moderator(MARKET), path)
    assert (run.manifest.suites[0].policy, run.suites[0].policy) == ("market", "house")
    named = execute([suite("x"), suite("y")], moderator(house(), MARKET), path / "b", under={"x": "market"})
    assert [record.policy for record in named.manifest.suites] == ["market", "house"]
    with pytest.raises(DataError, match="suite own: its policy 'spam' was not given\n  given: house, market"):
        execute([suite(policy="spam")], moderator(house(), MARKET), path / "c")


def test_a_copied_suite_is_read_whatever_became_of_its_policy(path: Path) -> None:
    """Its labels name a rule that the shipped policy of that name does not have (any more)."""
    label = {"by": "ann", "value": "bad", "rules": {"H1": "yes"}}
    given = suite("own", *items("a"), policy="spam")
    given = given.model_validate({**given.model_dump(), "items": [{"id": "a", "text": "x", "labels": [label]}]})
    run = execute([given], moderator(), path)
    assert load_run(path).suites == run.suites == (given,)
    with pytest.raises(DataError, match="no rule 'H1'"):
        load_suite(path / "suites" / "own.yaml")


class Dying(StepEngine):
    """Gives up for good after some calls."""

    def __init__(self, calls: int):
        inner = selling()
        super().__init__(inner._read, inner._write, batch=3)
        self.left = calls

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        if self.left == 0:
            raise EngineError("steps: gave up")
        self.left -= 1
        return super().complete(prompts)


def test_a_run_that_stopped_is_gone_on_with(path: Path) -> None:
    """Nothing lost, nothing judged twice; the manifest knows how often it was taken up."""
    whole = execute([suite(count=10)], moderator(), path / "whole")
    with pytest.raises(EngineError):
        execute([suite(count=10)], moderator(engine=Dying(2)), path / "run")
    run = path / "run"
    with pytest.raises(DataError, match="run: the run is incomplete\n  go on with --resume"):
        load_run(run)
    partial = load_run(run, partial=True)
    assert partial.missing("own") == tuple(f"own-{n}" for n in range(6, 10))
    assert len(partial.outcomes("own")) == 6
    engine, progress, tally = selling(), Progress(None), Tally()
    seen: list[tuple[int, int | None]] = []
    done = execute(
        [suite(count=10)],
        moderator(engine=engine),
        run,
        resume=True,
        progress=progress,
        tally=tally,
        each=lambda outcome, tally: seen.append((progress.done(), progress.total)),
    )
    assert len(engine.prompts) == 4
    assert seen == [(7, 10), (8, 10), (9, 10), (10, 10)]
    assert (tally.before.total(), tally.total) == (6, 4)
    assert done.manifest.passes == 2
    assert done.manifest.wall_seconds > partial.manifest.wall_seconds > 0
    assert done.manifest.started == partial.manifest.started
    assert len(done.manifest.environments) == 1
    assert same(done, whole)
    assert same(load_run(run), whole)
    assert lines(run) == lines(path / "whole")


def test_a_finished_run_has_nothing_to_go_on_with(path: Path) -> None:
    first = execute([suite()], moderator(), path)
    before = {name: (path / name).read_bytes() for name in files(path)}
    engine = selling()
    assert execute([suite()], moderator(engine=engine), path, resume=True) == first
    assert {name: (path / name).read_bytes() for name in files(path)} == before
    assert engine.prompts == []


def test_what_stands_in_the_folder_is_not_lost_by_accident(path: Path, tmp_path: Path) -> None:
    run = execute([suite()], moderator(), path)
    with pytest.raises(DataError, match="run: exists\n  --resume goes on with it, --force starts anew"):
        execute([suite()], moderator(), path)
    assert load_run(path) == run
    fresh = execute([suite("other")], moderator(), path, force=True)
    assert files(path) == {"manifest.json", "outcomes.jsonl", "suites/other.yaml", "suites/other.jsonl"}
    assert load_run(path) == fresh
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear to me")
    for options in ({"force": True}, {"resume": True}):
        with pytest.raises(DataError, match=r"mine: is no run's folder: 'thesis\.txt' is in it"):
            execute([suite()], moderator(), tmp_path / "mine", **options)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="--out is a folder"):
        execute([suite()], moderator(), tmp_path / "file")


def test_a_report_beside_the_run_is_no_obstacle(path: Path) -> None:
    execute([suite()], moderator(), path)
    (path / "report.html").write_text("<html>")
    execute([suite()], moderator(), path, resume=True)
    execute([suite()], moderator(), path, force=True)
    assert (path / "report.html").exists()


def _engine(**changes: Any) -> StepEngine:
    engine = selling()
    engine.description = EngineDescription(**{"engine": "steps", "model": "none", "batch": 3, **changes})
    return engine


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"suites": [suite(count=11)]}, r"suite own \(digest\)"),
        ({"suites": [suite(count=10, version="2.0.0")]}, r"suite own \(version\)"),
        ({"suites": [suite("two", count=10)]}, "list of suites"),
        ({"policies": [MARKET]}, r"suite own \(policy\): 'house', now 'market'"),
        ({"policies": [house().replace(version="2.0.0")]}, "policy digest"),
        ({"policies": [house().replace(notices={})]}, "policy digest"),
        ({"engine": _engine(engine="other")}, r"engine \(house\): 'steps', now 'other'"),
        ({"engine": _engine(model="large")}, r"model \(house\): 'none', now 'large'"),
        ({"engine": _engine(adapter_digest="sha256:1")}, "adapter digest"),
        ({"engine": _engine(parameters={"dtype": "float16"})}, "parameter 'dtype': None, now 'float16'"),
        ({"thresholds": Thresholds(mass=0.2)}, "parameter 'min_label_mass': 0.5, now 0.2"),
        ({"plan": "rule"}, "parameter 'plan': 'policy', now 'rule'"),
        ({"family": "nano"}, "parameter 'family'"),
        ({"budget": 10_000}, None),
        ({"selection": Selection(limit=9)}, r"selection of items \(limit\): None, now 9"),
        ({"selection": Selection(split="all")}, r"selection of items \(split\)"),
        ({"selection": Selection(perturb=("spelling",))}, r"selection of items \(perturb\)"),
        ({"selection": Selection(seed=7)}, r"selection of items \(seed\)"),
    ],
)
def test_a_run_goes_on_as_it_was_begun_or_not_at_all(path: Path, changes: dict[str, Any], says: str | None) -> None:
    with pytest.raises(EngineError):
        execute([suite(count=10)], moderator(engine=Dying(2)), path)
    before = {name: (path / name).read_bytes() for name in files(path)}
    own = ("suites", "selection", "policies")
    options = {"engine": _engine(), **{name: value for name, value in changes.items() if name not in own}}
    judge = moderator(*changes.get("policies", [house()]), **options)
    given = changes.get("suites", [suite(count=10)])

    def go_on() -> Run:
        return execute(given, judge, path, selection=changes.get("selection"), resume=True)

    if says is None:
        assert go_on().missing("own") == ()
        return
    with pytest.raises(DataError, match=f"begun with another {says}.*\n  resume with what it was begun with"):
        go_on()
    assert {name: (path / name).read_bytes() for name in files(path)} == before


def test_a_suite_in_another_order_is_the_same_suite(path: Path) -> None:
    with pytest.raises(EngineError):
        execute([suite(count=10)], moderator(engine=Dying(2)), path)
    turned = suite("own", *reversed(suite(count=10).items))
    run = execute([turned], moderator(), path, resume=True)
    assert len(run.outcomes("own")) == len(lines(path)) == 10
    assert load_run(path).outcomes("own") == run.outcomes("own")


@pytest.mark.parametrize("stop", ["suites", "manifest", "finish"])
def test_a_kill_between_two_files_loses_nothing(path: Path, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the suites are copied, before the first note, and after the last outcome."""
    whole = execute([suite(count=5)], moderator(), path / "whole")

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        if stop == "finish":
            patch.setattr(module._Notes, "finish", killed)
        else:
            patch.setattr(module, f"write_{stop}", killed)
        with pytest.raises(SystemExit):
            execute([suite(count=5)], moderator(), path / "run")
    with pytest.raises(DataError):
        load_run(path / "run")
    run = execute([suite(count=5)], moderator(), path / "run", resume=True)
    assert run.manifest.passes == (2 if stop == "finish" else 1)
    assert same(run, whole)


def test_a_line_torn_anywhere_is_judged_anew(path: Path) -> None:
    """The journal cut off at any byte of its last lines, as a kill in the midst of a write would leave it."""
    whole = execute([suite(count=6)], moderator(), path / "whole")
    run = path / "run"
    with pytest.raises(EngineError):
        execute([suite(count=6)], moderator(engine=Dying(1)), run)
    journal = run / "outcomes.jsonl"
    written, note = journal.read_bytes(), (run / "manifest.partial.json").read_bytes()
    judge = moderator()
    for size in [*range(0, 60, 11), *range(len(written) - 40, len(written) + 1, 5)]:
        journal.write_bytes(written[:size])
        (run / "manifest.json").unlink(missing_ok=True)
        (run / "manifest.partial.json").write_bytes(note)
        kept = written[:size].count(b"\n")
        assert len(load_run(run, partial=True).outcomes("own")) == kept
        assert same(execute([suite(count=6)], judge, run, resume=True), whole)
        assert same(load_run(run), whole)
        assert len(lines(run)) == 6


def test_outcomes_that_were_lost_after_the_end_are_judged_again(path: Path) -> None:
    whole = execute([suite(count=6)], moderator(), path)
    journal = path / "outcomes.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(DataError, match="2 outcomes of suite own are missing\n  --resume judges them again"):
        load_run(path)
    engine = selling()
    assert same(execute([suite(count=6)], moderator(engine=engine), path, resume=True), whole)
    assert len(engine.prompts) == 2


def test_one_process_at_a_time(path: Path) -> None:
    with pytest.raises(EngineError):
        execute([suite(count=6)], moderator(engine=Dying(1)), path)
    note = (path / "manifest.partial.json").read_bytes()
    other = Journal(path / "outcomes.jsonl", resume=True)
    for options in ({"resume": True}, {"force": True}):
        with pytest.raises(DataError, match="another process is writing to it"):
            execute([suite(count=6)], moderator(), path, **options)  # type: ignore[arg-type]
    other.close()
    assert (path / "manifest.partial.json").read_bytes() == note


def test_answers_from_a_cache_are_counted_over_all_passes(path: Path) -> None:
    def cached(engine: StepEngine) -> CachedEngine:
        return CachedEngine(engine, path / "answers.sqlite")

    assert execute([suite(count=6)], moderator(), path / "plain").manifest.cache_hits is None
    assert execute([suite(count=2)], moderator(engine=cached(selling())), path / "first").manifest.cache_hits == 0
    with pytest.raises(EngineError):
        execute([suite(count=6)], moderator(engine=cached(Dying(1))), path / "run")
    engine = selling()
    run = execute([suite(count=6)], moderator(engine=cached(engine)), path / "run", resume=True)
    assert run.manifest.cache_hits == 2
    assert [outcome.usage.prompt_tokens for outcome in run.outcomes("own").values() if isinstance(outcome, Verdict)] == [
        *(0, 0, 10, 10, 10, 10)
    ]
    once_more = execute([suite(count=6)], moderator(engine=cached(engine)), path / "again")
    assert (once_more.manifest.cache_hits, len(engine.prompts)) == (6, 3)


def test_what_cannot_be_run_is_said_before_anything_is_written(path: Path) -> None:
    for given, says in (
        ([], "suites: none was given"),
        ([suite(), suite()], "suite own: given twice"),
        ([suite("own", *items("a", split="train"))], "no items to judge: 1 train, 0 test\n  --split"),
    ):
        with pytest.raises(DataError, match=says):
            execute(given, moderator(), path)
    assert not path.exists()


def test_arguments_are_noted(path: Path) -> None:
    home = str(Path.home())
    run = execute([suite()], moderator(), path, arguments=["eval", f"{home}/own.yaml", "-E", "api_key=abc"])
    assert run.manifest.arguments == ("eval", "~/own.yaml", "-E", "api_key=***")
