"""Contents in, outcomes out: files, folders and streams."""

from moderator.records.journal import Journal, convert, read_outcomes
from moderator.records.reading import Progress, Source, open_source

__all__ = ["Journal", "Progress", "Source", "convert", "open_source", "read_outcomes"]
