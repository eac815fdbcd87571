"""Suites: contents that people labelled, for a policy; read, written, and made out of public and own data sets."""

from moderator.suite.linear import LINEAR_MODEL, LinearFloor, linear_floor, linear_floors
from moderator.suite.model import Annotation, Answer, Item, Scale, Source, Span, Split, Suite, Targets
from moderator.suite.opening import open_suite
from moderator.suite.reading import known_rules, load_suite, policy_of, stream_suite
from moderator.suite.writing import item_to_line, write_suite

__all__ = [
    "LINEAR_MODEL",
    "Annotation",
    "Answer",
    "Item",
    "LinearFloor",
    "Scale",
    "Source",
    "Span",
    "Split",
    "Suite",
    "Targets",
    "item_to_line",
    "known_rules",
    "linear_floor",
    "linear_floors",
    "load_suite",
    "open_suite",
    "policy_of",
    "stream_suite",
    "write_suite",
]
