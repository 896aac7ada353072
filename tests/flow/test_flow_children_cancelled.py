"""Child workflows that are cancelled: by whom, with which reason, and what becomes of it on both sides."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    ChildCancelled,
    Engine,
    Status,
    Succeeded,
    WasCancelled,
    Workflow,
    WorkflowCancelled,
    fail_after,
    gather,
    move_on_after,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Cause, ChildEnded, ChildStarted, Ended, Result, ScopeCancelled, TimerSet
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock
bodies: list[str] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def note(text: str) -> None:
    bodies.append(text)
    await trio.sleep(2)


@workflow
async def endless() -> None:
    await sleep(1_000_000)


@workflow
async def careful() -> None:
    try:
        await sleep(1_000_000)
    finally:
        with CancelScope(shield=True):
            await note("clean")


@workflow
async def stubborn() -> str:
    try:
        await sleep(1_000_000)
    except trio.Cancelled:
        return "went on"
    return "never"


@workflow
async def grumpy() -> str:
    try:
        await sleep(1_000_000)
    except trio.Cancelled:
        raise ValueError("do not disturb") from None
    return "never"


@workflow
async def nest(depth: int) -> None:
    """Has a child that has a child, and so on; each cleans up when those below have."""
    try:
        await (nest(depth - 1) if depth else endless())
    finally:
        with CancelScope(shield=True):
            await note(f"level {depth}")


async def ends_of(engine: Engine, *ids: str) -> list[tuple[str, str | None]]:
    """Return how workflows have ended, by their own logs."""
    last = [(await events(engine, id))[-1] for id in ids]
    return [(event.result.value, event.reason) for event in last if isinstance(event, Ended)]


async def told_of(engine: Engine) -> list[tuple[str, str, str | None]]:
    """Return how children have ended, by the log of their parent."""
    told = [event for event in await events(engine) if isinstance(event, ChildEnded)]
    return [(event.path, event.result.value, event.reason) for event in told]


# -- by whom -------------------------------------------------------------------------------------


async def test_a_scope_cancels_the_children_in_it(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handles = [nursery.go(endless), nursery.go(endless)]
            await sleep(1)
            nursery.cancel_scope.cancel("enough")
        assert nursery.cancel_scope.cancelled_caught
        return [repr(handle.outcome) for handle in handles]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [
            "WasCancelled(reason='enough', path='2')",
            "WasCancelled(reason='enough', path='3')",
        ]
        assert sorted(await told_of(engine)) == [("2", "cancelled", "enough"), ("3", "cancelled", "enough")]
        assert await ends_of(engine, "played/2", "played/3") == [("cancelled", "enough")] * 2
        noted = [event for event in await events(engine) if isinstance(event, ScopeCancelled)]
        assert [(event.path, event.by) for event in noted] == [("1", Cause.EXPLICIT)]
        [told] = [event for event in await events(engine, "played/2") if isinstance(event, ScopeCancelled)]
        assert (told.path, told.by, told.reason) == ("", Cause.EXTERNAL, "enough")


async def test_a_handle_cancels_its_child_alone(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            first, other = nursery.go(endless), nursery.go(stubborn)
            first.cancel("the first")
            first.cancel("too late")
            assert await first.receive() == WasCancelled("the first", "2")
            with pytest.raises(ChildCancelled, match="the child at path 2 was cancelled: the first"):
                await first.result()
            first.cancel("settled")
            assert other.status is Status.RUNNING
            other.cancel()
            assert await other.result() == "went on"
        assert not nursery.cancel_scope.cancel_called
        return [first.status.value, other.status.value]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["cancelled", "completed"]
        noted = [event for event in await events(engine) if isinstance(event, ScopeCancelled)]
    assert [(event.path, event.by, event.reason) for event in noted] == [
        ("2", Cause.EXPLICIT, "the first"),
        ("3", Cause.EXPLICIT, None),
    ]


async def test_a_timeout_cancels_the_child_that_is_awaited(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        try:
            with fail_after(5):
                await careful()
        except trio.TooSlowError:
            return True
        return False

    async with in_memory() as engine:
        assert await play_on(engine, flow)
        began = [event for event in await events(engine) if isinstance(event, TimerSet)]
        assert len(began) == 1
        assert await told_of(engine) == [("2", "cancelled", None)]
    assert bodies == ["clean"]


async def test_who_cancels_the_parent_cancels_the_children(autojump_clock: Clock) -> None:
    @workflow(name="family")
    async def family() -> None:
        async with open_nursery() as nursery:
            nursery.go(careful)
            nursery.start_soon(careful)
            await careful()

    async with in_memory() as engine:
        handle = await engine.submit(family, id="played")
        await trio.sleep(1)
        await engine.cancel("played", "all of you")
        await trio.sleep(1)
        assert await handle.status() is Status.CANCELLING, "it waits for what the children clean up"
        with pytest.raises(WorkflowCancelled, match="all of you"):
            await handle.result()
        assert sorted(path for path, _, _ in await told_of(engine)) == ["2", "3.1", "4"]
        assert await ends_of(engine, "played/2", "played/3.1", "played/4") == [("cancelled", "all of you")] * 3
    assert bodies == ["clean"] * 3


async def test_a_failure_of_one_cancels_the_others(autojump_clock: Clock) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(careful)
            with pytest.raises(ExceptionGroup):
                async with open_nursery() as inner:
                    inner.go(careful)
                    await sleep(1)
                    raise ValueError("body")
            handle.cancel()
        return str(inner.cancel_scope.reason)

    assert await play(flow) == "ValueError"
    assert bodies == ["clean"] * 2


# -- what the child makes of it ------------------------------------------------------------------


async def test_the_nursery_waits_for_the_cleanup(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            nursery.go(careful)
            nursery.cancel_scope.cancel()
        await note("after")
        return []

    await play(flow)
    assert bodies == ["clean", "after"]


async def test_a_child_may_end_with_a_value_although_told(autojump_clock: Clock) -> None:
    async def flow() -> list[Any]:
        async with open_nursery() as nursery:
            handle = nursery.go(stubborn)
            nursery.cancel_scope.cancel()
        with CancelScope() as scope:
            scope.cancel()
            await endless()  # is not even started
        with move_on_after(5) as timed:
            got = await stubborn()
        return [handle.outcome == Succeeded("went on"), nursery.cancel_scope.cancelled_caught, timed.cancel_called, got]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [True, False, True, "went on"]
        started = [event.path for event in await events(engine) if isinstance(event, ChildStarted)]
    assert started == ["2", "6"]


async def test_a_child_may_fail_although_told(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ValueError, match="do not disturb"), move_on_after(5):
            await grumpy()
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                nursery.go(grumpy)
                nursery.cancel_scope.cancel()
        return [repr(error) for error in caught.value.exceptions]

    assert await play(flow) == ["ValueError('do not disturb')"]


async def test_somebody_outside_is_faster_than_the_scope(autojump_clock: Clock) -> None:
    """A child is cancelled once; who awaits it under a cancelled scope is cancelled, whoever was first."""

    async def flow() -> bool:
        with move_on_after(2) as scope:
            await careful()
        return scope.cancelled_caught

    async with in_memory() as engine, trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.sleep(1)
            await engine.cancel("played/2", "me first")

        nursery.start_soon(cancel)
        assert await play_on(engine, flow)
        assert await told_of(engine) == [("2", "cancelled", "me first")]
    assert bodies == ["clean"]


# -- shields, and scopes that are cancelled already ----------------------------------------------


async def test_a_shield_keeps_the_cancellation_from_a_child(autojump_clock: Clock) -> None:
    @workflow(name="brief")
    async def brief() -> str:
        await sleep(10)
        return "done"

    async def flow() -> list[str]:
        got = []
        with move_on_after(1) as scope:
            with CancelScope(shield=True):
                got.append(await brief())
            async with open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                got.append(await nursery.go(brief).result())
        return [*got, str(scope.cancel_called)]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["done", "done", "True"]
        assert [end for _, end, _ in await told_of(engine)] == ["value", "value"]


async def test_a_shield_that_is_dropped_lets_it_through(autojump_clock: Clock) -> None:
    async def flow() -> str:
        async with open_nursery() as outer:
            outer.cancel_scope.cancel("outer")
            async with open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                handle = nursery.go(endless)
                await sleep(5)
                assert handle.status is Status.RUNNING
                nursery.cancel_scope.shield = False
        return repr(handle.outcome)

    assert await play(flow) == "WasCancelled(reason='outer', path='3')"


async def test_a_child_in_a_scope_that_is_cancelled_already(autojump_clock: Clock) -> None:
    """What `go` starts is started, as in Trio, and told at once; it may have come to a wait before it hears that."""

    async def flow() -> str:
        async with open_nursery() as nursery:
            nursery.cancel_scope.cancel("too late")
            handle = nursery.go(careful)
            nursery.start_soon(careful)
        return repr(handle.outcome)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == "WasCancelled(reason='too late', path='2')"
        started = [event.path for event in await events(engine) if isinstance(event, ChildStarted)]
        assert await ends_of(engine, "played/2") == [("cancelled", "too late")]
    assert started == ["2"], "what is awaited is not started: its caller is cancelled before that"
    assert bodies == ["clean"]


async def test_more_children_after_the_cancellation(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handles = [nursery.go(careful)]
            await sleep(1)
            nursery.cancel_scope.cancel("first")
            with CancelScope(shield=True):
                await sleep(1)
                handles += [nursery.go(careful), nursery.go(stubborn)]
                await handles[1].receive()
                handles.append(nursery.go(endless))
        return [handle.status.value for handle in handles]

    assert await play(flow) == ["cancelled", "cancelled", "completed", "cancelled"]
    assert bodies == ["clean", "clean"]


# -- many and deep -------------------------------------------------------------------------------


async def test_three_deep(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        with move_on_after(5) as scope:
            await nest(2)
        return scope.cancelled_caught

    async with in_memory() as engine:
        assert await play_on(engine, flow)
        ids = [f"played/2{'/1' * depth}" for depth in range(4)]
        assert await ends_of(engine, *ids) == [("cancelled", None)] * 4
    assert bodies == ["level 0", "level 1", "level 2"], "those below first"


async def test_a_scope_between_two_nurseries(autojump_clock: Clock) -> None:
    """Only what is in the cancelled scope is."""

    async def flow() -> list[str]:
        async with open_nursery() as outer:
            kept = outer.go(stubborn)
            with CancelScope() as scope:
                async with open_nursery() as inner:
                    lost = inner.go(endless)
                    await sleep(1)
                    scope.cancel("only these")
            seen = [repr(lost.outcome), kept.status.value]
            kept.cancel()
        return seen

    assert await play(flow) == ["WasCancelled(reason='only these', path='5')", "running"]


@pytest.mark.parametrize("child", [endless, careful, stubborn, grumpy])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_both_sides_say_the_same(autojump_clock: Clock, child: Workflow[[], Any], seconds: float) -> None:
    async def flow() -> None:
        async with open_nursery() as nursery:
            handles = [nursery.go(child) for _ in range(3)]
            await sleep(seconds)
            handles[0].cancel("alone")
            await handles[0].receive()
            nursery.cancel_scope.cancel("all")
            await gather(*handles)

    async with in_memory() as engine:
        try:
            await play_on(engine, flow)
        except* ValueError:
            assert child is grumpy
        told = {path: end for path, *end in await told_of(engine)}
        for path in ("2", "3", "4"):
            [end] = await ends_of(engine, f"played/{path}")
            assert [*end] == told[path]


@pytest.mark.parametrize("seconds", [1, 2, 3])
async def test_a_child_that_ends_at_the_very_time_of_the_timeout(autojump_clock: Clock, seconds: int) -> None:
    """Whatever comes first: there is one outcome, and both sides have it."""

    @workflow(name="brief")
    async def brief() -> str:
        await sleep(seconds)
        return "done"

    async def flow() -> list[str]:
        with move_on_after(2) as scope:
            return [await brief()]
        return [str(scope.cancelled_caught)]

    async with in_memory() as engine:
        got = await play_on(engine, flow)
        [(_, result, _)] = await told_of(engine)
        [(own, _)] = await ends_of(engine, "played/2")
    assert result == own == (Result.VALUE.value if got == ["done"] else Result.CANCELLED.value)
    if seconds != 2:
        assert got == (["done"] if seconds == 1 else ["True"])
