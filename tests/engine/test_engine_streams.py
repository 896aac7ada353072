"""What a workflow publishes, read outside: here and elsewhere, early and late, to the end or to what comes instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    DecodingError,
    EngineClosed,
    Item,
    MisplacedCallError,
    RegistrationError,
    Retry,
    Status,
    UsageError,
    WorkflowCancelled,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowNotFound,
    WorkflowStuck,
    attempt,
    open_engine,
    open_stream,
    publish,
    sleep,
    step,
    workflow,
)
from nurselog._engine import reading
from nurselog._flow import log as log_module
from nurselog.abc import Batch
from nurselog.lowlevel import Emitted, Published
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file, settle, sql

Clock = trio.testing.MockClock


@step
async def emit(first: int, count: int, pause: float = 0) -> None:
    async with open_stream("items") as stream:
        for number in range(first, first + count):
            await stream.send(number)
            await trio.sleep(pause)


@workflow
async def emitting(first: int, count: int, pause: float) -> None:
    """Send items from a step, with pauses between them."""
    await emit(first, count, pause)
    await sleep(30)


@workflow
async def streaming(count: int, pause: float) -> str:
    """Send items from the workflow, with pauses between them."""
    async with open_stream("items") as stream:
        for number in range(count):
            await stream.send(number)
            await sleep(pause)
    await sleep(30)
    return "done"


@workflow
async def counting(count: int) -> None:
    """Publish a number each second, and nothing for long at the end."""
    for number in range(count):
        publish("number", number)
        await sleep(1)
    await sleep(30)


@workflow
async def failing_midway() -> None:
    """Fail in the middle of a stream."""
    async with open_stream("items") as stream:
        await stream.send(1)
        raise ValueError("midway")


@workflow
async def stuck_midway() -> None:
    """Wait for what never comes, in the middle of a stream."""
    async with open_stream("items") as stream:
        await stream.send(1)
        await trio.sleep_forever()


async def read(handle: WorkflowHandle[Any], name: str = "items", after: int = 0) -> Sequence[Any]:
    return [item.value async for item in handle.follow(name, after=after)]


async def positions(handle: WorkflowHandle[Any], kind: type[Published | Emitted]) -> list[tuple[int, bytes | None]]:
    return [(entry.seq, entry.value) for entry in await handle.log() if isinstance(entry.event, kind)]


# -- who reads when and where --------------------------------------------------------------------


@pytest.mark.parametrize("flow", [partial(emitting, 0, 5, 1.0), partial(streaming, 5, 1.0)])
@pytest.mark.parametrize("late", [0, 2.5, 20, 200])
async def test_each_reader_gets_every_item_whenever_it_comes(
    autojump_clock: Clock, flow: Callable[[], Any], late: float
) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(flow)
        await trio.sleep(late)
        assert await read(handle) == list(range(5))


async def test_items_are_read_as_they_come_elsewhere(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, emitting, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(emitting, 0, 5, 10.0, id="w")
        lags = list[float]()
        async for item in (await there.get("w")).follow("items", int):
            lags.append(trio.current_time() - 10 * item.value)
    assert len(lags) == 5
    assert max(lags) < 0.2


async def test_a_reader_begins_behind_a_position(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(emitting, 0, 4, 1.0)
        items = [item async for item in handle.follow("items", int)]
        assert [item.position for item in items] == [seq for seq, value in await positions(handle, Emitted) if value]
        for known, item in enumerate(items, 1):
            assert await read(handle, after=item.position) == list(range(known, 4))
        assert await read(handle, after=items[1].position - 1) == [1, 2, 3]
        await handle.result()
        assert await read(handle, after=10_000) == []


async def test_an_item_says_when_it_was_published(autojump_clock: Clock) -> None:
    clock = VirtualClock()
    async with in_memory(clock) as engine:
        handle = await engine.submit(counting, 3)
        async for item in handle.follow("number", int):
            now = datetime.fromtimestamp(clock.utc() / 1e6, UTC)
            assert 0 <= (now - item.at).total_seconds() < 0.001
            if item.value == 2:
                break


async def test_two_names_do_not_mix(autojump_clock: Clock) -> None:
    @workflow(name="two names")
    async def flow() -> None:
        publish("a", 1)
        publish("b", 2)
        publish("a", 3)

    async with in_memory() as engine:
        handle = await engine.submit(flow)
        assert await read(handle, "a") == [1, 3]
        assert await read(handle, "b") == [2]
        assert await read(handle, "c") == []


async def test_readers_of_one_channel_share_the_items(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(emitting, 0, 6, 1.0)
        channel, got = handle.follow("items", int), list[int]()

        async def reader() -> None:
            async for item in channel:
                got.append(item.value)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reader)
        assert got == list(range(6))


# -- the current value ---------------------------------------------------------------------------


async def test_the_latest_value_while_it_changes(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(counting, 3)
        assert await handle.latest("other") is None
        for number in range(3):
            await trio.sleep(0.5 if number == 0 else 1)
            latest = await handle.latest("number", int)
            assert isinstance(latest, Item)
            assert latest.value == number
        await handle.result()
        latest = await handle.latest("number", int)
        assert latest is not None
        assert await read(handle, "number", after=latest.position) == []


async def test_the_end_of_a_stream_is_no_value(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(streaming, 3, 0.0)
        assert await read(handle) == [0, 1, 2]
        latest = await handle.latest("items", int)
        assert latest is not None
        assert latest.value == 2


@pytest.mark.parametrize("behind", [0, 1, 2, 3, 20, 100])
async def test_the_latest_value_may_be_far_from_the_end(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    monkeypatch.setattr(reading, "WINDOW", 2)
    monkeypatch.setattr(reading, "LARGEST", 10)

    @workflow(name="far from the end")
    async def flow() -> None:
        publish("early", "here")
        for number in range(behind):
            publish("noise", number)

    async with in_memory() as engine:
        handle = await engine.submit(flow)
        await handle.result()
        latest = await handle.latest("early", str)
        assert latest is not None
        assert (latest.position, latest.value) == (2, "here")
        assert await handle.latest("never") is None


async def test_what_is_deleted_has_no_latest_value(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", counting) as engine:
        handle = await engine.submit(counting, 1)
        await handle.result()
        sql(tmp_path / "log.db", "DELETE FROM log", "DELETE FROM workflow")
        with pytest.raises(WorkflowNotFound):
            await handle.latest("number")


# -- how it ends ---------------------------------------------------------------------------------


async def until(channel: trio.abc.ReceiveChannel[Item[Any]], ended: type[BaseException]) -> list[Any]:
    """Read to an end, and see that it stays."""
    got = list[Any]()
    with pytest.raises(ended):
        while True:
            got.append((await channel.receive()).value)
    with pytest.raises(ended):
        await channel.receive()
    return got


async def test_a_stream_that_is_closed_ends_though_the_workflow_goes_on(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(streaming, 3, 1.0)
        assert await until(handle.follow("items"), trio.EndOfChannel) == [0, 1, 2]
        assert trio.current_time() < 10
        assert await handle.status() is Status.RUNNING


async def test_values_end_when_the_workflow_has_completed(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(counting, 3)
        assert await until(handle.follow("number"), trio.EndOfChannel) == [0, 1, 2]
        assert trio.current_time() > 30


@pytest.mark.parametrize("flow", [partial(emitting, 0, 100, 1.0), partial(streaming, 100, 1.0)])
@pytest.mark.parametrize(("end", "error"), [("cancel", WorkflowCancelled), ("kill", WorkflowKilled)])
async def test_who_follows_sees_what_became_of_the_workflow(
    autojump_clock: Clock, tmp_path: Path, flow: Callable[[], Any], end: str, error: type[Exception]
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, emitting, streaming, clock=clock) as here, on_file(path, clock=clock) as there:
        await here.submit(flow, id="w")

        async def strike() -> None:
            await trio.sleep(2.5)
            await getattr(here, end)("w")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(strike)
            for engine in (here, there):
                handle = await engine.get("w")
                nursery.start_soon(expect, handle, error, [0, 1, 2])


async def expect(handle: WorkflowHandle[Any], error: type[Exception], values: list[int]) -> None:
    assert await until(handle.follow("items"), error) == values


async def test_the_workflows_own_error_comes_to_who_follows(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(failing_midway)
        await expect(handle, ValueError, [1])


async def test_what_is_stuck_is_told_to_who_follows(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(stuck_midway)
        await expect(handle, WorkflowStuck, [1])


async def test_the_engine_closes_while_somebody_follows(autojump_clock: Clock) -> None:
    async with trio.open_nursery() as nursery, in_memory() as engine:
        handle = await engine.submit(streaming, 100, 1.0)
        nursery.start_soon(expect, handle, EngineClosed, [0, 1, 2])
        await trio.sleep(2.5)
    with pytest.raises(EngineClosed):
        handle.follow("items")
    with pytest.raises(EngineClosed):
        await handle.latest("items")


async def test_a_channel_that_is_closed_wakes_who_waits(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        channel = (await engine.submit(counting, 1)).follow("number")
        await channel.receive()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(until, channel, trio.ClosedResourceError)
            await settle()
            await channel.aclose()
        await channel.aclose()


async def test_a_receive_that_is_cancelled_loses_no_item(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        channel, got = (await engine.submit(emitting, 0, 4, 1.0)).follow("items", int), list[int]()
        while len(got) < 4:
            with trio.move_on_after(0.3):
                got.append((await channel.receive()).value)
        assert got == [0, 1, 2, 3]


# -- values --------------------------------------------------------------------------------------


async def test_an_item_that_does_not_fit_is_told_and_passed_over(autojump_clock: Clock) -> None:
    @workflow(name="mixed")
    async def flow() -> None:
        for value in (1, "two", 3):
            publish("mixed", value)

    async with in_memory() as engine:
        handle = await engine.submit(flow)
        channel = handle.follow("mixed", int)
        assert (await channel.receive()).value == 1
        with pytest.raises(DecodingError):
            await channel.receive()
        assert (await channel.receive()).value == 3
        with pytest.raises(DecodingError):
            await handle.latest("mixed", str)


async def test_readers_are_told_what_is_wrong_with_their_arguments(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(counting, 1)
        for name in ("", "a\nb", "x" * 201, 7):
            with pytest.raises(UsageError, match="a name must have 1 to 200"):
                handle.follow(name)  # type: ignore[call-overload]  # on purpose
            with pytest.raises(UsageError, match="a name must have 1 to 200"):
                await handle.latest(name)  # type: ignore[call-overload]  # on purpose
        for after in (-1, 1.5, True, None):
            with pytest.raises(UsageError, match="after must be a whole number, 0 or more"):
                handle.follow("number", after=after)  # type: ignore[call-overload]  # on purpose
        with pytest.raises(RegistrationError, match="follow, its values"):
            handle.follow("number", Callable[[], int])
        with pytest.raises(RegistrationError, match="latest, its values"):
            await handle.latest("number", Callable[[], int])


async def test_no_workflow_reads_what_another_one_publishes(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        other = await engine.submit(counting, 1)

        @step(name="reads in a step")
        async def in_a_step() -> Sequence[int]:
            return await read(other, "number")

        @workflow(name="reads another one")
        async def flow() -> Sequence[int]:
            with pytest.raises(MisplacedCallError):
                other.follow("number")
            with pytest.raises(MisplacedCallError):
                await other.latest("number")
            return await in_a_step()

        assert await engine.run(flow) == [0]


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
        bound = 20 if size == 1 else 11
        assert bound - 5 <= len(sent) <= bound + 5
        go_on.set()
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
