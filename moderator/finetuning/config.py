"""What a training is told: one YAML file, closed; whatever is not there has the value named here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moderator.answer import Kind
from moderator.assets import directory
from moderator.errors import DataError
from moderator.finetuning.reward import Criterion

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

EMBEDDED: Final = "nano"
"""The name of the embedded model."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(_Value):
    """The adapter (Hu et al. 2021)."""

    rank: Count = 16
    alpha: Positive = 32
    dropout: Share = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    """Names of modules. Attention alone learns less, at equal size, than all linear layers (Schulman et al. 2025)."""
    rank_stabilised: bool = False
    """Scale by the root of the rank (rsLoRA, Kalajdzievski 2023)."""
    decomposed: bool = False
    """Learn magnitude and direction apart (DoRA, Liu et al. 2024)."""


class Load(_Value):
    """How the base is loaded."""

    device: str = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    four_bit: bool = False
    """NF4 weights (QLoRA, Dettmers et al. 2023); on a GPU, with bitsandbytes."""
    attention: str | None = None
    """An implementation of transformers; ``sdpa`` and ``eager`` can pack rows behind one policy."""


class Learning(_Value):
    """How the weights move."""

    epochs: Count = 3
    rate: Positive = 2e-4
    warmup: Share = 0.03
    """Share of the steps in which the rate rises; behind them it falls to nothing, along a cosine."""
    decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Positive = 1.0
    """The most that the norm of a step's gradient may be."""
    tokens: Count = 4096
    """Of a pack: a policy, and contents behind it. A row that is longer is an error, never cut."""
    rows: Count = 16
    """Of a step, at least; all packs count until they are reached."""
    average: Share = 0.95
    """What is evaluated and kept is a running mean of the adapter (Polyak & Juditsky 1992): how much of it stays at a step."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them."""
    balance: bool = True
    """Give each label the same weight altogether, however often it occurs; none more than four times its own."""


class Watching(_Value):
    """What decides which weights are kept, and when to stop."""

    every: Count = 50
    """Steps between evaluations. A checkpoint is written behind each."""
    patience: Count = 3
    """Evaluations without a better one, after which training ends."""
    limit: Count = 400
    """Items of each suite that are judged."""


class Reinforcing(_Value):
    """How answers are drawn and rewarded (GRPO, Shao et al. 2024, arXiv:2402.03300)."""

    steps: Count = 200
    answers: Annotated[int, Field(ge=2)] = 8
    """Drawn for each content: what one is worth is told by the others. A step draws them for `learning.rows` contents."""
    tokens: Count = 256
    """Of an answer; a longer one is cut, and worth nothing."""
    temperature: Positive = 1.0
    anchor: Annotated[float, Field(ge=0)] = 0.0
    """What the divergence from where training began costs (beta)."""
    reward: Mapping[Criterion, Annotated[float, Field(ge=0)]] = {
        "form": 0.2, "label": 1.0, "rules": 0.5, "quotes": 0.3, "brevity": 0.1,
    }  # fmt: skip
    """What each criterion counts; one that is left out, nothing."""
    trl: Mapping[str, Any] = {}
    """Handed on to TRL's `GRPOConfig`: ``use_vllm``, ``loss_type`` and whatever else it knows."""


class Config(_Value):
    """A training: a base, rows, and suites to stop on. Paths are relative to the file."""

    base: str = EMBEDDED
    """``nano``, a folder, or a name of the Hugging Face Hub."""
    rows: Path
    dev: tuple[Path, ...] = ()
    """Suites whose agreement decides; empty: those that ``finetune rows`` put beside the rows (``NAME.dev/``)."""
    out: Path
    """The adapter's folder."""
    adapter: Path | None = None
    """An adapter to begin at, instead of a fresh one."""
    seed: int = 1
    threads: Count | None = None
    """Of the CPU; None: torch's own number."""
    lora: Lora = Lora()
    load: Load = Load()
    learning: Learning = Learning()
    watching: Watching = Watching()
    weights: Mapping[Kind, Annotated[float, Field(ge=0)]] = {
        "label": 1.0, "rule": 1.0, "exception": 1.0, "escalation": 0.3, "missing": 0.3, "quote": 0.3, "rationale": 0.1,
        "form": 0.1,
    }  # fmt: skip
    """What a token's loss counts, by what it states. The label is one token among many: it would drown."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.weights.get("label"):
            raise ValueError("weights: a label that counts for nothing is not learned")
        if self.adapter and "lora" in self.model_fields_set:
            raise ValueError("lora: an adapter to begin at brings its own")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over what decides the result: where files lie and how many threads there are does not."""
        value = self.model_dump(mode="json", exclude={"rows", "dev", "out", "adapter", "threads"})
        return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Reinforcement(Config):
    """A training on rewards; `learning` and `watching` mean what they mean there, as far as TRL can be told."""

    reinforcing: Reinforcing = Reinforcing()


def load_config(path: Path) -> Config:
    """The configuration in a YAML file. Raises `DataError` with every problem of it."""
    return _load(path, Config)


def load_reinforcement(path: Path) -> Reinforcement:
    """The same, of a training on rewards."""
    return _load(path, Reinforcement)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def _load(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None
    try:
        config = kind.model_validate(value)
    except ValidationError as error:
        problems = [f"{path}: `{'.'.join(map(str, fault['loc']))}`: {fault['msg'].lower()}" for fault in error.errors()]
        raise DataError("\n".join(problems) + f"\n  keys are {', '.join(kind.model_fields)}") from None
    rows, out = path.parent / config.rows, path.parent / config.out
    dev = tuple(path.parent / suite for suite in config.dev) or tuple(sorted(rows.with_suffix(".dev").glob("*.yaml")))
    adapter = path.parent / config.adapter if config.adapter else None
    base = base_of(config.base, path.parent)
    return config.model_copy(update={"rows": rows, "out": out, "dev": dev, "adapter": adapter, "base": base})


def base_of(name: str, beside: Path = Path()) -> str:
    """The folder of a base's name, or the name itself, of the Hugging Face Hub. A folder's is relative to `beside`."""
    if name == EMBEDDED:
        return str(directory("models") / EMBEDDED)
    return str(beside / name) if (beside / name).is_dir() else name
