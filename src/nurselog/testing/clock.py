"""Virtual time: UTC that goes with Trio's clock."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time begins, unless it is told otherwise."""


class VirtualClock:
    """Tells the time that Trio's clock has come to: under `trio.testing.MockClock` both jump over what nobody does.

    Make it inside `trio.run`, and give it to `open_engine(clock=...)`.

    Args:
        begin: what time it is now.
    """

    def __init__(self, begin: datetime = BEGIN) -> None:
        self.set(round(begin.timestamp() * 1e6))

    def set(self, utc: int) -> None:
        """Make it another time, UTC microseconds, as somebody who sets a machine's clock does."""
        self._offset = utc - round(trio.current_time() * 1e6)

    def utc(self) -> int:
        """Return UTC as microseconds since 1970."""
        return self._offset + round(trio.current_time() * 1e6)

    async def sleep_until(self, due: int) -> None:
        """Wait until it is `due`. A checkpoint."""
        await trio.sleep(max(0.0, (due - self.utc()) / 1e6))
