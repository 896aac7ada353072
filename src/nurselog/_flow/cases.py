"""Waiting for the first of several things: the cases of a select, and the one wait that serves them all.

A naive select (one receiver task for each channel, the losers cancelled) consumes from both of two channels that are
ready. Here nobody receives anything until the choice is made: a parked strand is registered with all its cases, and
whoever makes one of them ready takes the registration back everywhere, hands the outcome over, and wakes the strand.
So an item is consumed if and only if its case is the one that is returned. The waker unregisters, not the woken: the
woken one runs only on its turn, perhaps much later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import outcome
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    reschedule,
    wait_task_rescheduled,
)

from .guards import check_deadline, refuses_abort
from .outcomes import Outcome
from .sequencer import Sequencer
from .strand import Strand

T_co = TypeVar("T_co", covariant=True)


class Waiter:
    """One strand that is parked on some cases."""

    __slots__ = ("cases", "strand")

    claims = True
    """Whether a child's failure that it is told of has found somebody who cares."""

    def __init__(self, strand: Strand, cases: Sequence[Case[Any]]) -> None:
        self.strand: Strand = strand
        self.cases: Sequence[Case[Any]] = cases

    def watch(self) -> None:
        """Register with all cases."""
        for index, case in enumerate(self.cases):
            case._watch(self, index)

    def forget(self) -> None:
        """Take the registration back everywhere."""
        for case in self.cases:
            case._forget(self)

    def wake(self, index: int, result: Outcome[Any]) -> None:
        """Hand over the outcome of a case, and let the strand go on at its turn."""
        self.forget()
        reschedule(self.strand.task, outcome.Value((index, result)))


class Case(ABC, Generic[T_co]):
    """Something that `select` can wait for: a handle, a receive channel, a mailbox, a promise, a timer.

    Not made by users: handles come from `go`, channels from `open_memory_channel`, timers from `after` and `at`.
    """

    __slots__ = ()

    _sequencer: Sequencer
    """Of the workflow that it belongs to."""

    @abstractmethod
    def _ready_since(self) -> int | None:
        """Return when it became ready, as a number of delivered events; None if it is not."""

    @abstractmethod
    def _take(self) -> Outcome[T_co] | None:
        """Return the outcome, consuming what is consumed by a wait; None if that was nothing to be waited for."""

    @abstractmethod
    def _watch(self, waiter: Waiter, index: int) -> None:
        """Call `waiter.wake(index, outcome)` once it is ready."""

    @abstractmethod
    def _forget(self, waiter: Waiter) -> None:
        """Do not wake this waiter."""


class Watched(Case[T_co]):
    """A case that remembers who waits for it, in the order in which they came."""

    __slots__ = ("_sequencer", "_waiters")

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._waiters: dict[Waiter, int] = {}

    def _watch(self, waiter: Waiter, index: int) -> None:
        self._waiters.setdefault(waiter, index)

    def _forget(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter, None)


async def wait_for_first(strand: Strand, cases: Sequence[Case[Any]]) -> tuple[int, Outcome[Any]]:
    """Wait until one of the cases is ready; of several, the one that became so earliest, ties by position."""
    await checkpoint_if_cancelled()
    while ready := [(since, index) for index, case in enumerate(cases) if (since := case._ready_since()) is not None]:
        _, index = min(ready)
        result = cases[index]._take()
        if result is not None:
            await cancel_shielded_checkpoint()
            return index, result
    check_deadline(strand)
    waiter = Waiter(strand, cases)
    waiter.watch()

    def abort(_: RaiseCancelT) -> Abort:
        if refuses_abort(strand):
            return Abort.FAILED
        waiter.forget()
        return Abort.SUCCEEDED

    answer: tuple[int, Outcome[Any]] = await wait_task_rescheduled(abort)
    return answer
