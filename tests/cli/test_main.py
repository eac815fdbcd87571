"""The command as a process: its start, its end, and what ends it early."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moderator
from moderator.engines import KINDS
from moderator.records import read_outcomes
from tests.cli.conftest import interruptible

Command = Callable[..., Any]
ENGINES = Path(__file__).parent
PATH = os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))
# stdout is buffered, as it is for users
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": PATH}
ENGINE = ("--policy", "spam", "--engine", "playback.engines:Flags")
SLOW = ("--policy", "spam", "--engine", "playback.engines:Slow")
HEAVY = ("torch", "transformers", "vllm", "outlines", "peft", "llguidance", "openai", "pyarrow", "numpy", "pandas")


class TestStart:
    def test_version(self, command: Command) -> None:
        assert command("--version").out == f"moderator {moderator.__version__}\n"

    def test_help_names_the_commands(self, command: Command) -> None:
        done = command("--help")
        assert done.code == 0
        for name in ("check", "judge", "policy", "engines"):
            assert f" {name} " in done.out

    @pytest.mark.parametrize("name", ["check", "judge", "policy", "engines"])
    def test_help_of_each_command(self, command: Command, name: str) -> None:
        assert command(name, "--help").out.strip()

    def test_without_arguments_it_is_usage(self, command: Command) -> None:
        done = command()
        assert done.code == 2
        assert "Usage" in done.out + done.err

    def test_an_unknown_command_is_usage(self, command: Command) -> None:
        assert command("judg").code == 2

    def test_engines_says_what_is_missing(self, command: Command) -> None:
        lines = command("engines").out.splitlines()
        assert [line.split()[0] for line in lines] == list(KINDS)
        assert all(line.split(maxsplit=1)[1].startswith(("ready", "needs ")) for line in lines)
        assert "[]" not in "".join(lines)

    def test_importing_is_light_and_quick(self) -> None:
        """The library brings no model library, no command line and no Arrow with it. It takes at most three times as long as
        what it stands on takes to be of use, on any machine. Processor time, the best of five."""
        timed = "import time; t = time.process_time(); {}; import sys; print(time.process_time() - t, *sys.modules)"
        below = "import jinja2.sandbox, pydantic, yaml; pydantic.create_model('Any', text=(str, ...))"
        runs: dict[str, list[list[str]]] = {"import moderator": [], below: []}
        for _ in range(5):
            for statement, found in runs.items():
                command = [sys.executable, "-c", timed.format(statement)]
                found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        assert not {*HEAVY, "typer", "click", "rich"} & {name.split(".")[0] for name in runs["import moderator"][0][1:]}
        own, others = (min(float(run[0]) for run in found) for found in runs.values())
        assert own < 3 * others

    def test_help_is_quick(self) -> None:
        """It takes at most two and a half times as long as that of a command line of one command, of the same libraries, on any
        machine. Processor time, the best of three."""
        own = "import sys, moderator.cli\ntry: moderator.cli.main()\nfinally: print(*sys.modules, file=sys.stderr)"
        small = (
            "import jinja2.sandbox, pydantic, typer, yaml\n"
            "pydantic.create_model('Any', text=(str, ...))\n"
            "app = typer.Typer()\n"
            "app.command()(lambda: None)\n"
            "app()"
        )
        seconds: dict[str, list[float]] = {own: [], small: []}
        for _ in range(3):
            for script, found in seconds.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
                if script is own:
                    assert not set(HEAVY) & {name.split(".")[0] for name in done.stderr.split()}
        assert min(seconds[own]) < 2.5 * min(seconds[small])


class TestEnd:
    @pytest.mark.parametrize("count", [3, 20_000])
    def test_a_closed_pipe_is_quiet(self, tmp_path: Path, count: int) -> None:
        """``| head -1``: no traceback, no message, with few outcomes (all in one buffer) and with many."""
        (tmp_path / "a.txt").write_text("hello\n" * count)
        command = [sys.executable, "-m", "moderator", "judge", "a.txt", *ENGINE]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT
        ) as process:
            assert process.stdout
            assert process.stderr
            if count > 100:
                assert json.loads(process.stdout.readline())["outcome"] == "allowed"
            process.stdout.close()
            said = process.stderr.read().decode()
        assert said in ("", "3 allowed\n")
        assert process.returncode == 1

    def test_a_closed_pipe_keeps_the_journal(self, tmp_path: Path) -> None:
        """Each outcome once, and the rest when it is resumed."""
        (tmp_path / "a.txt").write_text("".join(f"hello {number}\n" for number in range(1500)))
        command = [sys.executable, "-m", "moderator", "judge", "a.txt", *ENGINE, "--out", "out.jsonl"]
        with subprocess.Popen([*command, "--show", "lines"], stdout=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT) as process:
            assert process.stdout
            process.stdout.readline()
            process.stdout.close()
        subprocess.run([*command, "--resume"], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=True)
        ids = [outcome.content_id for outcome in read_outcomes(tmp_path / "out.jsonl")]
        assert (len(ids), len(set(ids))) == (1500, 1500)

    def test_interrupted(self, tmp_path: Path) -> None:
        """Ctrl-C: one line that says what there is and how to go on, exit code 130, and a journal that is gone on with."""
        (tmp_path / "a.txt").write_text("".join(f"hello {number}\n" for number in range(2000)))
        command = [sys.executable, "-m", "moderator", "judge", "a.txt", *SLOW, "--out", "out.jsonl"]
        pipes = {"stderr": subprocess.PIPE, "preexec_fn": interruptible}
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes) as process:  # type: ignore[call-overload]
            out = tmp_path / "out.jsonl"
            while not out.exists() or not out.stat().st_size:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            said = process.communicate()[1].decode()
        assert process.returncode == 130
        there = len(list(read_outcomes(out)))
        assert 0 < there < 2000
        assert said == f"interrupted: {there:,} allowed; go on with --resume\n"
        subprocess.run(
            [*command, "--resume", "-E", "seconds=0"], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=True
        )
        ids = [outcome.content_id for outcome in read_outcomes(out)]
        assert (len(ids), len(set(ids))) == (2000, 2000)

    def test_interrupted_while_it_waits_for_stdin(self, tmp_path: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "moderator",
            "judge",
            "-",
            "--policy",
            "spam",
            "--engine",
            "playback.engines:Announced",
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": interruptible}
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes) as process:  # type: ignore[call-overload]
            assert process.stderr.readline() == b"ready\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate()
        assert (process.returncode, out, said) == (130, b"", b"interrupted: 0 contents\n")

    def test_an_error_of_our_own_keeps_its_traceback(self, process: Command, tmp_path: Path) -> None:
        """Only what this package raises on purpose is made one line of: a bug must be seen."""
        (tmp_path / "bug").mkdir()
        (tmp_path / "bug" / "engines.py").write_text("def Bug():\n    return [][1]\n")
        (tmp_path / "a.txt").write_text("hello\n")
        done = process("judge", "a.txt", "--policy", "spam", "--engine", "bug.engines:Bug")
        assert done.code == 1
        assert "IndexError: list index out of range" in done.err
