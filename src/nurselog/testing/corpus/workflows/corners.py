"""Corners: code that swallows everything, things made in one strand and used in another, depth, and odd values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import trio

from .... import (
    CancelScope,
    EncodingError,
    Failed,
    Handle,
    Retry,
    StepInterrupted,
    move_on_after,
    now,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
)
from ..cases import case
from ..world import chance, note, shape
from .steps import at_once, fetch, flaky, linger, refund, slow, step


@case()
async def swallows_everything() -> list[Any]:
    """Catches BaseException at each of its waits: it cannot be cancelled, and must be suspended all the same."""
    got: list[Any] = []

    async def deaf(i: int) -> None:
        for wait in (lambda: fetch(i), lambda: sleep(0.001), trio.Event().wait if i > 9 else lambda: at_once(i)):
            try:
                got.append(await wait())
            except BaseException as exc:  # noqa: BLE001 - what this is about
                got.append(type(exc).__name__)
                note(got)

    async with open_nursery() as nursery:
        for i in range(2):
            nursery.go(deaf, i)
        await deaf(2)
        nursery.cancel_scope.cancel("nobody listens")
    return got


@case()
async def scopes_from_elsewhere() -> list[Any]:
    """Scopes made in one strand, entered in a second, cancelled or put off by a third."""
    got: list[Any] = []
    scopes = [CancelScope(), CancelScope(deadline=now() + timedelta(seconds=1)), CancelScope()]
    scopes[2].cancel("before anybody was in it")

    async def inside(i: int) -> None:
        with scopes[i]:
            await sleep(5)
            got.append(["through", i])
        got.append([i, scopes[i].cancelled_caught, scopes[i].reason])
        note(got, now())

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(inside, i)
        await sleep(0.5)
        scopes[1].deadline = now() + timedelta(seconds=10)
        await sleep(0.5)
        scopes[0].cancel("from the nursery's body")
    return got


async def numbers(most: int) -> AsyncIterator[int]:
    for i in range(most):
        yield int(await fetch(i))


@case()
async def a_generator_for_two() -> list[Any]:
    """An async generator that two branches take turns with, under a lock."""
    got: list[Any] = []
    source, lock = numbers(5), trio.Lock()

    async def take(i: int) -> None:
        while True:
            async with lock:
                value = await anext(source, None)
            got.append([i, value])
            note(got)
            if value is None:
                break
            await at_once(i)

    async with open_nursery() as nursery:
        nursery.go(take, 1)
        nursery.go(take, 2)
    return got


_depth: ContextVar[int] = ContextVar("laws_depth", default=0)


@case()
async def context_variables() -> list[Any]:
    """Each branch has a copy of its parent's, and so has each step's body."""
    got: list[Any] = []

    async def branch(i: int) -> None:
        _depth.set(_depth.get() * 10 + i)
        got.append([i, await read_depth()])
        if _depth.get() < 100:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(branch, i + 1)
                nursery.start_soon(branch, i + 2)
        note(i, _depth.get())

    async with open_nursery() as nursery:
        for i in range(1, 3):
            nursery.go(branch, i)
    got.append(_depth.get())
    return got


@step
async def read_depth() -> int:
    await linger(0.001)
    return _depth.get()


@case(cuts=20)
async def deep() -> int:
    """Forty nurseries, each in the one before; the innermost cancels the outermost."""
    outermost: list[CancelScope] = []

    async def level(depth: int) -> int:  # type: ignore[return]  # what ends the nursery early goes further
        async with open_nursery() as nursery:
            outermost.append(nursery.cancel_scope)
            if depth == 0:
                await fetch(1)
                outermost[0].cancel("from the bottom")
                return int(await slow(1))
            try:
                return await nursery.go(level, depth - 1).result()
            finally:
                note(depth)

    async with open_nursery() as nursery:
        handle = nursery.go(level, 40)
    note(handle.outcome)
    return int(await at_once(1))


@case()
async def parking_lots() -> list[Any]:
    """Trio's own building block: parked in an order, woken in it, some cancelled."""
    got: list[Any] = []
    lot = trio.lowlevel.ParkingLot()

    async def park(i: int) -> None:
        await fetch(i)
        with move_on_after(0.01 * i) as scope:
            await lot.park()
            got.append(i)
        note(i, scope.cancelled_caught, len(lot))

    async with open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(park, i)
        for _ in range(3):
            await sleep(0.008)
            lot.unpark()
        lot.unpark_all()
        await sleep(0.1)
        lot.unpark_all()
    return got


