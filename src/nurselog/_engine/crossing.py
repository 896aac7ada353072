"""From Trio to asyncio and back: the run of a function that is written for asyncio, for one step.

asyncio runs on top of Trio here (trio-asyncio), in the same thread, so nothing has to be handed over: the function is a
task of asyncio's, and the step's Trio task waits for it. What has to be translated is how things end.

*Cancellation.* Trio's reaches the waiting task, which tells the asyncio task, once, and goes on waiting: what that one
makes of it is the outcome. If it has made nothing of it, the wait is cancelled. If it was cancelled though nobody has
told it so (the function has cancelled itself, or waited for a task that was), that is an error of the function's.

*Leaving.* asyncio lets tasks live as long as they like; a step is over when its function is. What it has started and
not awaited would work on behind the log's back, and hang in the loop when the engine closes. So each task that is
made inside of a step is noted, whoever makes it (the context says for whom); those that are there when the function
returns are cancelled and waited for. Those that had been cancelled by then were on their way out: many libraries do not
wait for what they have cancelled. All others the step is told off for. Only the tasks in which asyncio closes async
generators that were left half-way are nobody's: they are made when one is collected, in whatever code runs then.

*Not leaving.* When the engine closes, a function may swallow its cancellation, or clean up for ever. The bench closes
the coroutine that waits for it, by the wait's abort function. Then the tasks are closed, too, and forgotten by asyncio,
which would wait for them.

*The end of the loop.* It ends under running steps only if something has torn it down, such as Control-C. Nothing moves
its tasks any more then; they are closed, and have no outcome.

*Which loop runs.* trio-asyncio answers this by replacing asyncio's functions when it is imported, which is late here:
whoever has imported them by name before (AnyIO has) goes on with the old ones, for which no loop runs. So while a
callback runs these are told, too, as each loop of asyncio's own tells them.

asyncio's resources (connections, pools, clients) belong to the loop in which they were made. An application that wants
to share some among its steps opens the loop itself, around the engine, and the engine takes that one.
"""

from __future__ import annotations

import asyncio
from _asyncio import _get_running_loop  # asyncio's own, which trio-asyncio replaces elsewhere
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar
from weakref import WeakSet

import trio
from trio.lowlevel import Abort, RaiseCancelT, current_task, reschedule, wait_task_rescheduled

from .._flow.body import Body, unprotected
from .._flow.groups import find_fatal, no_error, split_error
from .._flow.strand import abandoned, close, raise_suspended
from .._flow.venue import Venue, library
from .._flow.where import parked

if TYPE_CHECKING:
    from .._flow.step import Step

T = TypeVar("T")
AnyTask: TypeAlias = "asyncio.Task[Any]"

_crossing: ContextVar[_Crossing | None] = ContextVar("nurselog_crossing", default=None)
"""For which step this code of asyncio's runs."""


class Loop:
    """An asyncio loop in which steps run.

    Args:
        loop: trio-asyncio's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.current: ContextVar[asyncio.AbstractEventLoop] = library(Venue.ASYNCIO).current_loop
        """By which trio-asyncio finds it."""
        self.over: bool = False
        """Whether it has ended: what its tasks come to from now on is its doing."""
        former = loop.get_task_factory()
        if not isinstance(former, _Noting):  # of another engine on the same loop
            loop.set_task_factory(_Noting(former))
            _tell(loop)

    async def run(self, body: Body, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step's function for a body. A checkpoint."""
        return await _Crossing(self, body, step.name).run(unprotected(step.fn, *args, **kwargs))


@asynccontextmanager
async def open_loop() -> AsyncGenerator[Loop]:
    """Have an asyncio loop: the one that the application has opened around its engine, or else one of our own."""
    given = library(Venue.ASYNCIO).current_loop.get()
    if given is not None:
        yield Loop(given)
    else:
        async with _open_own() as loop:
            yield loop


@asynccontextmanager
async def _open_own() -> AsyncGenerator[Loop]:
    trio_asyncio = library(Venue.ASYNCIO)
    async with trio_asyncio.open_loop() as own:
        own.set_exception_handler(_log)
        threads = trio_asyncio.TrioExecutor()
        threads.submit = _leave_thread  # its own swallows a cancellation
        own.set_default_executor(threads)
        loop = Loop(own)
        try:
            yield loop
        finally:
            loop.over = True
            if not own.is_running():  # trio-asyncio would wait for tasks that nothing moves any more
                _forsake(asyncio.all_tasks(own))


def _log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in a callback, or in a task that nobody awaits. trio-asyncio would end the loop."""
    asyncio.BaseEventLoop.default_exception_handler(loop, context)  # type: ignore[arg-type]  # it is one


async def _leave_thread(fn: Callable[..., T], *args: Any) -> T:
    """Run a function in a thread, which is left behind by who is cancelled meanwhile, as asyncio has it."""
    return await trio.to_thread.run_sync(fn, *args, abandon_on_cancel=True)


_CALLERS = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "_add_reader": 1,
    "_add_writer": 1,
}
"""What a loop is asked to call callbacks by, and which of its arguments is the callback."""


def _tell(loop: asyncio.AbstractEventLoop) -> None:
    """Have asyncio's own functions know that the loop runs when one of its callbacks does; a step of a task is one."""
    for name, place in _CALLERS.items():
        setattr(loop, name, partial(_call_later, loop, getattr(loop, name), place))


