"""Where the shipped folders are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from moderator.errors import DataError

Kind = Literal["policies", "prompts", "models"]

_PACKAGE = Path(__file__).resolve().parent


def directory(kind: Kind) -> Path:
    """The folder of this kind. Raises `DataError` where neither the package nor the checkout has one."""
    for folder in (_PACKAGE / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise DataError(f"{kind}: not shipped with this installation\n  reinstall the package, or give a path")


def names(kind: Kind) -> tuple[str, ...]:
    """What the folder offers, sorted: policy slugs (no overlays), or the names of its sub-folders."""
    folder = directory(kind)
    if kind == "policies":
        return policy_slugs(folder)
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"))


def policy_slugs(folder: Path) -> tuple[str, ...]:
    """The policies in a folder, sorted. A file named `slug.name.md` is an overlay and is not listed."""
    return tuple(sorted(path.stem for path in folder.glob("*.md") if is_policy_name(path)))


def is_policy_name(path: Path) -> bool:
    """Whether the file's name is a policy's: no second dot (an overlay), no capital (a README)."""
    return "." not in path.stem and path.stem == path.stem.lower()
