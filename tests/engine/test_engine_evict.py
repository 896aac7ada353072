"""Waiting costs nothing: eviction, waking, and how many are in memory at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nurselog import (
    Status,
    Workflow,
    WorkflowCancelled,
    after,
    move_on_after,
    now,
    open_engine,
    open_nursery,
    select,
    sleep,
    step,
    workflow,
)
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, kinds, on_file

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def sleeping(seconds: float) -> str:
    await sleep(seconds)
    return now().isoformat()


@workflow
async def working(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def working_in_time(seconds: float) -> float:
    with move_on_after(1000):
        return await nap(seconds)
    return -1


@workflow
async def patient() -> list[str]:
    """Wait in several ways at once."""
    seen: list[str] = []

    async def ring(seconds: float) -> None:
        await sleep(seconds)
        seen.append(f"{seconds:g}")

    async with open_nursery() as nursery:
        for seconds in (300, 100, 200):
            nursery.go(ring, seconds)
        with move_on_after(250):
            await select(after(1000))
        seen.append("moved on")
    return seen


@pytest.mark.parametrize("memory", [True, False])
async def test_what_only_sleeps_leaves_memory_and_wakes_when_due(
    autojump_clock: Clock,
    tmp_path: Path,
    memory: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    clock = VirtualClock()
    due = clock.utc() + 100_000_000
    make = in_memory(clock, evict_after=5) if memory else on_file(tmp_path / "log.db", clock=clock, evict_after=5)
    async with make as engine:
        handle = await engine.submit(sleeping, 100.0, id="one")
        await trio.sleep(20)
        assert engine.statistics().evicted == 1
        assert engine.statistics().waiting == 0
        [info] = await engine.list()
        assert (info.status, info.problem) == (Status.WAITING, None)
        with trio.fail_after(1000):
            await handle.result()
        assert clock.utc() == due
        assert await kinds(handle) == ["Started", "TimerSet", "Claimed", "TimerFired", "Ended"]


async def test_what_is_due_soon_stays(autojump_clock: Clock) -> None:
    async with in_memory(evict_after=5) as engine:
        for seconds in (1.0, 4.0):
            await engine.run(sleeping, seconds)
        assert engine.statistics().evicted == 0


@pytest.mark.parametrize("flow", [working, working_in_time])
async def test_what_has_a_step_in_flight_stays(autojump_clock: Clock, flow: Workflow[[float], float]) -> None:
    """Also if it waits for a time beside that."""
    async with in_memory(evict_after=5) as engine:
        assert await engine.run(flow, 100.0) == 100
        assert engine.statistics().evicted == 0


async def test_a_workflow_is_evicted_and_woken_again_and_again(autojump_clock: Clock) -> None:
    async with in_memory(evict_after=5) as engine:
        handle = await engine.submit(patient, id="one")
        assert await handle.result() == ["100", "200", "moved on", "300"]
        assert engine.statistics().evicted == 4


async def test_more_sleepers_than_there_is_room_for(autojump_clock: Clock) -> None:
    async with in_memory(evict_after=5, max_running=50) as engine:
        handles = [await engine.submit(sleeping, 100.0 + number / 10) for number in range(100)]
        await trio.sleep(60)
        assert engine.statistics().running + engine.statistics().waiting == 0
        assert engine.statistics().evicted == 100
        for handle in handles:
            await handle.result()


async def test_cancel_wakes_what_was_evicted(autojump_clock: Clock) -> None:
    async with in_memory(evict_after=5) as engine:
        handle = await engine.submit(sleeping, 1000.0, id="one")
        await trio.sleep(50)
        assert engine.statistics().evicted == 1
        await engine.cancel("one", "wake up")
        with pytest.raises(WorkflowCancelled, match="wake up"):
            await handle.result()
        assert trio.current_time() < 100


async def test_what_was_overdue_while_nobody_was_there(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, patient, clock=clock) as engine:
        await engine.submit(patient, id="one")
        await trio.sleep(1)
    await trio.sleep(10_000)
    async with on_file(path, patient, clock=clock) as engine:
        assert await (await engine.get("one")).result() == ["100", "200", "moved on", "300"]
        assert trio.current_time() < 10_002


async def test_a_cancelled_workflow_that_waits_in_its_cleanup_is_still_cancelling(autojump_clock: Clock) -> None:
    @workflow(name="slow cleanup")
    async def slow_cleanup() -> None:
        try:
            await nap(1000)
        finally:
            with move_on_after(100) as scope:
                scope.shield = True
                await sleep(200)

    async with in_memory(evict_after=5) as engine:
        handle = await engine.submit(slow_cleanup, id="one")
        await trio.sleep(1)
        await engine.cancel("one")
        await trio.sleep(50)
        assert engine.statistics().evicted == 1
        assert await handle.status() is Status.CANCELLING
        with pytest.raises(WorkflowCancelled):
            await handle.result()


# -- max_running ---------------------------------------------------------------------------------


async def test_no_more_than_max_running_at_a_time(autojump_clock: Clock) -> None:
    running, most = 0, 0

    @step(name="counted")
    async def counted(seconds: float) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(seconds)
        running -= 1

    @workflow(name="counting")
    async def counting(seconds: float) -> None:
        await counted(seconds)

    async with in_memory(max_running=3) as engine:
        handles = [await engine.submit(counting, 1.0 + number / 7) for number in range(20)]
        assert {await handle.status() for handle in handles} == {Status.RUNNING, Status.PENDING}
        for handle in handles:
            await handle.result()
        assert {await handle.status() for handle in handles} == {Status.COMPLETED}
    assert most == 3


async def test_many_submitted_at_once(autojump_clock: Clock) -> None:
    async with in_memory(max_running=3) as engine, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(engine.run, working, float(number))


async def test_the_evicted_make_room(autojump_clock: Clock) -> None:
    async with in_memory(max_running=1, evict_after=5) as engine:
        await engine.submit(sleeping, 1000.0)
        with trio.fail_after(100):
            assert await engine.run(working, 1.0) == 1


async def test_what_was_pending_when_the_engine_closed_runs_later(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock, max_running=1) as engine:
        for number in range(3):
            await engine.submit(working, 1.0, id=f"run-{number}")
    async with on_file(path, working, clock=clock) as engine:
        for number in range(3):
            assert await (await engine.get(f"run-{number}")).result() == 1


@asynccontextmanager
async def slow_engine(path: Path, seconds: float) -> AsyncIterator[tuple[Hooked, object]]:
    clock = VirtualClock()
    store = Hooked(file_store(path, clock))

    async def wait(_: Batch) -> None:
        await trio.sleep(seconds)

    store.before_commit = wait
    async with open_engine(store, [working], clock=clock, max_running=1) as engine:
        yield store, engine


async def test_none_is_forgotten_when_commits_are_slow_and_room_is_scarce(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """Room appears while the creation of the next one is being committed."""
    done: list[float] = []
    async with slow_engine(tmp_path / "log.db", 1.0) as (_, engine):

        async def run(number: int) -> None:
            done.append(await engine.run(working, number / 3))  # type: ignore[attr-defined]  # an engine

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(run, number)
                await trio.sleep(number % 5 / 2)
    assert len(done) == 20
