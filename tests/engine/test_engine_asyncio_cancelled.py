"""Steps that are written for asyncio, cancelled by the workflow, by time, and by themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    Retry,
    StepTimedOut,
    UsageError,
    WasCancelled,
    fail_after,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog._flow.venue import Venue
from nurselog.lowlevel import Result, StepEnded
from tests.engine.in_asyncio import aio, nap, results, seen
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on
from tests.neighbours import need

trio_asyncio: Any = need(Venue.ASYNCIO)

Clock = trio.testing.MockClock

HOUR = 3600.0


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


async def wait_for_any(*fns: Callable[[], Awaitable[object]]) -> None:
    tasks = [asyncio.ensure_future(fn()) for fn in fns]
    await asyncio.wait(tasks, timeout=10)
    for task in tasks:
        task.cancel()


async def many_awaits() -> None:
    """Wait in many ways; `seen` has the last one that was begun."""
    event, queue = asyncio.Event(), asyncio.Queue[int]()
    future = asyncio.get_running_loop().create_future()
    ways: list[Callable[[], Awaitable[object]]] = [
        partial(asyncio.sleep, 10),
        lambda: asyncio.wait_for(event.wait(), 10),
        partial(wait_for_any, queue.get, event.wait),
        lambda: asyncio.gather(asyncio.sleep(10), nap(10)),
        lambda: asyncio.shield(nap(10)),
    ]
    for number, way in enumerate(ways):
        seen.append(number)
        with suppress(TimeoutError):
            await way()
    seen.append("last")
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            await future


@pytest.mark.parametrize("seconds", [5, 15, 25, 35, 45, 55])
@pytest.mark.parametrize("how", ["scope", "handle", "workflow", "timeout"])
async def test_it_is_cancelled_in_each_of_its_awaits(autojump_clock: Clock, how: str, seconds: int) -> None:
    wander = aio(many_awaits)

    @workflow(name="flow")
    async def flow() -> str:
        if how == "timeout":
            with pytest.raises(StepTimedOut):
                await wander.using(timeout=float(seconds))()
        elif how == "handle":
            async with open_nursery() as nursery:
                handle = nursery.go(wander)
                await sleep(seconds)
                handle.cancel("enough")
                assert await handle.receive() == WasCancelled("enough", handle.path)
        elif how == "scope":
            with move_on_after(seconds):
                await wander()
        else:
            with CancelScope() as scope:
                try:
                    await wander()
                finally:
                    scope.shield = True
                    await sleep(1)
        return "went on"

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        if how == "workflow":
            await trio.sleep(seconds)
            await engine.cancel("one")
            with pytest.raises(Exception, match="was cancelled"):
                await handle.result()
        else:
            assert await handle.result() == "went on"
        expected = Result.ERROR if how == "timeout" else Result.CANCELLED
        assert results([entry.event for entry in await handle.log()]) == [expected]


async def test_a_cancellation_leaves_a_thread_behind_as_in_asyncio() -> None:
    go_on = threading.Event()

    async def with_a_thread() -> None:
        seen.append("in the thread")
        await asyncio.to_thread(go_on.wait, 60)
        await asyncio.sleep(HOUR)

    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(aio(with_a_thread))
            await step(name="until")(until)("in the thread")
            handle.cancel()
            assert await handle.receive() == WasCancelled(None, handle.path)
        return "went on"

    try:
        async with open_engine("sqlite://", []) as engine:
            assert await engine.run(workflow(name="flow")(flow)) == "went on"
    finally:
        go_on.set()


async def until(what: str) -> None:
    while what not in seen:  # noqa: ASYNC110 - asyncio sets no Trio event
        await trio.sleep(0.001)


async def test_its_cleanup_is_waited_for(autojump_clock: Clock) -> None:
    async def careful() -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            await asyncio.sleep(5)
            seen.append("cleaned up")

    async def flow() -> float:
        with move_on_after(1):
            await aio(careful)()
        return trio.current_time()

    assert await play(flow) >= 6
    assert seen == ["cleaned up"]


async def test_a_second_cancellation_reaches_a_cleanup(autojump_clock: Clock) -> None:
    """As it does in Trio, where each wait of the cleanup would be cancelled."""

    async def slow_to_go() -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            seen.append("cleaning up")
            await asyncio.sleep(HOUR)

    async def flow() -> None:
        await aio(slow_to_go, timeout=1)()

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="one")
        await trio.sleep(10)
        assert seen == ["cleaning up"]
        await engine.cancel("one", "hurry")
        with pytest.raises(Exception, match="hurry"):
            await handle.result()
        assert trio.current_time() < 60


async def test_a_timeout_of_asyncios_own_is_an_error(autojump_clock: Clock) -> None:
    async def impatient() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(HOUR)

    async def flow() -> str:
        with fail_after(10), pytest.raises(TimeoutError):
            await aio(impatient)()
        return "went on"

    assert await play(flow) == "went on"


async def raises_it() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def awaits_the_cancelled() -> None:
    task = asyncio.create_task(asyncio.sleep(HOUR))
    task.cancel()
    await task


async def raises_a_group_of_them() -> None:
    raise BaseExceptionGroup("both", [asyncio.CancelledError(), asyncio.CancelledError()])


@pytest.mark.parametrize("fn", [raises_it, cancels_itself, awaits_the_cancelled, raises_a_group_of_them])
async def test_a_cancellation_of_its_own_is_an_error(autojump_clock: Clock, fn: Callable[[], Awaitable[None]]) -> None:
    async def flow() -> str:
        with pytest.raises(UsageError, match="raised CancelledError, but nobody has cancelled it"):
            await aio(fn, retry=Retry(attempts=2, delay=0, when=UsageError))()
        return "went on"

    async with in_memory() as engine:
        assert await play_on(engine, flow) == "went on"
        [ended] = [event for event in await events(engine) if isinstance(event, StepEnded)]
        assert (ended.result, ended.attempts) == (Result.ERROR, 2)


async def test_a_group_of_errors_and_cancellations_is_its_errors(autojump_clock: Clock) -> None:
    async def mixed() -> None:
        raise BaseExceptionGroup("both", [asyncio.CancelledError(), OSError("disk")])

    async def flow() -> str:
        with pytest.raises(ExceptionGroup) as caught:
            await aio(mixed)()
        return repr(caught.value)

    assert await play(flow) == "ExceptionGroup('both', [OSError('disk')])"


async def test_a_cancelled_group_of_cancellations_is_a_cancellation(autojump_clock: Clock) -> None:
    async def grouping() -> None:
        try:
            await asyncio.sleep(HOUR)
        except asyncio.CancelledError as exc:
            raise BaseExceptionGroup("one", [exc]) from None

    async def flow() -> str:
        with pytest.raises(StepTimedOut):
            await aio(grouping, timeout=1)()
        with move_on_after(1) as scope:
            await aio(grouping)()
        return str(scope.cancelled_caught)

    assert await play(flow) == "True"


async def test_asyncios_cancellation_in_a_step_of_trios_is_an_error_too(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with pytest.raises(UsageError, match="raised CancelledError"):
            await step(raises_it)()
        return "went on"

    assert await play(flow) == "went on"
