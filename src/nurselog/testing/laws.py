"""What must hold of a life, as far as its log, its end and the world outside tell."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from ..lowlevel import ErrorRecord, decode_error, describe
from .life import Hung, Life, Stuck
from .report import Law, has_error, say
from .world import Invariant

_FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+)')

_MISTAKES = frozenset({"AssertionError", "NameError", "UnboundLocalError"})
"""Errors that nobody raises as an outcome: a fake that does was not to be called like this, or is wrong itself."""

_UNSEEN = "Virtual time does not wait for threads and sockets that a step uses by itself: such a step needs a fake."

_CIRCLE = "It goes in a circle, and no time passes: perhaps it catches a cancellation in a loop, and tries again."


class Problem(NamedTuple):
    """What is wrong with a life."""

    law: Law
    text: str
    where: str | None


def of_code(life: Life) -> Iterator[Problem]:
    """Yield what the code does wrong by itself."""
    if isinstance(life.outcome, Stuck):
        yield Problem(Law.FOLLOWS, life.outcome.problem, life.where)
    elif isinstance(life.outcome, Hung):
        why = _CIRCLE if life.outcome.circling else _UNSEEN
        yield Problem(Law.ENDS, f"The last event is {describe(life.events[-1])}. {why}", life.where)
    for error in _errors(life):
        if error.type_name in _MISTAKES:
            where = None
            for frame in _FRAME.finditer(error.traceback):
                where = f"{frame['file']}:{frame['line']}"
            yield Problem(Law.ASSERTION, f"{error.type_name}: {error.message or 'an assertion failed'}", where)


def _errors(life: Life) -> Iterator[ErrorRecord]:
    for event, row in zip(life.events, life.rows, strict=True):
        if has_error(event):
            yield from _with_members(decode_error(row.value or b""))


def _with_members(error: ErrorRecord) -> Iterator[ErrorRecord]:
    yield error
    for member in error.members or ():
        yield from _with_members(member)


def of_invariant(invariant: Invariant | None, life: Life, struck: str | None) -> Iterator[Problem]:
    """Yield what is wrong with what a life has left behind."""
    if invariant is None:
        return
    try:
        invariant(life)
    except AssertionError as exc:
        wrong = str(exc) or f"an assertion failed{_at(exc)}"
        yield Problem(Law.INVARIANT, f"It {say(life.outcome)}, and: {wrong}", struck)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - an invariant that breaks, or fails as pytest.fail() does, must be told
        yield Problem(Law.INVARIANT, f"It {say(life.outcome)}, and the invariant raised {exc!r}{_at(exc)}", struck)


def _at(exc: BaseException) -> str:
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f" at {frame.filename}:{frame.lineno}"
