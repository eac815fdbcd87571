"""Policies by name or path: the shipped ones, a folder of one's own, a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moderator.assets import directory, policy_slugs
from moderator.errors import PolicyError, Problem
from moderator.policy.document import decode, nearest
from moderator.policy.model import Overlay, Policy, Rule
from moderator.policy.overlay import resolve
from moderator.policy.parse import parse_overlay, parse_policy


@dataclass(frozen=True)
class PolicySource:
    """A policy and its overlays: every variant of it can be had without another look at the files."""

    policy: Policy
    overlays: tuple[Overlay, ...] = ()

    @property
    def slug(self) -> str:
        return self.policy.slug

    @cached_property
    def context_keys(self) -> frozenset[str]:
        """The context keys that can make a difference; all others leave the policy as it is."""
        keys = {key for overlay in self.overlays for key in overlay.when}
        rules = (*self.policy.rules, *(rule for overlay in self.overlays for rule in overlay.rules))
        changes = (amendment.changes for overlay in self.overlays for amendment in overlay.amendments)
        if any(rule.applies_to for rule in rules) or any("applies_to" in change for change in changes):
            keys.add("surface")
        return frozenset(keys)

    def rules(self, variant: Policy | None = None) -> tuple[Rule, ...]:
        """The rules of a variant (default: of the policy itself), then those that only other variants have."""
        first = (variant or self.policy).rules
        known = {rule.id for rule in first}
        others = (*self.policy.rules, *(rule for overlay in self.overlays for rule in overlay.rules))
        return (*first, *{rule.id: rule for rule in others if rule.id not in known}.values())

    def resolve(self, context: Mapping[str, str]) -> Policy:
        """The variant for the context. Raises `PolicyError`."""
        return resolve(self.policy, self.overlays, context)


def load_source(name_or_path: str | Path | Policy, *, folder: Path | None = None) -> PolicySource:
    """A policy with the overlays beside its file; a `Policy` value comes without any. Raises `PolicyError`."""
    if isinstance(name_or_path, Policy):
        return PolicySource(name_or_path)
    path = policy_path(name_or_path, folder=folder)
    return PolicySource(parse_policy(read_text(path), str(path)), load_overlays(path))


def load_policy(name_or_path: str | Path, context: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Policy:
    """The policy with this slug, or in this `.md` file, resolved for the context by the overlays beside its file.

    Slugs are looked up in `folder`, by default among the shipped policies. Overlays are read only for a context that has keys.
    Raises `PolicyError`.
    """
    path = policy_path(name_or_path, folder=folder)
    policy = parse_policy(read_text(path), str(path))
    return resolve(policy, load_overlays(path), context) if context else policy


def list_policies(folder: Path | None = None) -> tuple[str, ...]:
    """The slugs that `load_policy` knows, sorted."""
    return policy_slugs(folder or directory("policies"))


def load_overlays(path: Path) -> tuple[Overlay, ...]:
    """The overlays beside a policy's file, by name. Raises `PolicyError`."""
    return tuple(parse_overlay(read_text(beside), str(beside)) for beside in overlay_paths(path))


def overlay_paths(path: Path) -> tuple[Path, ...]:
    """The files beside a policy's that are named like its overlays, sorted."""
    return tuple(sorted(beside for beside in path.parent.glob("*.md") if beside.stem.startswith(f"{path.stem}.")))


def policy_path(name_or_path: str | Path, *, folder: Path | None = None) -> Path:
    """The file of a policy, which is there. Raises `PolicyError`."""
    if isinstance(name_or_path, Path) or name_or_path.endswith(".md") or "/" in name_or_path or "\\" in name_or_path:
        path = Path(name_or_path)
        if not path.is_file():
            raise PolicyError([Problem(str(path), 0, "no such file", "give the slug of a policy, or the path of a `.md` file")])
        return path
    known = list_policies(folder)
    if name_or_path not in known:
        listed = ", ".join(f"`{slug}`" for slug in known) or "none"
        what = f"no policy of this name{nearest(name_or_path, known)}"
        raise PolicyError(
            [Problem(name_or_path or "policy", 0, what, f"policies are {listed}; or give the path of a `.md` file")]
        )
    return (folder or directory("policies")) / f"{name_or_path}.md"


def read_text(path: Path) -> str:
    """The text of a document. Raises `PolicyError` when it cannot be read or is not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyError([Problem(str(path), 0, f"cannot be read: {error.strerror}", "give a `.md` file")]) from error
    return decode(raw, str(path))
