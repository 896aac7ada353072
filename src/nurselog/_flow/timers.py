"""Timers: absolute times in the log, and what to do when they are due.

While the recorded log is being followed, timers are only collected: their `fired` events may be in it. When it has been
followed, those that were due while nobody was there are logged, and the others are watched from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Timer:
    """One timer of a workflow."""

    __slots__ = ("due", "fire", "logged", "path", "ring")

    def __init__(self, path: str, due: int, fire: Callable[[], None]) -> None:
        self.path: str = path
        self.due: int = due
        """UTC microseconds."""
        self.fire: Callable[[], None] = fire
        self.ring: Callable[[Timer], None] | None = None
        """Tells the workflow that it is due; None while nobody looks at the clock for it, or if it is over."""
        self.logged: bool = False
        """Whether its `fired` event is on its way."""

    def drop(self) -> None:
        """It is over: whoever looks at the clock for it may have it in a heap for long, but nothing else with it."""
        self.ring = None
        self.fire = _nothing


def _nothing() -> None:
    """What a timer does that is over."""


class Timers:
    """The timers that a workflow waits for, by path.

    A timer is lost when nobody can wait for it any more. Only the collector sees that, at any moment and perhaps in
    another thread, in the middle of a loop over the timers, too. So it only leaves a note, and the note is read when
    the workflow is quiet.
    """

    __slots__ = ("_armed", "_live", "_lost", "_watch")

    def __init__(self, watch: Callable[[Timer], None]) -> None:
        self._watch = watch
        """Has somebody look at the clock for a timer."""
        self._live = False
        self._armed: dict[str, Timer] = {}
        self._lost: list[Timer] = []

    def arm(self, timer: Timer) -> None:
        """Wait for a timer, from now on or from when the workflow goes live."""
        self._armed[timer.path] = timer
        if self._live:
            self._watch(timer)

    def disarm(self, timer: Timer) -> None:
        """Forget a timer whose operation is over."""
        if self._armed.get(timer.path) is timer:
            del self._armed[timer.path]
            timer.drop()

    def lose(self, timer: Timer) -> None:
        """Note that nobody can wait for a timer any more; for the collector."""
        self._lost.append(timer)

    def _drop_lost(self) -> None:
        while self._lost:
            self.disarm(self._lost.pop())

    def clear(self) -> None:
        """Forget all."""
        for timer in self._armed.values():
            timer.drop()
        self._armed.clear()

    def has(self, timer: Timer) -> bool:
        """Whether this very timer is still waited for."""
        self._drop_lost()
        return self._armed.get(timer.path) is timer

    def fire(self, path: str, due: int) -> None:
        """A timer's event is delivered; nothing happens if its operation is over."""
        timer = self._armed.get(path)
        if timer is not None and timer.due == due:
            del self._armed[path]
            fire = timer.fire
            timer.drop()
            fire()

    def go_live(self, now: int) -> Sequence[Timer]:
        """Watch what is not due yet, and return what is overdue, in its order."""
        self._live = True
        self._drop_lost()
        overdue = sorted(
            (timer for timer in self._armed.values() if timer.due <= now), key=lambda timer: (timer.due, timer.path)
        )
        for timer in self._armed.values():
            if timer.due > now:
                self._watch(timer)
        return overdue

    def __bool__(self) -> bool:
        """Whether there is any."""
        self._drop_lost()
        return bool(self._armed)

    @property
    def next_due(self) -> int | None:
        """When the next one is due, UTC microseconds; None if there is none."""
        self._drop_lost()
        return min((timer.due for timer in self._armed.values()), default=None)
