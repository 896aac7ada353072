"""A log is followed row by row: here and elsewhere, from any place, to the end or to what comes instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    EngineClosed,
    MisplacedCallError,
    StoreUnavailable,
    UsageError,
    WorkflowHandle,
    WorkflowNotFound,
    WorkflowStuck,
    open_engine,
    sleep,
    step,
    workflow,
)
from nurselog._engine.follower import LONGEST, SHORTEST
from nurselog.abc import Change
from nurselog.lowlevel import Claimed, Ended, Forked, LogEntry, Result, Resumed
from nurselog.testing import VirtualClock
from tests.engine.publishers import counting, emitting, failing_midway, stuck_midway
from tests.engine.rig import Hooked, file_store, hold_ends, in_memory, on_file, settle

Clock = trio.testing.MockClock
Log = trio.abc.ReceiveChannel[LogEntry]


@step
async def pick(number: int) -> int:
    await trio.sleep(1)
    return number


@workflow
async def picking(count: int) -> int:
    """Make steps, and sleep between them: nothing of it is public."""
    for number in range(count):
        await pick(number)
        await sleep(9)
    return count


class Silent(Hooked):
    """A store that tells of nothing, and counts how often it is read."""

    def __init__(self, path: Path, clock: VirtualClock) -> None:
        super().__init__(file_store(path, clock))
        self.looks = 0
        self.before_read = self._count

    async def _count(self) -> None:
        self.looks += 1

    async def wait_changed(self) -> frozenset[Change]:
        await trio.sleep_forever()
        raise AssertionError


async def until(channel: Log, ended: type[BaseException] = trio.EndOfChannel) -> list[LogEntry]:
    """Read to an end, and see that it stays."""
    entries = list[LogEntry]()
    with pytest.raises(ended):
        while True:
            entries.append(await channel.receive())
    with pytest.raises(ended):
        await channel.receive()
    return entries


async def read(handle: WorkflowHandle[Any], after: int = 0) -> Sequence[LogEntry]:
    return [entry async for entry in handle.follow_log(after=after)]


async def lags(handle: WorkflowHandle[Any], clock: VirtualClock) -> Sequence[float]:
    """Return how long after it was written each entry was received, seconds."""
    return [(clock.utc() - entry.at) / 1e6 async for entry in handle.follow_log()]


# -- who reads when and where --------------------------------------------------------------------


@pytest.mark.parametrize("late", [0, 2.5, 15, 200])
@pytest.mark.parametrize("flow", [partial(picking, 3), partial(emitting, 0, 3, 1.0)])
async def test_each_reader_gets_the_whole_log_whenever_it_comes(
    autojump_clock: Clock, flow: Callable[[], Any], late: float
) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(flow)
        await trio.sleep(late)
        assert await read(handle) == await handle.log()


async def test_entries_come_at_once_here(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    async with open_engine(Silent(tmp_path / "log.db", clock), [picking], clock=clock) as engine:
        found = await lags(await engine.submit(picking, 3), clock)
    assert len(found) == 11
    assert max(found) < 0.01


async def test_entries_come_soon_from_elsewhere(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, picking, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(picking, 3, id="w")
        found = await lags(await there.get("w"), clock)
    assert len(found) == 11
    assert max(found) <= LONGEST + 0.01


async def test_where_nobody_tells_it_looks_by_itself(autojump_clock: Clock, tmp_path: Path) -> None:
    """A moment after the last row, then less and less often, each second at least."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Silent(path, clock)
    async with on_file(path, picking, clock=clock) as here, open_engine(store, (), clock=clock) as there:
        await here.submit(picking, 20, id="w")
        found = await lags(await there.get("w"), clock)
        assert len(found) == 62
        assert 0.1 < max(found) <= LONGEST + 0.01
        assert store.looks < 200 / LONGEST + 10 * len(found)


