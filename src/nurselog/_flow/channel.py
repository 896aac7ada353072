"""Memory channels with Trio's interface that `select` can wait for.

The state is shared by all clones of both ends. A parked receiver gets its item from the sender directly, so that the
order of service is the order of arrival, and a select that waits on several channels takes from one only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar, final

import outcome
import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    reschedule,
    wait_task_rescheduled,
)

from .cases import Case, Waiter, wait_for_first
from .current import arrive, current_strand, own_strand
from .guards import check_deadline, refuses_abort
from .outcomes import Failed, Outcome, Succeeded
from .sequencer import Phase, Sequencer
from .strand import Strand

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class MemoryChannelStatistics:
    """How a channel stands, as in Trio."""

    current_buffer_used: int
    max_buffer_size: int | float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int


class _Item(NamedTuple):
    value: Any
    since: int
    """The number of delivered events when it came."""


class _State:
    """What both ends share."""

    def __init__(self, sequencer: Sequencer, size: int | float) -> None:
        self.sequencer: Sequencer = sequencer
        self.size: int | float = size
        self.items: deque[_Item] = deque()
        self.senders: dict[Strand, _Item] = {}
        """Parked, in the order of their arrival."""
        self.receivers: dict[Waiter, tuple[Any, int]] = {}
        """Parked: on which receiving end, and under which index of its cases."""
        self.open_senders = 0
        self.open_receivers = 0
        self.closed_at: int = 0

    def put(self, value: Any) -> bool:
        """Hand over or buffer an item; False if there is no room."""
        if self.open_receivers == 0:
            raise trio.BrokenResourceError
        if self.receivers:
            waiter, (_, index) = next(iter(self.receivers.items()))
            waiter.wake(index, Succeeded(value))
            return True
        if len(self.items) < self.size:
            self.items.append(_Item(value, self.sequencer.cursor.delivered))
            return True
        return False

    def ready_since(self) -> int | None:
        if self.items:
            return self.items[0].since
        if self.senders:
            return next(iter(self.senders.values())).since
        return None if self.open_senders else self.closed_at

    def take(self) -> Outcome[Any]:
        """Take the next item; only when there is one, or the channel is closed and drained."""
        if self.senders:
            strand, item = next(iter(self.senders.items()))
            del self.senders[strand]
            reschedule(strand.task)
            self.items.append(item)
        return Succeeded(self.items.popleft().value) if self.items else Failed(trio.EndOfChannel())

    def check_closing(self) -> None:
        """See that the workflow itself closes an end; if it is leaving memory or over, nobody is left to be told."""
        if self.sequencer.phase is Phase.RUNNING:
            own_strand("close", self.sequencer)

    def drain_ended(self) -> None:
        """No sender is left: whoever still waits gets nothing more."""
        self.closed_at = self.sequencer.cursor.delivered
        for waiter, (_, index) in list(self.receivers.items()):
            waiter.wake(index, Failed(trio.EndOfChannel()))

    def broken(self) -> None:
        """No receiver is left: nobody will ever take anything."""
        self.items.clear()
        for strand in list(self.senders):
            del self.senders[strand]
            reschedule(strand.task, outcome.Error(trio.BrokenResourceError()))

    def statistics(self) -> MemoryChannelStatistics:
        return MemoryChannelStatistics(
            current_buffer_used=len(self.items),
            max_buffer_size=self.size,
            open_send_channels=self.open_senders,
            open_receive_channels=self.open_receivers,
            tasks_waiting_send=len(self.senders),
            tasks_waiting_receive=len(self.receivers),
        )


@final
class MemorySendChannel(trio.abc.SendChannel[T_contra], Generic[T_contra]):
    """The sending end. Not constructed directly: `open_memory_channel` returns it."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._closed = False
        self._sending: set[Strand] = set()
        state.open_senders += 1

    def send_nowait(self, value: T_contra) -> None:
        """Send without waiting.

        Raises:
            trio.WouldBlock: if nobody receives and there is no room.
            trio.ClosedResourceError: if this end is closed.
            trio.BrokenResourceError: if the receiving end is closed.
        """
        own_strand("send_nowait", self._state.sequencer)
        if self._closed:
            raise trio.ClosedResourceError
        if not self._state.put(value):
            raise trio.WouldBlock

    async def send(self, value: T_contra) -> None:
        """Send, waiting for room. A checkpoint; if it is cancelled the value was not sent.

        Raises:
            trio.ClosedResourceError: if this end is closed.
            trio.BrokenResourceError: if the receiving end is closed.
        """
        strand = await arrive("send", self._state.sequencer)
        await checkpoint_if_cancelled()
        try:
            self.send_nowait(value)
        except trio.WouldBlock:
            await self._wait(strand, value)
        else:
            await cancel_shielded_checkpoint()

    async def _wait(self, strand: Strand, value: T_contra) -> None:
        state, sequencer = self._state, strand.sequencer
        check_deadline(strand)
        state.senders[strand] = _Item(value, sequencer.cursor.delivered)
        self._sending.add(strand)

        def abort(_: RaiseCancelT) -> Abort:
            if refuses_abort(strand):
                return Abort.FAILED
            state.senders.pop(strand, None)
            return Abort.SUCCEEDED

        try:
            await wait_task_rescheduled(abort)
        finally:
            self._sending.discard(strand)

    def clone(self) -> MemorySendChannel[T_contra]:
        """Return another sending end; the channel ends when all of them are closed.

        Raises:
            trio.ClosedResourceError: if this end is closed.
        """
        own_strand("clone", self._state.sequencer)
        if self._closed:
            raise trio.ClosedResourceError
        return MemorySendChannel(self._state)

    def close(self) -> None:
        """Close this end. Not a checkpoint."""
        if self._closed:
            return
        self._state.check_closing()
        self._closed = True
        for strand in list(self._sending):
            if self._state.senders.pop(strand, None) is not None:
                reschedule(strand.task, outcome.Error(trio.ClosedResourceError()))
        self._state.open_senders -= 1
        if self._state.open_senders == 0:
            self._state.drain_ended()

    async def aclose(self) -> None:
        """Close this end. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> MemoryChannelStatistics:
        """Return how the channel stands."""
        return self._state.statistics()

    def __enter__(self) -> MemorySendChannel[T_contra]:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@final
class MemoryReceiveChannel(Case[T_co], trio.abc.ReceiveChannel[T_co], Generic[T_co]):
    """The receiving end, also a case of a select. Not constructed directly: `open_memory_channel` returns it."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._sequencer = state.sequencer
        self._closed = False
        state.open_receivers += 1

    def receive_nowait(self) -> T_co:
        """Receive without waiting.

        Raises:
            trio.WouldBlock: if there is nothing to receive.
            trio.ClosedResourceError: if this end is closed.
            trio.EndOfChannel: if all sending ends are closed, and everything is received.
        """
        own_strand("receive_nowait", self._sequencer)
        if self._ready_since() is None:
            raise trio.WouldBlock
        return self._take().unwrap()

    async def receive(self) -> T_co:
        """Receive, waiting for an item. A checkpoint; if it is cancelled nothing was received.

        Raises:
            trio.ClosedResourceError: if this end is closed.
            trio.EndOfChannel: if all sending ends are closed, and everything is received.
        """
        _, outcome_ = await wait_for_first(await arrive("receive", self._sequencer), (self,))
        value: T_co = outcome_.unwrap()
        return value

    def clone(self) -> MemoryReceiveChannel[T_co]:
        """Return another receiving end of the same channel; each item goes to one of them.

        Raises:
            trio.ClosedResourceError: if this end is closed.
        """
        own_strand("clone", self._sequencer)
        if self._closed:
            raise trio.ClosedResourceError
        return MemoryReceiveChannel(self._state)

    def close(self) -> None:
        """Close this end. Not a checkpoint."""
        if self._closed:
            return
        state = self._state
        state.check_closing()
        self._closed = True
        for waiter, (end, index) in list(state.receivers.items()):
            if end is self:
                waiter.wake(index, Failed(trio.ClosedResourceError()))
        state.open_receivers -= 1
        if state.open_receivers == 0:
            state.broken()

    async def aclose(self) -> None:
        """Close this end. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> MemoryChannelStatistics:
        """Return how the channel stands."""
        return self._state.statistics()

    def __enter__(self) -> MemoryReceiveChannel[T_co]:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- as a case -------------------------------------------------------------------------------

    def _ready_since(self) -> int | None:
        return self._state.sequencer.cursor.delivered if self._closed else self._state.ready_since()

    def _take(self) -> Outcome[T_co]:
        return Failed(trio.ClosedResourceError()) if self._closed else self._state.take()

    def _watch(self, waiter: Waiter, index: int) -> None:
        self._state.receivers.setdefault(waiter, (self, index))

    def _forget(self, waiter: Waiter) -> None:
        self._state.receivers.pop(waiter, None)


class open_memory_channel(tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]):  # noqa: N801 - Trio's name
    """Open a channel between strands of one workflow, whose receiving end `select` can wait for.

    Args:
        max_buffer_size: how many items it keeps; 0: a sender waits until somebody receives; math.inf: no bound.

    Returns:
        The sending and the receiving end. `open_memory_channel[int](5)` says what goes through.

    Not a checkpoint, and nothing of it is in the log: what goes through follows from the log.

    Raises:
        TypeError: if the size is neither an int nor math.inf.
        ValueError: if it is negative.
    """

    __slots__ = ()

    def __new__(cls, max_buffer_size: int | float) -> open_memory_channel[T]:
        """Open it."""
        if max_buffer_size != float("inf") and not isinstance(max_buffer_size, int):
            raise TypeError("max_buffer_size must be an int or math.inf")
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must not be negative")
        state = _State(current_strand("open_memory_channel").sequencer, max_buffer_size)
        send: MemorySendChannel[T] = MemorySendChannel(state)
        receive: MemoryReceiveChannel[T] = MemoryReceiveChannel(state)
        return super().__new__(cls, (send, receive))
