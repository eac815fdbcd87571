"""What surrounds a run is noted, without an import and without names of people."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from moderator.runs.environment import discreet, environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_state_of_the_repository(tmp_path: Path) -> None:
    assert environment(tmp_path).git is None
    git(tmp_path, "init", "-q")
    assert environment(tmp_path).git is None
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    clean = environment(tmp_path).git
    assert clean is not None
    assert (clean.commit, clean.dirty) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "outcomes.jsonl").write_text("")
    assert environment(tmp_path).git == clean
    (tmp_path / "a").write_text("2")
    changed = environment(tmp_path).git
    assert changed is not None
    assert changed.dirty


def test_no_git_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment().git is None


def test_versions_come_without_an_import() -> None:
    code = "import sys; from moderator.runs import environment; environment(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sklearn", "scipy", "peft", "vllm", "openai"} & set(done.stdout.split())
    found = environment().packages
    assert found["numpy"] == metadata.version("numpy")
    assert "moderator" in found


def test_the_machine_is_described_and_nobody_named() -> None:
    found = environment()
    assert found.python == platform.python_version()
    assert found.machine.cores >= 1
    assert found.machine.memory_gib is None or found.machine.memory_gib > 0.1
    text = found.model_dump_json()
    for name in (platform.node(), str(Path.home()), *([] if getpass.getuser() == "root" else [getpass.getuser()])):
        assert len(name) < 3 or name not in text


def test_arguments_tell_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/robin")
    given = {
        "/home/robin/suites/own.yaml": "~/suites/own.yaml",
        "/home/robinson/own.yaml": "/home/robinson/own.yaml",
        "local:/home/robin/m+/home/robin/a": "local:~/m+~/a",
        "--out=/home/robin": "--out=~",
        "api_key=abc": "api_key=***",
        "--engine-option=api_key=abc": "--engine-option=api_key=***",
        "auth_token=abc": "auth_token=***",
        "server:https://me:pw@example.com/v1#m": "server:https://***@example.com/v1#m",
        "max_tokens=512": "max_tokens=512",
        "tokenizer=x": "tokenizer=x",
        "--limit": "--limit",
    }
    assert discreet(list(given)) == tuple(given.values())
