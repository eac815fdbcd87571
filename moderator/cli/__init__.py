"""The command line: a shell around the library. Results on stdout, everything else on stderr."""

from moderator.cli.app import main

__all__ = ["main"]
