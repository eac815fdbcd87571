"""What the linter says: findings with stable codes, and their renderings for people, programs and code hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote

Weight = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the linter looks for."""

    weight: Weight
    title: str


CHECKS: dict[str, Check] = {
    "P001": Check("error", "the document does not parse"),
    "P101": Check("error", "an emphasised term is not defined"),
    "P102": Check("warning", "a defined term is not used"),
    "P103": Check("warning", "a hedge word leaves the rule open"),
    "P104": Check("error", "the policy tells the model how to answer"),
    "P105": Check("warning", "prose names an id that is not defined"),
    "P201": Check("warning", "a rule lacks examples of both signs"),
    "P202": Check("error", "an example has two labels under one rule"),
    "P203": Check("warning", "an example has different labels under two rules"),
    "P204": Check("error", "an example is also in a suite"),
    "P205": Check("error", "an example is allowed by an exception that does not cover its rule"),
    "P301": Check("error", "an exception covers a rule that a person decides"),
    "P302": Check("error", "an exception covers what it is never for"),
    "P303": Check("warning", "an exception without a condition makes a rule unreachable"),
    "P304": Check("error", "a rule applies to a surface that the policy does not have"),
    "P305": Check("warning", "no rule applies to a surface of the policy"),
    "P401": Check("error", "precedence goes in a circle"),
    "P402": Check("warning", "a rule has no notice"),
    "P403": Check("error", "a notice is too long"),
    "P501": Check("warning", "the policy is past its review date"),
    "P502": Check("error", "the version moved less than the policy changed"),
    "P503": Check("error", "the overlay fits no version of its policy"),
    "P504": Check("error", "the file is not named like the policy"),
    "P505": Check("warning", "the title differs from the front matter"),
    "P506": Check("warning", "the changelog does not tell of this version"),
    "P507": Check("warning", "an active policy has no owner or no review date"),
    "P508": Check("warning", "an id was given to another rule"),
    "P601": Check("warning", "the policy is longer than its token budget"),
}
"""All checks by code. A code is never given to another check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the linter found."""

    file: str
    line: int
    """1-based; 0: the whole file."""
    code: str
    what: str
    hint: str = ""

    @property
    def weight(self) -> Weight:
        """``error``: something will go wrong; ``warning``: something may be meant otherwise."""
        return CHECKS[self.code].weight

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.weight} {self.code} {self.what}" + (f"\n  {self.hint}" if self.hint else "")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by file and line, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda f: (f.file, f.line, f.code, f.what)))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of the findings is an error."""
    return any(finding.weight == "error" for finding in findings)


def findings_to_text(findings: Sequence[Finding]) -> str:
    """`file:line: weight CODE what`, a hint under each; empty for none."""
    return "\n".join(map(str, findings))


def findings_to_json(findings: Sequence[Finding]) -> str:
    """A JSON array of the findings."""
    return json.dumps([{**asdict(f), "severity": f.weight} for f in findings], ensure_ascii=False, indent=2)


def findings_to_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log with one run, which code hosts and editors show beside the lines."""
    codes = list(CHECKS)
    rules = [
        {"id": code, "shortDescription": {"text": check.title}, "defaultConfiguration": {"level": check.weight}}
        for code, check in CHECKS.items()
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "moderator policy lint", "rules": rules}},
                "results": [_result(finding, codes.index(finding.code)) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": quote(finding.file.replace("\\", "/"), safe="/:")},
        "region": {"startLine": max(finding.line, 1)},
    }
    text = finding.what + (f"\n{finding.hint}" if finding.hint else "")
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.weight,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
