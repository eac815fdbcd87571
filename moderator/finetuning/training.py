"""An adapter learned from rows: one recipe, from the configuration to the adapter.

Low-rank updates of all linear layers (LoRA, Hu et al. 2021) are learned from answers alone, label and ids weighing most. The
adapter whose verdicts agreed best with people, judged on the way by the judge itself, is kept.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from moderator.answer import Mode
from moderator.engines.folder import digest, weight_files
from moderator.engines.local import engine_errors
from moderator.errors import DataError, EngineError
from moderator.finetuning.base import Base, open_base
from moderator.finetuning.checkpoint import Checkpoint, generators, save, set_generators, take_up
from moderator.finetuning.config import Config
from moderator.finetuning.encoding import Encoded, encode_rows
from moderator.finetuning.packs import Pack, losses, steps
from moderator.finetuning.rows import Row, read_rows
from moderator.finetuning.watching import Agreement, Watched, agreement, open_watched


@dataclass(frozen=True, slots=True)
class Entry:
    """How a training stands behind a step: a line of its history."""

    step: int
    loss: float | None
    """Mean over what was learned since the last entry, by its weights (nats a token); None before the first step."""
    agreement: Agreement | None
    """On the suites; None where there are none."""
    rate: float
    """The learning rate."""
    seconds: float
    """Since the beginning, what came before a resumption included."""
    best: bool
    """Whether this is the best so far: the adapter that is kept."""


@dataclass(frozen=True)
class Trained:
    """A training that has ended."""

    config: Config
    made_by: dict[str, str]
    """Digests of base, rows, suites, configuration, and the adapter it began at."""
    base: Base
    """With the adapter that was kept."""
    family: str
    mode: Mode
    rows: tuple[Row, ...]
    history: tuple[Entry, ...]
    tokens: int
    """That were run forwards and backwards, a policy once for each pack."""
    command: str = "moderator finetune train"

    @property
    def kept(self) -> Entry:
        """The entry whose adapter was kept."""
        return next(entry for entry in reversed(self.history) if entry.best)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is, told behind each step."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a training would take, measured on its largest pack; evaluations come on top."""

    steps: int
    tokens: int
    seconds: float
    memory: int
    """Bytes: of the GPU, or of this process where there is none; the optimiser's own included."""


