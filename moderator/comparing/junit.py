"""Comparisons and gates as cases of JUnit XML."""

from __future__ import annotations

from moderator.comparing.compare import said, shift_name
from moderator.comparing.model import Comparison, Gate, Shift
from moderator.junit import Case, Cases


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
