"""Without the extra, everything else works and what needs it says how to install it; runs that come from elsewhere are runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moderator.errors import DataError
from moderator.interop.inspect_files import log_of, read_log
from moderator.runs import Run, load_run, write_run


@pytest.fixture(autouse=True)
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)


def test_the_missing_extra_is_named() -> None:
    message = r"inspect_ai is not installed\n  pip install 'moderator\[inspect\]'"
    with pytest.raises(DataError, match=message):
        log_of({})
    with pytest.raises(DataError, match=message):
        read_log(Path("log.json"))


def test_the_command_line_loads_no_other_tool() -> None:
    loaded = "import sys, moderator.cli.app; print([name for name in ('inspect_ai', 'guardbench') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert "inspect_ai" not in done.stdout


def test_a_run_that_is_written_again_is_the_same_run(run: Run, tmp_path: Path) -> None:
    copy = Run(tmp_path / "copy", run.manifest, run.suites, run.by_policy)
    write_run(copy)
    again = load_run(tmp_path / "copy")
    assert (again.manifest, again.suites, again.by_policy) == (run.manifest, run.suites, run.by_policy)
    with pytest.raises(DataError, match="exists"):
        write_run(copy)
    write_run(copy, force=True)
    assert load_run(tmp_path / "copy").by_policy == run.by_policy
