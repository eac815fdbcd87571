"""Steerability: whether verdicts follow from the policy, as a test that can be repeated.

The policy is changed, the same contents are judged again, and what must change or stay is counted. `steer` does it, with the
probes of `CHECKS`; `Limits` says whether the result is good enough.
"""

from moderator.steering.labelled import Labelled, examples_of, of_suite, sampled
from moderator.steering.report import to_junit, to_markdown
from moderator.steering.result import (
    CHECKS,
    FAMILIES,
    Base,
    Check,
    Family,
    Limits,
    Must,
    Probe,
    Result,
    Steerability,
    Trial,
    pooled,
)
from moderator.steering.run import steer

__all__ = [
    "CHECKS",
    "FAMILIES",
    "Base",
    "Check",
    "Family",
    "Labelled",
    "Limits",
    "Must",
    "Probe",
    "Result",
    "Steerability",
    "Trial",
    "examples_of",
    "of_suite",
    "pooled",
    "sampled",
    "steer",
    "to_junit",
    "to_markdown",
]
