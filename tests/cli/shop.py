"""A policy, a suite and runs for the commands that compare: fixtures of several modules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command

POLICY = """\
---
policy: tools
version: 1.0.0
title: Tools
status: active
owner: someone@example.com
effective: 2026-01-01
review_by: 2027-01-01
locale: en
applies_to: {surfaces: [post], content: [text], audience: [everyone], jurisdictions: ["*"]}
prefix: T
ground: terms
---
# Tools

## Rationale
This shop sells none.

## Scope
Every text.

## Rules

### T1 Hand tools
- Severity: high
- Action: remove

Naming any of "hammer", "saw".

### T2 Machines
- Severity: low
- Action: label

Naming any of "lathe", "drill".

## Changelog
- 1.0.0 (2026-01-01): first
"""
Shop = Callable[..., Path]
Judged = Callable[..., Path]
ENGINE = "playback.reader:Reader"
LOOSENED = ('Naming any of "hammer"', 'Naming all of "hammer"')
WORDS = ("hammer", "saw", "lathe", "drill", "flower", "book")
RULES = {"hammer": "T1", "saw": "T1", "lathe": "T2", "drill": "T2"}


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Path]:
    """Writes a version of the policy, and a suite of ten texts for each word."""

    def shop(
        name: str = "tools", change: tuple[str, str] = ("", ""), targets: str = "", words: tuple[str, ...] = WORDS
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        assert change[0] in POLICY
        (folder / "tools.md").write_text(POLICY.replace(*change) if change[0] else POLICY, encoding="utf-8")
        header = {
            "suite": "shop",
            "title": "Shop",
            "policy": "tools.md",
            "scale": {"values": ["no", "yes"], "violates": ["yes"]},
        }
        lines = [
            {
                "id": f"{word}-{number}",
                "text": f"number {number}: a {word} for sale",
                "labels": [
                    {"value": "yes", "rules": {RULES[word]: "yes"}} if word in RULES else {"value": "no"},
                ],
            }
            for word in words
            for number in range(10)
        ]
        (folder / "shop.yaml").write_text(json.dumps(header)[:-1] + f', "contents": "shop.jsonl"{targets}}}', encoding="utf-8")
        (folder / "shop.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return folder

    return shop


@pytest.fixture
def judged(command: Command, tmp_path: Path) -> Callable[..., Path]:
    """Runs a folder's suite under its policy."""

    def judged(folder: Path, out: str, *more: object) -> Path:
        done = command("eval", "run", folder / "shop.yaml", "--engine", ENGINE, "--out", out, *more)
        assert done.code == 0, done.err
        return tmp_path / out

    return judged
