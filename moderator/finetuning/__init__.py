"""Rows to learn from, the training of an adapter on them, and the calibration of what it then says."""
