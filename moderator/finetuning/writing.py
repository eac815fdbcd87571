"""An adapter on disk: what peft writes, what an engine has to know of it, how it was made, and a card for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import peft
import torch
import transformers

from moderator.engines.adapters import quiet
from moderator.engines.folder import MANIFEST, digest, weight_files
from moderator.errors import DataError
from moderator.finetuning.checkpoint import CHECKPOINT
from moderator.finetuning.rows import LEARNED, read_text_digests
from moderator.finetuning.training import Entry, Trained

TRAINING: Final = "training.json"


def write_adapter(trained: Trained) -> str:
    """Writes the adapter's folder; returns the digest of its weights. Raises `DataError`."""
    folder = trained.config.out
    try:
        with quiet():
            network = trained.base.network
            # where the base lies on this machine is nobody's business
            for config in network.peft_config.values():
                config.base_model_name_or_path = trained.base.name.rpartition("@")[0]
            network.save_pretrained(str(folder), save_embedding_layers=False)
        weights = digest(weight_files(folder))
        manifest = {
            "base": trained.base.name,
            "family": trained.family,
            "mode": trained.mode,
            "policies": sorted({row.policy for row in trained.rows}),
        }
        _write(folder / MANIFEST, manifest)
        _write(folder / TRAINING, _record(trained, weights))
        earlier = read_text_digests(trained.config.adapter) if trained.config.adapter else frozenset()
        learned = earlier | {row.text_digest for row in trained.rows}
        (folder / LEARNED).write_text("".join(f"{text}\n" for text in sorted(learned)))
        (folder / "README.md").write_text(_card(trained, weights), encoding="utf-8")
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None
    return weights


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _record(trained: Trained, weights: str) -> dict[str, Any]:
    config = trained.config.model_dump(mode="json", exclude={"base", "rows", "dev", "out", "adapter"})
    return {
        "schema": "training/1",
        "adapter_digest": weights,
        "made_by": trained.made_by,
        "configuration": config,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "rows": len(trained.rows),
        "tokens": trained.tokens,
        "kept": asdict(trained.kept),
        "history": [asdict(entry) for entry in trained.history],
    }


def _card(trained: Trained, weights: str) -> str:
    labels = Counter(row.label for row in trained.rows)
    variants = Counter(row.variant for row in trained.rows)
    lora, first, kept = trained.base.network.peft_config["default"], trained.history[0], trained.kept
    policies = ", ".join(f"`{name}`" for name in sorted({row.policy for row in trained.rows if row.variant == "plain"}))
    lines = [
        "---",
        "library_name: peft",
        f"base_model: {trained.base.name.rpartition('@')[0]}",
        "---",
        f"# {trained.config.out.name}",
        "",
        f"A LoRA adapter of `{trained.base.name}` for content moderation under {policies}; prompt family `{trained.family}`,",
        f"mode `{trained.mode}`. Made by `{trained.command}`; `training.json` has every number behind this page.",
        "",
        "| | |",
        "|---|---|",
        f"| rank, alpha, targets | {lora.r}, {lora.lora_alpha:g}, {', '.join(sorted(lora.target_modules))} |",
        *([f"| begun at adapter | `{trained.made_by['adapter'][:12]}` |"] if trained.config.adapter else []),
        f"| rows | {len(trained.rows):,}: {_counted(labels)} |",
        f"| under policies as they are and changed | {_counted(variants)} |",
        f"| steps, tokens, time | {trained.history[-1].step:,}, {trained.tokens:,}, {trained.history[-1].seconds:,.0f} s |",
        f"| adapter | `{weights[:12]}` |",
        f"| rows | `{trained.made_by['rows'].removeprefix('sha256:')[:12]}` |",
        "",
        "Agreement on the suites that training stopped on, before any step and of what was kept. These are no test numbers.",
        "",
        "| step | macro F1 of verdicts | of rules | log loss of the probability of a violation |",
        "|---|---|---|---|",
        *(_line(entry) for entry in dict.fromkeys((first, kept))),
        "",
        "Its probabilities are not calibrated until `moderator finetune calibrate` has put a `calibration.json` here. Measure",
        "it before you use it on policies that it was not trained for: finetuning narrows a model.",
        "",
    ]
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    agreed = entry.agreement
    numbers = (agreed.macro_f1, agreed.rules_macro_f1, agreed.log_loss) if agreed else (None, None, None)
    return f"| {entry.step:,} | " + " | ".join("n/a" if number is None else f"{number:.3f}" for number in numbers) + " |"


def _counted(counts: Counter[Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
