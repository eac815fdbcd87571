"""Public and own data sets become suites: handles, links and phone numbers stripped, splits fixed, nothing lost in silence.

The files stay with the user; what is known about a set (licence, citation, meaning of its labels) is in its `Recipe`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from moderator.errors import DataError, first_fault
from moderator.policy.document import nearest
from moderator.suite.prepare import abuse, hate, packs, spam
from moderator.suite.prepare.assemble import Prepared, Wanted, assemble
from moderator.suite.prepare.custom import COLUMNS, Mapped, prepare_custom
from moderator.suite.prepare.recipe import Recipe

SETS: Final[Mapping[str, tuple[Recipe, ...]]] = {
    "hatexplain": (hate.HATEXPLAIN,),
    "edos": (hate.EDOS,),
    "toxic-spans": (abuse.TOXIC_SPANS,),
    "context-toxicity": (abuse.CONTEXT_TOXICITY,),
    "convabuse": (abuse.CONVABUSE,),
    "misogyny": (hate.MISOGYNY,),
    "stormfront": (hate.STORMFRONT,),
    "hatemoji": (hate.HATEMOJI,),
    "davidson": (hate.DAVIDSON,),
    "surge-toxicity": (abuse.SURGE_TOXICITY,),
    "sms-spam": (spam.SMS_SPAM,),
    "youtube-spam": (spam.YOUTUBE_SPAM,),
    "ailuminate-demo": (spam.AILUMINATE,),
    "roost-teen-safety": packs.TEEN_SAFETY,
    "gpt-oss-safeguard-spam": (packs.SAFEGUARD_SPAM,),
}
"""The public sets by name. A set that is labelled under several policies has a recipe, and gives a suite, for each."""


def prepare_set(
    name: str, source: Path, *, split: Wanted = "test", policy: str | None = None, violates: Sequence[str] = ()
) -> tuple[Prepared, ...]:
    """The suites of a public set whose files are in a folder, or of one of its files.

    `violates`: the labels that violate the policy, instead of those that the set's recipe names. Raises `DataError`.
    """
    if name not in SETS:
        raise DataError(f"{name}: no such set{nearest(name, tuple(SETS))}\n  sets are {', '.join(SETS)}, custom")
    found = [(recipe, paths) for recipe in SETS[name] if (paths := _paths(recipe, source, alone=len(SETS[name]) == 1))]
    if not found:
        wanted = ", ".join(file for recipe in SETS[name] for file in recipe.files)
        raise DataError(f"{source}: no file of {name}\n  looked for {wanted}, and the same with .gz")
    try:
        recipes = [(_read_as(recipe, policy, violates), paths) for recipe, paths in found]
    except ValueError as error:
        values = ", ".join(dict.fromkeys(value for recipe, _ in found for value in recipe.scale.values))
        what = first_fault(error) if isinstance(error, ValidationError) else error
        raise DataError(f"{name}: --violates: {what}\n  labels are {values}") from None
    return tuple(assemble(recipe, paths, split) for recipe, paths in recipes)


def _read_as(recipe: Recipe, policy: str | None, violates: Sequence[str]) -> Recipe:
    read = recipe.under(policy) if policy else recipe
    return read.violating(violates) if violates else read


def _paths(recipe: Recipe, source: Path, *, alone: bool) -> dict[str, Path]:
    """The recipe's files by the publisher's names: in the folder and those below it, or the one that was given."""
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_file():
        only = next(iter(recipe.files)) if alone and len(recipe.files) == 1 else source.name.removesuffix(".gz")
        found = {only: source} if only in recipe.files else {}
    else:
        candidates = {name: sorted((*source.rglob(name), *source.rglob(f"{name}.gz"))) for name in recipe.files}
        found = {name: paths[0] for name, paths in candidates.items() if paths}
    if found and recipe.whole and len(found) < len(recipe.files):
        missing = ", ".join(name for name in recipe.files if name not in found)
        raise DataError(f"{source}: has no {missing}\n  the rows are joined from {', '.join(recipe.files)}: give their folder")
    return found


__all__ = ["COLUMNS", "SETS", "Mapped", "Prepared", "Recipe", "Wanted", "prepare_custom", "prepare_set"]
