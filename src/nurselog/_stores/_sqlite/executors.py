"""Where the jobs of a SQLite store run: in a thread of the store's own, or in the calling task.

A commit waits for the disk, so it must not run in Trio's thread. Why not `trio.to_thread.run_sync`? A connection wants
to stay in one thread, in order, without a limiter and a lock around it; and the way there and back is measurably
longer (178 against 132 us). So the store has a thread of its own: jobs go to it through a plain queue, results come
back by `TrioToken.run_sync_soon`. It is a daemon thread: an interpreter that exits does not wait for a disk that hangs.

A job cannot be stopped half way, and a caller that left would not know what became of it. So the wait refuses to be
aborted: cancellation is looked at before the job is handed over, and not again until it is done.

A database in memory has no disk to wait for, and runs in the calling task: under a virtual clock a thread would be
a bug, because the clock jumps to the next deadline whenever all tasks wait, also when they wait for a thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import outcome
import trio

T = TypeVar("T")


class Executor(Protocol):
    """Runs jobs one after another, in one thread."""

    def start(self) -> None:
        """Get ready for jobs."""
        ...

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` and return what it returns.

        A checkpoint; cancelled before the job has begun or not at all.
        """
        ...

    def stop(self) -> None:
        """End when the jobs that wait are done."""
        ...


class InlineExecutor:
    """Runs jobs in the calling task."""

    def start(self) -> None:
        """Do nothing: it is always ready."""

    # A KeyboardInterrupt in the middle of a job would leave a transaction open.
    @trio.lowlevel.enable_ki_protection
    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` here."""
        await trio.lowlevel.checkpoint()
        return job()

    def stop(self) -> None:
        """Do nothing: there is nothing to end."""


class _Order(NamedTuple):
    job: Callable[[], Any]
    task: trio.lowlevel.Task
    token: trio.lowlevel.TrioToken


class ThreadExecutor:
    """Runs jobs in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    # A KeyboardInterrupt between the order and the wait would leave an answer for a task that waits elsewhere.
    @trio.lowlevel.enable_ki_protection
    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the thread."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._orders.put(_Order(job, trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()))
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    def stop(self) -> None:
        """Let the thread end."""
        self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                order.token.run_sync_soon(trio.lowlevel.reschedule, order.task, outcome.capture(order.job))
            except trio.RunFinishedError:
                return  # Trio is gone, and nobody can close the store any more.
            del order  # what a job brought must not live until the next one comes
