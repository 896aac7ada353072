"""What is over is let go: no circles for the collector, no idle tasks, no failures that were dealt with."""

from __future__ import annotations

import gc
import inspect
import weakref
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Failed,
    Nursery,
    Updates,
    expose,
    gather,
    move_on_after,
    open_nursery,
    race,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog._engine.replaying import Replay
from nurselog._engine.run import Run
from nurselog._flow.body import Body
from nurselog._flow.call import AwaitedCall
from nurselog._flow.children import AwaitedChild
from nurselog._flow.sequencer import Sequencer
from nurselog._flow.steward import ChildCall, ChildWorkflow
from nurselog._flow.strand import Strand
from nurselog._flow.swept import Swept
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock
OF_A_RUN = (Run, Replay, Sequencer, Strand, AwaitedCall, ChildCall, AwaitedChild, ChildWorkflow, Body)


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


class DealtWith(Exception):
    """Can be referred to weakly, which exceptions of Python's own cannot."""


@step
async def fail() -> None:
    raise DealtWith


@workflow
async def everything() -> None:
    async with open_nursery() as nursery:
        await gather(*[nursery.go(nap, n) for n in range(3)])
        nursery.go(nap, 100)
        nursery.go(sleeper)
        nursery.start_soon(sleeper)
        await nap(1)
        with pytest.raises(DealtWith):
            await fail()
        nursery.cancel_scope.cancel()


async def sleeper() -> None:
    await nap(1)
    await sleep(100)


@workflow
async def family() -> None:
    async with open_nursery() as nursery:
        nursery.go(everything)
        nursery.go(lonely)
        await everything()
        nursery.cancel_scope.cancel()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one) in OF_A_RUN)


@pytest.mark.usefixtures("no_collector")
async def test_nothing_of_a_run_waits_for_the_collector(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        before = alive()
        for _ in range(3):
            await engine.run(everything)
            await engine.run(family)
        await trio.sleep(2)  # until nobody needs to know any more which steps have begun
        await engine.run(everything)
        await trio.testing.wait_all_tasks_blocked()
        left = alive() - before
    assert not left


@workflow
async def exposed() -> None:
    """Exposes what leads back to it."""
    orders = updates("orders")
    expose(orders)
    await nap(1)
    with move_on_after(1):
        await orders.receive()


@exposed.query
def look(orders: Updates[Any, Any]) -> str:
    return orders.name


@pytest.mark.usefixtures("no_collector")
async def test_nothing_of_a_query_waits_for_the_collector(autojump_clock: Clock, tmp_path: Path) -> None:
    """Of the run that was asked, and of those that follow a log to its end."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, exposed, clock=clock) as engine:
        before = alive()
        handle = await engine.submit(exposed)
        await trio.sleep(0.5)
        assert await handle.query(look) == "orders"
        await handle.result()
        for _ in range(3):
            assert await handle.query(look) == "orders"
        await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        left = alive() - before
    assert not left


@pytest.mark.parametrize("bursts", [1, 3])
async def test_tasks_of_a_burst_are_given_back(autojump_clock: Clock, bursts: int) -> None:
    @workflow(name="burst")
    async def burst(count: int) -> None:
        async with open_nursery() as nursery:
            for _ in range(count):
                nursery.go(nap, 1)

    async with in_memory(evict_after=10) as engine:
        for _ in range(bursts):
            await engine.run(burst, 50)
        crowd = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, burst, 5)  # something must be in memory for anybody to tidy up
            await engine.run(lonely)
        assert trio.lowlevel.current_statistics().tasks_living < crowd - 40


@workflow
async def lonely() -> None:
    await nap(50)


async def test_failures_that_were_dealt_with_are_forgotten(autojump_clock: Clock) -> None:
    seen: list[weakref.ref[Exception]] = []
    most = 0

    async def one(nursery: Nursery) -> None:
        match await nursery.go(fail).receive():
            case Failed(error=error):
                seen.append(weakref.ref(error))

    @workflow(name="failing")
    async def failing() -> int:
        nonlocal most
        async with open_nursery() as nursery:
            for _ in range(100):
                await one(nursery)
                gc.collect()
                most = max(most, sum(ref() is not None for ref in seen))
        return most

    async with in_memory() as engine:
        assert await engine.run(failing) < 20


def test_what_is_over_is_swept() -> None:
    over: set[int] = set()
    kept = Swept[int](over.__contains__)
    for number in range(1000):
        kept.add(number)
        assert len(kept.items) <= 24
        if number >= 10:
            over.add(number - 10)
    assert set(kept.items) >= set(range(990, 1000))


async def test_a_race_leaves_no_generator(autojump_clock: Clock) -> None:
    @workflow(name="racing")
    async def racing() -> int:
        for _ in range(20):
            await race(partial(nap, 1), partial(nap, 2))
        gc.collect()
        return sum(inspect.isasyncgen(one) and one.ag_code.co_name == "as_completed" for one in gc.get_objects())

    async with in_memory() as engine:
        assert await engine.run(racing) == 0


async def test_nobody_looks_for_who_has_stopped_waiting(autojump_clock: Clock) -> None:
    @workflow(name="patient")
    async def patient() -> None:
        await sleep(1000)

    async with in_memory(evict_after=1) as engine:
        handle = await engine.submit(patient)
        waiting = engine._runner.waiters._watched
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(handle.result)
        assert engine.statistics().evicted
        assert not waiting
        await handle.result()
        assert not waiting
