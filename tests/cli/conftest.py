"""The command line, run in this process or in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moderator.cli import main

ENGINES = Path(__file__).parent
# stdout is buffered, as it is for users
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "PYTHONUNBUFFERED")} | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))
}


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Stdout as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs ``moderator`` with these arguments, in this process; its working folder is `tmp_path`."""

    def command(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["moderator", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.syspath_prepend(ENGINES)
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return command


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """The same in a process of its own, which a signal or a closed pipe can end; `stdin` is what it is given."""

    def process(*arguments: object, stdin: bytes = b"", python: str = "-mmoderator", **options: Any) -> Done:
        done = subprocess.run(
            [sys.executable, python, *map(str, arguments)],
            input=stdin,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=ENVIRONMENT | options.pop("env", {}),
            check=False,
            **options,
        )
        return Done(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())

    return process


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """Four posts: one that is fine, one that violates, one for a person, one that cannot be judged."""
    path = tmp_path / "posts.jsonl"
    texts = {"p1": "hello", "p2": "please buy now", "p3": "perhaps", "p4": "broken"}
    path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in texts.items()), encoding="utf-8")
    return path


def interruptible() -> None:
    """Run in a new process before the command: a shell that starts jobs in the background has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
