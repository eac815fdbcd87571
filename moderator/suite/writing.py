"""A suite on disk: a YAML file, and a JSON Lines file of its items beside it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from moderator.errors import DataError
from moderator.suite.model import Item, Suite


class _Dumper(yaml.SafeDumper):
    """Escapes U+0085, which PyYAML writes as it stands and reads as a line feed."""


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\x85" in text else None)


_Dumper.add_representer(str, _text)


def write_suite(suite: Suite, path: Path) -> Path:
    """Writes ``NAME.yaml`` and ``NAME.jsonl``; returns the path of the items.

    What is there is replaced, each file in one step. Raises `DataError`.
    """
    contents = path.with_suffix(".jsonl")
    if contents == path:
        raise DataError(f"{path}: a suite is written as .yaml; its items go into a .jsonl file beside it")
    header = suite.model_dump(mode="json", by_alias=True, exclude={"items"}, exclude_defaults=True)
    first = {"suite": suite.slug, "version": suite.version, "title": suite.title, "policy": suite.policy}
    whole = {**first, "contents": contents.name, **{key: value for key, value in header.items() if key not in first}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(contents, "".join(item_to_line(item) + "\n" for item in suite.items))
        _replace(path, yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
    return contents


def item_to_line(item: Item) -> str:
    """The item as one JSON line, without the line break; what has its default value is left out."""
    return json.dumps(item.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, separators=(",", ":"))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
