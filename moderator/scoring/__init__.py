"""Scores: what a run's outcomes say about a suite's labels."""