def _call_later(
    loop: asyncio.AbstractEventLoop, plain: Callable[..., Any], place: int, /, *args: Any, **options: Any
) -> Any:
    return plain(*args[:place], _call, loop, *args[place:], **options)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    former = _get_running_loop()  # there may be another one: who runs Trio as a guest of asyncio's
    asyncio._set_running_loop(loop)
    try:
        callback(*args)
    finally:
        asyncio._set_running_loop(former)


_CLOSING = "async_generator_athrow"
"""The type of what closes an async generator; it has no public name."""


class _Noting:
    """Makes the tasks of a loop, and takes note of those that are made for a step."""

    def __init__(self, former: Callable[..., Any] | None) -> None:
        self._make = former or _make

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        task = self._make(loop, coroutine, **options)
        if (crossing := _crossing.get()) is not None and type(coroutine).__name__ != _CLOSING:
            crossing.tasks.add(task)
        return task


def _make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> AnyTask:
    return asyncio.Task(coroutine, loop=loop, **options)


class _Crossing:
    """One function on its way through asyncio."""

    def __init__(self, loop: Loop, body: Body, step: str) -> None:
        self._loop, self._body, self._step = loop, body, step
        self.tasks: WeakSet[AnyTask] = WeakSet()
        """What was made for it, but for the task that runs it."""
        self._main: AnyTask
        self._cancelled: RaiseCancelT | None = None
        """Trio's word that the wait is cancelled."""

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it to its end; nothing of it is left then."""
        loop = self._loop.loop
        context = copy_context()
        context.run(_crossing.set, self)
        context.run(self._loop.current.set, loop)  # by which it may come back to Trio
        self._main = loop.create_task(coroutine, name=f"step {self._step}", context=context)
        self._body.aside.add(self)
        try:
            await self._ended(self._main)
            left = await self._sweep()
        except GeneratorExit:
            forsake = partial(_forsake, [self._main, *self.tasks])
            if loop.is_running():
                loop.call_soon(forsake)  # in asyncio: it is still their code that runs
            else:
                forsake()
            raise
        finally:
            self._body.aside.discard(self)
        if self._loop.over:
            await trio.sleep_forever()  # the engine closes
        value = self._outcome()
        self._body.left += left
        return value

    def cancel(self) -> None:
        """Tell it, perhaps once more, that it is cancelled."""
        if not self._loop.over:
            self._main.cancel()

    def _outcome(self) -> Any:
        main = self._main
        del self._main  # its context leads here, and its error's traceback will: circles are the collector's work
        try:
            return main.result()
        except BaseException as exc:
            if find_fatal(exc) or split_error(exc)[0] is not None:
                raise
            self._raise_cancelled(exc)
        finally:
            del main

    def _raise_cancelled(self, exc: BaseException) -> NoReturn:
        """Raise what stands for a cancellation of asyncio's, or a group of nothing else."""
        if self._cancelled is not None:
            self._cancelled()
        raise no_error(f"step {self._step!r}", exc) from exc

    async def _sweep(self) -> Sequence[str]:
        """See that nothing runs any more; return what nobody had cancelled, for people."""
        names: list[str] = []
        while left := [task for task in self.tasks if not task.done()]:
            for task in left:
                if not task.cancelling():
                    names.append(_describe(task))
                    task.cancel()
            for task in left:
                await self._ended(task)
                if not task.cancelled():
                    task.exception()  # nobody wants to know it, and asyncio would complain
        return sorted(names)

    async def _ended(self, task: AnyTask) -> None:
        """Wait for a task of asyncio's; a cancellation is its business."""
        waiters = [current_task()]

        def wake(_: AnyTask) -> None:
            if waiters:
                reschedule(waiters.pop())

        def abort(raise_cancel: RaiseCancelT) -> Abort:
            if raise_cancel is raise_suspended or self._loop.over:
                waiters.clear()
                return Abort.SUCCEEDED
            self._cancelled = raise_cancel
            task.cancel()
            return Abort.FAILED

        task.add_done_callback(wake)
        await wait_task_rescheduled(abort)


def _describe(task: AnyTask) -> str:
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    return f"{name} at {parked(coroutine) or 'its beginning'}"


def _forsake(tasks: Iterable[AnyTask]) -> None:
    """Close tasks that would not end, and let asyncio forget them."""
    for task in tasks:
        if not task.done():
            close(task.get_coro())  # type: ignore[arg-type]  # tasks are made of coroutines
            asyncio._unregister_task(task)
            abandoned.append(task)  # or it would complain when it is collected
