"""A log that is gone through from outside, as a channel: whoever receives gets what comes next, and nothing is lost."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import Generic, TypeVar

import trio

from .._log.cursor import Entry
from .follower import Follower

T = TypeVar("T")


class Followed(trio.abc.ReceiveChannel[T], Generic[T]):
    """What a log has for somebody, one after the other. Several may receive; each thing comes to one of them.

    Args:
        follower: reads the log.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._found: deque[Entry] = deque()
        """Read, and not received yet."""
        self._reading = trio.Lock()
        self._scopes: set[trio.CancelScope] = set()
        """Around those that wait."""
        self._closed = False

    async def receive(self) -> T:
        """Wait for the next one, and return it.

        A checkpoint; if it is cancelled, what it would have returned comes the next time.

        Raises:
            trio.EndOfChannel: if there is no more to come.
            WorkflowStuck: if the workflow cannot go on with the code as it is.
            WorkflowNotFound: if it was deleted.
            EngineClosed: if the engine closes first.
            trio.ClosedResourceError: if the channel was closed.
        """
        await trio.lowlevel.checkpoint()
        if not (self._found or self._closed):
            await self._wait()
        if self._closed:
            raise trio.ClosedResourceError
        return self._take()

    async def _wait(self) -> None:
        """Wait until something is found, or the channel is closed."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with self._reading:
                    while not self._found:
                        self._found.extend(entry for entry in await self._follower.more() if self._concerns(entry))
            finally:
                self._scopes.discard(scope)

    @abstractmethod
    def _concerns(self, entry: Entry) -> bool:
        """Whether there is something in a row; its end concerns everybody."""

    @abstractmethod
    def _take(self) -> T:
        """Return what is in the first row that was found; what stays there is found again."""

    async def aclose(self) -> None:
        """Close it; whoever receives meanwhile gets `trio.ClosedResourceError`. A checkpoint."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        await trio.lowlevel.checkpoint()
