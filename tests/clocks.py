"""Clocks for tests: UTC that goes with Trio's time, so that it is virtual where that is."""

from __future__ import annotations

import trio

EPOCH = 1_700_000_000_000_000
"""UTC microseconds at which virtual time begins."""


class VirtualClock:
    """UTC that goes with Trio's time; `jump` sets it as somebody sets the clock of a machine."""

    def __init__(self, begin: int = EPOCH) -> None:
        self._begin = begin

    def utc(self) -> int:
        return self._begin + round(trio.current_time() * 1e6)

    async def sleep_until(self, due: int) -> None:
        await trio.lowlevel.checkpoint()
        while (left := due - self.utc()) > 0:
            await trio.sleep(min(left / 1e6, 10.0))

    def jump(self, seconds: float) -> None:
        self._begin += round(seconds * 1e6)
