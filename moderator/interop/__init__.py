"""Bridges to other evaluation tools: Inspect, GuardBench, promptfoo. None of them is needed by the rest of the package."""
