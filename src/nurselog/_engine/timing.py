"""What an engine does at a time: the timers of all its workflows."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import trio

from .._flow.timers import Timer
from ..abc import Clock

_SWEEP = 256
"""Timers in the heap before the first look for those that nobody waits for any more."""


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
