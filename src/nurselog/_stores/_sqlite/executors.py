"""Where the jobs of a SQLite store run: in a thread of the store's own, or in the calling task.

A commit waits for the disk, so it must not run in Trio's thread. Why not `trio.to_thread.run_sync`? A connection wants
to stay in one thread, in order, without a limiter and a lock around it; and the way there and back is measurably
longer (178 against 132 us). So the store has a thread of its own, and jobs go to it through a plain queue. It is a
daemon thread: an interpreter that exits does not wait for a disk that hangs.

The way back is a socket on which the caller itself waits. `TrioToken.run_sync_soon` would be simpler, and cost a third
more: it wakes a task of Trio's, which wakes the caller one round of Trio's loop later. Only one task can wait for a
socket, so of several callers the first waits there, and when it has its answer it calls the next one to the place:
jobs are done in the order in which they came.

A job cannot be stopped half way, and a caller that left would not know what became of it. So the wait refuses to be
aborted: cancellation is looked at before the job is handed over, and not again until it is done.

A database in memory has no disk to wait for, and runs in the calling task: under a virtual clock a thread would be
a bug, because the clock jumps to the next deadline whenever all tasks wait, also when they wait for a thread.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import outcome
import trio
from trio.lowlevel import Abort, Task, checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

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


class _Order:
    """A job on its way, and who waits for it."""

    __slots__ = ("answer", "job", "task")

    def __init__(self, job: Callable[[], Any], task: Task) -> None:
        self.job: Callable[[], Any] | None = job
        self.task: Task = task
        self.answer: outcome.Outcome[Any] | None = None
        """Set by the thread when the job is done."""


class ThreadExecutor:
    """Runs jobs in a thread of its own."""

    _near: socket.socket
    """Trio's end of the wire on which the thread says that a job is done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._waiting: deque[_Order] = deque()
        """Orders whose callers wait, in the order in which they came: the first of them waits for the socket."""

    def start(self) -> None:
        """Start the thread."""
        self._near, far = socket.socketpair()
        self._near.settimeout(0)
        threading.Thread(target=self._work, args=[far, self._orders], name=self._name, daemon=True).start()

    # A KeyboardInterrupt between the order and the wait would leave an answer for a task that waits elsewhere.
    @trio.lowlevel.enable_ki_protection
    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the thread."""
        await checkpoint_if_cancelled()
        order = _Order(job, current_task())
        self._waiting.append(order)
        self._orders.put(order)
        interrupt: KeyboardInterrupt | None = None
        listening = order is self._waiting[0]
        if not listening:
            await wait_task_rescheduled(lambda _: Abort.FAILED)
        while listening or order.answer is None:
            listening = False
            try:
                await self._hear()
            except KeyboardInterrupt as exc:  # Trio's main task gets it in any wait that can be left, protected or not
                interrupt = exc
        self._waiting.popleft()
        if self._waiting:
            reschedule(self._waiting[0].task)
        if interrupt is not None:
            raise interrupt
        assert order.answer is not None
        result: T = order.answer.unwrap()
        return result

    async def _hear(self) -> None:
        """Wait until the thread has said something; it may have been about a job whose answer was seen before."""
        try:
            await trio.lowlevel.wait_readable(self._near)
        except trio.Cancelled:  # it will come again, once the answer is there
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._near)
        self._near.recv(4096)

    def stop(self) -> None:
        """Let the thread end; nobody may wait for it any more."""
        self._orders.put(None)
        self._near.close()
        # Another thread may be started before this one has seen its end, which is not for the other.
        self._orders = queue.SimpleQueue()

    def _work(self, far: socket.socket, orders: queue.SimpleQueue[_Order | None]) -> None:
        with far:
            while (order := orders.get()) is not None:
                job, order.job = order.job, None
                assert job is not None
                order.answer = outcome.capture(job)
                try:
                    far.send(b".")
                except OSError:
                    return  # Trio is gone, and nobody can close the store any more.
                del order, job  # what a job brought must not live until the next one comes
