"""Results as JUnit XML, as CI systems read it (the form of Ant's junitreport and of Jenkins' xUnit plug-in)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from moderator.comparing.compare import said, shift_name
from moderator.comparing.model import Comparison, Gate, Shift

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tested; ``skipped`` is what could not be told."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cases:
    """The things that were tested on one suite."""

    name: str
    cases: tuple[Case, ...]


def junit(suites: Iterable[Cases]) -> str:
    """An XML document with a ``testsuite`` for each; what was said of a case that passed stands in its ``system-out``."""
    suites = list(suites)
    root = ElementTree.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        element = ElementTree.SubElement(root, "testsuite", {"name": _xml(suite.name), **_counts(suite.cases)})
        for case in suite.cases:
            found = ElementTree.SubElement(
                element, "testcase", {"classname": _xml(suite.name), "name": _xml(case.name), "time": "0"}
            )
            if case.status == "failed":
                told = ElementTree.SubElement(found, "failure", {"message": _xml(case.message), "type": "failure"})
                told.text = _xml(case.detail or case.message)
            elif case.status == "skipped":
                ElementTree.SubElement(found, "skipped", {"message": _xml(case.message)})
            elif case.message:
                ElementTree.SubElement(found, "system-out").text = _xml(case.message)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def of_comparison(comparison: Comparison) -> Cases:
    """The verdict, and whether enforcement of the policy and of each rule shifted: one fails when the exit code is 100."""
    verdict = Case(
        "verdict",
        "failed" if comparison.verdict == "worse" else "skipped" if comparison.verdict == "inconclusive" else "passed",
        f"{comparison.verdict}: {comparison.because}",
        "\n".join(said(one) for one in (*comparison.metrics, comparison.failures)),
    )
    shifts = (_of_shift(shift, comparison.allow_shift) for shift in (comparison.enforcement, *comparison.rules))
    return Cases(f"compare.{comparison.suite or comparison.policy}", (verdict, *shifts))


def of_gate(gate: Gate) -> Cases:
    """A case for each check: those that keep the gate shut fail."""
    return Cases(
        f"gate.{gate.suite}",
        tuple(
            Case(
                " ".join(filter(None, (check.kind, check.rule, check.name))),
                "failed" if check in gate.stopping else "skipped" if check.status == "inconclusive" else "passed",
                check.message,
            )
            for check in gate.checks
        ),
    )


def _of_shift(shift: Shift, allowed: bool) -> Case:
    told = f"{shift.conclusion}: {shift.lost:,} lost, {shift.gained:,} gained of {shift.before:,}, p {shift.adjusted:.3g}"
    if shift.shown:
        return Case(f"enforcement of {shift_name(shift)}", "passed" if allowed else "failed", told)
    return Case(f"enforcement of {shift_name(shift)}", "skipped" if shift.conclusion == "inconclusive" else "passed", told)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    statuses = [case.status for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(statuses.count("failed")),
        "errors": "0",
        "skipped": str(statuses.count("skipped")),
        "time": "0",
    }


def _xml(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
