"""How often each label is given, by kind of policy, by source, and for twins.

`python -m finetune.nano.census --data DATA --pretrain TEXTS`

A share of `yes` far from even would teach a model to answer by the kind or the source instead of by the policy.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from finetune.nano import augment, corpus, policies, sources
from finetune.nano.stance import HERE
from moderator.prompt import load_family

LABELS = ("yes", "no", "exception", "unknown", "none")


def shares(groups: Iterable[augment.Group]) -> dict[str, Counter[str]]:
    """How often each label was given, by `kind ...`, `source ...` and `twin ...`, and in all."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for group in groups:
        for item in group.items:
            rows = ["all", f"kind {group.stance.kind}", f"source {item.example.source}"]
            rows += ["twin"] if group.twin else []
            rows += [f"domain {domain}" for domain in group.stance.domains if len(group.stance.domains) == 1]
            rows += (
                ["with an order or padding"] if item.example.core and len(item.example.core) < len(item.example.text) else []
            )
            for row in rows:
                found[row][item.said] += 1
    return dict(found)


def table(found: Mapping[str, Counter[str]]) -> str:
    """The shares in Markdown, a row that has too few or too many `yes` marked."""
    lines = ["| of | contents | " + " | ".join(LABELS) + " |", "|---" * (2 + len(LABELS)) + "|"]
    for name, counts in sorted(found.items()):
        n = counts.total()
        mark = "" if 0.25 <= counts["yes"] / n <= 0.6 else " (!)"
        lines.append(f"| {name}{mark} | {n} | " + " | ".join(f"{counts[label] / n:.0%}" for label in LABELS) + " |")
    return "\n".join(lines)


def main(data: Path, texts: Path, number: int) -> None:
    """Draw groups as training does, without a teacher, and print the shares."""
    config = yaml.safe_load((HERE / "config.yaml").read_text())["answers"] | {"shares": None}
    draw = random.Random(1)
    train, _, left_out = sources.load_counted(data)
    pools = augment.Pools(train, draw, config["caps"], corpus.sentences(texts))
    drawn = augment.groups(draw, pools, policies.shipped(), load_family("nano"), config)
    started = time.time()
    some = [next(drawn) for _ in range(number)]
    print(f"{1000 * (time.time() - started) / number:.0f} ms a group of {config['group']}")
    print(table(shares(some)))
    for source, counts in left_out.items():
        print(source, dict(counts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pretrain", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=1000)
    given = parser.parse_args()
    main(given.data, given.pretrain, given.groups)
