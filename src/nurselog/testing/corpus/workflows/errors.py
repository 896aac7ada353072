"""Errors: whose they are, how they travel through nurseries, groups and the log, and when a step is tried again."""

from __future__ import annotations

from typing import Any

import trio

from .... import (
    ChildCancelled,
    Failed,
    Retry,
    StepFailed,
    StepInterrupted,
    StepTimedOut,
    as_completed,
    map_concurrently,
    open_nursery,
    race,
    select,
    sleep,
)
from ..cases import case
from ..world import chance, note, shape
from .steps import at_once, fail, fetch, flaky, linger, shaky, slow, spiteful, step


class Declined(Exception):
    """Can be rebuilt."""

    def __init__(self, card: str, amount: int) -> None:
        super().__init__(card, amount)
        self.card: str = card
        self.amount: int = amount


@step
async def charge(card: str) -> None:
    await linger(0.002)
    try:
        raise ConnectionError("bank")
    except ConnectionError as exc:
        error = Declined(card, 5)
        error.add_note("try another card")
        raise error from exc


@step
async def raise_group(i: int) -> None:
    await linger(0.002)
    raise ExceptionGroup("several", [ValueError(i), ExceptionGroup("inner", [KeyError("k"), Declined("x", i)])])


@step
async def raise_unknown() -> None:
    class Local(Exception):
        pass

    raise Local("nobody knows me")


