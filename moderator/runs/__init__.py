"""Evaluation runs: suites judged into a folder that holds all that scoring needs."""

from moderator.runs.environment import Environment, environment
from moderator.runs.executing import check_folder, execute
from moderator.runs.folder import Run, load_run
from moderator.runs.manifest import Manifest, PolicyRecord, RuleRecord, Selection, SuiteRecord
from moderator.runs.selection import select
from moderator.runs.writing import write_run

__all__ = [
    "Environment",
    "Manifest",
    "PolicyRecord",
    "RuleRecord",
    "Run",
    "Selection",
    "SuiteRecord",
    "check_folder",
    "environment",
    "execute",
    "load_run",
    "select",
    "write_run",
]
