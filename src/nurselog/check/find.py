"""`check_source`: a module's workflow code, looked at by all rules."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .calls import find_calls, find_unawaited
from .cancelling import find_swallowed, find_unshielded
from .exemptions import Exemption, exemptions
from .flow import Code, workflow_code
from .names import Module
from .order import find_set_order
from .rules import Found, Mistake, Rule
from .state import find_state

Finder: TypeAlias = Callable[[Code], Iterator[Found]]

_FINDERS: tuple[Finder, ...] = (
    find_calls,
    find_unawaited,
    find_set_order,
    find_state,
    find_swallowed,
    find_unshielded,
)
_LABELS = frozenset(rule.label for rule in Rule)


@dataclass(frozen=True)
class Checked:
    """A module that was looked at."""

    workflows: int
    """How many it has."""
    mistakes: list[Mistake]
    """In the order of their places."""


def check_source(text: str, path: str) -> list[Mistake]:
    """Find the mistakes in a module's workflow code, without running it.

    What it imports from other modules of the program is not known here, as it is to `nurselog check`.

    Args:
        text: the module's source.
        path: the file that it is from, for the reports.

    Returns:
        The mistakes, in the order of their places.

    Raises:
        SyntaxError: if it is no Python, or not that of the Python that this runs in.
        ValueError: the same, if it has null bytes.
    """
    text = io.StringIO(text, newline=None).read()  # lines end as in a file that is opened
    return check(text, path, Module(text, lambda _: None)).mistakes


def check(text: str, path: str, module: Module) -> Checked:
    """Do what `check_source` does for a module that may know others, and count workflows."""
    code = workflow_code(module)
    lines = text.split("\n")
    found = {_mistake(path, lines, one) for part in code for finder in _FINDERS for one in finder(part)}
    mistakes = _exempt(path, found, list(exemptions(text)))
    mistakes.sort(key=lambda mistake: (mistake.line, mistake.column, mistake.rule.label, mistake.message))
    return Checked(sum(part.is_workflow for part in code), mistakes)


def _mistake(path: str, lines: list[str], found: Found) -> Mistake:
    line, begin = found.node.lineno, found.node.col_offset
    column = len(lines[line - 1].encode()[:begin].decode()) + 1  # syntax trees count bytes
    return Mistake(path, line, column, found.rule, f"{found.what} {found.rule.wrong}. {found.rule.remedy}")


def _exempt(path: str, found: set[Mistake], exempted: list[Exemption]) -> list[Mistake]:
    """Return the mistakes that no comment calls right, and the comments that call nothing right."""
    reasoned = {(one.line, one.rule) for one in exempted if one.has_reason}
    left = [mistake for mistake in found if (mistake.line, mistake.rule.label) not in reasoned]
    broken = {(mistake.line, mistake.rule.label) for mistake in found}
    for one in exempted:
        if problem := _problem(one, (one.line, one.rule) in broken):
            message = f"{problem}. {Rule.EXEMPTION.remedy}"
            left.append(Mistake(path, one.line, one.column, Rule.EXEMPTION, message))
    return left


def _problem(exemption: Exemption, breaks: bool) -> str | None:  # noqa: FBT001 - the second half of one question
    """Return what is wrong with an exemption."""
    if exemption.rule not in _LABELS:
        return f"there is no rule {exemption.rule!r}"
    if not breaks:
        return f"nothing on this line breaks {exemption.rule!r}"
    return None if exemption.has_reason else f"it does not say why {exemption.rule!r} is fine"
