"""What belongs to one workflow and is used in another is refused there; its owner goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio

from nurselog import (
    CancelScope,
    Engine,
    Handle,
    MemoryReceiveChannel,
    MemorySendChannel,
    MisplacedCallError,
    Nursery,
    after,
    as_completed,
    gather,
    open_memory_channel,
    open_nursery,
    select,
    step,
    workflow,
)
from nurselog._flow.sleeping import Alarm
from tests.engine.rig import in_memory
from tests.flow.rig import events

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def fail() -> None:
    raise ValueError("of the owner")


class Lent(NamedTuple):
    """What a workflow has put where others find it."""

    nursery: Nursery
    scope: CancelScope
    running: Handle[float]
    failed: Handle[None]
    alarm: Alarm
    send: MemorySendChannel[int]
    receive: MemoryReceiveChannel[int]
    completed: AsyncIterator[Handle[float]]
    unawaited: Coroutine[Any, Any, float]
    status: trio.TaskStatus[None]


lent: list[Lent] = []


@pytest.fixture(autouse=True)
def give_back() -> Iterator[None]:
    """Let go of what was lent: it leads to whole workflows."""
    yield
    lent.clear()


@workflow(name="owner")
async def owner() -> list[str]:
    async def child(lend: Callable[[trio.TaskStatus[None]], Lent], task_status: trio.TaskStatus[None]) -> None:
        lent.append(lend(task_status))
        await nap(5)
        task_status.started()

    got: list[object] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with open_nursery() as nursery:
            with CancelScope() as scope:
                running, failed = nursery.go(nap, 20), nursery.go(fail)
                send, receive = open_memory_channel[int](1)
                completed = as_completed(nursery.go(nap, 0.1), running)
                got.append(await (await anext(completed)).result())
                unawaited = nap(1)
                lend = partial(Lent, nursery, scope, running, failed, after(0), send, receive, completed, unawaited)
                await nursery.start(child, lend)
                unawaited.close()
                got += [scope.shield, receive.statistics()]
                send.send_nowait(7)
                got += [await receive.receive(), await running.result()]
            got.append(scope.cancelled_caught)
    return [*map(str, got), repr(caught.value)]


async def nothing() -> None:
    """Do nothing."""


async def take_first(handle: Handle[float]) -> None:
    async for _ in as_completed(handle):
        pytest.fail("it is not ours")


Use = Callable[[Lent], object]
uses: dict[str, Use] = {
    "Nursery.go": lambda lent: lent.nursery.go(nap, 100),
    "Nursery.go, a branch": lambda lent: lent.nursery.go(nothing),
    "Nursery.start_soon": lambda lent: lent.nursery.start_soon(nothing),
    "Nursery.start": lambda lent: lent.nursery.start(nothing),
    "task_status.started": lambda lent: lent.status.started(),
    "CancelScope.cancel": lambda lent: lent.scope.cancel(),
    "CancelScope.shield": lambda lent: setattr(lent.scope, "shield", True),
    "CancelScope.deadline": lambda lent: setattr(lent.scope, "deadline", None),
    "Handle.cancel": lambda lent: lent.running.cancel(),
    "Handle.outcome": lambda lent: lent.failed.outcome,
    "Handle.receive": lambda lent: lent.failed.receive(),
    "Handle.receive, by result": lambda lent: lent.running.result(),
    "Handle.receive, by gather": lambda lent: gather(lent.failed),
    "as_completed": lambda lent: take_first(lent.running),
    "as_completed, begun elsewhere": lambda lent: anext(lent.completed),
    "select, a handle": lambda lent: select(lent.failed),
    "select, a channel": lambda lent: select(after(1), lent.receive),
    "select, an alarm": lambda lent: select(lent.alarm),
    "send_nowait": lambda lent: lent.send.send_nowait(1),
    "send": lambda lent: lent.send.send(1),
    "receive_nowait": lambda lent: lent.receive.receive_nowait(),
    "receive": lambda lent: lent.receive.receive(),
    "clone": lambda lent: lent.send.clone(),
    "clone, to receive": lambda lent: lent.receive.clone(),
    "close": lambda lent: lent.send.close(),
    "close, to receive": lambda lent: lent.receive.aclose(),
    "step 'nap'": lambda lent: lent.unawaited,
}


@workflow(name="stranger")
async def stranger(use: str) -> str:
    with pytest.raises(MisplacedCallError) as caught:
        doing = uses[use](lent[-1])
        if isinstance(doing, Awaitable):
            await doing
    return str(caught.value)


async def of_the_owner(engine: Engine) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what the owner has returned, on replay as well, and what its log has."""
    got = await (await engine.get("owner-1")).result()
    log = await events(engine, "owner-1")
    assert await (await engine.fork("owner-1", at=len(log) - 1)).result() == got
    return got, sorted((type(event).__name__, event.path) for event in log)


@pytest.mark.parametrize("use", uses)
async def test_what_belongs_to_another_workflow_is_left_alone(autojump_clock: Clock, use: str) -> None:
    """Its log could not explain what was done to it."""
    async with in_memory() as engine:
        await engine.run(owner, id="owner-1")
        undisturbed = await of_the_owner(engine)
    async with in_memory() as engine:
        await engine.submit(owner, id="owner-1")
        await trio.sleep(1)
        said = await engine.run(stranger, use, id="stranger-1")
        what, _, how = said.partition(" was called in ")
        assert what == use.partition(",")[0]
        assert how.startswith("workflow 'stranger-1' on something that belongs to workflow 'owner-1'")
        assert await of_the_owner(engine) == undisturbed


async def test_an_end_of_a_channel_may_be_closed_when_its_workflow_is_over(autojump_clock: Clock) -> None:
    """Nobody is left who could wait for it; and whoever closes what he was lent need not know."""

    @workflow(name="late")
    async def late() -> None:
        lent[-1].send.close()
        await lent[-1].receive.aclose()

    async with in_memory() as engine:
        await engine.run(owner)
        await engine.run(late)
        lent[-1].receive.close()
