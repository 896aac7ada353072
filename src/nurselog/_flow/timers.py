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
    """The timers that a workflow waits for, by path."""

    __slots__ = ("_live", "_watch", "armed")

    def __init__(self, watch: Callable[[Timer], None]) -> None:
        self._watch = watch
        """Has somebody look at the clock for a timer."""
        self._live = False
        self.armed: dict[str, Timer] = {}

    def arm(self, timer: Timer) -> None:
        """Wait for a timer, from now on or from when the workflow goes live."""
        self.armed[timer.path] = timer
        if self._live:
            self._watch(timer)

    def disarm(self, timer: Timer) -> None:
        """Forget a timer whose operation is over."""
        if self.has(timer):
            del self.armed[timer.path]
            timer.drop()

    def clear(self) -> None:
        """Forget all."""
        for timer in self.armed.values():
            timer.drop()
        self.armed.clear()

    def has(self, timer: Timer) -> bool:
        """Whether this very timer is still waited for."""
        return self.armed.get(timer.path) is timer

    def fire(self, path: str, due: int) -> None:
        """A timer's event is delivered; nothing happens if its operation is over."""
        timer = self.armed.get(path)
        if timer is not None and timer.due == due:
            del self.armed[path]
            fire = timer.fire
            timer.drop()
            fire()

    def go_live(self, now: int) -> Sequence[Timer]:
        """Watch what is not due yet, and return what is overdue, in its order."""
        self._live = True
        overdue = sorted(
            (timer for timer in self.armed.values() if timer.due <= now), key=lambda timer: (timer.due, timer.path)
        )
        for timer in self.armed.values():
            if timer.due > now:
                self._watch(timer)
        return overdue

    @property
    def next_due(self) -> int | None:
        """When the next one is due, UTC microseconds; None if there is none."""
        return min((timer.due for timer in list(self.armed.values())), default=None)
