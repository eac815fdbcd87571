"""The cases of a comparison are in step with its exit code."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moderator.comparing.compare import compare
from moderator.comparing.junit import of_comparison
from moderator.metrics import Resampling
from tests.comparing.made import outcomes, suite


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
