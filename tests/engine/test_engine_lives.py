"""The lease is lost, and what was asked for before that is answered when there is a new one, or almost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import CancelScope, Engine, WorkflowCancelled, open_engine, open_nursery, sleep, step, workflow
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, on_file, once, sql

Clock = trio.testing.MockClock
bodies: list[float] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    bodies.clear()


@step(name="lives.nap")
async def nap(seconds: float) -> float:
    bodies.append(seconds)
    await trio.sleep(seconds)
    return seconds


@workflow(name="lives.napping")
async def napping(seconds: float) -> float:
    await nap(seconds)
    return await nap(seconds + 1)


@workflow(name="lives.resting")
async def resting() -> None:
    try:
        await sleep(500)
    finally:
        with CancelScope(shield=True):
            await nap(7)


@workflow(name="lives.child")
async def child() -> None:
    await sleep(500)


@workflow(name="lives.parent")
async def parent() -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(child)
        await sleep(500)


def creations(take_long: Callable[[], Awaitable[None]]) -> Callable[[Batch], Awaitable[None]]:
    """Return a hook that calls another one where something is made."""

    async def hook(batch: Batch) -> None:
        if batch.creations:
            await take_long()

    return hook


async def ends(engine: Engine, id: str) -> object:
    with trio.fail_after(500):
        return await (await engine.get(id)).result()


async def test_what_this_engine_has_claimed_since_is_not_begun_again(autojump_clock: Clock, tmp_path: Path) -> None:
    """A workflow is made, the answer is slow, and when it comes this engine runs the workflow already."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew, store.after_commit = once(20), creations(once(25))
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        await trio.sleep(4)
        await engine.submit(napping, 50.0, id="w")
        assert await ends(engine, "w") == 51
    assert bodies == [50, 51]


async def test_what_this_engine_has_claimed_since_is_not_replaced(autojump_clock: Clock, tmp_path: Path) -> None:
    """The same where it was claimed, and then claimed again for a cancellation."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, resting, clock=clock) as engine:
        await engine.submit(resting, id="w")
    store = Hooked(file_store(path, clock))
    store.before_renew, store.after_claim = once(20), once(27)
    async with open_engine(store, [resting], clock=clock, lease=15) as engine:
        await trio.sleep(26)
        await engine.cancel("w")
        with pytest.raises(WorkflowCancelled):
            await ends(engine, "w")


async def test_what_another_engine_has_ended_since_is_not_begun(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew, store.after_commit = once(20), creations(once(40))
    async with (
        open_engine(store, [napping], clock=clock, lease=15) as engine,
        on_file(path, napping, clock=clock),
    ):
        await trio.sleep(4)
        assert await engine.run(napping, 5.0, id="w") == 6
        await trio.sleep(60)
    assert bodies == [5, 6]


async def test_what_is_made_after_all_the_same_is_given_back(autojump_clock: Clock, tmp_path: Path) -> None:
    """It reaches the store when that has entered the worker anew: it is this worker's there, and nobody's here."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, entered = Hooked(file_store(path, clock)), trio.Event()

    async def take_a_second() -> None:
        entered.set()
        await trio.sleep(1)

    store.before_renew, store.after_reenter = once(20), take_a_second
    store.before_commit = creations(entered.wait)
    async with open_engine(store, [napping], clock=clock, lease=15) as engine, trio.open_nursery() as nursery:
        await trio.sleep(11)
        nursery.start_soon(partial(engine.run, napping, 5.0, id="w"))
        await entered.wait()
        assert bodies == []
        with trio.fail_after(100):
            assert await engine.run(napping, 5.0, id="w") == 6
    assert bodies == [5, 6]


async def test_nothing_is_claimed_for_an_order_until_there_is_a_lease(autojump_clock: Clock, tmp_path: Path) -> None:
    """It would be let go in the store, and claimed once more, while its code runs here."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew = once(12)
    async with open_engine(store, [resting], clock=clock, lease=15, evict_after=1) as engine:
        await engine.submit(resting, id="w")
        await trio.sleep(14)
        assert engine.statistics().evicted == 1
        await engine.cancel("w")
        with pytest.raises(WorkflowCancelled):
            await ends(engine, "w")
    assert bodies == [7]


async def test_what_is_made_when_the_worker_is_not_there_any_more(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is nobody's in the store, and this engine does not know yet that it has lost its lease."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as engine:
        await trio.sleep(4)
        sql(path, "DELETE FROM worker")
        with trio.fail_after(100):
            assert await engine.run(napping, 5.0) == 6
    assert bodies == [5, 6]


# -- the lease is in doubt, and good -----------------------------------------------------------------


async def test_who_waits_stays_in_memory_while_the_lease_is_in_doubt(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is no want of room that nothing is taken up meanwhile."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew = once(0.3)
    async with open_engine(store, [parent, child], clock=clock, lease=15, evict_after=1000) as engine:
        await engine.submit(parent)
        await trio.sleep(4.9)
        autojump_clock.jump(9)
        await engine.submit(child)
        await trio.sleep(1)
        assert (engine.statistics().evicted, engine.statistics().waiting) == (0, 3)


async def test_what_is_made_while_the_lease_is_in_doubt_begins_when_it_is_good(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        await trio.sleep(4.9)
        store.before_renew = once(0.3)
        autojump_clock.jump(9)
        with trio.fail_after(2):
            assert await engine.run(napping, 0.0) == 1