class Training:
    """A training, opened: `run` takes it to its end, from where its checkpoint stands.

    Raises `DataError` for rows, suites and checkpoints, `EngineError` for the base.
    """

    def __init__(self, config: Config, *, resume: bool = False):
        self.config = config
        rows, rows_digest = read_rows(config.rows)
        self.rows = tuple(row for row in rows if row.split == "train")
        self.family, self.mode = of_one_kind(self.rows, config)
        self.watched = open_watched(config.dev, config.watching.limit)
        self.base = open_base(config)
        learning = config.learning
        encoded = encode_rows(
            self.rows, self.base.chat, config.weights, most=learning.tokens, balance=learning.balance, turn=self.base.turn
        )
        self.steps = [packs for epoch in range(learning.epochs) for packs in self._epoch(encoded, epoch)]
        self._weights = [weight for weight in self.base.network.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(self._weights, lr=learning.rate, weight_decay=learning.decay)
        made_by = made_of(config, self.base, rows_digest, self.watched)
        self._state = self._taken_up(made_by) if resume else self._anew(made_by)
        self._before = self._state.seconds
        self._started = time.monotonic()

    @property
    def parameters(self) -> int:
        """Numbers that are learned."""
        return sum(weight.numel() for weight in self._weights)

    def run(self, each: Callable[[Progress], None], noted: Callable[[Entry], None]) -> Trained:
        """Trains to the end. `each` is told of every step, `noted` of every evaluation, behind which a checkpoint is written.

        Raises `EngineError` when the loss is no longer a number.
        """
        state, total, weight = self._state, 0.0, 0.0
        if not state.history:
            noted(self._note(None))
        for packs in self.steps[state.step :]:
            if self._ended():
                break
            began = time.monotonic()
            loss, counted = self._step(packs)
            total, weight = total + loss, weight + counted
            tokens = sum(pack.tokens for pack in packs)
            state.tokens += tokens
            each(Progress(state.step, len(self.steps), loss / counted, tokens / (time.monotonic() - began)))
            if state.step % self.config.watching.every == 0 or state.step == len(self.steps):
                noted(self._note(total / weight))
                total = weight = 0.0
        self.base.put(state.best)
        history = tuple(map(_entry, state.history))
        return Trained(self.config, state.made_by, self.base, self.family, self.mode, self.rows, history, state.tokens)

    def rehearse(self) -> Rehearsal:
        """Runs the largest pack forwards and backwards, twice (the first time is slower), and learns nothing."""
        packs = [pack for step in self.steps for pack in step]
        largest, tokens = max(packs, key=lambda pack: pack.tokens), sum(pack.tokens for pack in packs)
        self.base.network.train()
        seconds = 0.0
        with engine_errors(self.base.name):
            for _ in range(2):
                began = time.monotonic()
                each, weights = losses(self.base.network, largest)
                (each * weights).sum().backward()
                self._optimiser.zero_grad(set_to_none=True)
                seconds = time.monotonic() - began
        moments = 2 * sum(weight.numel() * weight.element_size() for weight in self._weights)
        return Rehearsal(len(self.steps), tokens, seconds * tokens / largest.tokens, _peak_memory() + moments)

    def _step(self, packs: Sequence[Pack]) -> tuple[float, float]:
        """One step of the optimiser; the sum of what the packs lose, and of what it counts."""
        network, learning, state = self.base.network, self.config.learning, self._state
        network.train()
        counted, total = sum(pack.weight for pack in packs), 0.0
        with engine_errors(self.base.name):
            for pack in packs:
                each, weights = losses(network, pack)
                loss = (each * weights).sum()
                (loss / counted).backward()
                total += loss.item()
        if not math.isfinite(total):
            hint = "a lower learning.rate, or load.dtype float32 or bfloat16, may help"
            raise EngineError(f"{self.base.name}: the loss is not a number at step {state.step + 1}\n  {hint}")
        torch.nn.utils.clip_grad_norm_(self._weights, learning.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(state.step)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        state.step += 1
        # at first less stays, or the mean would be of what has learned nothing
        stays = min(learning.average, state.step / (state.step + 9))
        for name, weight in self.base.adapter().items():
            state.average[name].lerp_(weight, 1 - stays)
        return total, counted

    def _rate(self, step: int) -> float:
        """The learning rate of a step (from 0): rising, then falling along a cosine."""
        learning, steps = self.config.learning, len(self.steps)
        rising = max(1, math.ceil(learning.warmup * steps))
        if step < rising:
            return learning.rate * (step + 1) / rising
        return learning.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    def _note(self, loss: float | None) -> Entry:
        """Evaluates, keeps the adapter if it is the best so far, and writes a checkpoint."""
        state, network = self._state, self.base.network
        state.adapter = self.base.adapter()
        self.base.put(state.average)
        network.eval()
        self.base.engine.forget()
        found = agreement(self.base.engine, self.watched, self.family, self.mode) if self.watched else None
        self.base.put(state.adapter)
        best = is_best(found, [_entry(one) for one in state.history])
        state.seconds = self._before + time.monotonic() - self._started
        entry = Entry(
            state.step,
            loss,
            found,
            self._rate(state.step),
            round(state.seconds, 1),
            best,
        )
        state.history.append(asdict(entry))
        state.best = {name: weight.clone() for name, weight in state.average.items()} if best else state.best
        state.optimiser, state.generators = self._optimiser.state_dict(), generators()
        save(state, self.config.out)
        return entry

    def _ended(self) -> bool:
        """Whether too many evaluations have been no better."""
        return since_best([_entry(one) for one in self._state.history]) >= self.config.watching.patience

    def _epoch(self, rows: Sequence[Encoded], epoch: int) -> list[list[Pack]]:
        learning = self.config.learning
        return steps(rows, learning.tokens, learning.rows, together=self.base.together, seed=self.config.seed, epoch=epoch)

    def _anew(self, made_by: dict[str, str]) -> Checkpoint:
        return Checkpoint(made_by, average=self.base.adapter())

    def _taken_up(self, made_by: dict[str, str]) -> Checkpoint:
        found = take_up(self.config.out, made_by)
        if found is None:
            return self._anew(made_by)
        self.base.put(found.adapter)
        self._optimiser.load_state_dict(found.optimiser)
        set_generators(found.generators)
        return found


def made_of(config: Config, base: Base, rows_digest: str, watched: Sequence[Watched]) -> dict[str, str]:
    """What decides what a training comes to, by digests."""
    return {
        "base": base.name,
        "rows": rows_digest,
        "suites": " ".join(one.suite.digest for one in watched),
        "configuration": config.digest,
        "adapter": digest(weight_files(config.adapter)) if config.adapter else "",
    }


def is_best(found: Agreement | None, history: Sequence[Entry]) -> bool:
    """Whether an evaluation is better than all before it; without suites the last one always is."""
    return found is None or all(found.better_than(entry.agreement) for entry in history if entry.agreement)


def since_best(history: Sequence[Entry]) -> int:
    """How many evaluations have come since the best one."""
    return len(history) - 1 - max(place for place, entry in enumerate(history) if entry.best)


def _entry(value: Mapping[str, Any]) -> Entry:
    agreed = value["agreement"]
    return Entry(**{**value, "agreement": Agreement(**agreed) if agreed else None})


def _peak_memory() -> int:
    """Bytes, the most so far."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def of_one_kind(rows: Sequence[Row], config: Config) -> tuple[str, Mode]:
    """The family and the mode of the rows, which must be the same for all."""
    kinds = {(row.family, row.format.mode) for row in rows}
    if len(kinds) != 1:
        what = "no rows to learn" if not kinds else "rows of several prompt families or modes"
        raise DataError(f"{config.rows}: {what}\n  `moderator finetune rows` makes them")
    return kinds.pop()
