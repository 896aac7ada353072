"""Several engines: on one file, where they share the work and take over from each other; and in one trio.run."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import (
    CancelScope,
    Status,
    StoreUnavailable,
    WorkflowCancelled,
    WorkflowConflict,
    WorkflowHandle,
    WorkflowKilled,
    open_engine,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Claimed
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, hold_ends, in_background, in_memory, kinds, on_file, sql

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
async def compensate() -> None:
    bodies.append("compensate")


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def napping_twice(seconds: float) -> list[float]:
    return [await nap(seconds), await nap(seconds + 1)]


@workflow
async def sleeping(seconds: float) -> str:
    await sleep(seconds)
    return "awake"


@workflow
async def careful() -> None:
    try:
        await nap(100)
    finally:
        with CancelScope(shield=True):
            await compensate()


# -- one file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["result", "cancel", "kill"])
async def test_submit_here_and_look_from_there(autojump_clock: Clock, tmp_path: Path, end: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, careful, clock=clock) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(napping, 5.0, id="one")
        seen: WorkflowHandle[float] = await there.get("one")
        await trio.sleep(1)
        if end == "result":
            assert await seen.result() == 5
        elif end == "cancel":
            await there.cancel("one", "from there")
            for waiting in (seen, handle):
                with pytest.raises(WorkflowCancelled, match="from there"):
                    await waiting.result()
        else:
            await there.kill("one")
            for waiting in (seen, handle):
                with pytest.raises(WorkflowKilled):
                    await waiting.result()
        assert await seen.status() is await handle.status()
        assert "Claimed" not in await kinds(seen)


async def test_cleanup_runs_where_the_workflow_runs(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, careful, clock=clock) as here, on_file(path, careful, clock=clock) as there:
        handle = await here.submit(careful, id="one")
        await trio.sleep(1)
        await there.cancel("one")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
    assert bodies == ["nap 100", "compensate"]


async def test_the_same_id_from_two_engines_is_one_run(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as a, on_file(path, clock=clock) as b:
        results: list[float] = []
        async with trio.open_nursery() as nursery:
            for engine in (a, b, a, b):

                async def run(engine: object = engine) -> None:
                    results.append(await engine.run(napping, 5.0, id="one"))  # type: ignore[attr-defined]  # an engine

                nursery.start_soon(run)
        with pytest.raises(WorkflowConflict):
            await b.submit(napping, 6.0, id="one")
    assert results == [5.0] * 4
    assert bodies == ["nap 5"]


async def test_what_one_engine_has_no_room_for_another_takes(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock, max_running=1) as a, on_file(path, napping, clock=clock) as b:
        handles = [await a.submit(napping, 100.0) for _ in range(5)]
        await trio.sleep(1)
        assert {await handle.status() for handle in handles} == {Status.RUNNING}
        assert (a.statistics().running, b.statistics().running) == (1, 4)


async def test_what_a_closing_engine_leaves_another_takes(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as b:
        async with on_file(path, clock=clock) as a:
            await a.submit(napping, 5.0, id="one")
            await trio.sleep(1)
        assert await (await b.get("one")).result() == 5
    assert bodies == ["nap 5", "nap 5"]
    assert trio.current_time() < 8


async def test_what_one_evicts_another_may_wake(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, sleeping, clock=clock) as b:
        async with on_file(path, clock=clock, evict_after=1) as a:
            await a.submit(sleeping, 30.0, id="one")
            await trio.sleep(10)
            assert a.statistics().evicted == 1
        assert await (await b.get("one")).result() == "awake"


async def test_an_engine_takes_only_what_it_knows(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.submit(napping, 5.0, id="one")
    async with on_file(path, sleeping, clock=clock) as other:
        await trio.sleep(60)
        [info] = await other.list()
        assert info.problem == "no worker for 'napping' here"
        async with on_file(path, napping, clock=clock) as engine:
            assert await (await other.get("one")).result() == 5
        [info] = await other.list()
        assert info.problem is None


# -- leases --------------------------------------------------------------------------------------


def stall(store: Hooked) -> trio.Event:
    """Keep a store from renewing and committing, as a process that is stopped does; set the event to go on."""
    go_on = trio.Event()

    async def wait(*_: object) -> None:
        await go_on.wait()

    store.before_commit = store.before_renew = wait
    return go_on


async def test_a_stalled_engine_loses_its_workflow_and_suspends_it(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with open_engine(store, [napping_twice], clock=clock) as a:
        handle = await a.submit(napping_twice, 5.0, id="one")
        await trio.sleep(1)
        go_on = stall(store)
        async with on_file(path, napping_twice, clock=clock) as b:
            assert await (await b.get("one")).result() == [5, 6]
            go_on.set()
            assert await handle.result() == [5, 6]
            await trio.sleep(20)
            assert a.statistics().running == 0
            log = await handle.log()
            assert [type(entry.event).__name__ for entry in log if isinstance(entry.event, Claimed)] == ["Claimed"]
            assert (await kinds(handle)).count("StepEnded") == 2
        assert await a.run(napping, 1.0) == 1, "it goes on with a new lease"


async def test_a_lease_that_cannot_be_renewed_in_time_loses_no_workflow(autojump_clock: Clock, tmp_path: Path) -> None:
    """The engine gives its workflows up before the store does, and must then take them up again itself."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))

    async def locked() -> None:
        if trio.current_time() < 14:  # the lease is good until 15, and given up at 13
            raise StoreUnavailable("locked")

    store.before_renew = locked
    async with open_engine(store, [sleeping], clock=clock) as engine:
        handle = await engine.submit(sleeping, 30.0, id="one")
        with trio.fail_after(100):
            assert await handle.result() == "awake"
        assert await kinds(handle) == ["Started", "TimerSet", "Claimed", "TimerFired", "Ended"]


