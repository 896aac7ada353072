"""Children and what happens to them in the very moment: both orders on purpose, and one outcome on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from nurselog import (
    CancelScope,
    Engine,
    Status,
    WorkflowCancelled,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog.abc import Batch
from nurselog.lowlevel import ChildEnded, ChildStarted, Ended, Result, ScopeCancelled
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, hold_ends, on_file, settle

Clock = trio.testing.MockClock
seen: list[object] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def sleeping(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@workflow
async def working(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def in_time() -> str:
    """Gives its child three seconds."""
    with move_on_after(3) as scope:
        return f"got {await working(2.0)}"
    return f"caught {scope.cancelled_caught}"


@workflow
async def busy() -> str:
    """The same, and never idle meanwhile."""
    async with open_nursery() as nursery:
        nursery.go(nap, 100)
        handle = nursery.go(working, 0.5)
        await sleep(1)
        nursery.cancel_scope.cancel("enough")
    return repr(handle.outcome)


async def ends(engine: Engine, parent: str, child: str) -> list[tuple[Result, str | None]]:
    """Return how a child has ended, by the parent's log and by its own."""
    told = [entry.event for entry in await (await engine.get(parent)).log() if isinstance(entry.event, ChildEnded)]
    own = (await (await engine.get(child)).log())[-1].event
    assert isinstance(own, Ended)
    return [*((event.result, event.reason) for event in told), (own.result, own.reason)]


@contextmanager
def at_last(event: trio.Event) -> Generator[None]:
    """Set it, also if the block fails: an engine that hangs does not close."""
    try:
        yield
    finally:
        event.set()


async def was_told(engine: Engine, id: str) -> bool:
    """Whether a log says that a scope was cancelled."""
    return any(isinstance(entry.event, ScopeCancelled) for entry in await (await engine.get(id)).log())


# -- the end and the cancellation ----------------------------------------------------------------


async def test_a_child_has_ended_and_its_parent_does_not_know_yet(autojump_clock: Clock, tmp_path: Path) -> None:
    """The scope is cancelled meanwhile: the child is told too late, and what it has come to counts."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold() -> None:
        if trio.current_time() >= 1.5:
            await go_on.wait()

    store.after_messages = hold
    async with open_engine(store, [in_time, working], clock=clock) as engine:
        handle = await engine.submit(in_time, id="one")
        await trio.sleep(5)
        with at_last(go_on):
            assert await was_told(engine, "one")
            assert await (await engine.get("one/2")).status() is Status.COMPLETED
        assert await handle.result() == "got 2.0"
        assert await ends(engine, "one", "one/2") == [(Result.VALUE, None)] * 2
        assert not await was_told(engine, "one/2")


async def test_a_child_is_told_while_its_end_is_on_the_way(autojump_clock: Clock, tmp_path: Path) -> None:
    """In another process: the cancellation lies in its inbox when the end is committed, and goes with it."""
    path, clock, go_on = tmp_path / "log.db", VirtualClock(), trio.Event()
    store = Hooked(file_store(path, clock))
    hold_ends(store, go_on)
    async with (
        on_file(path, busy, clock=clock, max_running=1) as here,
        open_engine(store, [working], clock=clock) as there,
    ):
        handle = await here.submit(busy, id="one")
        await trio.sleep(4)
        with at_last(go_on):
            assert await (await here.get("one/3")).status() is Status.RUNNING
            assert await was_told(here, "one")
        assert await handle.result() == "Succeeded(value=0.5)"
        assert await ends(here, "one", "one/3") == [(Result.VALUE, None)] * 2
        assert not await was_told(here, "one/3")
        assert await there._store.messages() == []


async def test_a_child_hears_it_just_before_its_end(autojump_clock: Clock, tmp_path: Path) -> None:
    """The cancellation is in its log first, and what its step comes to then is the step's own affair."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(batch: Batch) -> None:
        if any(b'"external"' in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold
    async with open_engine(store, [in_time, working], clock=clock) as engine:
        handle = await engine.submit(in_time, id="one")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.cancel, "one/2", "just before")
            await trio.sleep(1.5)  # its step has ended
            go_on.set()
        assert await handle.result() == "got 2.0"
        assert await was_told(engine, "one/2")
        assert await ends(engine, "one", "one/2") == [(Result.VALUE, None)] * 2