async def test_it_looks_soon_after_each_row(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Silent(path, clock)
    async with on_file(path, picking, clock=clock) as here, open_engine(store, (), clock=clock) as there:
        await here.submit(picking, 1, id="w")
        channel = (await there.get("w")).follow_log()
        for _ in range(3):
            await channel.receive()
        looks = store.looks
        with trio.move_on_after(3 * SHORTEST + 0.01) as scope:  # the second pause is twice as long
            await channel.receive()
        assert scope.cancelled_caught
        assert store.looks - looks == 3


async def test_what_is_taken_up_here_is_told_at_once(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Silent(path, clock)
    async with open_engine(store, [picking], clock=clock) as engine:
        async with on_file(path, picking, clock=clock) as first:
            await first.submit(picking, 2, id="w")
            await trio.sleep(5)
        channel = (await engine.get("w")).follow_log()
        async for entry in channel:
            if isinstance(entry.event, Claimed):
                break
        assert clock.utc() - entry.at < 10_000
        assert (await channel.receive()).seq == entry.seq + 1


async def test_a_workflow_that_moves_is_followed_on(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as reader:
        async with on_file(path, picking, clock=clock) as first:
            await first.submit(picking, 3, id="w")
            await trio.sleep(12)
            channel = (await reader.get("w")).follow_log()
            found = [await channel.receive() for _ in range(4)]
        async with on_file(path, picking, clock=clock):
            found += [entry async for entry in channel]
        assert found == await (await reader.get("w")).log()
    assert any(isinstance(entry.event, Claimed) for entry in found)


async def test_a_reader_begins_behind_an_entry(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(picking, 2)
        await handle.result()
        log = await handle.log()
        for known in range(len(log) + 1):
            assert await read(handle, known) == log[known:]
        for beyond in (10_000, 2**63 - 1, 10**30):
            assert await read(handle, beyond) == []


async def test_who_begins_beyond_the_last_row_waits_for_what_comes_behind(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(picking, 2)
        assert [entry.seq for entry in await read(handle, 5)] == [6, 7, 8]


async def test_readers_of_one_channel_share_the_entries(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(picking, 4)
        channel, got = handle.follow_log(), list[LogEntry]()

        async def reader() -> None:
            async for entry in channel:
                got.append(entry)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reader)
        assert sorted(got, key=lambda entry: entry.seq) == await handle.log()


# -- what it costs -------------------------------------------------------------------------------


async def test_nobody_reads_where_nobody_follows(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Silent(tmp_path / "log.db", clock)
    async with open_engine(store, [picking], clock=clock) as engine:
        handle = await engine.submit(picking, 20)
        await trio.sleep(150)
        assert store.looks == 0
        assert len(await handle.log()) > 40


async def test_who_follows_what_is_here_reads_when_there_is_something(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Silent(tmp_path / "log.db", clock)

    @workflow(name="sleeps long")
    async def sleeping() -> None:
        await sleep(10_000)

    async with open_engine(store, [sleeping], clock=clock, evict_after=10_000) as engine:
        channel = (await engine.submit(sleeping)).follow_log()
        with trio.move_on_after(9_000):
            await until(channel)
        assert store.looks == 2


async def test_who_follows_what_is_published_sleeps_through_all_else(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Silent(tmp_path / "log.db", clock)
    async with open_engine(store, [picking], clock=clock) as engine:
        channel = (await engine.submit(picking, 20)).follow("nothing")
        with trio.move_on_after(150):
            await channel.receive()
        assert store.looks <= 3


# -- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "result"), [("cancel", Result.CANCELLED), ("kill", Result.KILLED)])
async def test_the_last_row_says_what_became_of_it(
    autojump_clock: Clock, tmp_path: Path, end: str, result: Result
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, picking, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(picking, 100, id="w")

        async def see(handle: WorkflowHandle[Any]) -> None:
            entries = await until(handle.follow_log())
            assert entries == await handle.log()
            assert isinstance(entries[-1].event, Ended)
            assert entries[-1].event.result is result

        async with trio.open_nursery() as nursery:
            for engine in (here, there):
                nursery.start_soon(see, await engine.get("w"))
            await trio.sleep(12.5)
            await getattr(here, end)("w")


async def test_a_workflow_that_fails_raises_nothing_here(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        *_, last = await read(await engine.submit(failing_midway))
        assert isinstance(last.event, Ended)
        assert last.event.result is Result.ERROR


async def test_what_is_stuck_is_told_and_goes_on_when_it_does(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, stuck_midway, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(stuck_midway, id="w")
        channel = (await there.get("w")).follow_log()
        found = await until(channel, WorkflowStuck)
        await here.resume("w")
        while not any(isinstance(entry.event, Resumed) for entry in found):
            found += await until(channel, WorkflowStuck)
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))


async def test_a_fork_has_the_rows_that_it_began_with(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(picking, 2, id="w")
        fork = await engine.fork("w", at=3, new_id="again")
        entries = await read(fork)
        assert entries == await fork.log()
        assert isinstance(entries[3].event, Forked)
        assert entries[:3] == (await (await engine.get("w")).log())[:3]


async def test_what_is_deleted_is_not_found(autojump_clock: Clock, tmp_path: Path) -> None:
    """Also where another one has its id by then; who has read to the end is told that it is the end."""
    async with on_file(tmp_path / "log.db", picking) as engine:
        handle = await engine.submit(picking, 1, id="w")
        whole, half, late = handle.follow_log(), handle.follow_log(), handle.follow_log(after=2)
        assert len(await until(whole)) == 5
        await half.receive()
        await engine.delete("w")
        again = await engine.submit(picking, 5, id="w")
        with pytest.raises(WorkflowNotFound):
            await late.receive()
        assert len(await until(half)) == 4, "it has read that already"
        with pytest.raises(trio.EndOfChannel):
            await whole.receive()
        assert len(await read(again)) == 17


async def test_the_engine_closes_while_somebody_follows(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with trio.open_nursery() as nursery, on_file(path, picking, clock=clock) as running:

        async def see(handle: WorkflowHandle[Any], entries: int) -> None:
            assert len(await until(handle.follow_log(), EngineClosed)) == entries

        async with on_file(path, picking, clock=clock) as closing:
            await running.submit(picking, 100, id="there")
            await closing.submit(picking, 100, id="here")
            for id in ("here", "there"):
                handle = await closing.get(id)
                nursery.start_soon(see, handle, 3)
            await trio.sleep(5)
        with pytest.raises(EngineClosed):
            handle.follow_log()


async def test_an_outage_is_waited_for(autojump_clock: Clock, tmp_path: Path) -> None:
    """Whoever looks by itself does."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, failures = Silent(path, clock), 0

    async def fail() -> None:
        nonlocal failures
        if 20 < trio.current_time() < 40:
            failures += 1
            raise StoreUnavailable("gone")

    store.after_read = store.before_find = fail
    async with on_file(path, picking, clock=clock) as here, open_engine(store, (), clock=clock) as there:
        await here.submit(picking, 5, id="w")
        handle = await there.get("w")
        assert await read(handle) == await handle.log()
    assert failures > 1


async def test_a_channel_that_is_closed_wakes_who_waits(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        channel = (await engine.submit(picking, 1)).follow_log()
        await channel.receive()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(until, channel, trio.ClosedResourceError)
            await settle()
            await channel.aclose()
        assert not engine._runner.readers


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_receive_that_is_cancelled_loses_no_entry(autojump_clock: Clock, tmp_path: Path, where: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, picking, clock=clock) as running, on_file(path, clock=clock) as other:
        await running.submit(picking, 4, id="w")
        handle = await (running if where == "here" else other).get("w")
        channel, got = handle.follow_log(), list[LogEntry]()
        while not got or not isinstance(got[-1].event, Ended):
            with trio.move_on_after(0.3):
                got.append(await channel.receive())
        assert got == await handle.log()
        assert not handle._desk.readers


async def test_the_end_that_comes_between_the_looks(autojump_clock: Clock, tmp_path: Path) -> None:
    clock, go_on = VirtualClock(), trio.Event()
    store = Silent(tmp_path / "log.db", clock)
    hold_ends(store, go_on)
    async with open_engine(store, [picking], clock=clock) as engine:
        handle = await engine.submit(picking, 1)
        channel = handle.follow_log()
        assert [(await channel.receive()).seq for _ in range(4)] == [1, 2, 3, 4]

        async def end() -> None:
            store.before_find = store._count
            go_on.set()
            await engine._runner.runs[handle._row.key].gone.wait()

        store.before_find = end
        assert [entry.seq for entry in await until(channel)] == [5]


# -- mistakes ------------------------------------------------------------------------------------


async def test_readers_are_told_what_is_wrong_with_their_arguments(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(counting, 1)
        for after in (-1, 1.5, True, None):
            with pytest.raises(UsageError, match="after must be a whole number, 0 or more"):
                handle.follow_log(after=after)  # type: ignore[arg-type]  # on purpose


async def test_no_workflow_follows_the_log_of_another_one(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        other = await engine.submit(picking, 1)
        channel = other.follow_log()

        @step(name="follows in a step")
        async def in_a_step() -> int:
            return len(await read(other))

        @workflow(name="follows another one")
        async def flow() -> int:
            with pytest.raises(MisplacedCallError):
                other.follow_log()
            with pytest.raises(MisplacedCallError):
                await channel.receive()
            return await in_a_step()

        assert await engine.run(flow) == 5
