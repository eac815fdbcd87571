"""Reinforcement with people's labels as the reward, by TRL: ``python finetune/grpo.py CONFIG.yaml``.

For each content several answers are drawn, and those that agree with people better than the others become likelier (GRPO).
Begin at an adapter that `moderator finetune train` has made: answers that cannot be read are all worth the same. What counts
is in `moderator.finetuning.reward`, what can be set in `moderator.finetuning.config.Reinforcement`. One process.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed\n  pip install 'moderator[grpo]'")

from moderator.errors import DataError, ModeratorError
from moderator.finetuning.base import Base, open_base
from moderator.finetuning.checkpoint import State
from moderator.finetuning.config import Reinforcement, load_reinforcement
from moderator.finetuning.encoding import MOST_BALANCE, encode_prompt
from moderator.finetuning.reward import CRITERIA, Criterion, reward
from moderator.finetuning.rows import Row, read_rows
from moderator.finetuning.training import Entry, Trained, is_best, made_of, of_one_kind, since_best
from moderator.finetuning.watching import agreement, open_watched
from moderator.finetuning.writing import write_adapter


class Trainer(GRPOTrainer):
    """Asks as serving asks: a prompt is the number of a row here, and its tokens are those of `moderator.engines`."""

    def __init__(self, rows: Sequence[Row], base: Base, **options: Any):
        self._prompts = [encode_prompt(row, base.chat, base.turn) for row in rows]
        super().__init__(model=base.network, **options)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._prompts[int(number)] for number in prompts], None, {}


def rewards(rows: Sequence[Row], base: Base) -> list[Any]:
    """A function of TRL's for each criterion. Control tokens are left in what is read: an answer has none but its end."""

    def answer(row: Row, ids: list[int]) -> str:
        told = base.network.generation_config
        eos = [] if told.eos_token_id is None else told.eos_token_id
        ends = {base.turn.end, told.pad_token_id, *np.atleast_1d(eos)}
        while ids and ids[-1] in ends:
            ids = ids[:-1]
        return row.format.opening + base.chat.tokenizer.decode(ids, skip_special_tokens=False)

    def by(criterion: Criterion) -> Any:
        def function(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
            asked = [rows[int(number)] for number in prompts]
            found = [reward(row, answer(row, ids)) for row, ids in zip(asked, completion_ids, strict=True)]
            return [getattr(one, criterion) for one in found]

        function.__name__ = criterion
        return function

    return [by(criterion) for criterion in CRITERIA]


def asked(rows: Sequence[Row], balance: bool) -> list[int]:
    """The numbers of the rows, those of a rare label several times: where in doubt, the commoner one would be worth more."""
    counts = Counter(row.label for row in rows)
    most = max(counts.values())
    times = {label: min(MOST_BALANCE, round(most / count)) if balance else 1 for label, count in counts.items()}
    return [number for number, row in enumerate(rows) for _ in range(times[row.label])]


class Watch(TrainerCallback):
    """Has the judge judge the suites every so many steps, keeps the adapter that agreed best, ends when none gets better."""

    def __init__(self, config: Reinforcement, base: Base, kind: tuple[str, Any]):
        self.config, self.base, self.kind = config, base, kind
        self.watched = open_watched(config.dev, config.watching.limit)
        self.history: list[Entry] = []
        self.best: State = {}
        self.rate, self.tokens, self.started = 0.0, 0, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.note(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.config.watching.every and state.global_step != state.max_steps:
            return
        self.tokens = int(state.num_input_tokens_seen)
        self.note(state.global_step)
        control.should_training_stop |= since_best(self.history) >= self.config.watching.patience

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        if "reward" not in logs:
            return
        self.rate = logs.get("learning_rate", self.rate)
        parts = [f"{name} {logs[f'rewards/{name}/mean']:.2f}" for name in CRITERIA if f"rewards/{name}/mean" in logs]
        lost = f"{logs.get('completions/clipped_ratio', 0):.0%} cut"
        print(f"step {state.global_step:,}: reward {logs['reward']:.3f} ({', '.join(parts)}; {lost})", file=sys.stderr)

    def note(self, step: int) -> None:
        network = self.base.network
        learning = network.training
        network.eval()
        self.base.engine.forget()
        found = agreement(self.base.engine, self.watched, *self.kind) if self.watched else None
        network.train(learning)
        best = is_best(found, self.history)
        seconds = round(time.monotonic() - self.started, 1)
        self.history.append(Entry(step, None, found, self.rate, seconds, best))
        if best:
            self.best = self.base.adapter()
        if found:
            rules = "" if found.rules_macro_f1 is None else f", of rules {found.rules_macro_f1:.3f}"
            print(f"step {step:,}: macro F1 {found.macro_f1:.3f}{rules}, log loss {found.log_loss:.3f}", file=sys.stderr)


def settings(config: Reinforcement) -> GRPOConfig:
    """What TRL is told. A batch is the answers to one content, a step as many batches as `learning.rows`."""
    learning, drawn = config.learning, config.reinforcing
    gpu = torch.cuda.is_available() and config.load.device != "cpu"
    told = {
        "output_dir": str(config.out),
        "seed": config.seed,
        "use_cpu": not gpu,
        "bf16": gpu,
        "gradient_checkpointing": learning.checkpointing,
        "max_steps": drawn.steps,
        "learning_rate": learning.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, round(learning.warmup * drawn.steps)),
        "weight_decay": learning.decay,
        "max_grad_norm": learning.clip,
        "per_device_train_batch_size": drawn.answers,
        "gradient_accumulation_steps": learning.rows,
        "num_generations": drawn.answers,
        "max_completion_length": drawn.tokens,
        "temperature": drawn.temperature,
        "beta": drawn.anchor,
        "reward_weights": [drawn.reward.get(criterion, 0.0) for criterion in CRITERIA],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    try:
        return GRPOConfig(**told | dict(drawn.trl))
    except (TypeError, ValueError) as error:
        raise DataError(f"reinforcing: TRL takes it not: {error}") from None


def main(path: Path) -> None:
    # TRL says to transformers what transformers has renamed
    warnings.simplefilter("ignore", FutureWarning)
    config = load_reinforcement(path)
    if config.out.exists() and any(config.out.iterdir()):
        raise DataError(f"{config.out}: exists\n  name a new folder as `out`")
    read, rows_digest = read_rows(config.rows)
    rows = tuple(row for row in read if row.split == "train")
    kind = of_one_kind(rows, config)
    base = open_base(config)
    watch = Watch(config, base, kind)
    trainer = Trainer(
        rows,
        base,
        reward_funcs=rewards(rows, base),
        args=settings(config),
        train_dataset=Dataset.from_list([{"prompt": str(number)} for number in asked(rows, config.learning.balance)]),
        processing_class=AutoTokenizer.from_pretrained(config.base, padding_side="left"),
        callbacks=[watch],
    )
    # it prints every line of the log to standard output, which belongs to the result
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    base.put(watch.best)
    made_by = made_of(config, base, rows_digest, watch.watched)
    trained = Trained(config, made_by, base, *kind, rows, tuple(watch.history), watch.tokens, "finetune/grpo.py")
    weights = write_adapter(trained)
    print(f"kept step {trained.kept.step:,}; adapter {weights[:12]} for {base.name}", file=sys.stderr)
    print(config.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a training on rewards, .yaml")
    try:
        main(parser.parse_args().config)
    except ModeratorError as error:
        sys.exit(f"error: {error}")
