"""Results as JUnit XML, as CI systems read it (the form of Ant's junitreport and of Jenkins' xUnit plug-in)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tested; ``skipped`` is what could not be told."""

    name: str
    status: Status
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
