"""Against real Inspect: it reads, scores and lists our logs, runs our task, and its logs become runs of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

import anyio
from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import list_eval_logs, read_eval_log, recompute_metrics, write_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score as InspectScore
from inspect_ai.scorer import Target, accuracy, match, scorer
from inspect_ai.solver import solver

from moderator.content import Content
from moderator.errors import DataError
from moderator.interop.inspect_export import to_log
from moderator.interop.inspect_files import log_name, read_log, write_log
from moderator.interop.inspect_import import from_log, is_ours
from moderator.interop.inspect_mapped import LogMapping
from moderator.interop.inspect_tasks import Batches, agreement, decision, moderate, rules
from moderator.interop.inspect_tasks import suite as suite_task
from moderator.judge import Moderator
from moderator.runs import Run, load_run, write_run
from moderator.scoring import Scoring, score_run
from moderator.suite import write_suite
from moderator.verdict import Failure, Verdict
from tests.cli.conftest import Command, command
from tests.cli.playback.engines import Flags
from tests.interop.conftest import ENGINE, suite

__all__ = ["command"]

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect writes where it stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_DISPLAY", "none")


@pytest.fixture
def log(run: Run) -> Any:
    return to_log(run, score_run(run, Scoring(), linear=False)[0])


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_inspect_reads_what_was_exported(log: Any, tmp_path: Path, suffix: str) -> None:
    write_log(log, tmp_path / f"log{suffix}")
    again = read_eval_log(str(tmp_path / f"log{suffix}"))
    assert (again.status, again.eval.task, again.eval.model) == ("success", "moderator/small", "none/none")
    assert again.eval.dataset.sample_ids == [item.id for item in suite().items]
    values = {sample.id: sample.scores["decision"].value for sample in again.samples}
    assert [values[item.id] for item in suite().items[:7]] == ["C", "C", "I", "I", "C", "N", "N"]
    counts = again.results.scores[0]
    assert (counts.scored_samples, counts.unscored_samples) == (7, 2)
    assert again.eval.metadata["model"] == "flags"


def test_a_folder_of_logs_is_listed(log: Any, tmp_path: Path) -> None:
    assert ":" not in log_name(log)
    write_log(log, tmp_path / "logs" / log_name(log))
    assert [found.task for found in list_eval_logs(str(tmp_path / "logs"))] == ["moderator-small"]


def test_metrics_are_the_reports_with_their_intervals(run: Run, log: Any) -> None:
    report = score_run(run, Scoring(), linear=False)[0]
    metrics = log.results.scores[0].metrics
    for name, estimate in report.metrics.items():
        if estimate.value is None:
            assert name not in metrics
        else:
            assert (metrics[name].value, metrics[name].metadata["low"]) == (estimate.value, estimate.low)
    of_rules = log.results.scores[1].metrics
    assert of_rules["citations"].value == report.citations.value == 0.5
    assert of_rules["P1/recall"].group == "P1"


def test_inspects_own_accuracy_is_ours(run: Run, log: Any) -> None:
    """Non-answers count as wrong in both, items without a label in neither."""
    ours = score_run(run, Scoring(), linear=False)[0]
    scored = score(log, decision(), metrics=[accuracy()], action="overwrite")
    assert scored.results.scores[0].metrics["accuracy"].value == pytest.approx(ours.metrics["accuracy"].value)
    by_rule = score(log, rules(), action="overwrite").results.scores[0]
    assert by_rule.metrics["accuracy"].value == ours.citations.value


def test_scoring_an_exported_log_again_gives_the_same_numbers(log: Any) -> None:
    exported = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    again = score(log, [decision(), rules()], action="overwrite").results.scores[0].metrics
    assert again["f1"].value == exported["f1"]
    assert again["auroc"].value == pytest.approx(exported["auroc"])
    assert again["f1 low"].value <= again["f1"].value <= again["f1 high"].value
    recompute_metrics(log)
    assert log.results.scores[0].metrics["f1"].value == exported["f1"]


def test_the_metric_takes_no_samples_at_all() -> None:
    assert agreement()([]) == {}


def test_the_same_run_gives_the_same_log(run: Run, tmp_path: Path) -> None:
    report = score_run(run, Scoring(), linear=False)[0]
    for name in ("a.json", "b.json"):
        write_log(to_log(run, report), tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_an_export_comes_back_as_the_run_that_it_was(run: Run, log: Any, tmp_path: Path, suffix: str) -> None:
    write_log(log, tmp_path / f"log{suffix}")
    imported = from_log(read_log(tmp_path / f"log{suffix}"), "unused")
    assert imported.suite == suite()
    assert dict(imported.outcomes) == run.outcomes("small")
    assert imported.manifest == run.manifest
    write_run(imported.run(tmp_path / "again"))
    again = load_run(tmp_path / "again")
    assert score_run(again, Scoring(), linear=False) == score_run(run, Scoring(), linear=False)


def test_inspect_runs_our_task_and_its_log_is_a_run_of_ours(run: Run, tmp_path: Path) -> None:
    write_suite(suite(), tmp_path / "small.yaml")
    (done,) = eval(suite_task(str(tmp_path / "small.yaml"), engine=ENGINE), model="none/none", log_dir=str(tmp_path / "logs"))
    assert done.status == "success", done.error
    assert is_ours(done)
    imported = from_log(read_log(Path(done.location.removeprefix("file://"))), "unused")
    assert imported.suite == suite()
    assert {key: one.kind for key, one in imported.outcomes.items()} == {
        key: one.kind for key, one in run.outcomes("small").items()
    }
    write_run(imported.run(tmp_path / "again"))
    again, ours = (score_run(one, Scoring(), linear=False)[0] for one in (load_run(tmp_path / "again"), run))
    assert (again.metrics, again.rules, again.judged.provenance) == (ours.metrics, ours.rules, ours.judged.provenance)


def test_the_solver_judges_a_data_set_that_is_not_ours(tmp_path: Path) -> None:
    data = [Sample(id=1, input="buy now", target="yes"), Sample(id=2, input="hello", target="no")]
    task = Task(dataset=data, solver=moderate("spam", ENGINE), scorer=decision())
    (done,) = eval(task, model="none/none", log_dir=str(tmp_path))
    assert [sample.scores["decision"].value for sample in done.samples] == ["C", "C"]


def test_an_engine_that_gives_up_is_an_error_of_the_eval_and_no_verdict(tmp_path: Path) -> None:
    data = [Sample(id=n, input=text, target="no") for n, text in enumerate(["hello", "die", "hello again"])]
    task = Task(dataset=data, solver=moderate("spam", "tests.cli.playback.engines:Dies"), scorer=decision())
    (done,) = eval(task, model="none/none", log_dir=str(tmp_path), fail_on_error=False)
    errors = [sample.error.message for sample in done.samples if sample.error]
    assert errors
    assert all("gave up" in error for error in errors)
    assert all(not sample.scores for sample in done.samples if sample.error)


def test_samples_that_wait_are_judged_together() -> None:
    sizes: list[int] = []

    class Counting(Flags):
        def complete(self, prompts: Any) -> Any:
            sizes.append(len(prompts))
            return super().complete(prompts)

    batches = Batches(Moderator("spam", Counting()))
    outcomes: dict[int, str] = {}

    async def one(n: int) -> None:
        outcome = await batches.judge(Content(id=str(n), text="buy" if n % 2 else "hello"))
        outcomes[n] = f"{outcome.content_id} {outcome.outcome if isinstance(outcome, Verdict) else ''}"

    async def ask() -> None:
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(one, n)

    anyio.run(ask)
    assert outcomes == {n: f"{n} {'violates' if n % 2 else 'allowed'}" for n in range(20)}
    assert max(sizes) > 10


@solver
def _keyword() -> Any:
    """Another tool's moderator: it answers in words, and once says nothing of use."""

    async def solve(state: Any, generate: Any) -> Any:
        said = "no idea" if "?" in state.input_text else "unsafe" if "buy" in state.input_text else "safe"
        state.output = ModelOutput.from_content("keyword", said)
        return state

    return solve


