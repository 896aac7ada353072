"""Nesting: nurseries in nurseries, plain and durable, `nursery.start`, async generators, code that awaits elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any

import trio

from .... import (
    CancelScope,
    Nursery,
    as_completed,
    gather,
    map_concurrently,
    move_on_after,
    open_nursery,
    sleep,
)
from ..cases import case
from ..world import note
from .steps import at_once, crowded, fetch, refund, slow, step


@case()
async def nurseries_in_nurseries() -> list[Any]:
    """Three levels of durable ones, whose leaves are cancelled level by level."""
    got: list[Any] = []

    async def level(depth: int, i: int) -> None:
        got.append([depth, i, await fetch(i)])
        if depth:
            async with open_nursery() as inner:
                for j in range(2):
                    inner.go(level, depth - 1, j)
                if i:
                    await fetch(depth)
                    inner.cancel_scope.cancel(f"level {depth}")
        note(depth, i, len(got))

    await level(2, 1)
    return got


@case()
async def plain_nurseries() -> list[Any]:
    """Trio's own nursery: every child is a strand, and its steps are durable."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(leaf, i, 0)
            inner.start_soon(leaf, i, 1)
            got.append(["body", i, await fetch(i)])

    async def leaf(i: int, j: int) -> None:
        got.append([i, j, await fetch(j)])
        note(got[-1])

    async with trio.open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(worker, i)
    return got


@case()
async def plain_in_durable_in_plain() -> list[Any]:
    """Both kinds by turns; a plain scope that the workflow itself cancels."""
    got: list[Any] = []

    async def child(i: int) -> None:
        async with open_nursery() as inner:
            handle = inner.go(fetch, i)
            inner.start_soon(slow, i)
            got.append([i, await handle.result()])
            inner.cancel_scope.cancel()
        async with trio.open_nursery() as plain:
            plain.start_soon(slow, i)
            got.append([i, await fetch(i)])
            note(got[-1])
            plain.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(child, i)
    return got


@case()
async def helpers_without_steps() -> list[Any]:
    """Plain tasks that do nothing durable: they may come and go without changing a path."""
    got: list[Any] = []
    event = trio.Event()

    async def bystander(i: int) -> None:
        await event.wait()
        got.append(i)

    for i in range(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bystander, i)
            nursery.start_soon(trio.lowlevel.checkpoint)
            got.append(await fetch(i))
            event.set()
        async with open_nursery() as durable:
            got.append(await durable.go(fetch, i).result())
            note(got)
    return got


async def serve(first: int, rest: int, *, task_status: trio.TaskStatus[Any]) -> None:
    """Come up with a step, and go on with others."""
    task_status.started(await fetch(first))
    for i in range(rest):
        note("serving", i, await fetch(i))
    await slow(first)


@case()
async def nursery_start() -> list[Any]:
    """`start` of a durable nursery and of a plain one; the services end with their nursery."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        got.append(await nursery.start(serve, 1, 2))
        got.append(await nursery.start(partial(serve, rest=1), 2))
        got.append(await fetch(3))
        nursery.cancel_scope.cancel("closing")
    async with trio.open_nursery() as plain:
        got.append(await plain.start(serve, 4, 2))
        got.append(await fetch(5))
        plain.cancel_scope.cancel()
    note(got)
    return got


@case()
async def start_that_is_cancelled_or_fails() -> list[Any]:
    """A service that does not come up in time, and one that fails before it is up."""
    got: list[Any] = []

    async def never(*, task_status: trio.TaskStatus[Any]) -> None:
        try:
            await slow(1)
        finally:
            got.append("never up")

    async def broken(*, task_status: trio.TaskStatus[Any]) -> None:
        await fetch(2)
        raise ValueError("broken")

    async with open_nursery() as nursery:
        with move_on_after(0.002) as scope:
            await nursery.start(never)
        got.append(scope.cancelled_caught)
        note(got)
        got.append(await fetch(3))
    try:
        async with open_nursery() as nursery:
            await nursery.start(broken)
    except* ValueError as group:
        note([str(exc) for exc in group.exceptions])
    return got


async def count(most: int) -> AsyncIterator[int]:
    """Yield the results of steps, and clean up with one."""
    try:
        for i in range(most):
            yield int(await fetch(i))
    finally:
        note("generator closes")
        with trio.CancelScope(shield=True):
            await refund(most)


@case()
async def async_generators() -> list[Any]:
    """Used up, closed early, and closed by a cancellation."""
    got: list[Any] = [value async for value in count(3)]
    async with aclosing(count(3)) as numbers:  # type: ignore[type-var]  # an async generator is an AsyncIterator here
        async for value in numbers:
            got.append(value)
            break
    with move_on_after(0.002) as scope:
        async with aclosing(count(50)) as numbers:  # type: ignore[type-var]  # see above
            async for value in numbers:
                got.append(value)
    note(got, scope.cancelled_caught)
    return got


@case()
async def abandoned_generators() -> list[Any]:
    """Left half way, in a branch and in the workflow's own task: closed on the strand's turn, whenever collected."""
    got: list[Any] = []

    async def tick(i: int) -> AsyncIterator[int]:
        try:
            while True:
                yield int(await fetch(i))
        finally:
            got.append(["closed", i])
            note(got)

    async def branch(i: int) -> None:
        async for value in tick(i):  # pragma: no branch - it is left
            got.append(value)
            break
        await fetch(i)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(branch, i)
    await branch(7)
    return got


@asynccontextmanager
async def workers(n: int) -> AsyncIterator[Nursery]:
    """A nursery behind a context manager, as libraries have it."""
    async with open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(crowded, i)
        yield nursery
        nursery.cancel_scope.cancel("context left")


@case()
async def nurseries_in_context_managers() -> list[Any]:
    """Nurseries that live in exit stacks and generators."""
    got: list[Any] = []
    async with AsyncExitStack() as stack:
        nurseries = [await stack.enter_async_context(workers(2)) for _ in range(2)]
        handles = [nursery.go(fetch, i) for i, nursery in enumerate(nurseries)]
        got += await gather(*handles)
        stack.push_async_callback(refund, 1)
        note(got)
    return got


@case()
async def called_here_awaited_there() -> list[Any]:
    """A step's place is taken where it is called, in whatever strand it is awaited."""
    got: list[Any] = []

    async def await_it(one: Any) -> None:
        got.append(await one)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(await_it, fetch(i))
        nursery.go(await_it, at_once(5))
    note(got)
    return got


