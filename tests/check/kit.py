"""Snippets of workflow code, and what `check_source` finds in them."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from nurselog.check import check_source

# What all snippets may use. Lines are counted from the snippet's first one.
PRELUDE = """\
import nurselog, trio
from nurselog import CancelScope, open_nursery, sleep, select, gather, map_concurrently, move_on_after, step, workflow

@step
async def charge(cents): ...

@step
async def release(item): ...
"""


class Pair(NamedTuple):
    """Two snippets, each a module with a workflow."""

    name: str
    wrong: str
    right: str


def found(snippet: str) -> list[tuple[str, int]]:
    """Return the rules that are broken, with the lines of the snippet."""
    text = PRELUDE + textwrap.dedent(snippet)
    return [(one.rule.label, one.line - PRELUDE.count("\n")) for one in check_source(text, "a.py")]


def marked(snippet: str) -> list[tuple[str, int]]:
    """Return the rules that a snippet says it breaks: `# breaks: RULE` on a line."""
    lines = enumerate(textwrap.dedent(snippet).splitlines(), 1)
    return [(line.partition("# breaks: ")[2], number) for number, line in lines if "# breaks: " in line]


def flow(imports: str, *statements: str) -> str:
    """Return a workflow of some statements."""
    body = "".join(f"{textwrap.indent(textwrap.dedent(one), '    ')}\n" for one in statements)
    return f"{imports}\n@workflow\nasync def flow(x):\n{body}"