@scorer(metrics=[accuracy()])
def _answered() -> Any:
    async def grade(state: Any, target: Target) -> InspectScore:
        said = state.output.completion
        return InspectScore(value="C" if said == target.text else "I", answer=said, metadata={"p": 0.75})

    return grade


def _foreign(tmp_path: Path, epochs: int = 1) -> Any:
    data = [
        Sample(
            id="a", input="buy now", target="unsafe", metadata={"people": {"ann": "unsafe", "bob": "unsafe"}, "language": "en"}
        ),
        Sample(id="b", input="hello", target="unsafe", metadata={"people": {"ann": "unsafe", "bob": "safe"}, "language": "en"}),
        Sample(id="c", input="well?", target="safe", metadata={"people": {"ann": "safe"}, "language": "de"}),
        Sample(id="d", input="bye", target="safe", metadata={"people": {}, "language": "de"}),
    ]
    task = Task(dataset=data, solver=_keyword(), scorer=[_answered(), match()], name="keywords")
    (done,) = eval(task, model="none/none", log_dir=str(tmp_path / "logs"), epochs=epochs)
    return read_log(Path(done.location.removeprefix("file://")))


def test_another_tools_log_gets_our_statistics_by_a_mapping(tmp_path: Path) -> None:
    log = _foreign(tmp_path)
    fields = {"decision": "scores._answered.answer", "probability": "scores._answered.metadata.p", "labels": "metadata.people"}
    mapping = LogMapping(policy="spam", violates=["unsafe"], fields=fields, slices=["language"])
    imported = from_log(log, "keywords", mapping)
    kinds = {key: one.outcome if isinstance(one, Verdict) else one.reason for key, one in imported.outcomes.items()}
    assert kinds == {"a": "violates", "b": "allowed", "c": "unreadable", "d": "allowed"}
    write_run(imported.run(tmp_path / "run"))
    report = score_run(load_run(tmp_path / "run"), Scoring(), linear=False)[0]
    assert report.counts.known == 2  # b is a tie, d is unlabelled
    assert report.metrics["accuracy"].value == 0.5
    assert report.agreement[0].items == 2
    assert [part.value for part in report.slices] == ["de", "en"]


