"""What an engine does at a time: the timers of its workflows, and the notes that a step has begun."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

import trio

from .._flow.body import Body
from .._flow.timers import Timer
from ..abc import Clock

_SWEEP = 256
"""Timers in the heap before the first look for those that nobody waits for any more."""

MOMENT = 1.0
"""Seconds after which a step that is still running is noted as begun."""


class TimerHeap:
    """The timers of all workflows in memory, in one heap."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()
        self._limit = _SWEEP
        self._earlier = trio.Event()

    def arm(self, timer: Timer, ring: Callable[[Timer], None]) -> None:
        """Ring when the timer is due, unless it is dropped before."""
        timer.ring = ring
        entry = (timer.due, next(self._numbers), timer)
        if len(self._heap) >= self._limit:
            self._sweep()
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._earlier.set()

    def _sweep(self) -> None:
        """Forget timers that were disarmed long before they were due."""
        self._heap = [entry for entry in self._heap if entry[2].ring is not None]
        heapq.heapify(self._heap)
        self._limit = max(_SWEEP, 2 * len(self._heap))

    async def run(self) -> None:
        """Ring for ever."""
        while True:
            self._earlier = trio.Event()
            if not self._heap:
                await self._earlier.wait()
                continue
            if self._heap[0][0] > self._clock.utc():
                await self._wait(self._heap[0][0])
            while self._heap and self._heap[0][0] <= self._clock.utc():
                _, _, timer = heapq.heappop(self._heap)
                if timer.ring is not None:
                    timer.ring(timer)

    async def _wait(self, due: int) -> None:
        """Wait until `due`, or until something earlier has come."""
        async with trio.open_nursery() as nursery:

            async def sleep() -> None:
                await self._clock.sleep_until(due)
                nursery.cancel_scope.cancel()

            nursery.start_soon(sleep)
            await self._earlier.wait()
            nursery.cancel_scope.cancel()


class Beginnings:
    """Steps that have begun a short while ago: most end before anybody need know that they had begun."""

    def __init__(self) -> None:
        self._bodies: deque[tuple[float, Body]] = deque()
        self._some = trio.Event()

    def add(self, body: Body) -> None:
        """A body starts."""
        while self._bodies and self._bodies[0][1].ended:
            self._bodies.popleft()
        self._bodies.append((trio.current_time() + MOMENT, body))
        self._some.set()

    async def run(self) -> None:
        """Note those that last, for ever."""
        while True:
            await self._some.wait()
            while self._bodies:
                await self._look_at_next()
            self._some = trio.Event()

    async def _look_at_next(self) -> None:
        due, body = self._bodies.popleft()
        if not body.ended:
            await trio.sleep_until(due)
            body.note_began()
