"""The errors of workflows that cannot go on: what the log has, what the code did, where, and what to do.

What is kept for them is here, too: a call that nobody awaits is told by its own line.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from .._errors import DeadlockError, NonDeterminismError, NurselogError, StuckError
from .where import caller, parked

if TYPE_CHECKING:
    from .sequencer import Sequencer
    from .strand import Strand

_CHANGED = (
    "Either the code has changed in a way that this run cannot follow: bring the old code back, or guard the change "
    "with patched(). Or it is not the same in each run, by a clock, a random number, a set that is iterated: use "
    "now(), rng() or a step; `nurselog check` looks for such places."
)
_ARGUMENTS = (
    "It was called with other arguments than the log has. Look for what is not the same in each run: a set that is "
    "iterated, a clock, a random number, an environment, a class that has got another field; `nurselog check` looks "
    "for such places. Where the data may drift, use @step(check_arguments=False)."
)
FOREIGN = "Put what waits for the outside world (I/O, threads, plain trio.sleep) into a step, or use nurselog.sleep()."
UNAWAITED = "Write `await` before the call, or start it with nursery.go()."
_PASSED_OVER = (
    "If its `await` is further down, the code did not come there, since an error led elsewhere, for instance: make the "
    "call where it is awaited."
)
DEADLINE = "Use nurselog's move_on_after(), fail_after() or CancelScope: their deadlines are in the log."


class Unawaited(msgspec.Struct, frozen=True):
    """A step or a child workflow that was called; somebody must await it."""

    what: str
    """Which of the two."""
    name: str
    code: CodeType
    line: int
    coroutine: Coroutine[Any, Any, Any]


def changed(
    sequencer: Sequencer, recorded: str, called: str, path: str, where: str | None = None
) -> NonDeterminismError:
    """Return the error for code that does not follow its log."""
    return _error(sequencer, recorded, called, path, where or _somewhere(sequencer, path), _CHANGED)


def other_arguments(sequencer: Sequencer, recorded: str, path: str) -> NonDeterminismError:
    """Return the error for a step that is called with other arguments than the log has."""
    where = _somewhere(sequencer, path)
    return _error(sequencer, recorded, "the same call with other arguments", path, where, _ARGUMENTS)


def foreign(strand: Strand) -> NonDeterminismError:
    """Return the error for a strand that was woken by something outside the workflow."""
    recorded, called = "nothing that wakes it", "a wait that ended from the outside"
    return _error(strand.sequencer, recorded, called, strand.text, parked(strand.coroutine), FOREIGN)


def plain_deadline(strand: Strand, where: str | None) -> NonDeterminismError:
    """Return the error for a plain Trio timeout around something durable."""
    return _error(strand.sequencer, "no deadline", "a plain Trio deadline", strand.text, where, DEADLINE)


def unawaited(sequencer: Sequencer, path: str, call: Unawaited) -> NonDeterminismError:
    """Return the error for a step or a child that was called and never awaited."""
    called = f"a call of {call.what} {call.name!r} without await"
    where, advice = f"{call.code.co_filename}:{call.line}", f"{UNAWAITED} {_PASSED_OVER}"
    return _error(sequencer, "nothing", called, path, where, advice)


def deadlock(sequencer: Sequencer) -> DeadlockError:
    """Return the error for strands that all wait for each other."""
    strands = sorted(sequencer.strands, key=lambda strand: strand.path)
    return DeadlockError(
        sequencer.id,
        tuple(f"path {one.text or 'root'} waits at {parked(one.coroutine) or 'an unknown place'}" for one in strands),
    )


def unreadable(sequencer: Sequencer, what: str, path: str, exc: NurselogError, where: str | None = None) -> StuckError:
    """Return the error for something recorded that the code cannot take any more, since its types have changed."""
    place = where or _somewhere(sequencer, path)
    at = f" at {place}" if place else ""
    return StuckError(f"workflow {sequencer.id!r}, path {path or 'root'}{at}: {what} cannot be read: {exc}")


def unexpected(sequencer: Sequencer, exc: BaseException) -> StuckError:
    """Return the error for what should not have come up at all."""
    return StuckError(
        f"workflow {sequencer.id!r} met {type(exc).__name__} outside of its own code (the process's log has the "
        "traceback): a class of an error, a value or a codec that raises when it is looked at, or a defect of "
        "nurselog's, which please report."
    )


def held_up(sequencer: Sequencer) -> str:
    """Return what keeps a workflow in memory: waits that nothing can end before their time, such as a thread's."""
    places = [
        f"path {one.text or 'root'} at {parked(one.coroutine) or 'an unknown place'}" for one in sequencer.strands
    ]
    return f"workflow {sequencer.id!r} cannot leave memory while it waits for a thread: {'; '.join(sorted(places))}"


def _error(
    sequencer: Sequencer, recorded: str, called: str, path: str, where: str | None, remedy: str
) -> NonDeterminismError:
    return NonDeterminismError(
        workflow_id=sequencer.id, path=path, recorded=recorded, called=called, where=where, remedy=remedy
    )


def _somewhere(sequencer: Sequencer, path: str) -> str | None:
    """Return the line that runs, or the one at which the strand waits that has most to do with a path."""
    return standing(sequencer, path) if sequencer.turn is None else caller()


def standing(sequencer: Sequencer, path: str) -> str | None:
    """Return file and line at which the strand waits that has most to do with a path; None if there is none."""
    nearest = sorted(sequencer.strands, key=lambda strand: _nearness(strand.text, path), reverse=True)
    return next((place for strand in nearest if (place := parked(strand.coroutine)) is not None), None)


def _nearness(strand: str, path: str) -> tuple[bool, int]:
    return path == strand or path.startswith(f"{strand}." if strand else ""), len(strand)
