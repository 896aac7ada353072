"""Imports point down only.

The layers are the table of docs/design. An import counts wherever it stands: at the top, in a function, or below
`TYPE_CHECKING`, for who needs another module's types depends on it no less.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import pytest

from tests.house.tree import sources

# From the top. Pieces of one line are neighbours and never import each other. "nurselog" is the package's __init__.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("check", "demo", "telemetry", "testing"),
    ("_tree",),
    ("codecs", "nurselog", "lowlevel"),
    ("_client",),
    ("_engine",),
    ("_flow", "_stores"),
    ("abc",),
    ("_instrument",),
    ("_log",),
    ("_errors",),
)
DEPTH = {piece: depth for depth, pieces in enumerate(LAYERS) for piece in pieces}

# A part that holds on to the whole that made it, or says what goes through it: the first names the second in its
# annotations, and nowhere else.
KNOTS = frozenset({
    ("nurselog._engine.follower", "nurselog._engine.desk"),
    ("nurselog._engine.handle", "nurselog._engine.desk"),
    ("nurselog._engine.querying", "nurselog._engine.desk"),
    ("nurselog._engine.replaying", "nurselog._engine.runner"),
    ("nurselog._engine.run", "nurselog._engine.runner"),
    ("nurselog._engine.runner", "nurselog._engine.office"),
    ("nurselog._engine.runner", "nurselog._engine.starter"),
    ("nurselog._engine.updating", "nurselog._engine.desk"),
    ("nurselog._flow.body", "nurselog._flow.call"),
    ("nurselog._flow.body", "nurselog._flow.step"),
    ("nurselog._flow.call", "nurselog._flow.step"),
    ("nurselog._flow.children", "nurselog._flow.workflow"),
    ("nurselog._flow.current", "nurselog._flow.sequencer"),
    ("nurselog._flow.family", "nurselog._flow.children"),
    ("nurselog._flow.host", "nurselog._flow.children"),
    ("nurselog._flow.host", "nurselog._flow.workflow"),
    ("nurselog._flow.inbox", "nurselog._flow.cases"),
    ("nurselog._flow.inbox", "nurselog._flow.sequencer"),
    ("nurselog._flow.jobs", "nurselog._flow.step"),
    ("nurselog._flow.sequencer", "nurselog._flow.call"),
    ("nurselog._flow.strand", "nurselog._flow.body"),
    ("nurselog._flow.strand", "nurselog._flow.scope"),
    ("nurselog._flow.strand", "nurselog._flow.sequencer"),
    ("nurselog._flow.transacting", "nurselog._flow.body"),
    ("nurselog._flow.times", "nurselog._flow.sequencer"),
    ("nurselog._flow.trouble", "nurselog._flow.sequencer"),
    ("nurselog._flow.trouble", "nurselog._flow.strand"),
    ("nurselog._flow.unrecorded", "nurselog._flow.step"),
})


class Import(NamedTuple):
    importer: str
    line: int
    imported: str
    for_types: bool
    """Whether it stands below `TYPE_CHECKING`."""


def piece_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def absolute(importer: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """Spell out the module of a relative import."""
    if node.level == 0:
        return node.module or ""
    parts = importer.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def imports(importer: str, source: str, modules: Mapping[str, str]) -> Iterator[Import]:
    """List what a module imports; `from package import name` is the module `package.name` where there is one."""
    is_package = any(other.startswith(f"{importer}.") for other in modules)
    tree = ast.parse(source)
    hidden = {below for node in ast.walk(tree) if is_type_checking(node) for below in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(importer, node, is_package=is_package)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in modules else base for name in inner]
        else:
            continue
        yield from (Import(importer, node.lineno, target, node in hidden) for target in targets)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def internal(modules: Mapping[str, str]) -> list[Import]:
    return [
        found
        for module, source in modules.items()
        for found in imports(module, source, modules)
        if found.imported.split(".")[0] == "nurselog" and found.imported != module
    ]


def upward(modules: Mapping[str, str]) -> list[str]:
    """Imports that do not point down."""
    problems = []
    for importer, line, imported, _ in internal(modules):
        here, there = piece_of(importer), piece_of(imported)
        if here != there and DEPTH[there] <= DEPTH[here]:
            problems.append(f"{importer}:{line} imports {imported}, which is not below it")
    return problems


def cycle(modules: Mapping[str, str], knots: frozenset[tuple[str, str]] = KNOTS) -> list[str]:
    """A circle of modules that import each other; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for importer, _, imported, for_types in internal(modules):
        if not (for_types and (importer, imported) in knots):
            graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_every_piece_has_a_layer() -> None:
    assert {piece_of(module) for module in sources()} <= set(DEPTH)


def test_imports_point_down() -> None:
    found = upward(sources())
    assert not found, "\n".join(found)


def test_no_modules_import_each_other() -> None:
    found = cycle(sources())
    assert not found, " imports ".join(found)


def test_no_exception_is_kept_that_nobody_needs() -> None:
    assert {(found.importer, found.imported) for found in internal(sources()) if found.for_types} >= KNOTS


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nurselog._log.events", "from ..abc import Store"),
        ("nurselog._log.events", "def f():\n    from nurselog import workflow"),
        ("nurselog._flow.turn", "from .._stores import sqlite"),
        (
            "nurselog._flow.turn",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .._engine import engine",
        ),
        ("nurselog._flow", "from ..lowlevel import replay"),
        ("nurselog", "from .cli import main"),
        ("nurselog", "from . import cli"),
        ("nurselog.abc", "import nurselog._engine.engine"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(module: str, source: str) -> None:
    assert len(upward({"nurselog.cli": "", "nurselog._flow.x": "", module: source})) == 1


def test_a_circle_is_found_and_only_annotations_can_be_excused() -> None:
    back = "from .a import x"
    modules = {
        "nurselog._flow": back,
        "nurselog._flow.a": "from . import b",
        "nurselog._flow.b": f"def f():\n    {back}",
    }
    excuse = frozenset({("nurselog._flow.b", "nurselog._flow.a")})
    assert set(cycle(modules)) == set(cycle(modules, excuse)) == {"nurselog._flow.a", "nurselog._flow.b"}
    modules["nurselog._flow.b"] = f"if TYPE_CHECKING:\n    {back}"
    assert set(cycle(modules)) == {"nurselog._flow.a", "nurselog._flow.b"}
    assert cycle(modules, excuse) == []