@pytest.mark.parametrize("renewing", [True, False])
async def test_the_end_itself_is_refused(
    autojump_clock: Clock,
    tmp_path: Path,
    renewing: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The last row is on its way when the lease runs out; somebody else ends the workflow first."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    hold_ends(store, go_on)
    if not renewing:
        store.before_renew = go_on.wait
    async with open_engine(store, [napping], clock=clock) as a:
        handle = await a.submit(napping, 1.0, id="one")
        results: list[float] = []

        async def wait() -> None:
            results.append(await handle.result())

        async with in_background(wait):
            await trio.sleep(2)
            if renewing:
                sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
            async with on_file(path, napping, clock=clock) as b:
                results.append(await (await b.get("one")).result())
                go_on.set()
        await trio.sleep(20)
        assert results == [1, 1]
        assert a.statistics().running == 0
    assert bodies == ["nap 1"]


async def test_an_end_that_was_refused_is_nobodys_answer(autojump_clock: Clock, tmp_path: Path) -> None:
    """Somebody else has taken the workflow over, and it was killed there: that is its end, for all who wait."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    hold_ends(store, go_on)
    async with open_engine(store, [napping], clock=clock) as a:
        handle = await a.submit(napping, 1.0, id="one")

        async def wait() -> None:
            with pytest.raises(WorkflowKilled):
                await handle.result()

        async with in_background(wait):
            await trio.sleep(2)
            sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
            async with on_file(path, clock=clock) as b:
                await b.kill("one")
                go_on.set()
        assert (await kinds(handle))[-1] == "Ended"
        assert await handle.status() is Status.KILLED


async def test_a_lease_counts_from_when_it_was_asked_for(autojump_clock: Clock, tmp_path: Path) -> None:
    """As it does for others, however long the answer takes: they may take over when it has run out."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, gone = Hooked(file_store(path, clock)), list[float]()
    began = trio.current_time()

    @step(name="watched")
    async def watched() -> None:
        try:
            await trio.sleep_forever()
        finally:
            gone.append(trio.current_time() - began)

    @workflow(name="watching")
    async def watching() -> None:
        await watched()

    async def slow_and_then_locked() -> None:
        await trio.sleep(4)  # the answer to the first one, at 5
        store.before_renew = locked

    async def locked() -> None:
        raise StoreUnavailable("locked")

    store.after_renew = slow_and_then_locked
    async with open_engine(store, [watching], clock=clock, lease=15) as engine:
        await engine.submit(watching)
        await trio.sleep(25)
    assert gone[0] < 5 + 15


async def test_an_engine_may_take_up_itself_what_it_has_lost(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as engine:
        handle = await engine.submit(napping, 30.0, id="one")
        await trio.sleep(1)
        sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
        assert await handle.result() == 30
        assert (await kinds(handle)).count("Claimed") == 1
    assert bodies == ["nap 30", "nap 30"]


async def test_the_end_is_on_its_way_when_the_engine_takes_it_up_again(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    hold_ends(store, go_on)
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 1.0, id="one")
        async with in_background(handle.result):
            await trio.sleep(2)
            sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
            await trio.sleep(30)
            go_on.set()
        assert await handle.result() == 1
        assert engine.statistics().running == 0
    assert bodies == ["nap 1"]


async def test_a_lost_lease_does_not_make_the_engine_spin(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    claims = 0

    async def count() -> None:
        nonlocal claims
        claims += 1

    store.before_claim = count
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 60.0, id="one")
        await trio.sleep(1)
        sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
        with trio.fail_after(200):
            await handle.result()
    assert claims < 100


async def test_a_clock_that_jumps_ahead_costs_a_lease_and_nothing_else(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping_twice, clock=clock) as a, on_file(path, napping_twice, clock=clock) as b:
        handles = [await engine.submit(napping_twice, 30.0) for engine in (a, b)]
        await trio.sleep(10)
        clock.set(clock.utc() + 3_600_000_000)
        for handle in handles:
            assert await handle.result() == [30, 31]
            assert (await kinds(handle)).count("StepEnded") == 2


async def test_a_clock_that_jumps_back_costs_nothing(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping_twice, clock=clock) as a, on_file(path, napping_twice, clock=clock) as b:
        handle = await a.submit(napping_twice, 30.0)
        await trio.sleep(10)
        clock.set(clock.utc() - 3_600_000_000)
        assert await (await b.get(handle.id)).result() == [30, 31]
        log = await handle.log()
        assert [entry.at for entry in log] == sorted(entry.at for entry in log)
        assert await kinds(handle) == ["Started", "StepBegan", "StepEnded", "StepBegan", "StepEnded", "Ended"]


# -- one trio.run --------------------------------------------------------------------------------


async def test_two_engines_on_two_stores_do_not_see_each_other(autojump_clock: Clock) -> None:
    async with in_memory() as a, in_memory() as b:
        assert await a.run(napping, 1.0, id="one") == 1
        assert await b.list() == []
        async with trio.open_nursery() as nursery:
            for engine in (a, b):
                for number in range(5):
                    nursery.start_soon(engine.run, napping_twice, number / 2)
        assert (len(await a.list()), len(await b.list())) == (6, 5)


async def test_a_step_may_use_another_engine(autojump_clock: Clock) -> None:
    async with in_memory() as outer, in_memory() as inner:

        @step(name="delegate")
        async def delegate(seconds: float) -> float:
            return await inner.run(napping, seconds)

        @workflow(name="delegating")
        async def delegating() -> float:
            return await delegate(3.0)

        assert await outer.run(delegating) == 3


async def test_an_engine_inside_an_engine(autojump_clock: Clock) -> None:
    async with in_memory() as outer:
        async with in_memory() as inner:
            await inner.run(napping, 1.0)
        assert await outer.run(napping, 1.0) == 1


async def test_many_who_cancel_at_once_share_a_look_for_messages(autojump_clock: Clock, tmp_path: Path) -> None:
    """Each would have the store to itself in turn, and whoever listens to it would come last."""
    looks = 0

    async def looked() -> None:
        nonlocal looks
        looks += 1
        await trio.sleep(0.001)

    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    store.after_messages = looked
    async with open_engine(store, [napping], clock=clock) as engine:
        handles = [await engine.submit(napping, 100, id=f"w{number}") for number in range(20)]
        await trio.sleep(1)
        looks = 0
        async with trio.open_nursery() as nursery:
            for handle in handles:
                nursery.start_soon(engine.cancel, handle.id)
        assert 0 < looks < 10
        for handle in handles:
            with pytest.raises(WorkflowCancelled):
                await handle.result()
