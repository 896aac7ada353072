"""Programs as people write them: orders, crawlers, supervisors, barriers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from .... import (
    CancelScope,
    Failed,
    Handle,
    Succeeded,
    after,
    fail_after,
    map_concurrently,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
)
from ..cases import case
from ..world import note
from .steps import at_once, fetch, flaky, linger, refund, slow, step


@dataclass(frozen=True)
class Order:
    item: str
    count: int


@dataclass(frozen=True)
class Receipt:
    order: Order
    steps: tuple[str, ...]


@step
async def reserve(order: Order) -> Order:
    await linger(0.002)
    return order


@case(args=(Order("lamp", 3),))
async def order_with_deadline(order: Order) -> Receipt:
    """Typed input and output; a payment races a deadline; a refund when it was late."""
    taken = await reserve(order)
    note(taken)
    steps = ["reserved"]
    try:
        with fail_after(0.0025):
            async with open_nursery() as nursery:
                pay, check = nursery.go(fetch, order.count), nursery.go(fetch, 2)
                steps.append(f"paid {await pay.result()} {await check.result()}")
                await slow(1)
    except trio.TooSlowError:
        steps.append(await refund(order.count))
    return Receipt(taken, tuple(steps))


@case()
async def crawl() -> list[Any]:
    """A frontier that grows while it is worked on, with a bound on concurrency, until nothing is left."""
    seen, frontier = {1}, [1]
    running: set[str] = set()
    got: list[Any] = []
    limiter = trio.CapacityLimiter(3)

    async def visit(i: int) -> None:
        async with limiter:
            value = await fetch(i)
        for link in (value // 4, value // 7, i + 2):
            if link < 12 and link not in seen:
                seen.add(link)
                frontier.append(link)
        got.append([i, value])
        running.discard(str(i))
        changed.set()

    async with open_nursery() as nursery:
        while frontier or running:
            changed = trio.Event()
            while frontier:
                page = frontier.pop()
                running.add(str(page))
                nursery.start_soon(visit, page)
            await changed.wait()
            note(got, sorted(running))
    return got


@case()
async def supervisor() -> list[Any]:
    """Restarts children that fail, with a delay, until one of them has had enough."""
    got: list[Any] = []

    async def child(i: int) -> int:
        await fetch(i)
        return int(await flaky(i))

    async with open_nursery() as nursery:
        running: dict[Handle[int], int] = {nursery.go(child, i): i for i in range(3)}
        restarts = 0
        while running:
            chosen = await select(*running)
            i = running.pop(chosen.case)  # type: ignore[call-overload]  # only handles were given
            match chosen.outcome:
                case Failed(error=error) if restarts < 4:
                    restarts += 1
                    got.append([i, str(error)])
                    await sleep(0.001 * restarts)
                    running[nursery.go(child, i)] = i
                case outcome:
                    got.append([i, repr(outcome)])
            note(got)
    return got


@case()
async def barrier() -> list[Any]:
    """Rounds that nobody leaves before all have come."""
    got: list[Any] = []
    condition = trio.Condition()
    waiting = 0

    async def meet() -> None:
        nonlocal waiting
        async with condition:
            waiting += 1
            if waiting % 3 == 0:
                condition.notify_all()
            else:
                await condition.wait()

    async def party(i: int) -> None:
        for turn in range(2):
            got.append([i, turn, await fetch(i)])
            await meet()
            note(i, turn, got)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(party, i)
    return got


@case()
async def philosophers() -> list[Any]:
    """Five forks, one order of taking them, so that nobody starves for ever."""
    forks = [trio.Lock() for _ in range(5)]
    meals: list[int] = []

    async def philosopher(i: int) -> None:
        first, second = sorted((i, (i + 1) % 5))
        for _ in range(2):
            async with forks[first]:
                await at_once(i)
                async with forks[second]:
                    await fetch(i)
                    meals.append(i)
            note(meals)

    async with open_nursery() as nursery:
        for i in range(5):
            nursery.go(philosopher, i)
    return meals


@case()
async def happy_eyeballs() -> list[Any]:
    """The next attempt starts when the one before has failed or is slow; the first that succeeds wins."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        open_cases: list[Any] = []
        winner = None
        for i in range(5):
            open_cases.append(nursery.go(flaky if i % 2 else slow, i))
            patience = after(0.001)
            chosen = await select(*open_cases, patience)
            got.append([i, chosen.index, type(chosen.outcome).__name__])
            note(got)
            if chosen.case is not patience:
                open_cases.remove(chosen.case)
                if isinstance(chosen.outcome, Succeeded):
                    winner = chosen.unwrap()
                    break
        nursery.cancel_scope.cancel("connected")
    got.append(winner)
    return got


@case()
async def walk() -> int:
    """Recursion: each node of a tree maps its children, three levels deep."""

    async def node(path: tuple[int, ...]) -> int:
        value = int(await at_once(len(path)))
        if len(path) < 3:
            value += sum(await map_concurrently(node, [(*path, i) for i in range(2)]))
        note(path, value)
        return value

    return await node(())


@case()
async def staged() -> list[Any]:
    """Three stages joined by channels of both kinds, each with several workers; the first stage is cut short."""
    out: list[Any] = []
    first_send, first = open_memory_channel[int](1)
    second_send, second = trio.open_memory_channel[int](1)

    async def source() -> None:
        with CancelScope() as scope:
            for i in range(8):  # pragma: no branch - it is cut short
                await first_send.send(await fetch(i))
                if i == 5:
                    scope.cancel("six are enough")
        await first_send.aclose()

    async def middle() -> None:
        async with second_send.clone() as end:
            async for item in first:
                await end.send(await at_once(item))

    async def sink() -> None:
        async for item in second:
            out.append(item)
            note(out)

    async with open_nursery() as nursery:
        nursery.go(source)
        async with open_nursery() as inner:
            for _ in range(2):
                nursery.go(sink)
                inner.go(middle)
        await second_send.aclose()
    return out


@case()
async def try_again_in_code() -> list[Any]:
    """A retry loop written out, with waits that grow."""
    got: list[Any] = []
    for i in range(6):
        try:
            got.append(await flaky(i))
        except ValueError as exc:
            got.append(str(exc))
            await sleep(0.1 * 2**i)
        note(got)
    return got
