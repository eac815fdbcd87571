"""JUnit XML as CI systems read it, and in step with the exit code."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.comparing.compare import compare
from moderator.comparing.junit import Case, Cases, junit, of_comparison
from moderator.metrics import Resampling
from tests.comparing.made import outcomes, suite


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())


@settings(max_examples=50)
@given(st.text(), st.text())
def test_any_text_makes_well_formed_xml(name: str, message: str) -> None:
    root = parsed(junit([Cases(name, (Case(name, "failed", message, message), Case(name, "passed", message)))]))
    assert [child.tag for child in root] == ["testsuite"]
    assert root[0].get("tests") == root.get("tests") == "2"


def test_the_form_is_that_of_junit() -> None:
    cases = (Case("a", "passed", "fine"), Case("b", "failed", "short", "long"), Case("c", "skipped", "few"))
    root = parsed(junit([Cases("one", cases), Cases("two", cases[:1])]))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("skipped")) == ("testsuites", "4", "1", "1")
    one = root[0]
    assert (one.tag, one.get("name"), one.get("errors")) == ("testsuite", "one", "0")
    assert [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in one] == [
        ("one", "a", ["system-out"]), ("one", "b", ["failure"]), ("one", "c", ["skipped"]),
    ]  # fmt: skip
    failure = one[1][0]
    assert (failure.get("message"), failure.text) == ("short", "long")


@given(
    st.lists(st.tuples(st.sampled_from(["H1", "ok", "fail"]), st.sampled_from(["H1", "ok", "fail"])), max_size=30),
    st.booleans(),
)
def test_a_case_fails_where_and_only_where_the_exit_code_says_so(rows: list[tuple[str, str]], allow: bool) -> None:
    before, after = ([row[side] for row in rows] for side in (0, 1))
    made = suite(["yes"] * len(rows), minimum=5)
    found = compare(made, outcomes(before), outcomes(after), allow_shift=allow, how=Resampling(resamples=100, minimum=5))
    failed = any(case.status == "failed" for case in of_comparison(found).cases)
    assert failed == (found.exit_code == 100)
