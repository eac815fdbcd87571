"""What a model folder says about itself: a digest of its weights, and the prompt family that it was made for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from moderator.errors import EngineError

MANIFEST: Final = "moderator.json"
"""The file in which a model's or adapter's folder says what only we want to know of it."""


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file. Raises `EngineError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise EngineError(f"{path}: a JSON object was expected")
    return value


def split_adapter(spec: str) -> tuple[str, str]:
    """``MODEL+ADAPTER`` in its two parts, the second empty when there is none. A folder may have a ``+`` in its own name."""
    if Path(spec).is_dir():
        return spec, ""
    model, _, adapter = spec.partition("+")
    return model, adapter


def split_adapters(spec: str) -> tuple[str, tuple[str, ...]]:
    """``MODEL+ADAPTER+ADAPTER...`` in its parts."""
    model, adapters = split_adapter(spec)
    found: list[str] = []
    while adapters:
        first, adapters = split_adapter(adapters)
        found.append(first)
    return model, tuple(found)


def model_folder(path: str | Path) -> Path:
    """The folder, which must hold a model. Raises `EngineError`."""
    if not (Path(path) / "config.json").is_file():
        raise EngineError(f"{path}: no model here (there is no config.json)")
    return Path(path)


def adapter_folder(path: str | Path) -> Path:
    """The folder, which must hold an adapter. Raises `EngineError`."""
    if not (Path(path) / "adapter_config.json").is_file():
        raise EngineError(f"{path}: no adapter here (there is no adapter_config.json)")
    return Path(path)


def weight_files(folder: Path) -> list[Path]:
    """The folder's weights, in the order of their names: safetensors, or where there are none, PyTorch files."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def digest(files: Iterable[Path]) -> str:
    """The SHA-256, in hex, of the files one after the other: what ``cat FILES | sha256sum`` prints."""
    hasher = hashlib.sha256()
    try:
        for path in files:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    hasher.update(block)
    except OSError as error:
        raise EngineError(f"{path}: {error}") from None
    return hasher.hexdigest()


def versioned_name(name: str, folder: Path) -> str:
    """The model's name with the beginning of its weights' digest: ``nano@0f3a52b19c04``."""
    return f"{name}@{digest(weight_files(folder))[:12]}"


def family(folder: Path) -> str | None:
    """The prompt family that the folder's manifest names, if it has one. Raises `EngineError` when it cannot be read."""
    return _named(folder, "family")


def trained_on(folder: Path) -> str | None:
    """The model, with the beginning of its digest, that an adapter's manifest says it was trained on. Raises `EngineError`."""
    return _named(folder, "base")


def check_base(adapter: Path, model: str) -> None:
    """Raises `EngineError` where the adapter says that it was trained for a model of other weights (names with digests)."""
    base = trained_on(adapter)
    if base is not None and base.rpartition("@")[2] != model.rpartition("@")[2]:
        raise EngineError(f"{adapter}: the adapter was trained on {base}, and does not fit {model}")


def trained_for(folder: Path) -> tuple[str, ...]:
    """The slugs of the policies that an adapter's manifest says it was trained for. Raises `EngineError`."""
    path = folder / MANIFEST
    names = read_json(path).get("policies", []) if path.is_file() else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EngineError(f"{path}: `policies` is not a list of names")
    return tuple(dict.fromkeys(name.partition("@")[0] for name in names))


def _named(folder: Path, key: str) -> str | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    name = read_json(path).get(key)
    if name is not None and not isinstance(name, str):
        raise EngineError(f"{path}: `{key}` is {name!r}, not a name")
    return name
