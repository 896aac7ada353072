"""Where an implementation would trip: wake-ups and cancellations in one turn, garbage, sets, tasks of nobody."""

from __future__ import annotations

import gc
from typing import Any

import trio

from .... import (
    CancelScope,
    Handle,
    Succeeded,
    open_memory_channel,
    open_nursery,
    select,
    sleep,
)
from ..cases import case
from ..world import note
from .steps import at_once, fetch, refund, slow, stubborn


@case()
async def woken_and_cancelled_in_one_turn() -> list[Any]:
    """An item, an event, a lock and a settled child, each handed to a strand that is cancelled before it can run."""
    got: list[Any] = []
    plain_send, plain = trio.open_memory_channel[int](0)
    ours_send, ours = open_memory_channel[int](0)
    event, lock = trio.Event(), trio.Lock()
    scopes: list[CancelScope] = []

    async def wait(name: str, wait_for: Any) -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            got.append([name, repr(await wait_for())])
            await trio.lowlevel.checkpoint()
            got.append([name, "went on"])
        note(name, scope.cancelled_caught, got)

    async with open_nursery() as nursery:
        await lock.acquire()
        child = nursery.go(trio.lowlevel.checkpoint)
        for name, wait_for in (
            ("plain", plain.receive),
            ("ours", ours.receive),
            ("event", event.wait),
            ("lock", lock.acquire),
            ("child", child.receive),
        ):
            nursery.go(wait, name, wait_for)
        await fetch(1)
        plain_send.send_nowait(1)
        ours_send.send_nowait(2)
        event.set()
        lock.release()
        for scope in scopes:
            scope.cancel("too late")
    return got


@case()
async def many_cancelled_at_once() -> list[Any]:
    """Trio cancels them in the order of a set; they go on in the order of their paths."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        try:
            if i % 3 == 0:
                await slow(i)
            elif i % 3 == 1:
                await sleep(60)
            else:
                await trio.sleep_forever()
        finally:
            got.append(i)
            note(got)

    async with open_nursery() as nursery:
        for i in range(12):
            nursery.start_soon(worker, i)
        await fetch(0)
        nursery.cancel_scope.cancel("all")
    return got


@case()
async def one_outcome_for_all() -> list[Any]:
    """A handle's outcome is not used up: many receivers, again and again, also in one select."""
    got: list[Any] = []

    async def ask(handle: Handle[int]) -> None:
        for _ in range(2):
            got.append(await handle.result())
        chosen = await select(handle, handle)
        got.append(chosen.index)
        note(got)

    async with open_nursery() as nursery:
        handle = nursery.go(fetch, 1)
        for _ in range(3):
            nursery.go(ask, handle)
        await ask(handle)
    assert handle.outcome == Succeeded(10)
    return got


@case()
async def children_of_a_cancelled_nursery() -> list[Any]:
    """`go` in a nursery that is cancelled, in one whose shield came after, and from its own cleanup."""
    got: list[Any] = []
    handles: list[Handle[Any]] = []
    async with open_nursery() as nursery:
        handles.append(nursery.go(slow, 1))
        await fetch(0)
        nursery.cancel_scope.cancel("early")
        handles += [nursery.go(fetch, 2), nursery.go(branch, 3)]
        nursery.cancel_scope.shield = True
        handles.append(nursery.go(fetch, 4))
        try:
            await sleep(1)
        finally:
            handles.append(nursery.go(refund, 5))
            note("leaving")
    got += [repr(handle.outcome) for handle in handles]
    note(got)
    return got


async def branch(i: int) -> int:
    try:
        return int(await fetch(i))
    finally:
        with trio.CancelScope(shield=True):
            await refund(i)


@case()
async def shield_of_a_nursery_after_its_cancel() -> list[Any]:
    """An outer scope is cancelled, and the inner nursery is shielded in the same turn: its new steps run."""
    got: list[Any] = []
    with CancelScope() as outer:
        async with open_nursery() as inner:
            handles = [inner.go(stubborn, 1), inner.go(slow, 2)]
            outer.cancel("outer")
            inner.cancel_scope.shield = True
            handles.append(inner.go(fetch, 3))
            got += [repr(await handle.receive()) for handle in handles[::2]]
            note(got)
            inner.cancel_scope.cancel("inner")
        got += [repr(handle.outcome) for handle in handles]
        await sleep(1)
    note(got, outer.cancelled_caught)
    return got


