"""Child workflows in engines: where they run, who makes room for whom, and what becomes of them when one side goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    Status,
    WorkflowCancelled,
    WorkflowKilled,
    WorkflowStuck,
    gather,
    open_nursery,
    sleep,
    step,
    workflow,
    workflow_id,
)
from nurselog.lowlevel import ChildEnded, ChildStarted, Claimed, Forked
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, kinds, on_file, sql

Clock = trio.testing.MockClock
bodies: list[str] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    bodies.append(f"nap {seconds:g}")
    await trio.sleep(seconds)
    return seconds


@step
async def whose() -> str:
    bodies.append(workflow_id())
    return workflow_id()


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def sleeping(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@workflow
async def several(seconds: list[float]) -> list[float]:
    async with open_nursery() as nursery:
        return await gather(*[nursery.go(sleeping, each) for each in seconds])


@workflow
async def tree(depth: int, width: int) -> int:
    """Count the leaves below."""
    if depth == 0:
        await sleep(5)
        return 1
    async with open_nursery() as nursery:
        return sum(await gather(*[nursery.go(tree, depth - 1, width) for _ in range(width)]))


@workflow
async def both() -> list[float]:
    """Has a child, and something to do beside it."""
    async with open_nursery() as nursery:
        return await gather(nursery.go(sleeping, 10.0), nursery.go(nap, 20.0))


async def outcome_of(engine: Engine, id: str) -> Any:
    return await (await engine.get(id)).result()


# -- room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 2, 5])
async def test_a_family_needs_no_more_room_than_one(autojump_clock: Clock, room: int) -> None:
    """Who waits for children leaves for them at once, however deep they are."""
    async with in_memory(max_running=room) as engine:
        with trio.fail_after(60):
            assert await engine.run(tree, 3, 2) == 8
            assert await engine.run(several, [3.0, 1.0, 2.0]) == [3, 1, 2]


async def test_who_has_something_else_to_do_stays(autojump_clock: Clock) -> None:
    async with in_memory(max_running=1) as engine:
        assert await engine.run(both, id="one") == [10, 20]
        assert trio.current_time() < 40
        assert await kinds(await engine.get("one")) == [
            "Started",
            "ChildStarted",
            "StepBegan",
            "StepEnded",
            "Claimed",
            "ChildEnded",
            "Ended",
        ]


async def test_who_waits_for_children_only_leaves_memory(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", several, clock=clock, evict_after=5) as engine:
        handle = await engine.submit(several, [100.0, 50.0], id="one")
        await trio.sleep(30)
        assert await handle.status() is Status.WAITING
        assert engine.statistics().evicted == 3
        await trio.sleep(30)
        assert await handle.result() == [100, 50]
        assert "Claimed" in await kinds(handle)


async def test_a_parent_that_is_out_of_memory_is_cancelled_with_its_children(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    async with on_file(tmp_path / "log.db", several, evict_after=5) as engine:
        handle = await engine.submit(several, [100.0, 50.0], id="one")
        await trio.sleep(30)
        await engine.cancel("one", "enough")
        for id in ("one", "one/2", "one/3"):
            with pytest.raises(WorkflowCancelled, match="enough"):
                await outcome_of(engine, id)
        assert trio.current_time() < 40
        assert await handle.status() is Status.CANCELLED


# -- other engines -------------------------------------------------------------------------------


async def test_a_child_runs_in_another_process(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with (
        on_file(path, both, clock=clock, max_running=1) as here,
        on_file(path, sleeping, clock=clock) as there,
    ):
        handle = await here.submit(both, id="one")
        await trio.sleep(6)
        child = await there.get("one/2")
        assert "Claimed" in await kinds(child)
        assert there.statistics().waiting == 1
        assert await handle.result() == [10, 20]


async def test_it_is_cancelled_there(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with (
        on_file(path, both, clock=clock, max_running=1) as here,
        on_file(path, sleeping, clock=clock) as there,
    ):
        await here.submit(both, id="one")
        await trio.sleep(6)
        await here.cancel("one", "enough")
        for id in ("one", "one/2"):
            with pytest.raises(WorkflowCancelled, match="enough"):
                await outcome_of(there, id)
        assert trio.current_time() < 9


async def test_an_engine_hears_of_its_childrens_functions_when_they_are_started(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """And when the code comes to them again, in an engine that was told of the parent only."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, several, clock=clock) as engine:
        await engine.submit(several, [100.0], id="one")
        await trio.sleep(1)
    async with on_file(path, several, clock=clock) as engine:
        began = trio.current_time()
        assert await outcome_of(engine, "one") == [100]
        assert trio.current_time() - began < 100