def test_of_several_epochs_one_is_read_and_the_others_are_counted(tmp_path: Path) -> None:
    log = _foreign(tmp_path, epochs=2)
    mapping = LogMapping(policy="spam", violates=["unsafe"], fields={"decision": "output.completion"})
    imported = from_log(log, "keywords", mapping, epoch=2)
    assert (len(imported.outcomes), imported.left_out) == (4, {"of another epoch": 4})


def test_another_tools_log_without_a_mapping_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a log of another tool"):
        from_log(_foreign(tmp_path), "keywords")


def test_an_eval_that_did_not_finish_is_no_run(log: Any) -> None:
    log.status = "error"
    with pytest.raises(DataError, match="did not finish"):
        from_log(log, "unused")
    log.samples = []
    with pytest.raises(DataError, match="no samples"):
        from_log(log, "unused")


def test_a_log_that_was_changed_by_hand_is_told(log: Any) -> None:
    log.samples[0].output.completion = "{}"
    with pytest.raises(DataError, match="not as this package writes logs"):
        from_log(log, "unused")


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("b.json", '{"version": 2}'), ("c.eval", "no zip"), ("d.txt", "")])
def test_what_is_no_log_is_one_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="not an Inspect log"):
        read_log(tmp_path / name)


def _command(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, (root, root / "tests" / "cli")))
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip


def test_the_commands(run: Run, command: Command, tmp_path: Path) -> None:
    done = command("eval", "export", "run", "--format", "inspect", "--out", "log.eval", "--no-linear")
    assert (done.code, done.out) == (0, "log.eval\n"), done.err
    assert "--force replaces it" in command("eval", "export", "run", "--format", "inspect", "--out", "log.eval").err
    done = command("eval", "export", "run", "--format", "inspect", "--out", "logs", "--no-linear")
    assert len(list_eval_logs(str(tmp_path / "logs"))) == 1
    done = command("eval", "import", "log.eval", "--format", "inspect", "--out", "back")
    assert (done.code, done.out) == (0, "back\n"), done.err
    assert "9 items of policy spam" in done.err
    assert load_run(tmp_path / "back").outcomes("small") == run.outcomes("small")
    done = command("eval", "import", "log.eval", "--format", "inspect", "--out", "back.yaml")
    assert (done.code, (tmp_path / "back.jsonl").exists()) == (0, True)
    assert "exists" in command("eval", "import", "log.eval", "--format", "inspect", "--out", "back").err


def test_a_mapping_for_a_log_of_ours_is_a_usage_error(run: Run, command: Command) -> None:
    command("eval", "export", "run", "--format", "inspect", "--out", "log.json", "--no-linear")
    mapped = ("--policy", "spam", "--violates", "spam")
    assert command("eval", "import", "log.json", "--format", "inspect", "--out", "x", *mapped).code == 2


def test_another_tools_log_is_imported_and_scored_on_the_command_line(command: Command, tmp_path: Path) -> None:
    path = _foreign(tmp_path).location.removeprefix("file://")
    bare = command("eval", "import", path, "--format", "inspect", "--out", "theirs")
    assert (bare.code, "a log of another tool" in bare.err) == (1, True)
    mapping = ("--policy", "spam", "--violates", "unsafe", "--map", "decision=scores._answered.answer,labels=metadata.people")
    done = command("eval", "import", path, "--format", "inspect", "--out", "theirs", *mapping, "--slices", "language")
    assert done.code == 0, done.err
    assert "4 items of policy spam: 2 allowed, 1 violates, 1 failed (unreadable)" in done.err
    scored = command("eval", "score", "theirs", "--no-linear")
    assert "4 judged" in scored.out


def test_inspects_commands_find_our_task_and_scorers(log: Any, tmp_path: Path) -> None:
    write_suite(suite(), tmp_path / "small.yaml")
    task = ("inspect_ai", "eval", "moderator/suite", "-T", "suite=small.yaml", "-T", "engine=playback.engines:Flags")
    done = _command(tmp_path, *task, "--model", "none", "--log-dir", "logs", "--log-format", "json")
    (path,) = (tmp_path / "logs").glob("*.json")
    assert json.loads(path.read_text())["status"] == "success", done.stdout
    write_eval_log(log, str(tmp_path / "log.json"))
    arguments = ("--scorer", "moderator/decision", "--action", "append", "--output-file", "again.json")
    done = _command(tmp_path, "inspect_ai", "score", "log.json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    first, _, again = read_eval_log(str(tmp_path / "again.json")).results.scores
    assert again.metrics["f1"].value == first.metrics["f1"].value


def test_failures_stand_beside_answers_with_their_reason(log: Any) -> None:
    failed = next(sample for sample in log.samples if sample.id == "failed")
    assert failed.output.error == "timeout: no answer after 3 s"
    assert failed.scores["decision"].reason == "no_response"
    assert isinstance(from_log(log, "unused").outcomes["failed"], Failure)
