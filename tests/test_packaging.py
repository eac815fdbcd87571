"""The wheel: what is in it, what is not, and that it works where nothing but it is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_one_package_and_its_metadata_at_the_top(names: list[str]) -> None:
    """No `tests`, `evals`, `finetune` or `prompts` that could be imported by their names."""
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"moderator"}
    assert len(top) == 2


@pytest.mark.parametrize("folder", ["policies", "prompts", "models"])
def test_what_is_shipped_is_all_there(names: list[str], folder: str) -> None:
    """The shipped folders lie inside the package, file for file."""
    tracked = subprocess.run(
        ["git", "-C", ROOT, "ls-files", folder], capture_output=True, text=True, check=False
    ).stdout.split()
    there = tracked or [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()]
    if folder != "models":
        assert there
    assert {f"moderator/{name}" for name in there} <= set(names)


def test_pages_can_be_laid_out(names: list[str]) -> None:
    """The templates, the style and the script of reports are data, and lie beside the code that reads them."""
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "moderator/report/templates").iterdir()}
    assert len(there) > 5
    assert there <= set(names)


def test_nothing_else_came_along(names: list[str]) -> None:
    wrong = [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".bak", ".orig", ".ipynb"))]
    assert wrong == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "moderator/py.typed" in names


def test_it_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Unpacked somewhere, with the checkout out of sight: version, policies, and a judgement under each prompt family."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "posts.txt").write_text("hello\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "engines.py").write_text(
        "from moderator.engines.scripted import ScriptedEngine, always\ndef No():\n    return ScriptedEngine(always('no'))\n"
    )
    script = (
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"import moderator; assert moderator.__file__.startswith({str(tmp_path)!r})\n"
        "runpy.run_module('moderator', run_name='__main__')"
    )

    def moderator(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert moderator("--version").startswith("moderator ")
    listed = moderator("policy", "list")
    for policy in sorted((ROOT / "policies").glob("*.md")):
        if "." not in policy.stem:
            assert f"{policy.stem}@" in listed
    for family in sorted((ROOT / "prompts").glob("*/family.yaml")):
        arguments = ("judge", "posts.txt", "--policy", "spam", "--engine", "own.engines:No", "--family", family.parent.name)
        assert '"outcome":"allowed"' in moderator(*arguments)


def test_it_installs(wheel: Path, tmp_path: Path) -> None:
    """Into an environment of its own, which sees the libraries of this one: the command is there and answers."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    script = "import sys; sys.path.append(sys.argv.pop(1)); from moderator.cli import main; main()"
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", script, libraries, "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("moderator ")) == (0, True), done.stderr
    assert (site / "bin" / "moderator").exists()
