"""What a workflow publishes, when its process dies, a step runs again, or the store does not keep up."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import (
    Retry,
    WorkflowCancelled,
    attempt,
    open_engine,
    open_stream,
    step,
    workflow,
)
from nurselog._flow import log as log_module
from nurselog.abc import Batch
from nurselog.lowlevel import Emitted, Published
from nurselog.testing import VirtualClock
from tests.engine.publishers import counting, emitting, positions, read
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file, settle, sql

Clock = trio.testing.MockClock


# -- crashes -------------------------------------------------------------------------------------


async def test_nothing_that_the_workflow_has_published_is_published_again(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, counting, clock=clock) as engine:
        handle = await engine.submit(counting, 5, id="w")
        await trio.sleep(2.5)
        before = await positions(handle, Published)
        path = crashed(path)
    async with on_file(path, counting, clock=clock) as engine:
        handle = await engine.get("w")
        assert await read(handle, "number") == [0, 1, 2, 3, 4]
        assert (await positions(handle, Published))[:3] == before


async def test_a_step_that_runs_again_publishes_again_at_other_positions(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, emitting, clock=clock) as engine:
        handle = await engine.submit(emitting, 0, 3, 1.0, id="w")
        await trio.sleep(1.5)
        before = await positions(handle, Emitted)
        path = crashed(path)
    async with on_file(path, emitting, clock=clock) as engine:
        handle = await engine.get("w")
        assert await read(handle) == [0, 1, 0, 1, 2]
        assert await read(handle, after=before[-1][0]) == [0, 1, 2]
        await handle.result()


async def test_an_attempt_that_fails_does_not_end_the_stream(autojump_clock: Clock) -> None:
    @step(name="flaky", retry=Retry(attempts=3, delay=1.0))
    async def flaky() -> None:
        with open_stream("items") as stream:
            for number in range(2):
                await stream.send((attempt(), number))
                if attempt() < 3:
                    raise OSError("again")

    @workflow(name="retries")
    async def flow() -> None:
        await flaky()

    async with in_memory() as engine:
        handle = await engine.submit(flow)
        assert await read(handle) == [[1, 0], [2, 0], [3, 0], [3, 1]]
        entries = await handle.log()
        attempts = [entry.event.attempt for entry in entries if isinstance(entry.event, Emitted)]
        assert attempts == [1, 2, 3, 3, 3]


async def test_a_fork_has_what_was_published_before_it(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(counting, 3, id="w")
        await handle.result()
        at = (await positions(handle, Published))[1][0]
        fork = await engine.fork("w", at=at, new_id="f")
        assert await read(fork, "number") == [0, 1, 2]
        assert len(await positions(fork, Published)) == 3


# -- back-pressure -------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_step_waits_when_much_is_on_its_way(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, together: bool
) -> None:
    """The store stands still: what is in memory stays within bounds. It goes on: all comes, and in order."""
    monkeypatch.setattr(log_module, "AHEAD", 20)
    monkeypatch.setattr(log_module, "AHEAD_BYTES", 10_000)
    monkeypatch.setattr("nurselog._flow.publishing.BURST", 5)
    sent, go_on = list[int](), trio.Event()

    @step(name="sends fast")
    async def fast() -> None:
        numbers = range(100)
        async with open_stream("items") as stream:
            if together:
                await stream.send_all(f"{sent.append(number) or number:0{size}}" for number in numbers)
            else:
                for number in numbers:
                    await stream.send(f"{number:0{size}}")
                    sent.append(number)

    @workflow(name="sends fast, as a workflow")
    async def flow() -> None:
        await fast()

    async def hold(batch: Batch) -> None:
        if any(b'"emitted"' in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store = Hooked(file_store(tmp_path / "log.db", VirtualClock()))
    store.before_commit = hold
    async with open_engine(store, [flow], clock=VirtualClock()) as engine:
        handle = await engine.submit(flow)
        await settle(100)
        ahead, bound = len(sent), 20 if size == 1 else 11
        go_on.set()
        assert bound - 5 <= ahead <= bound + 5
        assert [int(value) for value in await read(handle)] == list(range(100))
        await handle.result()


async def test_a_step_that_waits_for_room_can_be_cancelled(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "AHEAD", 3)
    store, go_on = Hooked(file_store(tmp_path / "log.db", VirtualClock())), trio.Event()

    async def hold(batch: Batch) -> None:
        if any(b'"emitted"' in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold
    async with open_engine(store, [emitting], clock=VirtualClock()) as engine:
        handle = await engine.submit(emitting, 0, 100, 0.0, id="w")
        await settle(100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.cancel, "w")
            await settle(100)
            go_on.set()
        values = [int(value or b"") for _, value in await positions(handle, Emitted)]
        assert values == list(range(len(values)))
        assert 3 <= len(values) < 10
        with pytest.raises(WorkflowCancelled):
            await handle.result()


async def test_a_step_that_waits_for_room_goes_on_when_its_workflow_is_anothers(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has sent will never be durable, and it may not be in a place where it can be cancelled."""
    monkeypatch.setattr(log_module, "AHEAD", 3)
    path, taken_over, went = tmp_path / "log.db", trio.Event(), trio.Event()

    @step(name="sends under a shield")
    async def sends() -> None:
        with trio.CancelScope(shield=True):
            await open_stream("items").send_all(range(1000))
            for number in range(10):
                await open_stream("items").send(number)
            went.set()

    @workflow(name="sends under a shield, as a workflow")
    async def flow() -> None:
        await sends()

    async def take_over(batch: Batch) -> None:
        if any(append.public for append in batch.appends) and not taken_over.is_set():
            sql(path, "UPDATE log SET writer = 1")
            taken_over.set()

    store = Hooked(file_store(path, VirtualClock()))
    store.before_commit = take_over
    async with open_engine(store, [flow], clock=VirtualClock()) as engine:
        await engine.submit(flow)
        with trio.fail_after(5):
            await taken_over.wait()
            await went.wait()