@step(at_most_once=True)
async def fire(i: int) -> str:
    await linger(0.004)
    if chance().random() < 0.3:
        raise ConnectionError("misfire")
    return f"fired {i}"


@case()
async def at_most_once_under_pressure() -> list[Any]:
    """Cancelled, failing and interrupted; each began at most once."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        handles: list[Handle[str]] = [nursery.go(fire, i) for i in range(5)]
        with move_on_after(0.002):
            await handles[0].receive()
        handles[1].cancel("not that one")
        nursery.go(swallow, handles[4])
        await fetch(1)
        nursery.cancel_scope.cancel("hold")
    for handle in handles:
        outcome = handle.outcome
        interrupted = isinstance(outcome, Failed) and isinstance(outcome.error, StepInterrupted)
        got.append("interrupted" if interrupted else str(outcome))
    note(got)
    return got


async def swallow(handle: Handle[Any]) -> None:
    await handle.receive()


@step(retry=Retry(attempts=5, delay=60, factor=3, max_delay=3600, jitter=0.5))
async def rarely(i: int) -> int:
    if chance().random() < 0.7:
        raise ConnectionError(f"not yet {i}")
    return i


@case()
async def long_retries() -> list[Any]:
    """Attempts hours apart, beside sleeps, under a deadline of a day, and one under a deadline of minutes."""
    got: list[Any] = []

    async def attempt(i: int) -> None:
        with move_on_after(86400 if i else 150) as scope:
            try:
                got.append(await rarely(i))
            except ConnectionError as exc:
                got.append(str(exc))
        note(i, scope.cancelled_caught, got)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(attempt, i)
        await sleep(1000)
        got.append("slept")
    return got


@step
async def not_to_be_recorded() -> object:
    await linger(0.001)
    return object()


@step
async def not_a_number() -> float:
    return float("nan")


@case()
async def values_that_have_no_form() -> list[Any]:
    """A result that cannot be recorded is the step's failure, and can be handled like any."""
    got: list[Any] = []
    for one in (not_to_be_recorded, not_a_number):
        try:
            await one()
        except EncodingError as exc:
            got.append(type(exc).__name__)
    note(got)
    return got


@case()
async def errors_from_errors() -> None:
    """A workflow's own error, caused by a step's, in a group, with a note."""
    try:
        async with open_nursery() as nursery:
            for i in range(4):
                nursery.go(flaky, i)
            await fail_softly()
    except* ValueError as group:
        error = LookupError("nothing worked")
        error.add_note(f"{len(group.exceptions)} tried")
        note(shape(group))
        raise error from group.exceptions[0]


async def fail_softly() -> None:
    await refund(1)
    raise ValueError("softly")


@case()
async def many_receivers_of_one_channel() -> list[Any]:
    """Selects and receives of many strands on one channel, some of which give up, while items keep coming."""
    got: list[Any] = []
    send, receive = open_memory_channel[int](2)
    other_send, other = open_memory_channel[int](0)

    async def taker(i: int) -> None:
        for _ in range(2):
            with move_on_after(0.002 * (i + 1)) as scope:
                item = (await select(receive, other)).unwrap() if i % 2 else await receive.receive()
                got.append([i, item])
            note(i, scope.cancelled_caught, got)

    async with open_nursery() as nursery:
        for i in range(4):
            nursery.go(taker, i)
        for i in range(5):
            with move_on_after(0.003):
                await (other_send if i == 2 else send).send(await fetch(i))
    got.append(receive.statistics().current_buffer_used)
    return got
