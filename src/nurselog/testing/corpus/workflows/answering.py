"""Updates: what others ask of a workflow, and what it answers. Each workflow is asked by itself, as if from outside.

Who asks does not wait for the answer here: the answers are in the log.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import trio

from .... import CancelScope, Update, after, mailbox, move_on_after, open_nursery, select, sleep, updates, workflow_id
from ...._engine.patience import patiently
from ...._engine.run import Run
from ...._flow.body import Body
from ...._flow.strand import place
from ..cases import case
from ..world import note
from .conversations import tell
from .steps import at_once, fetch, refund, step


async def leave_update(name: str, key: str, value: object) -> None:
    """Leave an update for the workflow whose step this is, as `Engine.update` does, and do not wait for the answer."""
    host = cast("Run", cast("Body", place.get()).call.sequencer.host)
    office = host._runner.office
    row = await patiently(partial(office.find, workflow_id()))
    await patiently(partial(office.leave, [office.update_of(row, name, value, key)]))


@step(name="corpus.ask")
async def ask(name: str, key: str, value: Any = None) -> None:
    await leave_update(name, key, value)


async def ask_all(name: str, **values: Any) -> None:
    """Ask for several, one after the other, by these keys."""
    for key, value in values.items():
        await ask(name, key, value)


@case()
async def updates_before_anybody_waits() -> list[Any]:
    """They came when nobody had asked; they are there, in their order, and messages of the same name are apart."""
    await ask_all("count", a=1, b=2)
    await tell("count", "a message")
    await ask_all("name", c="x")
    got: list[Any] = [await mailbox("count", str).receive()]
    for name in ("name", "count", "count"):
        one = await updates(name).receive()
        one.answer(one.value)
        got.append([one.key, one.value])
    note(got)
    return got


@case()
async def updates_with_steps_between() -> list[int]:
    """Each is answered with the outcome of a step, while the next ones come."""
    total: list[int] = []
    async with open_nursery() as nursery:
        nursery.go(partial(ask_all, "add", a=1, b=2, c=3, d=None))
        async for one in updates("add", int | None, int | None):
            if one.value is None:
                one.answer(None)
                break
            total.append(await fetch(one.value))
            note(one.key, total)
            one.answer(sum(total))
    return total


@case()
async def answers_out_of_order() -> list[Any]:
    """Several strands have an update each, and answer when their steps are done, or reject."""
    got: list[Any] = []

    async def serve() -> None:
        one = await updates("jobs", int, str).receive()
        outcome = await fetch(one.value)
        if outcome % 20:
            one.reject(ValueError(f"{outcome} is odd"))
        else:
            one.answer(f"{outcome}")
        got.append([one.key, outcome])
        note(got)

    async with open_nursery() as nursery:
        for _ in range(4):
            nursery.go(serve)
        nursery.go(partial(ask_all, "jobs", a=0, b=1))
        nursery.go(partial(ask_all, "jobs", c=2, d=3))
    return sorted(got)


@case()
async def updates_that_do_not_fit() -> list[Any]:
    """They are rejected when somebody looks, or waits; nobody sees them, and nothing is waited for in vain."""
    got: list[Any] = []
    numbers = updates("numbers", int)
    await ask_all("numbers", a="one", b=2, c="three")
    got.append((await numbers.receive()).key)
    try:
        numbers.receive_nowait()
    except trio.WouldBlock:
        got.append("nothing")
    async with open_nursery() as nursery:
        nursery.go(partial(ask_all, "numbers", d="four", e=5))
        one = await numbers.receive()
    one.answer(got)
    got.append(one.value)
    note(got)
    return got


@case()
async def updates_until_time_is_up() -> list[Any]:
    """A select of updates, a mailbox and an alarm, again and again, while a branch asks at its leisure."""
    got: list[Any] = []

    async def customer() -> None:
        for i in range(4):  # pragma: no branch - it is cancelled before
            await sleep(0.7)
            await ask("orders", f"order {i}", await fetch(i))
            await tell("remarks", i)

    orders, remarks = updates("orders", int, int), mailbox("remarks", int)
    async with open_nursery() as nursery:
        nursery.go(customer)
        time_is_up = after(2.5)
        while True:
            chosen = await select(orders, remarks, time_is_up)
            if chosen.case is time_is_up:
                break
            found: Any = chosen.unwrap()
            if isinstance(found, Update):
                found.answer(found.value + 1)
                found = [found.key, found.value]
            got.append(found)
            note(got)
        nursery.cancel_scope.cancel("time is up")
    return got


@case()
async def update_and_cancel_at_once() -> list[Any]:
    """An update comes in the moment in which its reader is cancelled: either he has it, or the next one does."""
    got: list[Any] = []
    box = updates("box", int, int)

    async def read(i: int) -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            one = await box.receive()
            one.answer(i)
            got.append([i, one.value])
        note(i, got, scope.cancelled_caught)

    scopes: list[CancelScope] = []
    async with open_nursery() as nursery:
        nursery.go(read, 1)
        await at_once(1)
        nursery.go(ask, "box", "a", 7)
        await at_once(2)
        scopes[0].cancel("at the same moment")
        nursery.go(read, 2)
        await sleep(1)
        await ask("box", "b", 8)
        with move_on_after(0.5):
            left = await box.receive()
            left.answer(9)
            got.append(["left", left.value])
        nursery.cancel_scope.cancel("whoever waits still")
    return got


@case()
async def updates_rejected_in_cleanup() -> list[Any]:
    """What was begun is rejected when its branch is cancelled, after a step that undoes it, shielded."""
    got: list[Any] = []

    async def serve() -> None:
        one = await updates("orders", int, str).receive()
        try:
            await sleep(1000)
        finally:
            with CancelScope(shield=True):
                got.append(await refund(one.value))
                one.reject(RuntimeError(f"{one.key} was undone"))
                note(got)

    async with open_nursery() as nursery:
        nursery.go(serve)
        nursery.go(serve)
        await ask_all("orders", a=1, b=2)
        await fetch(1)
        nursery.cancel_scope.cancel("closing time")
    await ask("orders", "c", 3)
    late = await updates("orders", int, str).receive()
    late.answer("closed")
    return [*sorted(got), late.key]


@case()
async def the_same_key_again() -> list[Any]:
    """Of several with one key the first comes, whatever the others ask."""
    got: list[Any] = []
    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(ask, "t", "k", i)
            await at_once(i)
        await sleep(1)
        await ask("t", "l", 10)
        for _ in range(2):
            one = await updates("t", int).receive()
            one.answer(one.value)
            got.append([one.key, one.value])
    note(got)
    return got


@case()
async def updates_that_nobody_answers() -> int:
    """One that nobody receives, one that somebody has and forgets, and one whose reader is closed."""
    ignored, closed = updates("ignored"), updates("closed")
    await ask_all("ignored", a=1, b=2)
    await ask_all("closed", c=3)
    forgotten = await ignored.receive()
    closed.close()
    try:
        await closed.receive()
    except trio.ClosedResourceError:
        note(forgotten.key)
    return int(await fetch(1))
