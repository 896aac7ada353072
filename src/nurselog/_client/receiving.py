"""What has been received in Trio, until it is where it was asked for."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Received(Generic[T]):
    """What comes out of a channel, one after the other.

    It is kept until it is taken: who waits may be cancelled in another thread just when something has come. Then others
    may have it, who go through the same, each in a thread of its own.
    """

    def __init__(self, channel: trio.abc.ReceiveChannel[T]) -> None:
        self._channel = channel
        self._kept: deque[T] = deque()

    async def more(self) -> bool:
        """Wait, in Trio, until there is something to take; return False if there will be nothing. A checkpoint."""
        try:
            self._kept.append(await self._channel.receive())
        except trio.EndOfChannel:
            return bool(self._kept)  # what came meanwhile for somebody who was cancelled has not been taken
        return True

    def take(self) -> T | None:
        """Take the next; None if there is none, or if somebody else was faster."""
        try:
            return self._kept.popleft()
        except IndexError:
            return None
