"""Tests say which workflows their engines have: all that the test files have together share names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.tree import ROOT, files

OPENING = {"open_engine", "open_engine_thread"}


def untold(source: str) -> Iterator[int]:
    """Yield the lines in which an engine is opened with whatever workflows there are."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OPENING:
            told = {keyword.arg for keyword in node.keywords}
            if len(node.args) < 2 and told.isdisjoint({"workflows", None}):
                yield node.lineno


def test_engines_are_told_their_workflows() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files("tests", suffix=".py")
        if path.parent.name not in {"typing", "benchmarks"}  # never run, or processes of their own
        for line in untold(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_one_that_is_not_told_is_found() -> None:
    assert list(untold("open_engine(url)\nopen_engine(url, lease=1)")) == [1, 2]
    assert list(untold("open_engine(url, ())\nopen_engine(url, workflows=[a])\nopen_engine(url, **options)")) == []