@case(cuts=2)
async def garbage_in_a_live_strand() -> list[Any]:
    """Coroutines, generators and tasks in cycles, collected while a strand runs."""
    got: list[Any] = []

    async def ticks(i: int) -> Any:
        try:
            yield await fetch(i)
            yield await fetch(i)  # pragma: no cover - it is collected before
        finally:
            got.append(["closed", i])

    class Cycle:
        def __init__(self, i: int) -> None:
            self.me, self.ticks = self, ticks(i)

    for i in range(3):
        cycle = Cycle(i)
        got.append(await anext(cycle.ticks))
        del cycle
        gc.collect()
        got.append(await at_once(i))
        note(got)
    return got


@case()
async def tasks_of_nobody() -> list[Any]:
    """A system task that workflow code spawns is no strand, and nobody's business."""
    seen: list[str] = []

    async def system() -> None:
        await trio.lowlevel.checkpoint()
        seen.append("ran")

    trio.lowlevel.spawn_system_task(system)
    value = await fetch(1)
    note(value)
    return [value]


@case()
async def checkpoints_in_between() -> list[Any]:
    """Strands that spin on checkpoints beside others that wait for the log."""
    got: list[Any] = []
    done: list[int] = []

    async def spin(i: int) -> None:
        for turn in range(5):
            await trio.lowlevel.checkpoint()
            got.append([i, turn])
        done.append(i)
        got.append(["fetched", i, await fetch(i)])
        note(got)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(spin, i)
        got.append(await fetch(9))
    note(done)
    return got


@case()
async def ids_are_taken_at_the_call() -> list[Any]:
    """Places in the tree do not depend on who runs first."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        calls = [fetch(i), at_once(i), fetch(i + 1)]
        async with open_nursery() as nursery:
            handle = nursery.go(fetch, i + 2)
            for call in reversed(calls):
                got.append(await call)
            got.append([handle.path, await handle.result()])
        note(got)

    async with open_nursery() as nursery:
        handles = [nursery.go(worker, i) for i in range(3)]
    return [handle.path for handle in handles] + got


@case()
async def nursery_in_a_cancelled_scope() -> list[Any]:
    """Everything is begun under a cancellation that has come already."""
    got: list[Any] = []
    with CancelScope() as scope:
        scope.cancel("before anything")
        async with open_nursery() as nursery:
            handle = nursery.go(branch, 1)
            nursery.start_soon(branch, 2)
            got.append(repr(await handle.receive()))
    note(got, scope.cancelled_caught, scope.cause)
    with CancelScope(shield=True) as inner:
        inner.cancel("own")
        async with trio.open_nursery() as plain:
            plain.start_soon(branch, 3)
    return got


@case()
async def waiting_for_one_that_is_cancelled_with_it() -> list[Any]:
    """Those who wait and those who are waited for are cancelled together."""
    got: list[Any] = []

    async def chain(i: int) -> int:
        try:
            if i == 0:
                return int(await slow(i))
            return await nursery.go(chain, i - 1).result()
        finally:
            got.append(i)
            note(got)

    async with open_nursery() as nursery:
        head = nursery.go(chain, 4)
        await fetch(1)
        nursery.cancel_scope.cancel("from the end")
    got.append(repr(head.outcome))
    return got


@case()
async def unequal_waits_after_one_event() -> list[Any]:
    """One event wakes a chain of strands through locks, events and channels before the next is delivered."""
    got: list[Any] = []
    events = [trio.Event() for _ in range(6)]
    send, receive = trio.open_memory_channel[int](0)

    async def link(i: int) -> None:
        await events[i].wait()
        got.append(["link", i])
        if i + 1 < len(events):
            events[i + 1].set()
        if i % 2:
            await send.send(i)
        else:
            got.append(["received", i, await receive.receive()])
        note(got)

    async with open_nursery() as nursery:
        for i in reversed(range(len(events))):
            nursery.go(link, i)
        await fetch(1)
        events[0].set()
        got.append(await fetch(2))
    return got
