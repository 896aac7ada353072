"""The ways to a desk, one for each colour: straight, out of asyncio, out of sync code."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any, ParamSpec, Protocol, TypeVar

from .._errors import UsageError
from .thread import INHERITED, Answer, Order, TrioThread

P = ParamSpec("P")
T = TypeVar("T")

GLANCE = 1.0
"""Seconds after which a wait of sync code looks up. A signal that comes in the last moment before a thread waits does
not wake it, and what Python does about one, such as KeyboardInterrupt, would come only when the wait is over."""


class AsyncBridge(Protocol):
    """The way to a desk for whoever can await."""

    async def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call there, and return what it returns."""
        ...


class Straight:
    """The way for those who are on the desk's own Trio loop."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    async def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call, here. A checkpoint.

        Raises:
            UsageError: if this is a fork of the process that has the loop.
        """
        if os.getpid() != self._pid:
            raise UsageError(INHERITED)
        return await function(*args, **kwargs)


class OutOfAsyncio:
    """The way for those who are on asyncio, whichever loop that is."""

    def __init__(self, thread: TrioThread) -> None:
        self._thread = thread

    async def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call in the thread. When it is cancelled the call is, and it waits for its end."""
        self._thread.check()
        order = Order(partial(function, *args, **kwargs))
        self._thread.give(order)
        answer: T = await seen_through(order.answer, partial(self._thread.cancel, order))
        return answer


async def seen_through(answer: Answer[T], cancel: Callable[[], None]) -> T:
    """Wait for an answer, on asyncio; when that is cancelled, cancel it there, and wait on."""
    import asyncio  # noqa: PLC0415 - most have no need of it, and it takes its time

    here = asyncio.wrap_future(answer)
    cancelled: asyncio.CancelledError | None = None
    while not here.done():
        try:
            await asyncio.wait([here])
        except asyncio.CancelledError as exc:
            if cancelled is None:  # some cancel again and again, until one goes
                cancel()
            cancelled = exc
        except GeneratorExit:  # the loop has ended with its task left in the middle: nobody can wait any more
            cancel()
            raise
    if cancelled is not None:
        raise cancelled
    return here.result().unwrap()


@contextmanager
def cut_short_by(ended: Answer[None]) -> Generator[None]:
    """Cancel this task of asyncio's if a thread ends before the block: a nursery does so when one of its tasks fails.

    The block's task, not that of a call, is who must know: others may have nothing to ask for a long time. What has
    ended the thread is to be raised when the block is over, in place of the cancellation.
    """
    import asyncio  # noqa: PLC0415 - as above

    task = asyncio.current_task()
    assert task is not None
    over = cut = False

    def end(_: object) -> None:
        nonlocal cut
        cut = not over and task.cancel()

    asyncio.wrap_future(ended).add_done_callback(end)
    try:
        yield
    finally:
        over = True
        if cut:
            task.uncancel()


class _Limit:
    """When the calls of a block must be over, by the monotonic clock."""

    __slots__ = ("over", "until")

    def __init__(self, until: float) -> None:
        self.until: float = until
        self.over: bool = False
        """Whether the block has been left."""


class Bridge:
    """The way for sync code."""

    def __init__(self, thread: TrioThread) -> None:
        self._thread = thread
        self._limits: ContextVar[tuple[_Limit, ...]] = ContextVar("limits", default=())
        """Those of the blocks around, and of some that have been left."""

    def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call in the thread, and wait for it. When Control-C comes the call is cancelled.

        Raises:
            TimeoutError: if it was made in a block of `fail_after`, and is not over when that is.
        """
        self._thread.check()
        order = Order(partial(function, *args, **kwargs), self._left())
        give, cancel = partial(self._thread.give, order), partial(self._thread.cancel, order)
        answer: T = waited_for(order.answer, cancel, give)
        return answer

    def wait_ended(self) -> None:
        """Wait until the thread has ended.

        Raises:
            TimeoutError: as above.
        """
        self._thread.check()
        ended = self._thread.ended
        if not _wait_for(ended, self._left()):
            raise TimeoutError("the client is still open")

    @contextmanager
    def fail_after(self, seconds: float) -> Generator[None]:
        """Cancel calls of the block that are not over after some seconds.

        Blocks need not end in the order in which they began, or where they began: one in a generator ends when that
        does, and web servers go through generators in a context of its own each time. So no variable is set back to
        what it was: that could be the limit of a block that is over. Whoever leaves one says so in the limit itself.
        """
        mine = _Limit(monotonic() + seconds)
        self._limits.set((*(limit for limit in self._limits.get() if not limit.over), mine))
        try:
            yield
        finally:
            mine.over = True

    def _left(self) -> float:
        """Return the seconds that a call may take now."""
        ends = (limit.until for limit in self._limits.get() if not limit.over)
        return min(ends, default=math.inf) - monotonic()


def waited_for(answer: Answer[T], cancel: Callable[[], None], begin: Callable[[], None] = lambda: None) -> T:
    """Begin something, and wait for its answer; if that is interrupted, cancel it, and wait on."""
    try:
        begin()
        _wait_for(answer)
    except BaseException:
        cancel()
        _wait_for(answer)
        raise
    return answer.result().unwrap()


def _wait_for(answer: Answer[Any], seconds: float = math.inf) -> bool:
    """Wait for an answer, at most for so long; return whether it is there."""
    end = monotonic() + seconds
    while not answer.done() and (left := end - monotonic()) > 0:
        wait([answer], min(left, GLANCE))
    return answer.done()
