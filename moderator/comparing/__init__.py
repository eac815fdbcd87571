"""Comparisons of two runs over the same contents, and gates: what changed, whether it is shown, and what a pipeline does."""