# -- one side goes -------------------------------------------------------------------------------


async def test_a_killed_parent_leaves_its_children_alone(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", several) as engine:
        handle = await engine.submit(several, [10.0, 20.0], id="one")
        await trio.sleep(1)
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()
        assert [await outcome_of(engine, id) for id in ("one/2", "one/3")] == [10, 20]
        assert await engine._store.messages() == []
        assert await kinds(handle) == ["Started", "ChildStarted", "ChildStarted", "Ended"]


@workflow
async def moody() -> str:
    """Gets stuck as long as it is in a mood."""
    if mood:
        await trio.sleep(1)
    return "fine"


@workflow
async def parent_of_moody() -> str:
    return await moody()


mood: list[bool] = []


async def test_a_parent_waits_for_a_stuck_child(autojump_clock: Clock, tmp_path: Path) -> None:
    mood[:] = [True]
    async with on_file(tmp_path / "log.db", parent_of_moody) as engine:
        handle = await engine.submit(parent_of_moody, id="one")
        await trio.sleep(1)
        with pytest.raises(WorkflowStuck):
            await outcome_of(engine, "one/1")
        await trio.sleep(100)
        assert await handle.status() in {Status.RUNNING, Status.WAITING}
        mood.clear()
        await engine.resume("one/1")
        assert await handle.result() == "fine"


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_a_stuck_child_can_be_ended(autojump_clock: Clock, tmp_path: Path, end: str) -> None:
    """By its scope, too: who is told something is looked at once more, and may come to its end by that."""
    mood[:] = [True]
    async with on_file(tmp_path / "log.db", parent_of_moody) as engine:
        handle = await engine.submit(parent_of_moody, id="one")
        await trio.sleep(1)
        if end == "cancel":
            await engine.cancel("one")
            with pytest.raises(WorkflowCancelled, match="one"):
                await handle.result()
        else:
            await engine.kill("one/1")
            with pytest.raises(WorkflowKilled, match="one/1"):
                await handle.result()


@workflow
async def parent_in_a_mood() -> float:
    async with open_nursery() as nursery:
        handle = nursery.go(sleeping, 10.0)
        await nap(1)
        if mood:
            await trio.sleep(1)
        return await handle.result()


async def test_a_stuck_parent_misses_nothing(autojump_clock: Clock, tmp_path: Path) -> None:
    mood[:] = [True]
    async with on_file(tmp_path / "log.db", parent_in_a_mood) as engine:
        handle = await engine.submit(parent_in_a_mood, id="one")
        with pytest.raises(WorkflowStuck):
            await handle.result()
        assert await outcome_of(engine, "one/2") == 10
        await trio.sleep(10)
        assert await handle.status() is Status.STUCK
        mood.clear()
        await engine.resume("one")
        assert await handle.result() == 10
        assert [kind for kind in await kinds(handle) if kind.startswith("Child")] == ["ChildStarted", "ChildEnded"]
    assert bodies == ["nap 1"]


# -- forks ---------------------------------------------------------------------------------------


@workflow
async def asking() -> list[str]:
    async with open_nursery() as nursery:
        before = await nursery.go(naming).result()
        handles = [nursery.go(naming) for _ in range(2)]
        await nap(1)
        return [before, *await gather(*handles)]


@workflow
async def naming() -> str:
    return await whose()


@pytest.mark.parametrize("room", [1, 10])
async def test_a_fork_has_children_of_its_own(autojump_clock: Clock, room: int) -> None:
    """Those that had not ended where it was cut; what others have told is as it was."""
    async with in_memory(max_running=room) as engine:
        assert await engine.run(asking, id="one") == ["one/2", "one/3", "one/4"]
        log = [entry.event for entry in await (await engine.get("one")).log()]
        for at in range(1, len(log)):
            prefix = log[:at]
            ended = {event.path for event in prefix if isinstance(event, ChildEnded)}
            began = trio.current_time()
            fork = await engine.fork("one", at=at, new_id=f"fork at {at}")
            assert await fork.result() == [f"{'one' if path in ended else fork.id}/{path}" for path in "234"]
            assert trio.current_time() - began < 10
            again = [entry.event for entry in await fork.log()]
            assert again[: at + 1] == [*prefix, Forked(source="one", at=at)]
            started = [event.path for event in again if isinstance(event, ChildStarted)]
            assert sorted(started) == ["2", "3", "4"]


async def test_a_forks_children_survive_a_crash(autojump_clock: Clock, tmp_path: Path) -> None:
    """They are made in each of its lives, and are there once."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, several, clock=clock) as engine:
        await engine.submit(several, [10.0, 20.0], id="one")
        await trio.sleep(1)
        await engine.fork("one", at=3, new_id="two")
        await trio.sleep(5)
    async with on_file(path, several, sleeping, clock=clock) as engine:
        assert await outcome_of(engine, "two") == [10, 20]
        assert await outcome_of(engine, "one") == [10, 20]
        assert sorted(info.id for info in await engine.list()) == ["one", "one/2", "one/3", "two", "two/2", "two/3"]
        [row] = await engine._store.find(["two/2"])
        [parent] = await engine._store.find(["two"])
        assert row.parent == parent.key
        log = await (await engine.get("two/2")).log()
        assert sum(isinstance(entry.event, Claimed) for entry in log) <= 1


async def test_a_forks_children_are_cancelled_with_it(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.submit(several, [10.0, 20.0], id="one")
        await trio.sleep(1)
        fork = await engine.fork("one", at=3, new_id="two")
        await engine.cancel("two", "not this one")
        for id in ("two", "two/2", "two/3"):
            with pytest.raises(WorkflowCancelled, match="not this one"):
                await outcome_of(engine, id)
        assert await fork.status() is Status.CANCELLED
        assert await outcome_of(engine, "one") == [10, 20]


async def test_a_fork_of_a_child_is_a_root(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(several, [10.0, 20.0], id="one")
        await trio.sleep(1)
        fork = await engine.fork("one/2", at=2, new_id="alone")
        assert await fork.result() == 10
        [row] = await engine._store.find(["alone"])
        assert row.parent is None
        assert await handle.result() == [10, 20]
        ended = [entry.event.path for entry in await handle.log() if isinstance(entry.event, ChildEnded)]
        assert ended == ["2", "3"]


async def test_a_child_that_nobody_can_read_can_be_killed(autojump_clock: Clock, tmp_path: Path) -> None:
    """And its parent hears of that as of any other end."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, parent_of_moody, clock=clock) as engine:
        await engine.submit(parent_of_sleeper, id="one")
        await trio.sleep(1)
    workflow_row = "(SELECT key FROM workflow WHERE id = 'one/1')"
    sql(path, f"UPDATE log SET format = 99 WHERE seq = 1 AND workflow = {workflow_row}")
    async with on_file(path, parent_of_sleeper, sleeping, clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match="cannot be read"):
            await outcome_of(engine, "one/1")
        await engine.kill("one/1")
        with pytest.raises(WorkflowKilled, match="one/1"):
            await outcome_of(engine, "one")


@workflow
async def parent_of_sleeper() -> float:
    return await sleeping(1000.0)
