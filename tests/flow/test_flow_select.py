"""`select`: which case it takes, what it consumes, what it leaves alone."""

from __future__ import annotations

import math
import weakref
from datetime import timedelta

import anyio
import pytest
import trio

from nurselog import (
    CancelScope,
    ChildCancelled,
    Failed,
    Selected,
    Succeeded,
    WasCancelled,
    after,
    at,
    move_on_after,
    now,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
    step,
)
from nurselog.lowlevel import Selected as SelectedEvent
from nurselog.lowlevel import TimerFired, TimerSet
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def fail(message: str) -> None:
    raise ValueError(message)


async def test_the_first_child_to_end_is_taken(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            slow, fast = nursery.go(nap, 2), nursery.go(nap, 1)
            first = await select(slow, fast)
            assert (first.index, first.case, first.outcome) == (1, fast, Succeeded(1))
            second = await select(slow)
        return [first.unwrap(), second.unwrap()]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [1, 2]
        assert [event.index for event in await events(engine) if isinstance(event, SelectedEvent)] == [1, 0]


async def test_a_failed_child_is_a_ready_case(autojump_clock: Clock) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            failing, slow = nursery.go(fail, "no"), nursery.go(nap, 5)
            taken = await select(slow, failing)
            assert isinstance(taken.outcome, Failed)
            with pytest.raises(ValueError, match="no"):
                taken.unwrap()
            slow.cancel("lost")
            cancelled = await select(slow)
            assert cancelled.outcome == WasCancelled("lost", slow.path)
            with pytest.raises(ChildCancelled):
                cancelled.unwrap()
        return "content"

    assert await play(flow) == "content"


async def test_of_several_ready_ones_the_earliest_in_the_log(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, seconds) for seconds in (3, 1, 2)]
            for handle in handles:
                await handle.receive()
            return [(await select(*handles)).index, (await select(handles[0], handles[2])).index]

    assert await play(flow) == [1, 1]


