"""Golden sets that come with published policy packs: graded codes under a written policy, in tables that people made by hand.

Their files have a line of disclaimer before the header, headers of several styles, codes as headings of sections, and texts
with commas that are not quoted. A text is what stands before the code; what cannot be told apart is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from moderator.content import Turn
from moderator.suite.model import Annotation, Item, Scale, Source
from moderator.suite.prepare.recipe import Fields, Files, Recipe, Row
from moderator.suite.prepare.texts import strip

_CODE: Final = re.compile(r"[A-Z]{1,4}\d+(?:\.[a-z])?")
_TEXT: Final = ("example", "example prompt", "prompt", "text", "content")
_LABEL: Final = ("classification", "prompt label", "label", "code")
_RESPONSE: Final = ("responses", "response", "example generation", "generation")
_RESPONSE_LABEL: Final = ("response label", "generation label")


def golden(row: Fields) -> Item | None:
    """A prompt, or the response to one (`prompt` is what it answers); the label is the code, and may be missing."""
    text, role = strip(row["text"]).text, row["role"]
    prompt = strip(row["prompt"]).text
    return Item(
        id=f"{row['pack']}-{row['number']}-{role}",
        text=text,
        thread=(Turn(author="user", text=prompt),) if prompt else (),
        group=f"{row['pack']}-{row['number']}",
        slices={"role": role},
        labels=(Annotation(value=row["label"]),) if row["label"] else (),
    )


def _pairs(recipe: Recipe, files: Files) -> Iterator[Row]:
    """Two rows, prompt and response, for each row of a table with four columns; one for a table with two."""
    for name, path in files.paths.items():
        columns: dict[str, int] = {}
        number = 0
        for line, cells in files.cells(name):
            if not columns:
                columns = _columns(cells)
                width = len(cells)
                continue
            if not any(cell.strip() for cell in cells):
                continue
            number += 1
            aligned = cells if len(cells) == width else _aligned(cells, columns)
            if aligned is None:
                files.report(str(path), line, f"{len(cells)} fields where the header has {width}, and no code to go by")
                continue
            row = {part: aligned[index] for part, index in columns.items()}
            common = {"pack": recipe.slug, "number": number}
            prompt = {"role": "prompt", "text": row["text"], "label": row["label"].strip(), "prompt": ""}
            yield Row(str(path), line, common | prompt)
            if "response" in row:
                label = row.get("response_label", "").strip()
                response = {"role": "response", "text": row["response"], "label": label, "prompt": row["text"]}
                yield Row(str(path), line, common | response)
        if not columns:
            files.report(str(path), 0, "no header", f"a column is named {', '.join(_TEXT)}, another {', '.join(_LABEL)}")


def _columns(cells: list[str]) -> dict[str, int]:
    """Where the parts stand, if this is the header; else nothing."""
    named = [cell.strip().lower() for cell in cells]
    parts = {"text": _TEXT, "label": _LABEL, "response": _RESPONSE, "response_label": _RESPONSE_LABEL}
    found = {part: next((index for index, name in enumerate(named) if name in names), -1) for part, names in parts.items()}
    return {part: index for part, index in found.items() if index >= 0} if min(found["text"], found["label"]) >= 0 else {}


def _aligned(cells: list[str], columns: dict[str, int]) -> list[str] | None:
    """The cells of a row with commas too many, put together again by where its codes stand; None: they do not say."""
    ordered = sorted(columns, key=columns.__getitem__)
    codes = [index for index, cell in enumerate(cells) if _CODE.fullmatch(cell.strip())]
    labels = [part for part in ordered if part.endswith("label")]
    if len(codes) != len(labels) or ordered[1::2] != labels:
        return None
    aligned = [""] * (max(columns.values()) + 1)
    start = 0
    for code, text, label in zip(codes, ordered[::2], labels, strict=True):
        aligned[columns[text]], aligned[columns[label]] = ",".join(cells[start:code]), cells[code]
        start = code + 1
    return aligned if not any(cell.strip() for cell in cells[start:]) else None


def _sections(recipe: Recipe, files: Files) -> Iterator[Row]:
    """Numbered texts under headings that are the codes. The last column is what a model said, and is no label."""
    for name, path in files.paths.items():
        section, number = "", 0
        for line, cells in files.cells(name):
            filled = [cell.strip() for cell in cells if cell.strip()]
            if len(filled) == 1 and _CODE.fullmatch(filled[0]) and cells[0].strip():
                section = filled[0]
            elif section and cells[0].strip().isdigit():
                number += 1
                text = list(cells[1:])
                while text and (not text[-1].strip() or _CODE.fullmatch(text[-1].strip())):
                    text.pop()
                common = {"pack": recipe.slug, "number": number, "role": "prompt", "prompt": ""}
                yield Row(str(path), line, common | {"text": ",".join(text), "label": section})
            elif any(cell.strip() for cell in cells[:2]):
                files.report(str(path), line, "neither a code nor a numbered text")


def _pack(name: str, title: str, codes: tuple[str, ...]) -> Recipe:
    return Recipe(
        slug=f"teen-{name}",
        title=f"Teen Safety Policy Pack, {title}",
        policy=f"teen-{name}.md",
        source=Source(
            name="Teen Safety Policy Pack",
            url="https://github.com/roostorg/model-community",
            licence="Apache-2.0, with the pack's usage policy",
            citation="OpenAI and ROOST, Teen Safety Policy Pack, 2026",
        ),
        scale=Scale(values=codes, violates=codes[1:]),
        files={f"{name}.csv": None},
        item=golden,
        read=_pairs,
        slices=("role",),
        note=f"labelled under the pack's own policy: write or import it as `teen-{name}.md`, or name another with --policy",
    )


TEEN_SAFETY: Final = (
    _pack("age-restricted-goods-and-services", "age-restricted goods and services", ("ARS0", "ARS1", "ARS2")),
    _pack("dangerous-content", "dangerous activities and challenges", ("DC0", "DC1", "DC2", "DC3")),
    _pack("dangerous-roleplay", "dangerous roleplay", ("DR0", "DR1", "DR2", "DR3")),
    _pack("graphic-sexual-content", "graphic sexual content", ("GS0", "GS1", "GS2")),
    _pack("graphic-violent-content", "graphic violent content", ("GV0", "GV1", "GV2")),
    _pack("harmful-body-ideals", "harmful body ideals", ("HBI0", "HBI1", "HBI2")),
)
SAFEGUARD_SPAM = Recipe(
    slug="gpt-oss-safeguard-spam",
    title="gpt-oss-safeguard example spam policy, golden set",
    policy="gpt-oss-safeguard-spam.md",
    source=Source(
        name="gpt-oss-safeguard",
        url="https://github.com/openai/gpt-oss-safeguard",
        licence="Apache-2.0",
        citation="OpenAI, gpt-oss-safeguard, 2025",
    ),
    scale=Scale(kind="ordinal", values=("SP0", "SP2", "SP3", "SP4"), violates=("SP2", "SP3", "SP4")),
    files={"golden_dataset.csv": None},
    item=golden,
    read=_sections,
    note="labelled under its own policy: write or import it as `gpt-oss-safeguard-spam.md`, or name another with --policy",
)
