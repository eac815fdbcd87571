"""The shape of the package: imports point one way, at the top of a module, and what is heavy stays in its corner."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "moderator"

LAYERS = (
    ("errors", "recalibration"),
    ("assets", "content", "junit", "metrics", "quoting"),
    ("policy",),
    ("answer",),
    ("verdict",),
    ("case",),
    ("prompt",),
    ("engines",),
    ("answering", "resolution"),
    ("calibration",),
    ("concluding",),
    ("judge",),
    ("records",),
    ("running", "suite"),
    ("runs",),
    ("scoring",),
    ("comparing", "steering"),
    ("report", "interop", "finetuning"),
    ("cli",),
    ("__main__",),
)
"""Each module or package imports from those above it, and from itself."""

INSIDE_FUNCTIONS = {
    "interop.inspect_files": {"inspect_ai"},
    "metrics.alttest": {"scipy"},
    "metrics.consensus": {"scipy"},
    "metrics.paired": {"scipy"},
    "records.formats": {"pyarrow"},
    "records.tables": {"pyarrow"},
    "report.charts": {"altair", "vl_convert"},
    "scoring.disagreements": {"sklearn"},
    "suite.linear": {"sklearn"},
}
"""Third-party modules that are imported when they are first needed, because they take long and are seldom needed."""

CORNERS = {
    "interop": {"inspect_ai"},
    "metrics": {"scipy"},
    "cli": {"typer", "click", "rich"},
    "records": {"pyarrow", "pandas"},
    "report": {"altair", "vl_convert"},
    "engines": {"vllm", "outlines", "llguidance", "tokenizers", "safetensors", "openai", "httpx"},
    "engines finetuning": {"torch", "transformers", "peft"},
}
"""Libraries that one package, or two, may know."""

OUTSIDE = {"finetune", "evals", "benchmarks", "tests", "moderator.tests"}


class Import(NamedTuple):
    importer: str
    imported: str
    inside: bool
    """In a function, that is: not when the module is loaded."""

    @property
    def own(self) -> bool:
        return self.imported.split(".")[0] == "moderator"


@cache
def modules() -> dict[str, Path]:
    """The package's modules, by their dotted names."""
    return {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports() -> tuple[Import, ...]:
    return tuple(
        found for name, path in modules().items() for found in _imports(name, ast.parse(path.read_text(encoding="utf-8")))
    )


def _imports(name: str, node: ast.AST, inside: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(name, alias.name, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{name}: imports are absolute"
            assert child.module
            for alias in child.names:
                deeper = f"{child.module}.{alias.name}"
                yield Import(name, deeper if deeper in modules() else child.module, inside)
        else:
            yield from _imports(name, child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _part(module: str) -> str:
    """The part of the package that a module belongs to; the package itself re-exports and belongs to none."""
    return module.split(".")[1] if "." in module else ""


LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def test_every_module_has_its_layer() -> None:
    """A new module is put in its place in `LAYERS`, on purpose."""
    assert {_part(name) for name in modules()} - {""} <= set(LEVELS)


def test_imports_point_one_way() -> None:
    wrong = [
        f"{found.importer} imports {found.imported}"
        for found in imports()
        if found.own and _part(found.importer) != _part(found.imported) and _part(found.importer) and _part(found.imported)
        if LEVELS[_part(found.importer)] <= LEVELS[_part(found.imported)]
    ]
    assert not wrong


def test_only_the_command_line_imports_the_package_itself() -> None:
    """What the package re-exports is for users; it would be a way around the layers."""
    assert {_part(found.importer) for found in imports() if found.imported == "moderator"} <= {"cli"}


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in imports():
        if found.own:
            graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def test_no_import_of_our_own_hides_in_a_function() -> None:
    assert [found for found in imports() if found.own and found.inside] == []


def test_imports_in_functions_are_few_and_named() -> None:
    hidden = {(found.importer, found.imported.split(".")[0]) for found in imports() if found.inside and not found.own}
    allowed = {(f"moderator.{module}", library) for module, libraries in INSIDE_FUNCTIONS.items() for library in libraries}
    assert {pair for pair in hidden if pair[1] not in sys.stdlib_module_names} == allowed


@pytest.mark.parametrize("part", CORNERS)
def test_libraries_stay_in_their_corner(part: str) -> None:
    elsewhere = [
        found
        for found in imports()
        if found.imported.split(".")[0] in CORNERS[part] and _part(found.importer) not in part.split()
    ]
    assert elsewhere == []


def test_what_everybody_imports_of_the_engines_is_light() -> None:
    """``import moderator`` brings the seam and the scripted engine, and no library of a model with them."""
    light = {"moderator.engines", "moderator.engines.scripted"}
    heavy = CORNERS["engines"] | CORNERS["engines finetuning"]
    assert [found for found in imports() if found.importer in light and found.imported.split(".")[0] in heavy] == []


def test_rows_and_calibration_need_no_torch() -> None:
    """What makes rows and calibrates runs on the base install: only what trains and writes an adapter knows torch."""
    training = {"base", "checkpoint", "packs", "training", "writing"}
    torches = {
        found.importer.rpartition(".")[2]
        for found in imports()
        if _part(found.importer) == "finetuning" and found.imported.split(".")[0] in CORNERS["engines finetuning"]
    }
    assert torches <= training


def test_nothing_outside_the_package_is_imported() -> None:
    assert [found for found in imports() if found.imported.split(".")[0] in OUTSIDE] == []
