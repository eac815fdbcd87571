"""What makes of a score a probability, and of a doubtful decision a case for a person: fitted once, valid for what it names.

`moderator finetune calibrate` writes it into ``calibration.json`` beside an adapter or a model. It holds for one policy as one
model was asked about it; whatever changes one of these makes it invalid, and then scores are said not to be calibrated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moderator.errors import DataError, first_fault
from moderator.recalibration import Recalibration
from moderator.resolution import MACHINE_ACTS_NOT
from moderator.verdict import Failure, Method, Outcome, Provenance, Verdict

FILE: Final = "calibration.json"
"""The name of the file beside an adapter or a model."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Doubt = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Subject(_Value):
    """What was calibrated: a policy, as a model was asked about it."""

    policy: str
    """Name and version, for people; the digest decides."""
    policy_digest: str
    prompt_digest: str
    engine: str
    """Its kind: other arithmetic, other scores; another version of it counts as the same."""
    model: str
    adapter_digest: str | None
    dtype: str | None
    samples: int

    @classmethod
    def of(cls, provenance: Provenance) -> Subject:
        """What the outcomes of this provenance are about."""
        return cls(
            policy=provenance.policy,
            policy_digest=provenance.policy_digest,
            prompt_digest=provenance.prompt_digest,
            engine=provenance.engine.partition(" ")[0],
            model=provenance.model,
            adapter_digest=provenance.adapter_digest,
            dtype=provenance.parameters.get("dtype"),
            samples=provenance.parameters.get("samples", 1),
        )

    def differs(self, other: Subject) -> str:
        """The first thing in which another subject is not this one; empty: nothing."""
        names = (name for name in type(self).model_fields if name != "policy")
        return next((name.replace("_", " ") for name in names if getattr(self, name) != getattr(other, name)), "")


class Limits(_Value):
    """The doubts from which on a person decides instead of the machine.

    A decision's doubt is the probability that it is wrong: that a content violates which would pass, that it does not which
    would be flagged.
    """

    passed: Doubt
    flagged: Doubt


class Calibration(_Value):
    """A recalibration of scores, limits of automatic decision if there are any, and what it was measured to come to."""

    schema_: Literal["calibration/1"] = Field(default="calibration/1", alias="schema")
    subject: Subject
    method: Method
    """Of the scores that it is for."""
    recalibration: Annotated[Recalibration, Field(discriminator="method")]
    limits: Limits | None = None
    """None: every decision is taken."""
    promise: Mapping[str, Number] = {}
    """What the limits are for: an error and a confidence, or costs."""
    golden: Mapping[str, str] = {}
    """Digests of the suites that it was fitted on, by slug."""
    measured: Mapping[str, Number | None] = {}
    """For people; see `moderator.finetuning.calibrating`."""

    @property
    def digest(self) -> str:
        """SHA-256 over what it does: the first 12 hex digits."""
        value = self.model_dump(mode="json", include={"subject", "method", "recalibration", "limits"})
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

    def __call__(self, outcome: Verdict | Failure) -> Verdict | Failure:
        """The outcome with a calibrated score, and given to a person where its doubt reaches the limit.

        Under limits a verdict without a score of this kind goes to a person: how doubtful it is, nobody knows.
        """
        if isinstance(outcome, Failure):
            return outcome
        chance, changed = None, dict[str, Any]()
        if outcome.score.value is not None and outcome.score.method == self.method:
            raw = outcome.score.value
            chance = min(max(self.recalibration(raw), 0.0), 1.0)
            score = outcome.score.model_copy(update={"value": chance, "calibrated": True, "uncalibrated": raw})
            changed["score"] = score
        if self.limits and self._doubtful(outcome.outcome, chance, self.limits):
            changed |= {"outcome": "needs_review", "withheld": outcome.outcome, "action": MACHINE_ACTS_NOT, "notice": ""}
        return outcome.model_copy(update=changed) if changed else outcome

    def _doubtful(self, outcome: Outcome, chance: float | None, limits: Limits) -> bool:
        if outcome == "needs_review":
            return False
        if chance is None:
            return True
        return 1 - chance >= limits.flagged if outcome == "violates" else chance >= limits.passed


def uncalibrated(verdict: Verdict) -> Verdict:
    """The verdict as it was before a calibration: the model's own score, and the outcome that followed from it.

    Action and notice of a decision that was withheld are the policy's to say again, and stay as they are.
    """
    if not verdict.score.calibrated and verdict.withheld is None:
        return verdict
    changed: dict[str, Any] = {"outcome": verdict.withheld or verdict.outcome, "withheld": None}
    if verdict.score.calibrated:
        own = {"value": verdict.score.uncalibrated, "calibrated": False, "uncalibrated": None}
        changed["score"] = verdict.score.model_copy(update=own)
    return verdict.model_copy(update=changed)


class _File(_Value):
    schema_: Literal["calibrations/1"] = Field(default="calibrations/1", alias="schema")
    calibrations: tuple[Calibration, ...] = ()


class Calibrations:
    """The calibrations of a file, at most one for a subject."""

    def __init__(self, calibrations: tuple[Calibration, ...] = ()):
        self.all = calibrations

    @classmethod
    def read(cls, path: Path) -> Calibrations:
        """Those of a file. Raises `DataError`."""
        try:
            return cls(_File.model_validate_json(path.read_bytes()).calibrations)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        except ValidationError as error:
            raise DataError(f"{path}: not a file of calibrations: {first_fault(error)}") from None

    def find(self, provenance: Provenance) -> Calibration | None:
        """The one that is valid for outcomes of this provenance."""
        subject = Subject.of(provenance)
        return next((one for one in self.all if not one.subject.differs(subject)), None)

    def why_not(self, provenance: Provenance) -> str:
        """Why none is valid, in a few words."""
        subject = Subject.of(provenance)
        slug = subject.policy.partition("@")[0]
        near = [one for one in self.all if one.subject.policy.partition("@")[0] == slug]
        if not near:
            return f"none is for policy {slug}"
        return f"made with another {near[-1].subject.differs(subject)}"

    def with_one(self, calibration: Calibration) -> Calibrations:
        """These with one more, which replaces the one of its subject."""
        others = tuple(one for one in self.all if one.subject.differs(calibration.subject))
        return Calibrations((*others, calibration))

    def write(self, path: Path) -> None:
        """Writes the file, in one step. Raises `DataError`."""
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = _File(calibrations=self.all).model_dump_json(by_alias=True, indent=1)
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
