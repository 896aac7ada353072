"""Runs the code of a documentation page: `python -m tests.house.pages PAGE`.

A page is one program, told in pieces. tests/README.md has the convention; in short: `python` blocks run in order in
one namespace, and a `text` block right after one is what it prints.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import trio

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block."""

    line: int
    """Where its first line of code stands in the page."""
    info: str
    """What stands after the fence."""
    code: str
    prints: str | None
    """The `text` block right below, if there is one."""


def blocks(page: str) -> Iterator[Block]:
    """Find a page's fenced blocks, each with the output that the page claims for it."""
    found = list(FENCE.finditer(page))
    for block, below in zip_longest(found, found[1:]):
        touches = (
            below is not None and below["info"].strip() == "text" and not page[block.end() : below.start()].strip()
        )
        line = page.count("\n", 0, block.start()) + 2
        yield Block(line, block["info"].strip(), textwrap.dedent(block["body"]), plain(below) if touches else None)


def plain(block: re.Match[str] | None) -> str | None:
    return textwrap.dedent(block["body"]) if block else None


def execute(block: Block, page: str, module: types.ModuleType) -> str:
    """Run one block in the page's module and return what it printed; `await` and `async with` may stand bare."""
    # The blank lines make the page's line numbers those of the traceback.
    tree = ast.parse("\n" * (block.line - 1) + block.code, page)
    code = compile(tree, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        waits = eval(code, module.__dict__)  # the page is ours
        if inspect.iscoroutine(waits):
            trio.run(lambda: waits)
    return printed.getvalue()


def run(page: str, text: str) -> Iterator[str]:
    """Run a page in the current folder; yield a sentence for each output that is not as the page says."""
    # The module has the name of a program's, so that `if __name__ == "__main__":` is true.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    checker = doctest.OutputChecker()
    for block in blocks(text):
        if block.info != "python":
            continue
        printed = execute(block, page, module)
        if block.prints is not None and not checker.check_output(block.prints, printed, doctest.ELLIPSIS):
            yield f"{page}:{block.line} prints\n{printed}and the page says\n{block.prints}"


def main() -> None:
    """Run the page that the command line names, in the current folder."""
    page = Path(sys.argv[1])
    problems = list(run(page.name, page.read_text("utf-8")))
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
