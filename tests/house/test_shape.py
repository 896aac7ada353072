"""Files and functions stay short. (Complexity, parameters and nesting are ruff's part, see pyproject.toml.)"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.tree import ROOT, files

LONGEST_FILE = 500
LONGEST_FUNCTION = 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(function: Function) -> int:
    """Count a function's lines, decorators and docstring left out."""
    doc = ast.get_docstring(function, clean=False)
    return (function.end_lineno or 0) - function.lineno + 1 - (len(doc.splitlines()) if doc else 0)


def too_long(source: str) -> Iterator[str]:
    if len(source.splitlines()) > LONGEST_FILE:
        yield f"the file has {len(source.splitlines())} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and length(node) > LONGEST_FUNCTION:
            yield f"{node.lineno}: {node.name} has {length(node)} lines"


def test_files_and_functions_are_short() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in files("src", "tests", "docs", "examples", suffix=".py")
        for problem in too_long(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_a_long_file_is_found() -> None:
    assert list(too_long("x = 1\n" * LONGEST_FILE)) == []
    assert len(list(too_long("x = 1\n" * (LONGEST_FILE + 1)))) == 1


def test_a_long_function_is_found_and_its_docstring_is_free() -> None:
    doc = '    """a\n    b\n    """\n'
    body = "    x = 1\n" * (LONGEST_FUNCTION - 1)
    assert list(too_long(f"async def f():\n{doc}{body}")) == []
    assert len(list(too_long(f"async def f():\n{doc}{body}    x = 1\n"))) == 1
