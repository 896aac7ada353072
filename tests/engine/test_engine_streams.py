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
    Status,
    UsageError,
    WorkflowCancelled,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowNotFound,
    WorkflowStuck,
    publish,
    step,
    workflow,
)
from nurselog._engine import reading
from nurselog.lowlevel import Emitted
from nurselog.testing import VirtualClock
from tests.engine.publishers import counting, emitting, failing_midway, positions, read, streaming, stuck_midway
from tests.engine.rig import in_memory, on_file, settle, sql

Clock = trio.testing.MockClock


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
        for beyond in (10_000, 2**63 - 1, 10**30):
            assert await read(handle, after=beyond) == []


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


@pytest.mark.parametrize("error", [trio.EndOfChannel, StopAsyncIteration])
async def test_a_failure_that_says_no_more_is_no_end_of_the_items(
    autojump_clock: Clock, error: type[Exception]
) -> None:
    @workflow(name="runs dry")
    async def flow() -> None:
        publish("items", 1)
        raise error("dry")

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="w")
        await expect(handle, RuntimeError, [1])
        with pytest.raises(RuntimeError, match=rf"workflow 'w' failed with {error.__name__}\('dry'\)") as caught:
            await read(handle)
        assert type(caught.value.__cause__) is error
        with pytest.raises(error):
            await handle.result()


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