@step
async def mixed(i: int) -> int:
    """Cancelled and failing at once."""

    async def bad() -> None:
        try:
            await trio.sleep(chance().random() * 0.01)
        finally:
            raise ValueError(f"mixed {i}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bad)
        nursery.start_soon(trio.sleep, 0.02)
    return i  # pragma: no cover - it fails


@case()
async def sibling_failure() -> list[Any]:
    """start_soon fails the nursery at once: its siblings are cancelled, and clean up."""

    async def worker(i: int) -> None:
        try:
            await slow(i)
        finally:
            note("leaving", i)

    try:
        async with open_nursery() as nursery:
            for i in range(3):
                nursery.start_soon(worker, i)
            nursery.start_soon(fail, "boom")
            await slow(9)
    except* ValueError as group:
        note(shape(group))
    return [await at_once(1)]


@case()
async def start_soon_fails_next_to_go() -> list[Any]:
    """A child with a handle beside a child without one, which fails."""
    handles = []
    try:
        async with open_nursery() as nursery:
            handles += [nursery.go(slow, 1), nursery.go(fetch, 2)]
            nursery.start_soon(fail, "soon")
            handles.append(nursery.go(fail, "with a handle"))
            await slow(3)
    except ExceptionGroup as group:
        note(shape(group))
    outcomes = [await handle.receive() for handle in handles]
    note([handle.status for handle in handles], [shape(o.error) for o in outcomes if isinstance(o, Failed)])
    return [handle.status.value for handle in handles]


@case()
async def a_step_that_raises_a_group() -> list[Any]:
    """A tree of errors, with an application's own among them, through the log and back."""
    seen: list[Any] = []
    for i in range(2):
        try:
            await raise_group(i)
        except* Declined as group:
            seen.append(str(shape(group)))
        except* (ValueError, KeyError) as group:
            seen.append(str(shape(group)))
    note(seen)
    await raise_group(9)
    return seen  # pragma: no cover - it fails


@case()
async def errors_keep_their_types() -> list[Any]:  # type: ignore[return]  # the last step fails
    """A type that can be rebuilt, with note and cause, and one that cannot."""
    try:
        await charge("4711")
    except Declined as exc:
        note(exc.card, exc.amount, exc.__notes__, shape(exc))
    try:
        await raise_unknown()
    except StepFailed as exc:
        note(exc.type_name, exc.message)
        raise


@case()
async def failures_claimed_and_not() -> list[Any]:
    """What was asked for belongs to whoever asked; the rest is the nursery's when its body ends."""
    seen: list[Any] = []
    try:
        async with open_nursery() as nursery:
            asked, ignored, looked = (nursery.go(fail, text) for text in ("asked", "ignored", "looked"))
            late = nursery.go(late_failure)
            try:
                await asked.result()
            except ValueError as exc:
                seen.append(str(exc))
            await looked.receive()
            await fetch(1)
            seen.append(ignored.status.value)
            note(seen)
    except ExceptionGroup as group:
        note(shape(group))
        seen.append(sorted(str(exc) for exc in group.exceptions))
    return [seen, late.status.value]


async def late_failure() -> None:
    await sleep(0.5)
    await fail("late")  # pragma: no cover - it is cancelled before


@case()
async def body_and_children_fail() -> None:
    """The body raises while children fail: one group with all of it."""
    async with open_nursery() as nursery:
        nursery.go(fail, "first")
        nursery.go(fail, "second")
        nursery.start_soon(spiteful, 3)
        await fetch(1)
        raise LookupError("the body")


@case()
async def failed_select_cases() -> list[Any]:
    """A failed child is a ready case; losing claims nothing."""
    seen: list[Any] = []
    try:
        async with open_nursery() as nursery:
            first, second = nursery.go(fail, "one"), nursery.go(fail, "two")
            winner = await select(first, second)
            assert isinstance(winner.outcome, Failed)
            seen.append([winner.index, str(winner.outcome.error)])
            note(seen)
            await fetch(5)
    except* ValueError as group:
        seen.append([str(exc) for exc in group.exceptions])
    note(seen)
    return seen


@case()
async def race_that_nobody_wins() -> None:
    """All fail: all their errors, in a group."""
    await race(lambda: fail("a"), lambda: fail("b"), lambda: flaky(1))


@case()
async def retries() -> list[Any]:
    """Attempts and due times are in the log; a crash forgets none."""

    async def one(i: int) -> Any:
        try:
            return await shaky(i)
        except ConnectionError as exc:
            return str(exc)

    values = await map_concurrently(one, range(5), limit=2)
    note(values)
    return values


@step(retry=Retry(attempts=4, delay=0.5, when=ConnectionError), timeout=1.2)
async def patient(i: int) -> int:
    """Fails until the whole step's time is over, or with an error that is not worth another attempt."""
    await linger(0.3)
    if i and chance().random() < 0.3:
        raise ValueError("not worth it")
    raise ConnectionError("down")


@step(attempt_timeout=0.001, retry=Retry(attempts=2, delay=0.001))
async def hasty(i: int) -> int:
    await linger(0.002)
    return i


@case()
async def steps_with_timeouts() -> list[Any]:
    """Timeouts of a whole step and of its attempts."""
    seen: list[Any] = []
    async with open_nursery() as nursery:
        handles = [nursery.go(patient, 0), nursery.go(patient, 1), nursery.go(hasty, 2), nursery.go(hasty, 3)]
        async for handle in as_completed(*handles):
            outcome = handle.outcome
            seen.append([handle.path, type(outcome.error).__name__ if isinstance(outcome, Failed) else str(outcome)])
            note(seen[-1])
    try:
        await hasty.using(timeout=0.0001, name="hastier")(4)
    except StepTimedOut as exc:
        note(exc.step, exc.seconds)
    return sorted(seen)


@case()
async def cancelled_and_failing() -> list[Any]:
    """A body that is cancelled while it fails: the error is the outcome."""
    seen: list[Any] = []
    async with open_nursery() as nursery:
        handles = [nursery.go(mixed, i) for i in range(3)]
        await fetch(1)
        nursery.cancel_scope.cancel("meanwhile")
        with trio.CancelScope(shield=True):
            for handle in handles:
                try:
                    seen.append(await handle.result())
                except* ValueError as group:
                    seen.append(str(shape(group)))
                except* ChildCancelled:
                    seen.append("cancelled")
    note(seen)
    return seen


@step(at_most_once=True)
async def launch(i: int) -> str:
    await linger(0.002)
    return f"launched {i}"


@case()
async def at_most_once() -> list[Any]:
    """A step that has begun and has no outcome raises StepInterrupted after a crash, and does not run again."""
    seen: list[Any] = []
    async with open_nursery() as nursery:
        for handle in [nursery.go(launch, i) for i in range(3)]:
            try:
                seen.append(await handle.result())
            except StepInterrupted as exc:
                seen.append(["interrupted", exc.step])
    note(seen)
    return seen