@pytest.mark.parametrize("ticks", range(0, 40, 2))
async def test_a_parent_is_cancelled_about_when_its_child_ends(
    autojump_clock: Clock, tmp_path: Path, ticks: int
) -> None:
    """At whatever tick: one outcome on both sides."""
    async with on_file(tmp_path / "log.db", in_time) as engine:
        handle = await engine.submit(in_time, id="one")
        await trio.sleep(2)
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        try:
            await engine.cancel("one")
            await handle.result()
        except Exception as exc:  # noqa: BLE001 - it had ended, or was cancelled
            seen.append(exc)
        own, *told = set(await ends(engine, "one", "one/2"))
        assert not told
        assert (own == (Result.VALUE, None)) or isinstance(seen[0], WorkflowCancelled)


# -- the start and the cancellation --------------------------------------------------------------


async def test_a_child_whose_making_is_on_the_way_when_its_parent_is_cancelled(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(batch: Batch) -> None:
        if any(creation.parent is not None for creation in batch.creations):
            await go_on.wait()

    store.before_commit = hold
    async with open_engine(store, [in_time, working], clock=clock) as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(in_time, id="one")
        await settle()
        nursery.start_soon(engine.cancel, "one", "too late for that")
        await trio.sleep(1)
        with at_last(go_on):
            assert await engine.list(prefix="one/") == []
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        assert await ends(engine, "one", "one/2") == [(Result.CANCELLED, "too late for that")] * 2


@workflow
async def bearing(count: int) -> None:
    """Starts children without an end, also when it is cancelled already."""
    async with open_nursery() as nursery:
        with CancelScope(shield=True) as shield:
            for number in range(count):
                nursery.go(sleeping, 1000.0 + number)
                if number % 10 == 9:
                    await nap(1)
            shield.shield = False


async def test_no_child_escapes_that_is_started_meanwhile(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", bearing) as engine:
        handle = await engine.submit(bearing, 100, id="one")
        await trio.sleep(4.5)
        await engine.cancel("one", "no more")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        assert trio.current_time() < 30
        infos = await engine.list(prefix="one/", limit=1000)
    assert Counter(info.status for info in infos) == {Status.CANCELLED: 100}


@workflow
async def crowd(width: int, depth: int) -> None:
    """A tree, of which each member waits for those below, and the last ones for ever."""
    async with open_nursery() as nursery:
        for _ in range(width):
            nursery.go(crowd, 0 if depth == 0 else width, depth - 1)
        if depth < 0:
            await sleep(1_000_000)


@pytest.mark.parametrize("room", [50, 1000])
async def test_cancelling_a_tree_reaches_all(autojump_clock: Clock, tmp_path: Path, scale: int, room: int) -> None:
    """Those that only wait, those that have not begun for want of room, and those that are out of memory."""
    width = round((300 * scale) ** 0.5)
    async with on_file(tmp_path / "log.db", crowd, max_running=room, evict_after=1000) as engine:
        handle = await engine.submit(crowd, width, 1, id="one")
        await trio.sleep(2)
        await engine.cancel("one", "all of you")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        infos = await engine.list(prefix="one/", limit=1_000_000)
        assert {info.status for info in infos} == {Status.CANCELLED}
        assert len(infos) == width + width**2
        log = [entry.event for entry in await handle.log()]
        started, ended = (
            {event.path for event in log if isinstance(event, kind)} for kind in (ChildStarted, ChildEnded)
        )
        assert started == ended
