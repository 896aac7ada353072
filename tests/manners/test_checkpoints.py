"""Every public async function is a checkpoint, and cancellable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints

from nurselog import (
    CancelScope,
    Engine,
    Handle,
    Nursery,
    after,
    as_completed,
    expose,
    gather,
    map_concurrently,
    now,
    open_memory_channel,
    open_nursery,
    open_stream,
    publish,
    race,
    select,
    sleep,
    sleep_until,
    step,
    updates,
    workflow,
)
from tests.engine.rig import in_memory

Clock = trio.testing.MockClock


@step
async def quick(n: int = 1) -> int:
    return n


@step
async def with_a_stream() -> None:
    stream = open_stream("name")
    for call in (partial(stream.send, 1), partial(stream.send_all, [1]), partial(stream.send_all, []), stream.aclose):
        with assert_checkpoints():
            await call()


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
def in_a_thread() -> int:
    return 1


@workflow
async def sleeping(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@workflow
async def answering() -> None:
    expose(1)
    async for one in updates("name"):
        one.answer(one.value)


@answering.query
def look(state: int) -> int:
    return state


@workflow
async def telling() -> None:
    for _ in range(3):
        publish("name", 1)


async def branch() -> int:
    return 1


# -- the engine's calls --------------------------------------------------------------------------

CALLS: dict[str, Callable[[Engine], Awaitable[object]]] = {
    "run": lambda engine: engine.run(sleeping, 0.0),
    "submit": lambda engine: engine.submit(sleeping, 0.0),
    "submit again": lambda engine: engine.submit(sleeping, 100.0, id="one"),
    "get": lambda engine: engine.get("one"),
    "list": lambda engine: engine.list(),
    "cancel": lambda engine: engine.cancel("one"),
    "kill": lambda engine: engine.kill("one"),
    "resume": lambda engine: engine.resume("one"),
    "fork": lambda engine: engine.fork("one", at=1),
}


@asynccontextmanager
async def with_one() -> AsyncIterator[Engine]:
    async with in_memory() as engine:
        await engine.submit(sleeping, 100.0, id="one")
        yield engine


@pytest.mark.parametrize("call", CALLS)
async def test_the_engines_calls_are_checkpoints(autojump_clock: Clock, call: str) -> None:
    async with with_one() as engine:
        with assert_checkpoints():
            await CALLS[call](engine)


@pytest.mark.parametrize("call", CALLS)
async def test_the_engines_calls_are_cancellable(autojump_clock: Clock, call: str) -> None:
    async with with_one() as engine:
        with trio.CancelScope() as scope:
            scope.cancel()
            await CALLS[call](engine)
            await trio.sleep_forever()  # a call that has done its work may return
        assert scope.cancelled_caught
        await trio.sleep(1)
        assert (await engine.get("one")).id == "one"


async def test_handles_of_workflows_are_checkpoints_and_cancellable(autojump_clock: Clock) -> None:
    async with with_one() as engine:
        handle = await engine.get("one")
        done = await engine.submit(sleeping, 0.0)
        await done.result()
        told = await engine.submit(telling)
        await told.result()
        asked = await engine.submit(answering, id="asked")
        await engine.update("asked", "name", key="k")
        latest, receive, aclose = partial(told.latest, "name"), told.follow("name").receive, told.follow("name").aclose
        entry = told.follow_log().receive
        ask = partial(asked.query, look), partial(engine.update, "asked", "name", key="k")
        for call in (handle.status, handle.log, done.result, done.status, latest, receive, aclose, entry, *ask):
            with assert_checkpoints():
                await call()
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught, call


async def test_opening_and_closing_are_checkpoints(autojump_clock: Clock) -> None:
    manager = in_memory()
    with assert_checkpoints():
        engine = await manager.__aenter__()
    with assert_no_checkpoints():
        engine.statistics()
    with assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_opening_under_a_cancelled_scope(autojump_clock: Clock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with in_memory():
            await trio.sleep_forever()
    assert scope.cancelled_caught


# -- inside workflows ----------------------------------------------------------------------------


async def on_a_closed_channel(nursery: Nursery) -> None:
    send, receive = open_memory_channel[int](0)
    send.close()
    with suppress(trio.EndOfChannel):
        await receive.receive()


async def with_an_item(nursery: Nursery, act: Callable[[Any, Any], Awaitable[object]]) -> None:
    send, receive = open_memory_channel[int](2)
    send.send_nowait(1)
    await act(send, receive)


async def started(task_status: trio.TaskStatus[None]) -> None:
    await quick()
    task_status.started()


async def open_and_leave() -> None:
    async with open_nursery():
        pass


async def settled(nursery: Nursery, ask: Callable[[Handle[int]], Awaitable[object]]) -> None:
    """Ask a handle of a child that has settled: nothing need be waited for."""
    await ask(_settled[nursery])


_settled: dict[Nursery, Handle[int]] = {}

OPERATIONS: dict[str, Callable[[Nursery], Awaitable[object]]] = {
    "step": lambda _: quick(),
    "sync step": lambda _: in_a_thread(),
    "sleep": lambda _: sleep(1),
    "sleep for no time": lambda _: sleep(0),
    "sleep_until": lambda _: sleep_until(now() - timedelta(seconds=5)),
    "receive of a settled": lambda nursery: settled(nursery, lambda handle: handle.receive()),
    "result of a settled": lambda nursery: settled(nursery, lambda handle: handle.result()),
    "select of a settled": lambda nursery: settled(nursery, select),
    "gather of a settled": lambda nursery: settled(nursery, gather),
    "as_completed of a settled": lambda nursery: settled(nursery, lambda handle: anext(as_completed(handle))),
    "receive": lambda nursery: nursery.go(quick).receive(),
    "result": lambda nursery: nursery.go(branch).result(),
    "select": lambda nursery: select(nursery.go(quick), after(5)),
    "select of a channel": lambda nursery: with_an_item(nursery, lambda _, receive: select(receive)),
    "channel.receive": lambda nursery: with_an_item(nursery, lambda _, receive: receive.receive()),
    "channel.receive of nothing": on_a_closed_channel,
    "channel.send": lambda nursery: with_an_item(nursery, lambda send, _: send.send(2)),
    "channel.aclose, sender": lambda nursery: with_an_item(nursery, lambda send, _: send.aclose()),
    "channel.aclose, receiver": lambda nursery: with_an_item(nursery, lambda _, receive: receive.aclose()),
    "updates.aclose": lambda _: updates("name").aclose(),
    "stream.send": lambda _: open_stream("name").send(1),
    "stream.send_all": lambda _: open_stream("name").send_all([1, 2]),
    "stream.send_all of nothing": lambda _: open_stream("name").send_all([]),
    "stream.aclose": lambda _: open_stream("name").aclose(),
    "stream in a step": lambda _: with_a_stream(),
    "nursery": lambda _: open_and_leave(),
    "nursery.start": lambda nursery: nursery.start(started),
    "race": lambda _: race(quick, branch),
    "map_concurrently": lambda _: map_concurrently(quick, [1, 2], limit=1),
}

SHIELDED = {"nursery"}
"""What is a checkpoint only in that it lets others run, as in Trio."""


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "sync step"])
async def test_operations_in_workflows_are_checkpoints(autojump_clock: Clock, operation: str) -> None:
    await let_check(operation)


async def test_a_sync_step_is_a_checkpoint() -> None:
    await let_check("sync step")


async def let_check(operation: str) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        async with open_nursery() as nursery:
            _settled[nursery] = nursery.go(branch)
            await quick()
            task = trio.lowlevel.current_task()
            before = task._schedule_points
            with nullcontext() if operation == "nursery" else assert_checkpoints():
                await OPERATIONS[operation](nursery)
            assert task._schedule_points > before
        return "done"

    async with in_memory() as engine:
        assert await engine.run(flow) == "done"


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in SHIELDED])
async def test_operations_in_workflows_are_cancellable(autojump_clock: Clock, operation: str) -> None:
    @workflow(name="flow")
    async def flow() -> list[bool]:
        async with open_nursery() as nursery:
            _settled[nursery] = nursery.go(branch)
            await quick()
            with CancelScope() as scope:
                scope.cancel()
                await OPERATIONS[operation](nursery)
        return [scope.cancelled_caught]

    async with in_memory() as engine:
        assert await engine.run(flow) == [True]


async def test_what_does_not_wait_is_no_checkpoint(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        async with open_nursery() as nursery:
            with assert_no_checkpoints():
                handle = nursery.go(quick)
                nursery.start_soon(branch)
                send, receive = open_memory_channel[int](1)
                send.send_nowait(1)
                receive.receive_nowait()
                receive.clone().close()
                alarm = after(5)
                publish("name", 1)
                with open_stream("name"):
                    pass
                expose(handle)
                updates("name").close()
                with CancelScope() as scope:
                    scope.cancel()
                handle.cancel()
                assert handle.outcome is None
                assert alarm.due > now()
        return "done"

    async with in_memory() as engine:
        assert await engine.run(flow) == "done"
