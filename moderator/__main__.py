"""``python -m moderator``: the command line."""

from moderator.cli import main

main()
