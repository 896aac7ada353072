"""The programs that the idea was proved with, and the two ends of the scale: no step at all, and a thousand."""

from __future__ import annotations

from typing import Any

import trio

from .... import gather, move_on_after, open_nursery, select
from ..cases import case
from ..world import note
from .steps import fetch, flaky, refund, slow, stubborn


@case()
async def no_steps() -> str:
    """A log of two rows."""
    note("nothing to do")
    return "done"


@case()
async def one_step() -> int:
    """A log of three rows."""
    value: int = await fetch(1)
    note(value)
    return value


@case()
async def one_after_another() -> list[int]:
    """The fast path of replay."""
    values = [await fetch(i) for i in range(12)]
    note(values)
    return values


@case(cuts=3)
async def a_thousand_at_once() -> int:
    """1,000 steps in one nursery."""
    async with open_nursery() as nursery:
        values = await gather(*[nursery.go(fetch, i) for i in range(1000)])
    note(sum(values))
    return sum(values)


@case(cuts=3)
async def a_thousand_branches() -> int:
    """1,000 branches that share a list."""
    order: list[int] = []

    async def branch(i: int) -> None:
        await fetch(i)
        order.append(i)

    async with open_nursery() as nursery:
        for i in range(1000):
            nursery.go(branch, i)
    note(order)
    return len(order)


@case()
async def quorum() -> list[Any]:
    """The quickest answers win; the losers clean up in a shield."""
    results: list[Any] = []
    seen: list[Any] = []

    async def worker(i: int) -> None:
        try:
            results.append(await fetch(i))
            results.append(await fetch(results[-1] + 1))
            note(results)
            if len(results) >= 7:
                nursery.cancel_scope.cancel("enough")
            await slow(i)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                seen.append([i, await refund(i)])
            raise

    async with open_nursery() as nursery:
        for i in range(5):
            nursery.go(worker, i)
        winner = await select(nursery.go(fetch, 100), nursery.go(fetch, 200))
        note("winner", winner.index)
        results.append(["winner", winner.index, winner.unwrap()])
    return [results, seen]


@case()
async def timeouts() -> list[Any]:
    """Deadlines that may fire before, during and after a step that ignores them."""
    got: list[Any] = []
    limiter = trio.CapacityLimiter(2)

    async def worker(i: int) -> None:
        async with limiter:
            with move_on_after(0.002 + 0.0005 * i) as scope:
                got.append(["f", i, await fetch(i)])
                got.append(["s", i, await stubborn(i)])
                await slow(i)
            got.append(["t", i, scope.cancelled_caught])
            note(got[-1])
        try:
            got.append(await flaky(i))
        except ValueError as exc:
            got.append(str(exc))

    async with open_nursery() as nursery:
        for i in range(6):
            nursery.go(worker, i)
    note(got)
    return got


@case()
async def pipeline() -> list[Any]:
    """A plain channel between branches, a lock, nested nurseries, and a race inside each."""
    out: list[Any] = []
    send, receive = trio.open_memory_channel[Any](2)
    lock = trio.Lock()

    async def produce(k: int) -> None:
        for i in range(2):
            await send.send([k, await fetch(i)])

    async def consume(k: int) -> None:
        async for item in receive:
            async with lock:
                out.append([k, item])
            async with open_nursery() as inner:
                winner = await select(*[inner.go(fetch, j) for j in range(2)])
                out.append([k, winner.case.path])  # type: ignore[attr-defined]  # only handles were given
                note(out[-1])
                inner.cancel_scope.cancel("one is enough")

    async with open_nursery() as nursery:
        for k in range(2):
            nursery.go(consume, k)
        async with open_nursery() as producers:
            for k in range(3):
                producers.go(produce, k)
        await send.aclose()
    return out
