"""The machine's clock."""

from __future__ import annotations

import time

import trio

_LOOK = 10.0
"""Seconds after which a sleeper looks at the clock again: it may have been set."""


class SystemClock:
    """UTC by the operating system."""

    def utc(self) -> int:
        """Return UTC as microseconds since 1970."""
        return time.time_ns() // 1000

    async def sleep_until(self, due: int) -> None:
        """Wait until it is `due`, however the clock is set meanwhile. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while (left := due - self.utc()) > 0:  # noqa: ASYNC110 - a clock that is set tells nobody
            await trio.sleep(min(left / 1e6, _LOOK))
