"""What is in a set of rows: ``NAME.report.json`` beside them (schema ``rows/1``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from moderator.errors import DataError
from moderator.finetuning.building import Dealt
from moderator.finetuning.rows import Row
from moderator.policy.tokens import estimate_tokens


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Lengths(_Value):
    """Tokens by a rough count (see `moderator.policy.estimate_tokens`); a model's own may be a third more or fewer."""

    median: int
    longest: int


class Summary(_Value):
    """What is in the rows, and what was left out."""

    schema_: Literal["rows/1"] = Field(default="rows/1", alias="schema")
    rows_digest: str
    policies: Mapping[str, str]
    """Digests by name and version."""
    family: str
    mode: str
    contents: Mapping[str, int]
    """Where the contents went: ``train``, ``dev``, and ``test``, of which there are no rows."""
    left_out: Mapping[str, int]
    """Contents, by the reason."""
    rows: Mapping[str, int]
    """By split."""
    variants: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    """By split."""
    sources: Mapping[str, int]
    rules: Mapping[str, Mapping[str, int]]
    """For each rule of each policy (``hate H1``) the contents learned, by what is known: ``yes``, ``no``, ``unknown``."""
    whole: int
    """Answers that are known to their end."""
    quoted: int
    """Answers with the words that break a rule."""
    prompt: Lengths
    answer: Lengths


def summarise(rows: Sequence[Row], digest: str, dealt: Dealt, rules: Mapping[str, Sequence[str]]) -> Summary:
    """Counts over rows (at least one); `rules` are the ids of each policy's rules, by its slug."""
    signs: dict[str, Counter[str]] = {f"{slug} {rule}": Counter() for slug, ids in rules.items() for rule in ids}
    for gold in dealt.by_place["train"]:
        for rule in rules[gold.policy]:
            signs[f"{gold.policy} {rule}"][gold.rules.get(rule, "unknown")] += 1
    return Summary(
        rows_digest=digest,
        policies={row.policy: row.policy_digest for row in rows if row.variant == "plain"},
        family=rows[0].family,
        mode=rows[0].format.mode,
        contents={place: len(golds) for place, golds in dealt.by_place.items()},
        left_out=dict(dealt.left_out),
        rows=Counter(row.split for row in rows),
        variants=Counter(row.variant for row in rows),
        labels={split: Counter(row.label for row in rows if row.split == split) for split in ("train", "dev")},
        sources=Counter(row.source for row in rows),
        rules=signs,
        whole=sum(row.whole for row in rows),
        quoted=sum(any(part.kind == "quote" for part in row.parts) for row in rows),
        prompt=_lengths([f"{row.system}\n{row.user}" for row in rows]),
        answer=_lengths([row.answer for row in rows]),
    )


def write_summary(summary: Summary, rows: Path) -> Path:
    """Writes the summary beside the rows, as ``NAME.report.json``. Raises `DataError`."""
    path = rows.with_suffix(".report.json")
    try:
        path.write_text(summary.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return path


def _lengths(texts: Sequence[str]) -> Lengths:
    counts = sorted(map(estimate_tokens, texts))
    return Lengths(median=counts[len(counts) // 2], longest=counts[-1])
