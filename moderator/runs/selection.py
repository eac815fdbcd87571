"""Which items of a suite a run judges."""

from __future__ import annotations

from hashlib import sha256

from moderator.errors import DataError
from moderator.runs.manifest import Selection
from moderator.suite import Item, Suite
from moderator.suite.perturb import PERTURBATIONS, perturb_suite


def judged_items(suite: Suite, selection: Selection) -> tuple[Item, ...]:
    """The items that a run with this selection judges, of a suite or of what `select` made of it."""
    return suite.items if selection.split == "all" else suite.split(selection.split)


def select(suite: Suite, selection: Selection) -> Suite:
    """The suite with the selected items, in their order, and with the perturbed copies that were asked for.

    Behind test items stand the training items: they are not judged, but a linear model is fitted on them.

    Raises `DataError` when nothing is left to judge, or for a perturbation that there is not.
    """
    if unknown := [name for name in selection.perturb if name not in PERTURBATIONS]:
        raise DataError(f"perturb: no perturbation {unknown[0]!r}\n  one of {', '.join(PERTURBATIONS)}, or all")
    items = judged_items(suite, selection)
    if not items:
        there = ", ".join(f"{len(suite.split(split)):,} {split}" for split in ("train", "test"))
        raise DataError(f"suite {suite.slug}: no items to judge: {there}\n  --split says which are judged")
    chosen = _with(suite, _sample(items, selection))
    if selection.perturb:
        chosen = perturb_suite(chosen, selection.perturb, seed=selection.seed)
    return _with(suite, (*chosen.items, *suite.split("train")), chosen.slices) if selection.split == "test" else chosen


def _sample(items: tuple[Item, ...], selection: Selection) -> tuple[Item, ...]:
    if selection.limit is None or len(items) <= selection.limit:
        return items

    def place(item: Item) -> bytes:
        return sha256(f"{selection.seed}/{item.id}".encode("utf-8", "surrogatepass")).digest()

    drawn = {item.id for item in sorted(items, key=place)[: selection.limit]}
    return tuple(item for item in items if item.id in drawn)


def _with(suite: Suite, items: tuple[Item, ...], slices: tuple[str, ...] | None = None) -> Suite:
    """The suite with these items; reports do not break down by what none of them has."""
    there = {key for item in items for key in item.slices}
    slices = tuple(key for key in (suite.slices if slices is None else slices) if key in there)
    if items == suite.items and slices == suite.slices:
        return suite
    # made anew and not copied: a copy would keep the digest of the original
    fields = {name: getattr(suite, name) for name in Suite.model_fields}
    return Suite(**{**fields, "items": items, "slices": slices})
