"""Our own cost per content: JSON Lines in, outcomes out, with an engine that answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moderator import ScriptedEngine
from moderator.engines.scripted import always


def no_engine() -> ScriptedEngine:
    """The engine of this measurement: ``no`` to everything. (``--engine benchmarks.records:no_engine``)"""
    return ScriptedEngine(always("no"))


def measure_records(lines: list[dict[str, Any]], *, sizes: Sequence[int]) -> dict[str, Any]:
    """Contents a second and peak memory of ``moderator judge`` for a smaller and a larger file."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            source = Path(folder) / f"{size}.jsonl"
            with source.open("w", encoding="utf-8") as file:
                for index in range(size):
                    text = f"content number {index} talks about lunch, the weather and a bicycle"
                    file.write(json.dumps({"id": f"c{index:08d}", "text": text}) + "\n")
            seconds, peak = _judge(source, Path(folder) / "out.jsonl")
            found[size] = {"seconds": round(seconds, 2), "peak_bytes": peak, "contents_a_second": round(size / seconds)}
    small, large = sizes
    growth = (found[large]["peak_bytes"] - found[small]["peak_bytes"]) / (large - small)
    marginal = (found[large]["seconds"] - found[small]["seconds"]) / (large - small) * 1e6
    lines.append(
        {"name": f"records: contents/s of {large:,}", "ours": f"{found[large]['contents_a_second']:,}", "peer": "", "ratio": ""}
    )
    lines.append({"name": "records: own microseconds a content", "ours": f"{marginal:.1f}", "peer": "", "ratio": ""})
    lines.append({"name": "records: peak MiB", "ours": f"{found[large]['peak_bytes'] / 2**20:.0f}", "peer": "", "ratio": ""})
    lines.append({"name": "records: bytes a further content", "ours": f"{growth:.0f}", "peer": "100", "ratio": ""})
    return {"records": {**{str(size): value for size, value in found.items()}, "bytes_a_further_content": round(growth, 1)}}


_COMMAND = """
import re, sys
from pathlib import Path
from moderator.cli import main
peak = Path(sys.argv.pop(1))
try:
    main()
finally:
    # not ru_maxrss, which begins with what the process that started this one had
    peak.write_text(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def _judge(source: Path, out: Path) -> tuple[float, int]:
    """Wall-clock seconds and peak resident bytes of one run of the command."""
    peak = out.with_suffix(".peak")
    engine = ["--policy", "hate", "--engine", "benchmarks.records:no_engine"]
    arguments = ["judge", str(source), *engine, "--out", str(out), "--force"]
    root = Path(__file__).parent.parent
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _COMMAND, peak, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started, int(peak.read_text()) * 1024
