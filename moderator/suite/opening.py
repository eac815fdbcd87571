"""A suite out of whichever kind of file holds one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from moderator.suite.functional_file import load_functional_suite
from moderator.suite.model import Suite
from moderator.suite.reading import load_suite

_FUNCTIONAL: Final = re.compile(rb"^functional[ \t]*:", re.MULTILINE)


def open_suite(path: Path) -> Suite:
    """The suite in a YAML file: labelled contents (``suite: ...``), or functional tests (``functional: ...``), expanded.

    Raises `SuiteError` with every problem of the file.
    """
    try:
        functional = _FUNCTIONAL.search(path.read_bytes().removeprefix(b"\xef\xbb\xbf")) is not None
    except OSError:
        functional = False  # what is wrong with the file is said by its reader
    return load_functional_suite(path) if functional else load_suite(path)
