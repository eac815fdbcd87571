"""Policies by name and by path, and where the shipped ones are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from moderator import assets
from moderator.errors import DataError, PolicyError
from moderator.policy import list_policies, load_overlays, load_policy


def test_shipped_policies_are_listed_without_overlays() -> None:
    slugs = list_policies()
    assert "hate" in slugs
    assert list(slugs) == sorted(slugs)
    assert not any("." in slug for slug in slugs)
    assert assets.names("policies") == slugs


def test_a_policy_is_loaded_by_name_by_path_and_from_a_folder(folder: Path) -> None:
    assert load_policy("hate").slug == "hate"
    assert load_policy("hate", folder=folder).version == "1.2.0"
    assert load_policy(folder / "hate.md").digest == load_policy(str(folder / "hate.md")).digest
    assert list_policies(folder) == ("hate",)


def test_a_context_brings_in_the_overlays_beside_the_file(folder: Path) -> None:
    assert load_policy("hate", {"audience": "teen", "surface": "post"}, folder=folder).name == "hate@1.2.0+teen"
    assert load_policy("hate", {}, folder=folder).name == "hate@1.2.0"
    assert [overlay.name for overlay in load_overlays(folder / "hate.md")] == ["teen"]


def test_overlays_of_a_policy_with_a_longer_name_are_not_its_own(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "hate.md", tmp_path / "hate.md")
    shutil.copy(folder / "hate.teen.md", tmp_path / "hate-speech.teen.md")
    assert load_overlays(tmp_path / "hate.md") == ()


def test_an_unknown_name_lists_what_there_is(folder: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy("haet", folder=folder)
    assert str(caught.value) == (
        "haet: no policy of this name (did you mean `hate`?)\n  policies are `hate`; or give the path of a `.md` file"
    )


@pytest.mark.parametrize("name", ["", "hate.teen", "../hate"])
def test_odd_names_are_errors(name: str, folder: Path) -> None:
    with pytest.raises(PolicyError):
        load_policy(name, folder=folder)


def test_a_missing_file_and_an_overlay_are_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such file"):
        load_policy(tmp_path / "none.md")
    with pytest.raises(PolicyError, match="is an overlay, not a policy"):
        load_policy(folder / "hate.teen.md")


def test_a_file_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "hate.md").write_bytes(b"---\r\npolicy: hate\r\ntitle: caf\xe9\r\n---\r\n")
    with pytest.raises(PolicyError, match=r"hate\.md:3: not UTF-8 \(byte 0xe9\)"):
        load_policy(tmp_path / "hate.md")


def test_what_is_not_shipped_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "moderator")
    with pytest.raises(DataError, match="policies: not shipped"):
        assets.directory("policies")
    (tmp_path / "prompts" / "nano").mkdir(parents=True)
    (tmp_path / "prompts" / "__pycache__").mkdir()
    assert assets.names("prompts") == ("nano",)
    (tmp_path / "moderator" / "prompts" / "default").mkdir(parents=True)
    assert assets.names("prompts") == ("default",)
