"""Our memory channels beside Trio's own: the same program on both, and the same answers."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

import nurselog
from nurselog import OutsideWorkflowError, step
from tests.flow.rig import play

Clock = trio.testing.MockClock
Open = Callable[[float], tuple[Any, Any]]
Scenario = Callable[[Open, Any], Awaitable[list[Any]]]


@step
async def tick(seconds: float = 1) -> None:
    await trio.sleep(seconds)


async def caught(call: Callable[[], Any]) -> str:
    try:
        found = call()
        if hasattr(found, "__await__"):
            found = await found
    except Exception as exc:  # noqa: BLE001 - its type is the answer
        return type(exc).__name__
    return repr(found)


async def nowait(open_channel: Open, _: Any) -> list[Any]:
    send, receive = open_channel(2)
    got = [await caught(receive.receive_nowait)]
    got += [await caught(lambda: send.send_nowait(1)) for _ in range(3)]
    got += [await caught(receive.receive_nowait) for _ in range(3)]
    return got


async def rendezvous(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = [await caught(lambda: send.send_nowait(0))]
    sent: list[int] = []

    async def produce() -> None:
        for number in range(3):
            await send.send(number)
            sent.append(number)
        await send.aclose()

    nursery.start_soon(produce)
    async for item in receive:
        await tick()
        got.append((item, *sent))
    return got


async def order_of_arrival(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = []

    async def consume(name: str) -> None:
        got.append((name, await receive.receive()))

    for name in "abc":
        nursery.start_soon(consume, name)
        await tick()
    got.append(send.statistics().tasks_waiting_receive)
    for number in range(3):
        send.send_nowait(number)
        await tick()
    return got


async def senders_queue(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(1)
    for number in range(4):
        nursery.start_soon(send.send, number)
        await tick()
    stats = receive.statistics()
    got: list[Any] = [stats.tasks_waiting_send, stats.current_buffer_used]
    got += [receive.receive_nowait() for _ in range(4)]
    await tick()
    return [*got, await caught(receive.receive_nowait)]


async def end_of_channel(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(2)
    other = send.clone()
    send.send_nowait(1)
    got: list[Any] = [await caught(receive.receive)]
    send.close()
    send.close()
    got += [await caught(lambda: send.send_nowait(2)), await caught(lambda: send.send(2)), await caught(send.clone)]
    other.send_nowait(3)
    await other.aclose()
    got += [await caught(receive.receive), await caught(receive.receive), await caught(receive.receive_nowait)]
    return got


async def broken(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = []

    async def produce() -> None:
        got.append(await caught(lambda: send.send(1)))

    nursery.start_soon(produce)
    await tick()
    receive.close()
    receive.close()
    await tick()
    got += [await caught(lambda: send.send_nowait(1)), await caught(lambda: send.send(1))]
    return [*got, await caught(receive.receive), await caught(receive.receive_nowait), await caught(receive.clone)]


async def closed_under_a_sender(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = []

    async def produce() -> None:
        got.append(await caught(lambda: send.send(1)))

    nursery.start_soon(produce)
    await tick()
    send.close()
    await tick()
    return [*got, await caught(receive.receive_nowait)]


async def closed_when_the_item_is_taken(open_channel: Open, nursery: Any) -> list[Any]:
    """The sender has been served and has not gone on yet: its item has arrived."""
    send, receive = open_channel(0)
    got: list[Any] = []

    async def produce(number: int) -> None:
        got.append(await caught(lambda: send.send(number)))

    for number in range(2):
        nursery.start_soon(produce, number)
        await tick()
    got.append(receive.receive_nowait())
    send.close()
    await tick()
    return [*sorted(got, key=repr), await caught(receive.receive_nowait)]


async def closed_under_a_receiver(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    other = receive.clone()
    got: list[Any] = []

    async def consume(end: Any) -> None:
        got.append(await caught(end.receive))

    nursery.start_soon(consume, receive)
    await tick()
    nursery.start_soon(consume, other)
    await tick()
    receive.close()
    await tick()
    send.send_nowait("to the other end")
    await tick()
    return got


async def last_sender_leaves(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = []

    async def consume() -> None:
        got.append(await caught(receive.receive))

    for _ in range(2):
        nursery.start_soon(consume)
    await tick()
    with send:
        pass
    await tick()
    return got


async def items_left_behind(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(5)
    send.send_nowait(1)
    with receive:
        pass
    return [send.statistics().current_buffer_used, await caught(lambda: send.send_nowait(1))]


async def clones_share(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(math.inf)
    more = [send.clone(), send.clone(), receive.clone()]
    for number, end in enumerate((send, *more[:2])):
        end.send_nowait(number)
    stats = more[2].statistics()
    got = [stats.open_send_channels, stats.open_receive_channels, stats.current_buffer_used, stats.max_buffer_size]
    return [repr(number) for number in (*got, more[2].receive_nowait(), receive.receive_nowait())]


async def iteration_by_many(open_channel: Open, nursery: Any) -> list[Any]:
    send, receive = open_channel(0)
    got: list[Any] = []

    async def consume(name: str, end: AsyncIterator[int]) -> None:
        async for item in end:
            got.append((name, item))
            await tick(2)

    nursery.start_soon(consume, "a", receive.clone())
    await tick(0.5)
    nursery.start_soon(consume, "b", receive)
    await tick(0.5)
    with send:
        for number in range(4):
            await send.send(number)
            await tick(0.1)
    await tick(10)
    return got


SCENARIOS: list[Scenario] = [
    nowait,
    rendezvous,
    order_of_arrival,
    senders_queue,
    end_of_channel,
    broken,
    closed_under_a_sender,
    closed_when_the_item_is_taken,
    closed_under_a_receiver,
    last_sender_leaves,
    items_left_behind,
    clones_share,
    iteration_by_many,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_same_as_trios(autojump_clock: Clock, scenario: Scenario) -> None:
    async with trio.open_nursery() as plain:
        expected = await scenario(trio.open_memory_channel, plain)

    async def flow() -> str:
        async with nurselog.open_nursery() as nursery:
            return repr(await scenario(nurselog.open_memory_channel, nursery))

    assert await play(flow) == repr(expected)


async def test_a_cancelled_wait_neither_sends_nor_receives(autojump_clock: Clock) -> None:
    async def scenario(open_channel: Open, scope: Callable[[float], Any]) -> list[Any]:
        send, receive = open_channel(0)
        with scope(1):
            await receive.receive()
        with scope(1):
            await send.send("never sent")
        stats = send.statistics()
        return [stats.tasks_waiting_send, stats.tasks_waiting_receive, await caught(lambda: send.send_nowait(1))]

    expected = await scenario(trio.open_memory_channel, trio.move_on_after)

    async def flow() -> str:
        return repr(await scenario(nurselog.open_memory_channel, nurselog.move_on_after))

    assert await play(flow) == repr(expected)


async def test_a_send_under_a_cancelled_scope_sends_nothing(autojump_clock: Clock) -> None:
    async def flow() -> int:
        send, receive = nurselog.open_memory_channel[int](5)
        with nurselog.CancelScope() as scope:
            scope.cancel()
            await send.send(1)
        assert scope.cancelled_caught
        return receive.statistics().current_buffer_used

    assert await play(flow) == 0


async def test_sizes(autojump_clock: Clock) -> None:
    with pytest.raises(OutsideWorkflowError):
        nurselog.open_memory_channel[int](1)
    for size, error in ((1.5, TypeError), ("1", TypeError), (-1, ValueError)):
        with pytest.raises(error):
            nurselog.open_memory_channel[int](size)  # type: ignore[arg-type]  # that is the point


async def test_ends_need_a_workflow(autojump_clock: Clock) -> None:
    ends: list[Any] = []

    async def flow() -> None:
        ends.extend(nurselog.open_memory_channel[int](1))

    await play(flow)
    for call in (partial(ends[0].send, 1), ends[1].receive):
        with pytest.raises(OutsideWorkflowError):
            await call()
    with pytest.raises(OutsideWorkflowError):
        ends[0].send_nowait(1)
    with pytest.raises(OutsideWorkflowError):
        ends[1].receive_nowait()
