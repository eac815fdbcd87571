"""Contents in, outcomes out: files, folders and streams."""

from moderator.records.formats import Progress
from moderator.records.journal import Journal, outcome_name, read_outcomes
from moderator.records.reading import FACTS, Source, open_source
from moderator.records.tables import check_output, convert, journal_path

__all__ = [
    "FACTS",
    "Journal",
    "Progress",
    "Source",
    "check_output",
    "convert",
    "journal_path",
    "open_source",
    "outcome_name",
    "read_outcomes",
]
