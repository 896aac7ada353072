"""A log is followed as it grows: here, from elsewhere, from any place, to the end or to what stands in its way."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import (
    EngineClosed,
    MisplacedCallError,
    StoreUnavailable,
    WorkflowHandle,
    WorkflowNotFound,
    WorkflowStuck,
    open_engine,
    publish,
    sleep,
    step,
    workflow,
)
from nurselog._engine import follower as module
from nurselog._engine.follower import Follower
from nurselog.abc import Batch
from nurselog.lowlevel import Ended
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, on_file, settle, sql

Clock = trio.testing.MockClock


@step
async def look(name: str) -> str:
    return name


@workflow
async def looks() -> None:
    await look("one")
    await sleep(100)
    await look("two")


@workflow
async def says(*words: str) -> None:
    """Say words, one every ten seconds."""
    for word in words:
        publish("word", word)
        await sleep(10)


@workflow
async def dead() -> None:
    publish("word", "last")
    await trio.sleep_forever()


def follow(handle: WorkflowHandle[object], after: int = 0) -> Follower:
    return Follower(handle._desk, handle._row, after)


async def kinds(follower: Follower) -> list[str]:
    return [type(entry.event).__name__ for entry in await follower.more()]


async def test_what_is_there_comes_first_and_then_the_end(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(looks, id="w")
        await trio.sleep(1)
        follower = follow(handle)
        assert await kinds(follower) == ["Started", "StepEnded", "TimerSet"]
        assert await kinds(follower) == ["TimerFired", "StepEnded", "Ended"]
        assert trio.current_time() >= 100
        assert await kinds(follower) == await kinds(follower) == ["Ended"]


async def test_it_begins_where_it_is_told(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(looks, id="w")
        await handle.result()
        assert await kinds(follow(handle, 4)) == ["StepEnded", "Ended"]
        [entry] = await follow(handle, 1000).more()
        assert entry.row.seq == 6
        assert isinstance(entry.event, Ended)


async def test_long_logs_come_in_pieces(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    async with in_memory() as engine:
        handle = await engine.submit(looks, id="w")
        await handle.result()
        follower = follow(handle)
        assert [len(await follower.more()) for _ in range(3)] == [4, 2, 1]


async def test_each_public_row_is_heard_of_at_once_elsewhere(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, says, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(says, "one", "two", id="w")
        follower, heard = follow(await there.get("w")), list[float]()
        for kind in ("Published", "Published", "Ended"):
            while kind not in await kinds(follower):
                pass
            heard.append(trio.current_time())
    assert [round(time / 10) for time in heard] == [0, 1, 2]
    assert max(time % 10 for time in heard) < 0.2


async def test_a_workflow_that_moves_is_followed_on(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as reader:
        async with on_file(path, says, clock=clock) as first:
            await first.submit(says, "one", "two", id="w")
            await trio.sleep(1)
            follower = follow(await reader.get("w"))
            await follower.more()
        async with on_file(path, says, clock=clock):
            found = list[str]()
            while "Ended" not in found:
                found += await kinds(follower)
    assert found.count("Published") == 1
    assert "Claimed" in found


async def test_rows_that_come_between_the_two_looks_come_before_the_end(autojump_clock: Clock, tmp_path: Path) -> None:
    """A look finds nothing; then the workflow ends; and then its status says that it has ended."""
    clock, store = VirtualClock(), Hooked(file_store(tmp_path / "log.db", VirtualClock()))
    async with open_engine(store, [looks], clock=clock) as engine:
        handle = await engine.submit(looks, id="w")
        follower = follow(handle)
        await trio.sleep(1)
        await follower.more()
        store.before_find = handle._desk.runs[handle._row.key].gone.wait
        assert await kinds(follower) == ["TimerFired", "StepEnded", "Ended"]


async def test_what_is_stuck_is_told_after_the_last_row(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(dead, id="w")
        follower, found = follow(handle), list[str]()
        with pytest.raises(WorkflowStuck):
            while True:
                found += await kinds(follower)
        assert found == ["Started", "Published"]
        with pytest.raises(WorkflowStuck):
            await follower.more()


async def test_what_is_deleted_is_not_found(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, says, clock=clock) as engine:
        handle = await engine.submit(says, id="w")
        await handle.result()
        follower = follow(handle)
        await follower.more()
        sql(path, "DELETE FROM log", "DELETE FROM workflow")
        with pytest.raises(WorkflowNotFound):
            await follower.more()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_the_engine_closes(autojump_clock: Clock, tmp_path: Path, where: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with trio.open_nursery() as nursery, on_file(path, says, clock=clock) as running:

        async def wait(handle: WorkflowHandle[object]) -> None:
            follower = follow(handle)
            await follower.more()
            with pytest.raises(EngineClosed):
                await follower.more()

        async with on_file(path, says, clock=clock) as closing:
            await (closing if where == "here" else running).submit(says, "one", id="w")
            await trio.sleep(1)
            nursery.start_soon(wait, await closing.get("w"))
            await settle()
        with pytest.raises(EngineClosed):
            await follow(WorkflowHandle(closing._desk, (await running.get("w"))._row, None)).more()


async def test_an_outage_is_waited_for(autojump_clock: Clock, tmp_path: Path) -> None:
    clock, store = VirtualClock(), Hooked(file_store(tmp_path / "log.db", VirtualClock()))
    failures = 3

    async def fail() -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StoreUnavailable("gone")

    async with open_engine(store, [looks], clock=clock) as engine:
        handle = await engine.submit(looks, id="w")
        await handle.result()
        store.after_read = fail
        assert "Ended" in await kinds(follow(handle))
        failures, follower = 0, follow(handle, 6)
        store.after_read = store.before_find = fail
        failures = 2
        assert await kinds(follower) == ["Ended"]


async def test_a_wait_that_is_cancelled_loses_nothing(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(looks, id="w")
        follower = follow(handle)
        await trio.sleep(1)
        await follower.more()
        with trio.move_on_after(10) as scope:
            await follower.more()
        assert scope.cancelled_caught
        assert not engine._runner.readers
        assert await kinds(follower) == ["TimerFired", "StepEnded", "Ended"]


async def test_no_workflow_follows_a_log(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        other = await engine.submit(says, id="other")

        @workflow(name="follows")
        async def follows() -> None:
            with pytest.raises(MisplacedCallError, match="is not in the log"):
                await follow(other).more()

        await engine.run(follows)


async def test_rows_say_whether_they_are_for_others(autojump_clock: Clock, tmp_path: Path) -> None:
    found, store = list[tuple[bool, bool]](), Hooked(file_store(tmp_path / "log.db", VirtualClock()))

    async def see(batch: Batch) -> None:
        found.extend((one.public, any(b'"published"' in row.event for row in one.rows)) for one in batch.appends)

    store.before_commit = see
    async with open_engine(store, [looks, says], clock=VirtualClock()) as engine:
        await engine.run(looks)
        await engine.run(says, "one")
    assert set(found) == {(False, False), (True, True)}
