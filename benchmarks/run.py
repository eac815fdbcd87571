"""Runs all speed measurements in one go and prints ``name ours peer ratio`` lines; see README.md beside this file.

python -m benchmarks.run --out benchmarks/latest.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import LOAD
from benchmarks.arms import Arm, Peers, ours
from benchmarks.contents import Mixture, long_policy
from benchmarks.records import measure_records
from moderator.assets import directory
from moderator.engines.chat import ChatTokenizer
from moderator.engines.local import LocalEngine
from moderator.engines.nano import NanoEngine
from moderator.engines.vllm import VLLMEngine
from moderator.prompt import compile_prompt

POLICY_TOKENS, CONTENT_TOKENS, IDLE_LOAD = 1200, 40, 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    report: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d"),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_before": round(LOAD, 2),
        "idle_before": LOAD < IDLE_LOAD,
        "lines": [],
    }
    if not options.only or options.only == "engines":
        report |= measure_engines(options, report["lines"])
    if not options.only or options.only == "records":
        report |= measure_records(report["lines"], sizes=(100_000, options.contents))
    for line in report["lines"]:
        print(f"{line['name']:44} {line['ours']:>12} {line['peer']:>12} {line['ratio']:>8}")
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if not report["idle_before"]:
        print(f"load was {LOAD:.2f} when this began: these numbers are not to be quoted", file=sys.stderr)


def measure_engines(options: argparse.Namespace, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """All arms, interleaved, on fresh contents each round."""
    torch.set_num_threads(1)
    folder = options.model or directory("models") / "nano"
    chat = ChatTokenizer.from_folder(folder)
    policy = long_policy(POLICY_TOKENS, chat, "nano")
    short, full = (compile_prompt(policy, "nano", mode) for mode in ("fast", "reasoned"))
    engine = VLLMEngine(str(folder), dtype=options.dtype, kv_cache_memory_bytes=1 << 30)
    nano = NanoEngine(folder)
    local = LocalEngine(str(folder), dtype=options.dtype, threads=1)
    peers, terse = Peers(folder, options.dtype, full, engine), Peers(folder, options.dtype, short, engine)
    arms = [
        Arm("transformers.generate, whole verdict", options.slow, peers.generate_loop),
        Arm("transformers.generate, short answer", options.slow, terse.generate_loop),
        Arm("outlines Generator.batch, whole verdict", options.slow, peers.outlines_batch),
        Arm("vLLM LLM.generate JSON, whole verdict", options.fast, peers.vllm_json),
        Arm("vLLM LLM.generate JSON, short answer", options.fast, terse.vllm_json),
        Arm("ours on local", options.fast, ours(policy, local, "nano")),
        Arm("ours on vllm", options.fast, ours(policy, engine, "nano")),
        Arm("ours on nano", options.fast, ours(policy, nano, "nano")),
    ]
    flags = ours(policy, nano, "nano")
    mixture = Mixture(
        CONTENT_TOKENS, lambda text: len(chat.encode(text)), lambda drawn: [said is True for said in flags(drawn)], options.seed
    )
    floors: list[float] = []
    inside = _Inside(engine)
    for arm in arms:
        arm.round(mixture.draw(20))
        arm.milliseconds.clear()
        arm.flagged = arm.judged = arm.unreadable = 0
    for number in range(options.rounds):
        for arm in arms:
            inside.watch = arm.name == "ours on vllm"
            arm.round(mixture.draw(arm.size))
            inside.watch = False
        floors.append(peers.floor(mixture.draw(options.slow)))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    outside = 1 - inside.seconds / (sum(arms[6].milliseconds) * options.fast / 1000)
    lines.extend(_lines(arms, floors))
    lines.append({"name": "own Python around vLLM", "ours": f"{outside:.1%}", "peer": "5%", "ratio": ""})
    engine.close()
    return {
        "engines": {
            "model": engine.description.model,
            "dtype": options.dtype,
            "policy_tokens": len(chat.prefix(short.system)),
            "rounds": options.rounds,
            "contents_a_round": {arm.name: arm.size for arm in arms},
            "milliseconds_a_content": {arm.name: [round(value, 3) for value in arm.milliseconds] for arm in arms},
            "floor_milliseconds": [round(value, 3) for value in floors],
            "flagged_share": {arm.name: round(arm.flagged / arm.judged, 4) for arm in arms},
            "unreadable": {arm.name: arm.unreadable for arm in arms},
            "outside_vllm": round(outside, 4),
        }
    }


class _Inside:
    """The seconds that our calls spend inside ``LLM.generate``."""

    def __init__(self, engine: VLLMEngine):
        self.seconds, self.watch = 0.0, False
        generate = engine._llm.generate

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return generate(*arguments, **options)
            finally:
                self.seconds += self.watch * (time.perf_counter() - started)

        engine._llm.generate = timed


def _lines(arms: Sequence[Arm], floors: Sequence[float]) -> list[dict[str, Any]]:
    by_name = {arm.name: arm.milliseconds for arm in arms}
    pairs = [("ours on vllm", peer) for peer in by_name if peer.startswith(("transformers", "vLLM"))] + [
        ("ours on local", peer) for peer in by_name if peer.startswith(("transformers", "outlines"))
    ]
    pairs.append(("ours on nano", "transformers.generate, whole verdict"))
    lines = [_line(f"{mine} / {peer}", by_name[mine], by_name[peer]) for mine, peer in pairs]
    return [*lines, _line("ours on vllm / floor of the forward pass", by_name["ours on vllm"], floors)]


def _line(name: str, mine: Sequence[float], peer: Sequence[float]) -> dict[str, Any]:
    """Medians, and the median of the ratios of each round with their range."""
    ratios = [theirs / own for own, theirs in zip(mine, peer, strict=True)]
    return {
        "name": name,
        "ours": f"{statistics.median(mine):.2f} ms",
        "peer": f"{statistics.median(peer):.2f} ms",
        "ratio": f"{statistics.median(ratios):.2f}x",
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the report here as JSON")
    parser.add_argument("--only", choices=("engines", "records"))
    parser.add_argument("--model", type=Path, help="model folder (default: the embedded model)")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow", type=int, default=20, help="contents a round for arms that take long")
    parser.add_argument("--fast", type=int, default=200, help="contents a round for the others")
    parser.add_argument("--contents", type=int, default=1_000_000, help="contents of the larger records measurement")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
