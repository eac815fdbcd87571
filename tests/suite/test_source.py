"""YAML of suites: scalars stay text, lines are known, and what cannot be read is told, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.errors import SuiteError
from moderator.suite import open_suite
from moderator.suite.source import compose, plain


def test_scalars_stay_text_and_every_part_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("suite: no\nscale:\n  values: [1.0, yes]\nsuite: other\n")
    value, lines, problems = plain(compose(path, empty="", hint=""), "a.yaml")
    assert value == {"suite": "no", "scale": {"values": ["1.0", "yes"]}}
    assert (lines[("scale",)], lines[("scale", "values")], lines[("scale", "values", 1)]) == (2, 3, 3)
    assert [str(problem) for problem in problems] == ["a.yaml:4: `suite` is given twice\n  first given in line 1"]


@pytest.mark.parametrize("kind", ["suite", "functional"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind}: x\nslices: &a [*a]\n", "an alias holds itself"),
        ("{kind}: x\nslices: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("{kind}: [\n", "not YAML"),
        ("- {kind}\n", "no keys"),
        ("{kind}: caf\xe9\n", "not UTF-8"),
    ],
)
def test_what_is_no_suite_is_an_error_and_no_traceback(tmp_path: Path, kind: str, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.replace("{kind}", kind).encode("latin-1"))
    with pytest.raises(SuiteError, match=said):
        open_suite(path)