@case()
async def nursery_handed_down() -> list[Any]:
    """Children start siblings and grandchildren in a nursery that was handed to them."""
    got: list[Any] = []

    async def spread(nursery: Nursery, depth: int) -> int:
        value = int(await fetch(depth))
        if depth:
            got.append(await nursery.go(spread, nursery, depth - 1).result())
            nursery.start_soon(leaf, depth)
        note(depth, got)
        return value

    async def leaf(i: int) -> None:
        got.append(["leaf", await at_once(i)])

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(spread, nursery, i)
    return got


@case()
async def completion_in_order_of_arrival() -> list[Any]:
    """`as_completed` and `map_concurrently`, one in the other, one of them left early."""
    got: list[Any] = []

    async def chunk(i: int) -> list[int]:
        return await map_concurrently(fetch, range(i, i + 3), limit=2)

    async with open_nursery() as nursery:
        async for handle in as_completed(*[nursery.go(chunk, i) for i in range(4)]):
            got.append([handle.path, await handle.result()])
            note(got[-1])
            if len(got) == 3:
                nursery.cancel_scope.cancel("three are enough")
                break
    return got


class Account:
    """Methods as steps; `self` is not recorded."""

    def __init__(self, name: str) -> None:
        self.name = name

    @step
    async def deposit(self, amount: int) -> str:
        await trio.sleep(0.001)
        return f"{self.name}+{amount}"


@case()
async def methods() -> list[Any]:
    """Bound steps, partials of them, and variants."""
    accounts = [Account("a"), Account("b")]
    async with open_nursery() as nursery:
        handles = [nursery.go(account.deposit, i) for i, account in enumerate(accounts)]
        handles.append(nursery.go(partial(accounts[0].deposit, amount=7)))
        got = await gather(*handles)
    got.append(await accounts[1].deposit.using(name="deposit again")(9))
    note(got)
    return got


@step
def add(a: int, b: int) -> int:
    return a + b


@case(threads=True, cuts=12)
async def sync_steps() -> list[int]:
    """Bodies in worker threads."""
    async with open_nursery() as nursery:
        values = await gather(*[nursery.go(add, i, i) for i in range(4)])
    values.append(await add(values[0], 1))
    note(values)
    return values


@case()
async def bursts() -> list[Any]:
    """Many strands become runnable at one moment, and spawn more, between two events."""
    got: list[Any] = []
    gate = trio.Event()

    async def runner(i: int, depth: int) -> None:
        await gate.wait()
        got.append([i, depth])
        for _ in range(i % 3):
            await trio.lowlevel.checkpoint()
        got.append([i, depth, "again"])
        if depth:
            async with trio.open_nursery() as inner:
                inner.start_soon(runner, i, depth - 1)
                inner.start_soon(runner, i + 1, depth - 1)

    async with trio.open_nursery() as nursery:
        for i in range(4):
            nursery.start_soon(runner, i, 2)
        await fetch(1)
        gate.set()
    note(got)
    with CancelScope():
        await sleep(0.001)
    return [len(got)]
