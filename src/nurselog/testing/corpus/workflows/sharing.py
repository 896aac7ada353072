"""What branches share: lists, locks, limiters, events, conditions, channels; Trio's own, and ours."""

from __future__ import annotations

import math
from typing import Any

import trio

from .... import (
    Failed,
    MemoryReceiveChannel,
    MemorySendChannel,
    after,
    move_on_after,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
)
from ..cases import case
from ..world import note
from .steps import at_once, fetch, slow


@case()
async def locks_and_limiters() -> list[Any]:
    """Every kind of Trio's locks, held over steps, with waiters that give up."""
    got: list[Any] = []
    lock, fair, semaphore, limiter = trio.Lock(), trio.StrictFIFOLock(), trio.Semaphore(1), trio.CapacityLimiter(1)

    async def worker(i: int) -> None:
        with move_on_after(0.004 + i * 0.002) as scope:
            async with lock, fair:
                got.append(["locks", i, await fetch(i)])
            async with semaphore:
                got.append(["semaphore", i, await fetch(i)])
            async with limiter:
                got.append(["limiter", i, await fetch(i)])
        note(i, scope.cancelled_caught, got)

    async with open_nursery() as nursery:
        for i in range(4):
            nursery.go(worker, i)
    return got


@case()
async def condition_and_events() -> list[Any]:
    """Many wait on one condition; all are woken at once, and go on in the order of their paths."""
    got: list[Any] = []
    condition, event = trio.Condition(), trio.Event()

    async def waiter(i: int) -> None:
        async with condition:
            await condition.wait()
            got.append(["woken", i])
        await event.wait()
        got.append(["event", i, await at_once(i)])
        note(got)

    async with open_nursery() as nursery:
        for i in range(4):
            nursery.go(waiter, i)
        await fetch(0)
        async with condition:
            condition.notify(2)
        await fetch(1)
        async with condition:
            condition.notify_all()
        await fetch(2)
        event.set()
    return got


@case()
async def plain_channels() -> list[Any]:
    """Trio's memory channels: unbuffered, buffered, cloned, closed under a receiver, broken under a sender."""
    got: list[Any] = []
    for size in (0, 1, math.inf):
        send, receive = trio.open_memory_channel[Any](size)

        async def produce(i: int, end: trio.MemorySendChannel[Any]) -> None:
            async with end:
                try:
                    for j in range(2):
                        await end.send([i, await fetch(j)])
                except trio.BrokenResourceError:
                    got.append(["broken", i])

        async def consume(i: int, end: trio.MemoryReceiveChannel[Any], most: int) -> None:
            async with end:
                async for item in end:
                    got.append([i, item])
                    note(got[-1])
                    most -= 1
                    if most == 0:
                        break

        async with open_nursery() as nursery, send, receive:
            for i in range(2):
                nursery.go(produce, i, send.clone())
                nursery.go(consume, i, receive.clone(), 1 + i)
    note(got)
    return got


@case()
async def our_channels() -> list[Any]:
    """Ours, used like Trio's."""
    got: list[Any] = []
    send, receive = open_memory_channel[Any](1)

    async def produce(i: int, send: MemorySendChannel[Any]) -> None:
        async with send:
            for j in range(3):
                with move_on_after(0.004) as scope:
                    await send.send([i, await fetch(j)])
                got.append(["gave up", i, j, scope.cancelled_caught])

    async def consume(i: int, receive: MemoryReceiveChannel[Any]) -> None:
        async with receive:
            async for item in receive:
                got.append([i, item, await fetch(i)])
                note(got[-1])

    async with open_nursery() as nursery, send, receive:
        for i in range(2):
            nursery.go(produce, i, send.clone())
            nursery.go(consume, i, receive.clone())
    return got


@case()
async def select_over_everything() -> list[Any]:
    """Handles, channels and an alarm in one select, in a loop, until all is drained."""
    got: list[Any] = []
    one_send, one = open_memory_channel[str](0)
    two_send, two = open_memory_channel[str](3)

    async def produce(end: Any, text: str, count: int) -> None:
        async with end:
            for j in range(count):
                await fetch(j)
                await end.send(f"{text}{j}")

    async with open_nursery() as nursery:
        nursery.go(produce, one_send, "a", 3)
        nursery.go(produce, two_send, "b", 3)
        child = nursery.go(fetch, 7)
        open_cases: list[Any] = [one, two, child, after(0.004)]
        while open_cases:
            chosen = await select(*open_cases)
            got.append([chosen.index, repr(chosen.outcome)])
            note(got[-1])
            ended = isinstance(chosen.outcome, Failed) or chosen.case not in (one, two)
            if ended:
                open_cases.remove(chosen.case)
    return got


@case()
async def both_ready() -> list[Any]:
    """Two channels are ready: one item is consumed, the other stays."""
    got: list[Any] = []
    ends = [open_memory_channel[int](2) for _ in range(2)]
    for round_ in range(4):
        for send, _ in ends if round_ % 2 else reversed(ends):
            send.send_nowait(round_)
            if round_ < 2:
                await at_once(round_)
        chosen = await select(*[receive for _, receive in ends])
        got.append([chosen.index, chosen.unwrap(), [receive.statistics().current_buffer_used for _, receive in ends]])
        ends[1 - chosen.index][1].receive_nowait()
    note(got)
    return got


@case()
async def select_that_is_cancelled() -> list[Any]:
    """A cancelled select consumes nothing; a select in a loop against a deadline."""
    got: list[Any] = []
    send, receive = open_memory_channel[int](0)

    async def produce() -> None:
        async with send:
            for i in range(5):
                await fetch(i)
                await send.send(i)

    async with open_nursery() as nursery:
        nursery.go(produce)
        done = False
        while not done:
            with move_on_after(0.001) as scope:
                chosen = await select(receive, after(3600))
                done = isinstance(chosen.outcome, Failed)
                got.append(repr(chosen.outcome))
            got.append(scope.cancelled_caught)
            note(got)
            await sleep(0.0005)
    return got


@case()
async def actor() -> list[Any]:
    """A server branch with a mailbox and replies, as many write it."""
    requests, inbox = trio.open_memory_channel[Any](10)

    async def serve() -> None:
        total = 0
        async for amount, reply in inbox:
            total += await fetch(amount)
            async with reply:
                await reply.send(total)

    async def ask(i: int) -> int:
        reply, answer = trio.open_memory_channel[int](0)
        await requests.send((i, reply))
        return await answer.receive()

    async with open_nursery() as nursery:
        server = nursery.go(serve)
        async with open_nursery() as clients:
            answers = [clients.go(ask, i) for i in range(4)]
        server.cancel("served")
        values = [await answer.result() for answer in answers]
    note(values, server.outcome)
    return values


@case()
async def dictionary_of_the_world() -> dict[str, Any]:
    """A shared dict whose order of insertion is the order of events."""
    found: dict[str, Any] = {}

    async def look(i: int) -> None:
        while len(found) < 4:
            key = str(await fetch(i) % 7)
            found.setdefault(key, []).append(i)
            i += len(found)
            note(list(found.items()))
            if len(found[key]) > 2:
                nursery.cancel_scope.cancel(key)
                await slow(i)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(look, i)
    return found
