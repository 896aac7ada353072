"""Time: sleeps, alarms, deadlines that move, and what the workflow takes for now and for chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from .... import (
    CancelScope,
    after,
    at,
    fail_at,
    move_on_after,
    move_on_at,
    now,
    open_nursery,
    patched,
    rng,
    select,
    sleep,
    sleep_until,
    uuid4,
    workflow_id,
)
from ..cases import case
from ..world import note
from .steps import at_once, fetch, refund, slow


@case()
async def long_sleeps() -> list[str]:
    """Months pass, in the log and nowhere else."""
    times = [now().isoformat()]
    await sleep(86400 * 30)
    times.append(now().isoformat())
    await sleep_until(now() + timedelta(days=60))
    times.append(now().isoformat())
    await sleep_until(datetime(2000, 1, 1, tzinfo=UTC))
    await sleep(0)
    note(times)
    return times


@case()
async def sleepers_side_by_side() -> list[Any]:
    """Timers of many branches: some at the same moment, some cancelled before."""
    got: list[Any] = []

    async def sleeper(i: int) -> None:
        with move_on_after(3) as scope:
            await sleep(i % 3 * 1.5)
            got.append(i)
            await sleep(i)
        note(i, scope.cancelled_caught, now())

    async with open_nursery() as nursery:
        for i in range(6):
            nursery.go(sleeper, i)
    return got


@case()
async def alarms() -> list[Any]:
    """One alarm over many selects; alarms that nobody waits for any more; one that is due at once."""
    got: list[Any] = []
    total = after(5)
    async with open_nursery() as nursery:
        child = nursery.go(slow, 1)
        while True:
            chosen = await select(total, after(1.5), child)
            got.append(chosen.index)
            note(got, now())
            if chosen.case is total:
                break
        got.append((await select(total, at(datetime(2000, 1, 1, tzinfo=UTC)))).index)
        nursery.cancel_scope.cancel("time is up")
    return got


@case()
async def deadlines_that_move() -> list[Any]:
    """A deadline is put off, taken away, set again, and set while nobody is inside."""
    got: list[Any] = []
    scope = CancelScope(deadline=now() + timedelta(seconds=1))
    scope.deadline = now() + timedelta(seconds=2)
    with scope:
        await fetch(1)
        scope.deadline = now() + timedelta(seconds=3)
        await sleep(2.5)
        got.append("put off")
        scope.deadline = None
        await sleep(10)
        got.append("taken away")
        scope.deadline = now() + timedelta(seconds=1)
        await slow(1)
    got.append(scope.cancelled_caught)
    note(got, now(), scope.cause)
    return got


@case()
async def deadlines_by_the_clock() -> list[Any]:
    """Absolute times, one of them long past."""
    got: list[Any] = []
    with move_on_at(now() - timedelta(hours=1)) as past:
        got.append(await at_once(1))
        got.append(await at_once(2))  # pragma: no cover - it is cancelled before
    got.append(past.cancelled_caught)
    try:
        with fail_at(now() + timedelta(seconds=1)):
            await slow(1)
    except trio.TooSlowError:
        note("too slow", now())
    return got


@case()
async def deadline_in_a_dead_heat() -> list[Any]:
    """A step that ends at the very moment at which its deadline is due."""
    got: list[Any] = []
    for i in range(4):
        with move_on_after(0.0002) as scope:  # as long as the step takes, exactly
            got.append(await refund(i))
        got.append(scope.cancelled_caught)
        note(got)
    return got


@case()
async def chance_and_identity() -> list[Any]:
    """Random numbers and ids that are the same in every life."""
    got: list[Any] = [bool(workflow_id()), rng().random(), str(uuid4())]

    async def branch(i: int) -> None:
        numbers = rng()
        await fetch(numbers.randrange(9))
        got.append([i, numbers.random(), str(uuid4()), now().isoformat()])
        note(got[-1])

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(branch, i)
    return got


@case()
async def patches() -> list[Any]:
    """The answers of `patched` are in the log, one for each name."""
    got: list[Any] = []

    async def branch(i: int) -> None:
        await fetch(i)
        if patched(f"change {i % 2}"):  # pragma: no branch - only logs of older code say no
            got.append(await at_once(i))
        note(i, patched("change 0"))

    async with open_nursery() as nursery:
        for i in range(4):
            nursery.go(branch, i)
    got.append(patched("last"))
    return got


@case()
async def poll_until_it_is_there() -> list[Any]:
    """A loop of steps and sleeps against a deadline, as many write it."""
    seen: list[int] = []
    with move_on_after(30) as scope:
        while True:
            seen.append(await fetch(len(seen)))
            await sleep(4)
    note(len(seen), scope.cancelled_caught, now())
    return seen
