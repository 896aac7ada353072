"""Cancellation: by hand, by deadline, by failure, from outside; in the middle of cleanup, and behind shields."""

from __future__ import annotations

from typing import Any

import trio

from .... import (
    CancelScope,
    Handle,
    WasCancelled,
    fail_after,
    move_on_after,
    open_nursery,
    race,
    select,
    sleep,
)
from ..cases import case
from ..world import note, shape
from .steps import at_once, fetch, refund, slow, spiteful, stubborn


@case()
async def cancel_inside_cleanup() -> list[Any]:
    """A scope is cancelled while another one's cleanup runs, and the cleanup has a timeout of its own."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        try:
            await slow(i)
        finally:
            with CancelScope(shield=True) as cleanup:
                got.append(await refund(i))
                if i == 1:
                    cleanup.cancel("enough of cleaning")
                await fetch(i)
                got.append(["fetched", i])
            note(i, cleanup.cancelled_caught, cleanup.reason)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(worker, i)
        await fetch(0)
        nursery.cancel_scope.cancel("first")
    return got


@case()
async def timeout_while_a_step_ignores_it() -> list[Any]:
    """The step has finished although its scope was cancelled: it is a finished step."""
    got: list[Any] = []
    with move_on_after(0.001) as scope:
        got.append(await stubborn(1))
        note("still here", scope.cancel_called)
        got.append(await stubborn(2))
        got.append(await fetch(3))
    note(got, scope.cancelled_caught)
    return got


@case()
async def deadlines_within_deadlines() -> list[Any]:
    """The inner one fires first, or the outer one, or both at once."""
    got: list[Any] = []
    for inner, outer in ((0.001, 0.01), (0.01, 0.001), (0.002, 0.002)):
        with move_on_after(outer) as one:
            with move_on_after(inner) as two:
                await slow(0)
            await at_once(1)
            got.append("between")
        got.append([one.cancelled_caught, two.cancelled_caught])
        note(got)
    return got


@case()
async def failing_deadline() -> str:
    """TooSlowError out of nested scopes, and a step after it."""
    try:
        with fail_after(0.002):
            async with open_nursery() as nursery:
                nursery.go(slow, 1)
                nursery.go(slow, 2)
    except trio.TooSlowError as exc:
        note(shape(exc))
    return str(await refund(3))


@case()
async def handle_cancelled_alone() -> list[Any]:
    """One child is cancelled, by name; the others go on."""
    async with open_nursery() as nursery:
        handles: list[Handle[int]] = [nursery.go(slow, 0), nursery.go(fetch, 1), nursery.go(branch_of_two, 2)]
        await fetch(9)
        handles[0].cancel("not this one")
        handles[2].cancel("nor this one")
        handles[2].cancel("twice")
        outcomes = [await handle.receive() for handle in handles]
    note(outcomes)
    assert outcomes[0] == WasCancelled("not this one", handles[0].path)
    return [str(outcome) for outcome in outcomes]


async def branch_of_two(i: int) -> int:
    value: int = await fetch(i)
    await slow(value)
    return value  # pragma: no cover - it is cancelled before


@case()
async def handles_after_their_nursery() -> list[Any]:
    """Handles are asked when their nursery is long gone, cancelled."""
    handles: list[Handle[Any]] = []
    async with open_nursery() as nursery:
        handles += [nursery.go(slow, 1), nursery.go(fetch, 2), nursery.go(stubborn, 3)]
        await fetch(0)
        nursery.cancel_scope.cancel("over")
    note([await handle.receive() for handle in handles])
    winner = await select(*handles)
    note(winner.index, winner.outcome)
    return [handle.status.value for handle in handles]


@case()
async def handles_of_a_cancelled_nursery_awaited_by_others() -> list[Any]:
    """A branch of another nursery waits for handles whose nursery is cancelled under them."""
    got: list[Any] = []
    async with open_nursery() as outer, open_nursery() as inner:
        first, second = inner.go(slow, 1), inner.go(branch_of_two, 2)

        async def wait(handle: Handle[int]) -> None:
            got.append(repr(await handle.receive()))
            note(got[-1])

        outer.go(wait, first)
        outer.go(wait, second)
        await fetch(3)
        inner.cancel_scope.cancel("inner")
    return got


@case()
async def race_inside_a_race() -> list[Any]:
    """Whoever loses takes a race of its own along."""

    async def inner(i: int) -> int:
        winner: int = await race(lambda: fetch(i), lambda: fetch(i + 1), lambda: slow(i))
        note("inner", i, winner)
        return int(await fetch(winner))

    winner = await race(lambda: inner(1), lambda: inner(5), lambda: inner(9))
    note("outer", winner)
    return [winner, await at_once(winner)]


@case()
async def shield_after_a_cancel() -> list[Any]:
    """`outer.cancel()` and `inner.shield = True` in one turn: the running body was told already."""
    got: list[Any] = []

    async def worker() -> None:
        with trio.CancelScope() as inner:
            scopes.append(inner)
            try:
                got.append(await slow(1))
            except trio.Cancelled:
                got.append("told")
                raise
            finally:
                note(got)
        got.append(await fetch(2))  # pragma: no cover - it is cancelled before

    scopes: list[trio.CancelScope] = []
    async with open_nursery() as nursery:
        nursery.go(worker)
        await fetch(0)
        nursery.cancel_scope.cancel("outer")
        scopes[0].shield = True
    note(got)
    return got


@case()
async def shield_taken_away() -> list[Any]:
    """What waits in a shield is cancelled at once when the shield goes."""
    got: list[Any] = []

    async def worker() -> None:
        with CancelScope(shield=True) as scope:
            shields.append(scope)
            got.append(await fetch(1))
            await slow(2)

    shields: list[CancelScope] = []
    async with open_nursery() as nursery:
        nursery.go(worker)
        nursery.cancel_scope.cancel("soon")
        with CancelScope(shield=True):
            await fetch(5)
            await fetch(6)
            await fetch(7)
            shields[0].shield = False
            note("no shield")
    note(got)
    return got


@case()
async def cancelled_before_it_began() -> list[Any]:
    """Steps called in a scope that is cancelled already are recorded, and never started."""
    got: list[Any] = []
    with CancelScope() as scope:
        scope.cancel("at once")
        try:
            await fetch(1)
        finally:
            note("cancelled", scope.cancel_called)
            with CancelScope(shield=True):
                got.append(await refund(1))
    async with open_nursery() as nursery:
        nursery.cancel_scope.cancel("this one too")
        handles = [nursery.go(fetch, i) for i in range(3)]
    got += [repr(handle.outcome) for handle in handles]
    note(got)
    return got


@case()
async def inner_nursery_cancelled() -> list[Any]:
    """A body with an inner nursery is cancelled: Cancelled in a group, which `except trio.Cancelled` misses."""
    got: list[Any] = []

    async def body(i: int) -> None:
        try:
            async with trio.open_nursery() as inner:
                inner.start_soon(slow, i)
                inner.start_soon(slow, i + 1)
                await slow(i + 2)
        except trio.Cancelled:  # pragma: no cover - it does not come so
            got.append("bare")
            raise
        except BaseExceptionGroup as group:
            got.append(["group", len(group.exceptions)])
            note(got)
            raise

    async with open_nursery() as nursery:
        handle = nursery.go(body, 1)
        nursery.start_soon(body, 10)
        await fetch(0)
        nursery.cancel_scope.cancel("both")
    got.append(repr(handle.outcome))
    return got


@case()
async def errors_while_cancelled() -> list[Any]:
    """Bodies that answer a cancellation with an error; cleanup that fails."""

    async def worker(i: int) -> None:
        try:
            await spiteful(i)
            await slow(i)
        finally:
            note("leaving", i)
            if i == 2:  # pragma: no branch - it is cancelled, and goes no further
                raise KeyError(i)

    try:
        async with open_nursery() as nursery:
            for i in range(4):
                nursery.start_soon(worker, i)
            await fetch(0)
            nursery.cancel_scope.cancel("now")
    except* (ValueError, KeyError) as group:
        note(sorted(str(exc) for exc in leaves(group)))
    return [await at_once(1)]


def leaves(exc: BaseException) -> list[BaseException]:
    return [leaf for one in exc.exceptions for leaf in leaves(one)] if isinstance(exc, BaseExceptionGroup) else [exc]


@case()
async def swallows_its_cancellation() -> str:
    """Whoever swallows a cancel and returns has completed; see what an outside cancel makes of that."""
    try:
        await slow(1)
    except trio.Cancelled:
        note("swallowed")
        with trio.CancelScope(shield=True):
            return str(await refund(1))
    finally:
        note("done")
    return "never"


@case()
async def compensation_in_order() -> list[Any]:
    """Undo what was done, last first, each undo a shielded step; a failure starts it, or an outside cancel."""
    done: list[int] = []
    undone: list[Any] = []
    try:
        for i in range(4):
            done.append(await fetch(i))
        await sleep(0.5)
        raise LookupError("no room left")
    except BaseException:
        with CancelScope(shield=True):
            undone += [await refund(i) for i in reversed(done)]
        note(undone)
        raise


@case()
async def cancel_each_other() -> list[Any]:
    """Two siblings each cancel the other's scope; level-triggered waits in between."""
    got: list[Any] = []
    scopes: dict[int, CancelScope] = {}

    async def worker(i: int) -> None:
        with CancelScope() as scopes[i]:
            await fetch(i)
            scopes[1 - i].cancel(f"by {i}")
            for _ in range(2):
                try:
                    await sleep(1)
                finally:
                    got.append([i, scopes[i].cancel_called])
        note(i, scopes[i].reason)

    async with open_nursery() as nursery:
        nursery.go(worker, 0)
        nursery.go(worker, 1)
    return got
