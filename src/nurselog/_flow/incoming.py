"""The receiving end of what comes from outside under one topic: what mailboxes and updates have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import trio

from .cases import Case, Waiter, wait_for_first
from .current import arrive, own_strand
from .inbox import Arrival, Topic
from .outcomes import Failed, Outcome
from .sequencer import Phase, Sequencer

T_co = TypeVar("T_co", covariant=True)


class Incoming(Case[T_co], trio.abc.ReceiveChannel[T_co]):
    """The receiving end of one topic, and a case of a select.

    All that are of one topic share what comes: each arrival goes to one of those who wait, in the order in which they
    came. It never ends by itself; `async for` goes on until it is cancelled, or this end is closed.
    """

    def __init__(self, sequencer: Sequencer, name: str, topic: Topic) -> None:
        self._sequencer = sequencer
        self._name = name
        self._topic = topic
        self._closed = False

    @abstractmethod
    def _open(self, arrival: Arrival) -> Outcome[T_co] | None:
        """Return what has arrived, as the receiver gets it; None if he gets nothing of it."""

    def receive_nowait(self) -> T_co:
        """Receive without waiting.

        Raises:
            trio.WouldBlock: if nothing is there.
            trio.ClosedResourceError: if this end is closed.
        """
        own_strand("receive_nowait", self._sequencer)
        while self._ready_since() is not None:
            if (outcome := self._take()) is not None:
                return outcome.unwrap()
        raise trio.WouldBlock

    async def receive(self) -> T_co:
        """Receive, waiting for what comes. A checkpoint; if it is cancelled nothing was received.

        Raises:
            trio.ClosedResourceError: if this end is closed.
        """
        _, outcome = await wait_for_first(await arrive("receive", self._sequencer), (self,))
        value: T_co = outcome.unwrap()
        return value

    def close(self) -> None:
        """Close this end: who waits on it gets ClosedResourceError. What comes stays for others of its topic.

        Not a checkpoint.
        """
        if self._sequencer.phase is Phase.RUNNING:  # else nobody is left to be told
            own_strand("close", self._sequencer)
        self._closed = True
        for (waiter, reader), index in list(self._topic.readers.items()):
            if reader is self:
                waiter.wake(index, Failed(trio.ClosedResourceError()))

    async def aclose(self) -> None:
        """Close this end, as `close`. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    # -- as a case -------------------------------------------------------------------------------

    def _ready_since(self) -> int | None:
        if self._closed:
            return self._sequencer.cursor.delivered
        return self._topic.arrivals[0].since if self._topic.arrivals else None

    def _take(self) -> Outcome[T_co] | None:
        if self._closed:
            return Failed(trio.ClosedResourceError())
        return self._open(self._sequencer.inbox.take(self._topic))

    def _watch(self, waiter: Waiter, index: int) -> None:
        self._topic.readers.setdefault((waiter, self), index)
        self._sequencer.inbox.wanted()

    def _forget(self, waiter: Waiter) -> None:
        self._topic.readers.pop((waiter, self), None)
