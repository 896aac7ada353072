"""What workflow code must not do, looked for where it would happen. Each finding takes the workflow out of memory."""

from __future__ import annotations

import sys

import trio

from .._errors import Suspended
from . import trouble
from .groups import find_fatal
from .leftovers import is_innermost
from .strand import Strand
from .where import caller, parked


def check_fatal(strand: Strand, exc: BaseException) -> None:
    """Suspend the workflow if code of it runs because something like a KeyboardInterrupt unwinds it.

    The cleanup of a dying process is no part of the workflow's history.
    """
    fatal = find_fatal(exc)
    if fatal is not None:
        strand.sequencer.crash(fatal)


def check_deadline(strand: Strand) -> None:
    """Refuse a durable operation inside a plain Trio timeout, whose end the log does not know."""
    if is_innermost(strand.sequencer.root._trio):  # what is around the workflow is the engine's, and shielded
        return
    try:
        deadline = trio.current_effective_deadline()
    except RecursionError:
        return  # it goes up scope by scope, and some hundred nurseries deep that is too far; the code itself is not
    if deadline != float("inf") and deadline != -float("inf"):
        strand.sequencer.stuck(trouble.plain_deadline(strand, caller()))
        raise Suspended


def check_awaited(strand: Strand) -> None:
    """Nobody is left who could await anything: every step that was called must have been awaited."""
    sequencer = strand.sequencer
    for path, call in sequencer.unawaited.items():
        if getattr(call.coroutine, "cr_frame", None) is None:
            continue  # closed on purpose: by a task group, for instance, that takes no more tasks
        sequencer.stuck(trouble.unawaited(sequencer, path, call))
        raise Suspended


def refuses_abort(strand: Strand) -> bool:
    """Whether a wait is being cancelled by something that is not the workflow's own doing.

    Then the workflow is stuck, the strand has been woken with Suspended already, and the wait's abort function must
    answer FAILED.
    """
    sequencer = strand.sequencer
    if sequencer.suspending:  # by whoever, and whatever error is being handled there
        return False
    handled = sys.exception()
    fatal = None if handled is None or handled is strand.outside else find_fatal(handled)
    if fatal is not None:
        sequencer.crash(fatal)  # a dying process cancels what it leaves: not the workflow's doing
        return True
    if sequencer.inside():
        return False
    sequencer.stuck(trouble.plain_deadline(strand, parked(strand.coroutine)))
    return True
