"""Waiting for a time: `sleep`, `sleep_until`, and `after` and `at` as cases of a select."""

from __future__ import annotations

import weakref
from datetime import datetime
from typing import final

from .._log.events import TimerSet
from .cases import Watched, wait_for_first
from .current import arrive, current_strand
from .outcomes import Outcome, Succeeded
from .strand import Strand
from .timers import Timer
from .times import check_seconds, due_in, due_microseconds, from_microseconds


@final
class Alarm(Watched[None]):
    """A time of day, as a case of a select.

    Not constructed directly: `after` and `at` return it. Once it is due it stays ready.
    """

    __slots__ = ("__weakref__", "_since", "_timer")

    def __init__(self, strand: Strand, name: str, due: int) -> None:
        sequencer = strand.sequencer
        super().__init__(sequencer)
        path = strand.operation().text
        note = sequencer.note(TimerSet(path=path, name=name, due=due))
        assert isinstance(note, TimerSet)
        self._since: int | None = None
        # The timer must not keep alive an alarm that nobody can wait for any more, and goes with it. Its `fired` event
        # would be a no-op, and the code cannot see whether that is written: so it may depend on the collector.
        this = weakref.ref(self, lambda _: sequencer.timers.lose(timer))
        timer = self._timer = Timer(path, note.due, lambda: _fire(this()))
        sequencer.timers.arm(timer)

    @property
    def due(self) -> datetime:
        """When it is ready, UTC."""
        return from_microseconds(self._timer.due)

    def _drop(self) -> None:
        self._sequencer.timers.disarm(self._timer)

    def _fire(self) -> None:
        self._since = self._sequencer.cursor.delivered
        for waiter, index in list(self._waiters.items()):
            waiter.wake(index, Succeeded(None))

    def _ready_since(self) -> int | None:
        return self._since

    def _take(self) -> Outcome[None]:
        return Succeeded(None)


def _fire(alarm: Alarm | None) -> None:
    if alarm is not None:  # pragma: no branch - else a collector in a thread is about to disarm the timer
        alarm._fire()


def after(seconds: float) -> Alarm:
    """Return a case that is ready some seconds from now; the time is in the log.

    Args:
        seconds: from this call on, not negative.

    Raises:
        ValueError: if `seconds` is negative or not a number.
    """
    strand = current_strand("after")
    return Alarm(strand, "after", due_in(strand.sequencer, check_seconds(seconds)))


def at(deadline: datetime) -> Alarm:
    """Return a case that is ready at a time of day.

    Args:
        deadline: an aware datetime.

    Raises:
        ValueError: if `deadline` has no time zone.
    """
    due = due_microseconds(deadline)
    return Alarm(current_strand("at"), "at", due)


async def sleep(seconds: float) -> None:
    """Wait for some seconds; the end is an absolute time in the log, so a crash does not prolong it.

    Args:
        seconds: not negative.

    A checkpoint. A cancelled sleep leaves no record of its own.

    Raises:
        ValueError: if `seconds` is negative or not a number.
    """
    strand = await arrive("sleep")
    await _wait(strand, Alarm(strand, "sleep", due_in(strand.sequencer, check_seconds(seconds))))


async def sleep_until(deadline: datetime) -> None:
    """Wait until a time of day.

    Args:
        deadline: an aware datetime.

    A checkpoint. A cancelled sleep leaves no record of its own.

    Raises:
        ValueError: if `deadline` has no time zone.
    """
    due = due_microseconds(deadline)
    strand = await arrive("sleep_until")
    await _wait(strand, Alarm(strand, "sleep_until", due))


async def _wait(strand: Strand, alarm: Alarm) -> None:
    try:
        await wait_for_first(strand, (alarm,))
    finally:
        alarm._drop()
