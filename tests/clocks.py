"""UTC for tests: it goes with Trio's time, so that it is virtual where that is."""

from __future__ import annotations

import trio

EPOCH = 1_700_000_000_000_000
"""UTC microseconds when virtual time begins."""


class VirtualClock:
    """A `nurselog.abc.Clock`; `jump` does what happens when somebody sets a machine's clock."""

    def __init__(self) -> None:
        self._begin = EPOCH

    def utc(self) -> int:
        return self._begin + round(trio.current_time() * 1e6)

    async def sleep_until(self, due: int) -> None:
        await trio.lowlevel.checkpoint()
        while (left := due - self.utc()) > 0:  # noqa: ASYNC110 - it may be set meanwhile
            await trio.sleep(min(left / 1e6, 10.0))

    def jump(self, seconds: float) -> None:
        self._begin += round(seconds * 1e6)
