"""A journal: nothing lost and nothing twice, whatever happens to the process that writes it."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moderator.content import Content
from moderator.engines.scripted import ScriptedEngine, always
from moderator.errors import DataError
from moderator.judge import Moderator
from moderator.records import Journal, read_outcomes
from moderator.verdict import Failure, Verdict, to_line

ENGINES = Path(__file__).parent.parent / "cli"
PATH = os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))


def outcomes(*ids: str, policy: str = "spam") -> list[Verdict | Failure]:
    contents = [Content(id=content_id, text="" if content_id.startswith("fail") else "hello") for content_id in ids]
    return list(Moderator(policy, ScriptedEngine(always("no"))).judge_all(contents))


def write(path: Path, *ids: str, resume: bool = False) -> None:
    journal = Journal(path, resume=resume)
    journal.write(outcomes(*ids))
    journal.close()


def ids_in(path: Path) -> list[str]:
    return [outcome.content_id for outcome in read_outcomes(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


class TestWriting:
    def test_what_is_written_is_read(self, path: Path) -> None:
        written = outcomes("a", "fail", "b")
        journal = Journal(path)
        journal.write(written)
        journal.close()
        assert list(read_outcomes(path)) == written

    def test_a_new_journal_writes(self, path: Path) -> None:
        """A journal of which nothing is there yet is a journal too."""
        write(path, "a")
        assert ids_in(path) == ["a"]

    def test_lines_are_with_the_operating_system_when_write_returns(self, path: Path) -> None:
        journal = Journal(path)
        journal.write(outcomes("a"))
        assert ids_in(path) == ["a"]
        journal.close()

    def test_folders_are_made(self, tmp_path: Path) -> None:
        write(tmp_path / "a/b/out.jsonl", "a")
        assert ids_in(tmp_path / "a/b/out.jsonl") == ["a"]

    def test_half_a_surrogate_pair_is_written_as_a_replacement_character(self, path: Path) -> None:
        """In an id, in metadata, and in a quote that stands verbatim in the text; and it is found again by its id."""
        answer = (
            '{"violates":"yes","rules":[{"id":"P1","quote":"a\\ud800"}],"exceptions":[],"escalations":[],"rationale":"\\udfff"}'
        )
        content = Content(id="\ud800", text="a\ud800b", metadata={"n": ["\udc00"]})
        journal = Journal(path)
        journal.write(Moderator("spam", ScriptedEngine(lambda prompt: answer)).judge_all([content]))
        journal.close()
        (verdict,) = read_outcomes(path)
        assert isinstance(verdict, Verdict)
        evidence = verdict.rules[0].evidence[0]
        assert (evidence.quote, evidence.start, evidence.end, evidence.match) == ("a\ufffd", 0, 2, "exact")
        assert (verdict.content_id, verdict.metadata, verdict.rationale) == ("\ufffd", {"n": ["\ufffd"]}, "\ufffd")
        again = Journal(path, resume=True)
        assert (content.id, "spam") in again
        again.close()


class TestExisting:
    def test_refused(self, path: Path) -> None:
        write(path, "a")
        with pytest.raises(DataError, match=r"out.jsonl: exists\n  --resume goes on with it, --force starts anew"):
            Journal(path)
        assert ids_in(path) == ["a"]

    def test_force_starts_anew(self, path: Path) -> None:
        write(path, "a")
        journal = Journal(path, force=True)
        assert ("a", "spam") not in journal
        journal.write(outcomes("b"))
        journal.close()
        assert ids_in(path) == ["b"]

    def test_resume_goes_on(self, path: Path) -> None:
        write(path, "a", "fail")
        journal = Journal(path, resume=True)
        assert ("a", "spam") in journal
        assert ("fail", "spam") in journal
        assert ("b", "spam") not in journal
        assert ("a", "hate") not in journal
        assert journal.before == {"allowed": 1, "failure": 1}
        journal.write(outcomes("b"))
        journal.close()
        assert ids_in(path) == ["a", "fail", "b"]

    def test_resume_of_nothing_begins(self, path: Path) -> None:
        write(path, "a", resume=True)
        assert ids_in(path) == ["a"]

    @pytest.mark.parametrize("cut", [1, 5, 30, 400])
    def test_a_torn_last_line_is_cut_off(self, path: Path, cut: int) -> None:
        write(path, "a", "b")
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        journal = Journal(path, resume=True)
        assert ("a", "spam") in journal
        assert ("b", "spam") not in journal
        journal.write(outcomes("b"))
        journal.close()
        assert ids_in(path) == ["a", "b"]

    def test_a_line_torn_at_its_first_byte(self, path: Path) -> None:
        write(path, "a")
        with path.open("ab") as file:
            file.write(b"{")
        write(path, "b", resume=True)
        assert ids_in(path) == ["a", "b"]

    @pytest.mark.parametrize("content", [b'{"text": "hello"}\n', b'{"text": "hello"}', b"one line of notes", b"\x00" * 50])
    def test_another_kind_of_file_is_left_alone(self, path: Path, content: bytes) -> None:
        """Above all a last line without a line break, which looks like a torn one."""
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"out.jsonl:1: not an outcome: "):
            Journal(path, resume=True)
        assert path.read_bytes() == content

    def test_a_damaged_line_in_the_middle_is_an_error(self, path: Path) -> None:
        write(path, "a", "b")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0][:-20] + b"\n" + lines[1])
        with pytest.raises(DataError, match=r"out.jsonl:1: not an outcome: "):
            Journal(path, resume=True)

    def test_one_process_at_a_time(self, path: Path) -> None:
        """Two runs that go on with the same file would judge everything twice."""
        write(path, "a")
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            for resume in (True, False):
                with pytest.raises(DataError, match=r"out.jsonl: another process is writing to it"):
                    Journal(path, resume=resume, force=not resume)
        assert ids_in(path) == ["a"]

    def test_memory_is_eight_bytes_an_outcome(self, path: Path) -> None:
        write(path, *map(str, range(300)))
        journal = Journal(path, resume=True)
        assert journal._done.itemsize * len(journal._done) == 300 * 8
        assert all((str(number), "spam") in journal for number in range(300))
        journal.close()


class TestProvenance:
    """One file holds outcomes that were made in one way: same policy, prompt, engine, model and parameters."""

    def test_the_same_goes_on(self, path: Path) -> None:
        write(path, "a")
        Journal(path, resume=True, expected=Moderator("spam", ScriptedEngine(always("yes"))).provenances()).close()

    def test_another_policy_joins_the_file(self, path: Path) -> None:
        write(path, "a")
        Journal(path, resume=True, expected=Moderator("hate", ScriptedEngine(always("no"))).provenances()).close()

    @pytest.mark.parametrize(
        ("moderator", "what"),
        [
            (Moderator("spam", ScriptedEngine(always("no"), name="other")), "engine: 'scripted', now 'other'"),
            (Moderator("spam", ScriptedEngine(always("no")), family="nano"), "prompt digest: "),
            (Moderator("spam", ScriptedEngine(always("no")), plan="rule"), "prompt digest: "),
            (Moderator("spam", ScriptedEngine(always("no")), context={"audience": "teen"}), "parameters: "),
        ],
    )
    def test_another_is_refused(self, path: Path, moderator: Moderator, what: str) -> None:
        write(path, "a")
        with pytest.raises(DataError, match=f"out.jsonl:1: made with another {what}") as caught:
            Journal(path, resume=True, expected=moderator.provenances())
        assert str(caught.value).endswith("\n  write to another file, or start anew with --force")
        assert ids_in(path) == ["a"]

    def test_another_policy_text_is_refused(self, path: Path, tmp_path: Path) -> None:
        """Even where somebody forgot to raise the version."""
        write(path, "a")
        source = Path(__file__).parents[2] / "policies" / "spam.md"
        changed = tmp_path / "spam.md"
        changed.write_text(source.read_text(encoding="utf-8").replace("Unwanted advertising", "Advertising"), encoding="utf-8")
        with pytest.raises(DataError, match=r"made with another policy digest"):
            Journal(path, resume=True, expected=Moderator(changed, ScriptedEngine(always("no"))).provenances())

    @pytest.mark.parametrize("version", ["2.0.0", "1.0.01", "1.0.0-rc1"])
    def test_another_version_is_refused(self, path: Path, version: str) -> None:
        """Also one whose name begins like the other's: only what follows a ``+`` is a variant."""
        now = Moderator("spam", ScriptedEngine(always("no"))).provenances()["spam"]
        write(path, "a")
        other = now.model_copy(update={"policy": f"spam@{version}", "policy_digest": "sha256:0"})
        lines = [outcome.model_copy(update={"provenance": other}) for outcome in read_outcomes(path)]
        path.write_text("".join(to_line(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.raises(DataError, match=r"made with another policy digest"):
            Journal(path, resume=True, expected={"spam": now})

    def test_variants_that_contents_select_go_on(self, path: Path) -> None:
        moderator = Moderator("hate", ScriptedEngine(always("no")))
        journal = Journal(path)
        journal.write(moderator.judge_all([Content(id="a", text="hi", facts={"audience": "teen"})]))
        journal.close()
        assert next(read_outcomes(path)).provenance.policy.endswith("+teen")
        Journal(path, resume=True, expected=moderator.provenances()).close()

    def test_a_variant_that_the_whole_run_selected_is_refused(self, path: Path) -> None:
        """It looks like one that a content selected, but the context of the run is another."""
        journal = Journal(path)
        journal.write(Moderator("hate", ScriptedEngine(always("no")), context={"audience": "teen"}).judge_all(["hi"]))
        journal.close()
        with pytest.raises(DataError, match=r"made with another parameters"):
            Journal(path, resume=True, expected=Moderator("hate", ScriptedEngine(always("no"))).provenances())


class TestNotWritable:
    def test_a_folder(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(DataError, match=r"out.jsonl: Is a directory"):
            Journal(path, force=True)

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        with pytest.raises(DataError, match=r"/a: is not a folder"):
            Journal(tmp_path / "a" / "out.jsonl")

    def test_no_permission(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        tmp_path.chmod(0o555)
        request.getfixturevalue("unprivileged")
        with pytest.raises(DataError, match=r"Permission denied"):
            Journal(tmp_path / "out.jsonl")

    def test_a_full_disk_leaves_whole_lines_and_a_torn_one(self, path: Path) -> None:
        """The error names the file; closing does not fail once more; what was written is gone on with."""
        script = (
            "import sys\nfrom tests_journal import write\nfrom moderator.errors import DataError\n"
            f"try: write({str(path)!r})\nexcept DataError as error: print(error)"
        )
        helper = path.with_name("tests_journal.py")
        helper.write_text(
            "from pathlib import Path\nfrom moderator import Moderator, ScriptedEngine\nfrom moderator.content import Content\n"
            "from moderator.engines.scripted import always\nfrom moderator.records import Journal\n"
            "def write(path):\n"
            "    journal = Journal(Path(path))\n"
            "    try:\n"
            "        contents = [Content(id=str(i), text='hi') for i in range(100)]\n"
            "        for outcome in Moderator('spam', ScriptedEngine(always('no'))).judge_all(contents):\n"
            "            journal.write([outcome])\n"
            "    finally:\n"
            "        journal.close()\n"
        )

        def small_files() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(path.parent), os.environ.get("PYTHONPATH")])),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, preexec_fn=small_files, capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == (f"{path}: File too large\n", "")
        assert path.stat().st_size == 20_000
        journal = Journal(path, resume=True)
        there = journal.before.total()
        journal.close()
        assert 10 < there < 100
        assert ids_in(path) == [str(number) for number in range(there)]


def _judge(source: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "moderator", "judge", str(source), "--policy", "spam", "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": PATH}
    engine = ["--engine", "playback.engines:Slow", "-E", "seconds=0.002"]
    return subprocess.Popen([*command, *engine], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _said(outcome: Verdict | Failure) -> str:
    return outcome.model_copy(update={"usage": None}).model_dump_json()


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_as_never_killed(tmp_path: Path) -> None:
    """``kill -9`` three times in the middle of a run: nothing is lost, nothing is there twice, no outcome is another."""
    source, out, whole = (tmp_path / name for name in ("posts.jsonl", "out.jsonl", "whole.jsonl"))
    texts = ("hello", "buy now", "perhaps", "broken")
    source.write_text("".join(json.dumps({"id": f"p{i}", "text": f"{texts[i % 4]} {i}"}) + "\n" for i in range(3000)))
    for kill in range(3):
        process = _judge(source, out, "--resume")
        before = out.stat().st_size if out.exists() else 0
        deadline = time.monotonic() + 60
        while not out.exists() or out.stat().st_size < before + 200_000:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(out.read_bytes().splitlines()) < 3000, f"the run was over before kill {kill}"
    _, said = _judge(source, out, "--resume").communicate()
    assert b" were there before; in " in said
    _judge(source, whole).communicate()
    assert ids_in(out) == [f"p{i}" for i in range(3000)]
    assert sorted(map(_said, read_outcomes(out))) == sorted(map(_said, read_outcomes(whole)))
