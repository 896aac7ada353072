"""What has been received in Trio, until it is where it was asked for."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Received(Generic[T]):
    """What comes out of a channel, one after the other.

    It is kept until it is taken: who waits may be cancelled in another thread just when something has come.
    """

    def __init__(self, channel: trio.abc.ReceiveChannel[T]) -> None:
        self._channel = channel
        self._kept: deque[T] = deque()

    async def more(self) -> bool:
        """Wait, in Trio, until there is something to take; return False if nothing comes any more. A checkpoint."""
        try:
            self._kept.append(await self._channel.receive())
        except trio.EndOfChannel:
            return False
        return True

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._kept)

    def take(self) -> T:
        """Take the next."""
        return self._kept.popleft()
