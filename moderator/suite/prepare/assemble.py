"""A suite out of a recipe and files: ids made unique, splits made disjoint, and everything that was left out counted."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from moderator.errors import DataError, Problem, first_fault
from moderator.suite.model import Item, Suite
from moderator.suite.prepare.recipe import Files, Recipe, Row
from moderator.suite.prepare.texts import fingerprint

Wanted = Literal["train", "test", "all"]


@dataclass(frozen=True)
class Prepared:
    """A suite made out of a set, and what happened on the way."""

    name: str
    """The recipe's, without the split."""
    suite: Suite
    problems: tuple[Problem, ...]
    """Rows that could not be read, and parts of rows."""
    left_out: Mapping[str, int]
    """Rows that were read and left out on purpose, by why."""
    duplicates: int
    """Training items that were dropped because the test has their text."""
    note: str = ""


def assemble(recipe: Recipe, paths: Mapping[str, Path], split: Wanted) -> Prepared:
    """The suite of one split, or of all. Raises `DataError` for a file that cannot be read at all, or that yields no item."""
    files = Files(paths, recipe.columns)
    left_out: Counter[str] = Counter()
    try:
        items = list(_unique(_items(recipe, files, left_out)))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{recipe.slug}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{error.filename or recipe.slug}: {error.strerror or error}") from None
    kept = list(_disjoint(items))
    duplicates = len(items) - len(kept)
    chosen = tuple(item for item in kept if split in ("all", item.split))
    if not chosen:
        seen = "\n".join(map(str, files.problems[:3]))
        raise DataError(f"{recipe.slug}: no items in the {split} split\n  --split all takes every one" + (seen and f"\n{seen}"))
    part = {"test": recipe.test, "train": "train", "all": ""}[split]
    suite = Suite(
        slug=f"{recipe.slug}-{part}" if part else recipe.slug,
        title=f"{recipe.title}, {part} split" if part else recipe.title,
        policy=recipe.policy,
        source=recipe.source,
        scale=recipe.scale,
        slices=tuple(name for name in recipe.slices if any(name in item.slices for item in chosen)),
        items=chosen,
    )
    return Prepared(
        recipe.slug, suite, tuple(files.problems), dict(left_out), 0 if split == "test" else duplicates, recipe.note
    )


def _items(recipe: Recipe, files: Files, left_out: Counter[str]) -> Iterator[Item]:
    for row in recipe.read(recipe, files):
        try:
            item = recipe.item(row.fields)
            for value in {label.value for label in item.labels} if item else ():
                recipe.scale.rank(value)
        except ValidationError as error:
            files.report(row.file, row.line, first_fault(error))
        except KeyError as error:
            files.report(row.file, row.line, f"no field {_cause(error)}", _fields(row))
        except (ValueError, TypeError, AttributeError) as error:
            files.report(row.file, row.line, str(error))
        else:
            if item is None:
                left_out[recipe.left_out] += 1
            elif not item.text:
                left_out["without a text"] += 1
            else:
                yield item


def _disjoint(items: Sequence[Item]) -> Iterator[Item]:
    """All test items, and the training items that are none of them: a short answer under another message is another item."""
    marks = [(fingerprint(item.text), tuple(fingerprint(turn.text) for turn in item.thread)) for item in items]
    tested = {mark for mark, item in zip(marks, items, strict=True) if item.split == "test"}
    texts = {text for text, _ in tested}
    for (text, thread), item in zip(marks, items, strict=True):
        alone = (text, ()) in tested or (not thread and text in texts)
        if item.split == "test" or not ((text, thread) in tested or alone):
            yield item


def _cause(error: KeyError) -> str:
    return repr(error.args[0]) if error.args else "?"


def _fields(row: Row) -> str:
    return f"fields are {', '.join(map(str, row.fields))}"


def _unique(items: Iterator[Item]) -> Iterator[Item]:
    """Items whose ids are theirs alone: the second of one id gets ``-2``."""
    used: set[str] = set()
    counts: Counter[str] = Counter()
    for item in items:
        name = item.id
        while name in used:
            counts[item.id] += 1
            name = f"{item.id}-{counts[item.id] + 1}"
        used.add(name)
        yield item if name == item.id else item.model_copy(update={"id": name})
