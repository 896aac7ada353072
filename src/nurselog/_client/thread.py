"""Trio in a thread of its own, for those who are not on Trio.

The problem: what answers a client is written once, on Trio, and must be asked from asyncio and from sync code. What
does not work:

- The same logic in two or three colours. What is generated from one source is the same text, and not the same program:
  cancellation comes once in asyncio and stays in Trio, and each wait would have to be right under both.
- psycopg's own asyncio connections below it: then the store, too, has two colours; and SQLite is a thread in any case.
- Trio as a guest of asyncio's loop: one loop only, which must live as long as the guest; and none in sync code.

The choice: one thread with a Trio loop, in which the desk is open, and calls that cross. A call is an order: it is
begun in the loop by `run_sync_soon`, in the caller's context, and its outcome is a future, on which each colour waits
in its own way. To cancel an order is to cancel a Trio scope around it; whoever does so waits for the end all the same,
so that no call goes on behind the back of who made it. Every order gets an outcome, whatever becomes of the loop.
"""

from __future__ import annotations

import contextvars
import math
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

import outcome
import trio

from .._engine.desk import Desk, check_place
from .._errors import EngineClosed, UsageError

T = TypeVar("T")

INHERITED = (
    "this client was opened before the process was forked, and its loop and its connections are the parent's. Open a "
    "client in each process, after the fork"
)

Answer: TypeAlias = Future[outcome.Outcome[T]]
"""How something ended in the thread. Errors are values: asyncio's futures do not take all of them."""


class Order:
    """A call on its way to the thread, or back.

    Args:
        call: what is to be done, in Trio.
        seconds: how long it may take.
    """

    def __init__(self, call: Callable[[], Awaitable[Any]], seconds: float = math.inf) -> None:
        self._call, self._seconds = call, seconds
        self.context: contextvars.Context = contextvars.copy_context()
        self.scope: trio.CancelScope = trio.CancelScope()
        self.answer: Answer[Any] = Future()
        self.begun: bool = False

    async def carry_out(self) -> None:
        """Make the call, in Trio. A checkpoint, if it is one."""
        self.scope.deadline = trio.current_time() + self._seconds
        try:
            with self.scope:
                self._settle(outcome.Value(await self._call()))
        except Exception as exc:  # noqa: BLE001 - it is the caller's
            self._settle(outcome.Error(exc))
        finally:
            if self.scope.cancelled_caught:  # if not by the deadline, whoever did it does not look at this
                self._settle(outcome.Error(TimeoutError("it took longer than it may; what was asked may be done")))
            self.drop()

    def cancel(self) -> None:
        """Cancel the call, in Trio; one that has not begun will not: what is said there comes in its order."""
        if self.begun:
            self.scope.cancel()
        else:
            self.drop()

    def drop(self) -> None:
        """If it has no answer, it gets none any more."""
        self._settle(
            outcome.Error(
                EngineClosed(
                    "the client was closed, or its engine or its store has broken, before this was answered; it may "
                    "have been done. What has broken is raised when the client's block is left"
                )
            )
        )

    def _settle(self, answer: outcome.Outcome[Any]) -> None:
        with suppress(InvalidStateError):  # there is an answer
            self.answer.set_result(answer)


class TrioThread:
    """A thread that runs Trio, with a desk open in it.

    Args:
        opening: opens the desk, in Trio.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Desk]]) -> None:
        self._opening = opening
        self._pid = os.getpid()
        self._token: Future[trio.lowlevel.TrioToken] = Future()
        self._scope = trio.CancelScope()
        """What closing cancels: the opening, and then what serves. Not the end: who is cancelled hears of no error."""
        self._nursery: trio.Nursery | None = None
        """Where orders are carried out, while there is room for more."""
        self._orders: dict[Answer[Any], Order] = {}
        """Those without an answer, by what will have it."""
        self.opened: Answer[Desk] = Future()
        self.ended: Answer[None] = Future()
        self._thread = threading.Thread(target=self._work, name="nurselog client", daemon=True)

    # -- in any thread ---------------------------------------------------------------------------

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a child of the one that has the thread: forks have copies of objects only."""
        return os.getpid() != self._pid

    def start(self) -> None:
        """Start it; `opened` tells when the desk is open, `ended` when all is over."""
        try:
            self._thread.start()
        except BaseException:  # Control-C may come when it runs already, and nobody would close it
            self.close()
            raise

    def check(self) -> None:
        """See that who is here may give orders.

        Raises:
            UsageError: if the thread is another process's, or this one.
            MisplacedCallError: in workflow code.
        """
        check_place()
        if self.is_inherited:
            raise UsageError(INHERITED)
        self.check_apart()

    def check_apart(self) -> None:
        """See that who is here may wait for the thread.

        Raises:
            UsageError: if it is this one.
        """
        if threading.current_thread() is self._thread:
            raise UsageError(
                "a step asked the client of its own engine's thread, which would wait for itself. Do it in the "
                "workflow by nurselog's functions, or make the step a sync one: it has a thread of its own"
            )

    def give(self, order: Order) -> None:
        """Have an order carried out."""
        self._orders[order.answer] = order  # first: if the loop ends meanwhile, it is dropped by one of the two
        order.answer.add_done_callback(self._orders.pop)  # one with the order in it would be a circle
        if not self._soon(partial(self._begin, order)):
            order.drop()

    def cancel(self, order: Order) -> None:
        """Cancel an order, which may not have been given yet; its answer comes all the same."""
        if not self._soon(order.cancel):
            order.drop()

    def close(self) -> None:
        """Have everything let go; `ended` tells when that is done. It may be told so before it is open."""
        self._token.add_done_callback(lambda _: self._soon(self._leave))

    def join(self) -> None:
        """Wait for the thread, which is over but for its last few instructions."""
        self._thread.join()

    def _soon(self, function: Callable[[], object]) -> bool:
        try:
            self._token.result().run_sync_soon(function)
        except trio.RunFinishedError:
            return False
        return True

    # -- in its own ------------------------------------------------------------------------------

    def _work(self) -> None:
        ended = outcome.capture(trio.run, self._main)
        for order in list(self._orders.values()):
            order.drop()
        if not self.opened.done():
            error = (
                ended.error if isinstance(ended, outcome.Error) else EngineClosed("it was closed before it was open")
            )
            self.opened.set_result(outcome.Error(error))
        self.ended.set_result(ended)

    async def _main(self) -> None:
        with self._scope:
            self._token.set_result(trio.lowlevel.current_trio_token())
            async with self._opening() as desk:
                await self._serve(desk)

    async def _serve(self, desk: Desk) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery, self._scope = nursery, nursery.cancel_scope
            self.opened.set_result(outcome.Value(desk))
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # it takes no more

    def _leave(self) -> None:
        self._scope.cancel()

    def _begin(self, order: Order) -> None:
        if self._nursery is None:
            order.drop()
        else:
            order.begun = True
            order.context.run(self._nursery.start_soon, order.carry_out)