async def test_ties_go_by_position(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        send, receive = open_memory_channel[int](math.inf)
        other_send, other_receive = open_memory_channel[int](math.inf)
        other_send.send_nowait(1)
        send.send_nowait(2)
        a = await select(receive, other_receive)
        b = await select(receive, other_receive)
        return [a.index, a.unwrap(), b.index, b.unwrap()]

    assert await play(flow) == [0, 2, 1, 1]


async def test_a_settled_handle_wins_again(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            settled, later = nursery.go(nap, 0), nursery.go(nap, 5)
            await settled.receive()
            return [(await select(later, settled)).index for _ in range(3)]

    assert await play(flow) == [1, 1, 1]


async def test_the_same_case_twice_is_taken_at_its_first_position(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(nap, 1)
            waited = await select(handle, handle)
            ready = await select(handle, handle)
        return [waited.index, ready.index]

    assert await play(flow) == [0, 0]


async def test_an_item_is_consumed_only_if_its_case_is_taken(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        channels = [open_memory_channel[int](0) for _ in range(3)]
        got = []
        async with open_nursery() as nursery:
            for number, (send, _) in enumerate(channels):
                nursery.start_soon(send.send, number)
            for _ in range(3):
                taken = await select(*[receive for _, receive in channels])
                assert taken.index == taken.unwrap()
                got.append(taken.index)
        return got

    assert await play(flow) == [0, 1, 2]


async def test_a_parked_select_takes_one_item_of_several_that_come_at_once(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        (send_a, a), (send_b, b) = open_memory_channel[int](1), open_memory_channel[int](1)

        async def both() -> None:
            await nap(1)
            send_b.send_nowait(2)
            send_a.send_nowait(1)

        async with open_nursery() as nursery:
            nursery.start_soon(both)
            taken = await select(a, b)
        return [taken.index, taken.unwrap(), a.receive_nowait(), b.statistics().current_buffer_used]

    assert await play(flow) == [1, 2, 1, 0]


async def test_a_closed_and_drained_channel_is_ready(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        send, receive = open_memory_channel[int](5)
        send.send_nowait(7)
        send.close()
        first, second = await select(receive), await select(receive, after(100))
        receive.close()
        third = await select(after(100), receive)
        kinds = [type(taken.outcome.error).__name__ for taken in (second, third) if isinstance(taken.outcome, Failed)]
        return [str(first.unwrap()), *kinds]

    assert await play(flow) == ["7", "EndOfChannel", "ClosedResourceError"]


async def test_a_channel_that_is_closed_while_a_select_waits(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        kinds = []
        for which in (0, 1):
            ends = open_memory_channel[int](0)

            async def close(end: trio.abc.AsyncResource = ends[which]) -> None:
                await nap(1)
                await end.aclose()

            async with open_nursery() as nursery:
                nursery.start_soon(close)
                taken = await select(after(100), ends[1])
            assert isinstance(taken.outcome, Failed)
            kinds.append(type(taken.outcome.error).__name__)
        return kinds

    assert await play(flow) == ["EndOfChannel", "ClosedResourceError"]


async def test_a_time_is_a_case(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        began = now()
        async with open_nursery() as nursery:
            slow = nursery.go(nap, 100)
            alarm = after(3)
            assert alarm.due - began == timedelta(seconds=3)
            taken = await select(slow, alarm)
            assert (taken.index, taken.unwrap()) == (1, None)
            assert (await select(slow, alarm)).index == 1, "once due, it stays ready"
            assert (await select(slow, at(began + timedelta(seconds=10)))).index == 1
            passed = now() - began
            assert (await select(slow, at(began))).index == 1, "a time that is over is ready soon"
            nursery.cancel_scope.cancel()
        return [passed.total_seconds()]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [10]
        names = [event.name for event in await events(engine) if isinstance(event, TimerSet)]
    assert names == ["after", "at", "at"]


async def test_the_alarm_of_a_lost_case_is_forgotten(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        async with open_nursery() as nursery:
            alarm = after(3)
            gone = weakref.ref(alarm)
            await select(nursery.go(nap, 1), alarm)
            del alarm
            await nap(10)
        return gone() is None

    async with in_memory() as engine:
        assert await play_on(engine, flow)
        assert not [event for event in await events(engine) if isinstance(event, TimerFired)]


async def test_an_alarm_that_is_still_held_rings_for_nobody(autojump_clock: Clock) -> None:
    async def flow() -> int:
        async with open_nursery() as nursery:
            alarm = after(3)
            await select(nursery.go(nap, 1), alarm)
            await nap(10)
            return (await select(nursery.go(nap, 1), alarm)).index

    assert await play(flow) == 1


async def test_a_cancelled_select_consumes_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        send, receive = open_memory_channel[int](5)
        with move_on_after(1) as scope:
            await select(receive, after(100))
        assert scope.cancelled_caught
        send.send_nowait(1)
        with CancelScope() as cancelled:
            cancelled.cancel()
            await select(receive)
        return [receive.receive_nowait()]

    assert await play(flow) == [1]


async def test_what_select_refuses(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(ValueError, match="at least one"):
            await select()
        send, receive = trio.open_memory_channel[int](1)
        anyio_send, anyio_receive = anyio.create_memory_object_stream[int](1)
        with send, receive, anyio_send, anyio_receive:
            with pytest.raises(TypeError, match=r"nurselog.open_memory_channel\(\)"):
                await select(receive)  # type: ignore[call-overload]  # that is the point
            with pytest.raises(TypeError, match="handles, nurselog's channels"):
                await select(anyio_receive)  # type: ignore[call-overload]  # that is the point
        with pytest.raises(TypeError, match="not for 5"):
            await select(after(1), 5)  # type: ignore[call-overload]  # that is the point
        return 1

    assert await play(flow) == 1


async def test_many_selects_wait_for_one_handle(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        got: list[str] = []

        async def wait(number: int) -> None:
            taken = await select(after(10 * number), handle)
            got.append(f"{number}: {taken.index}")

        async with open_nursery() as nursery:
            handle = nursery.go(nap, 15)
            for number in range(4):
                nursery.go(wait, number)
        return got

    assert await play(flow) == ["0: 0", "1: 0", "2: 1", "3: 1"]


async def test_a_server_of_requests_and_ticks(autojump_clock: Clock) -> None:
    """The loop that select is made for: requests from a channel, a tick, and a child that says stop."""

    async def flow() -> list[str]:
        send, requests = open_memory_channel[str](0)
        seen: list[str] = []

        async def client() -> str:
            for word in ("a", "b", "c"):
                await sleep(4)
                await send.send(word)
            return "enough"

        async with open_nursery() as nursery:
            stop = nursery.go(client)
            tick = after(5)
            while True:
                taken: Selected[str | None] = await select(stop, requests, tick)
                if taken.case is stop:
                    return [*seen, stop.status.value]
                if taken.case is tick:
                    tick = after(5)
                seen.append(taken.unwrap() or "tick")

    assert await play(flow) == ["a", "tick", "b", "tick", "c", "completed"]
