"""Durable scopes, deadlines and sleeps: Trio's own meaning, with the deadline and the reason in the log."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    OutsideWorkflowError,
    WorkflowStuck,
    after,
    at,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    now,
    open_engine,
    open_nursery,
    sleep,
    sleep_until,
    step,
    workflow,
)
from nurselog.abc import Batch
from nurselog.lowlevel import Cause, Result, ScopeCancelled, StepEnded, TimerFired, TimerSet, open_store
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def clean_up() -> str:
    await trio.sleep(1)
    return "cleaned"


def in_seconds(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


# -- timeouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: move_on_after(3), lambda: move_on_at(in_seconds(3))], ids=["after", "at"])
async def test_moving_on(autojump_clock: Clock, make: Callable[[], CancelScope]) -> None:
    async def flow() -> list[object]:
        began = now()
        with make() as scope:
            await nap(100)
        return [scope.cancelled_caught, scope.cancel_called, (now() - began).total_seconds(), await nap(0)]

    begin = VirtualClock().utc()
    async with in_memory() as engine:
        assert await play_on(engine, flow) == [True, True, 3, 0]
        log = await events(engine)
    [timer] = [event for event in log if isinstance(event, TimerSet)]
    [fired] = [event for event in log if isinstance(event, TimerFired)]
    [cancelled] = [event for event in log if isinstance(event, ScopeCancelled)]
    [ended] = [event for event in log if isinstance(event, StepEnded) and event.result is Result.CANCELLED]
    assert timer.due == fired.due == begin + 3_000_000
    assert (cancelled.by, cancelled.path) == (Cause.DEADLINE, timer.path)
    assert (ended.scope, ended.begun) == (timer.path, True)


async def test_in_time(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        with move_on_after(3) as scope:
            await nap(2)
        with fail_after(3):
            await nap(2)
        await nap(10)  # the deadlines are gone
        return [scope.cancelled_caught, scope.cancel_called]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [False, False]
        assert not [event for event in await events(engine) if isinstance(event, TimerFired)]


@pytest.mark.parametrize("make", [lambda: fail_after(3), lambda: fail_at(in_seconds(3))], ids=["after", "at"])
async def test_failing(autojump_clock: Clock, make: Callable[[], Any]) -> None:
    async def flow() -> bool:
        with pytest.raises(trio.TooSlowError), make() as scope:
            await sleep(100)
        with pytest.raises(KeyError), make():
            raise KeyError
        return scope.cancelled_caught  # type: ignore[no-any-return]  # a scope of ours

    assert await play(flow)


@pytest.mark.parametrize("make", [lambda: fail_after(3), lambda: fail_at(in_seconds(3))], ids=["after", "at"])
async def test_what_is_in_time_does_not_fail(autojump_clock: Clock, make: Callable[[], Any]) -> None:
    async def flow() -> list[bool]:
        with make() as scope:
            await nap(1)
        await nap(10)
        return [scope.cancel_called, scope.cancelled_caught]

    assert await play(flow) == [False, False]


async def test_for_ever_is_no_deadline(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        with move_on_after(math.inf) as scope, CancelScope() as other:
            await nap(1)
        return [repr(scope.deadline), repr(other.deadline)]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["None", "None"]
        assert not [event for event in await events(engine) if isinstance(event, TimerSet)]


async def test_what_is_longer_than_time_itself_is_for_ever(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with move_on_after(1e300) as scope:
            await nap(1)
        return str(scope.deadline)

    assert (await play(flow)).startswith("9999-12-31")


async def test_the_first_of_nested_timeouts(autojump_clock: Clock) -> None:
    async def flow() -> list[bool]:
        with move_on_after(1) as outer:  # noqa: SIM117 - one at a time
            with move_on_after(5) as inner:
                await nap(100)
        with move_on_after(5) as wide:
            with move_on_after(1) as narrow:
                await nap(100)
            await nap(1)
        return [scope.cancelled_caught for scope in (outer, inner, wide, narrow)]

    assert await play(flow) == [True, False, False, True]


async def test_a_deadline_may_be_moved(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        scope = CancelScope(deadline=in_seconds(1))
        scope.deadline = in_seconds(2)
        began = now()
        with scope:
            assert scope.deadline == began + timedelta(seconds=2)
            scope.deadline = None
            await nap(5)
            scope.deadline = in_seconds(2)
            scope.deadline = in_seconds(3)
            await nap(100)
        assert not repr(scope).endswith("root>")
        return [(now() - began).total_seconds(), scope.cancelled_caught, "cancelled" in repr(scope)]

    assert await play(flow) == [8, True, True]


async def test_a_deadline_that_is_set_before_counts_instead_of_seconds(autojump_clock: Clock) -> None:
    async def flow() -> list[bool]:
        later, never, sooner = move_on_after(1), move_on_after(1), move_on_after(10)
        later.deadline = in_seconds(4)
        never.deadline = None
        sooner.deadline = in_seconds(5)
        with later, never:
            await nap(2)
        with sooner:
            await nap(4)
        return [scope.cancelled_caught for scope in (later, never, sooner)]

    assert await play(flow) == [False, False, True]


async def test_a_deadline_that_is_moved_when_it_was_due_already(autojump_clock: Clock) -> None:
    """Its `fired` is on its way to the log when the code moves the deadline, and is nobody's then."""
    clock = VirtualClock()
    store = Hooked(open_store("sqlite://", clock=clock))

    async def slowly(batch: Batch) -> None:
        await trio.sleep(1)

    async def flow() -> bool:
        with move_on_after(5) as scope:
            await nap(4.5)
            scope.deadline = in_seconds(20)
            await nap(5)
        return scope.cancel_called

    store.before_commit = slowly
    async with open_engine(store, (), clock=clock) as engine:
        assert not await play_on(engine, flow)
        assert [type(event) for event in await events(engine)].count(TimerFired) == 1


# -- cancelling ----------------------------------------------------------------------------------


async def test_an_explicit_cancellation_has_a_reason(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        with CancelScope() as scope:
            async with open_nursery() as nursery:
                nursery.go(nap, 100)
                await nap(1)
                scope.cancel("because")
                scope.cancel("too late")
        assert scope.cause is Cause.EXPLICIT
        return [scope.reason, scope.cancelled_caught]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["because", True]
        log = await events(engine)
    [noted] = [event for event in log if isinstance(event, ScopeCancelled)]
    [ended] = [event for event in log if isinstance(event, StepEnded) and event.result is Result.CANCELLED]
    assert (noted.reason, ended.reason, ended.scope) == ("because", "because", noted.path)


async def test_a_scope_that_is_cancelled_before_it_is_entered(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        scope = CancelScope()
        scope.cancel("early")
        with scope:
            await nap(1)
        return [scope.cancelled_caught, scope.cancel_called]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [True, True]
        [ended] = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert (ended.begun, ended.result) == (False, Result.CANCELLED)


async def test_a_shield_keeps_cancellation_out(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        got: list[object] = []
        with move_on_after(1) as outer:
            try:
                await nap(100)
            finally:
                with CancelScope(shield=True) as shield:
                    assert shield.shield
                    got += [await clean_up(), await nap(3)]
                    shield.shield = False
                    with pytest.raises(trio.Cancelled):
                        await nap(1)
                    shield.shield = True
                    await sleep(1)
        return [*got, outer.cancelled_caught, shield.cancelled_caught]

    assert await play(flow) == ["cleaned", 3, True, False]


async def test_cancellation_is_level_triggered(autojump_clock: Clock) -> None:
    async def flow() -> int:
        seen = 0
        with move_on_after(1):
            for _ in range(3):
                for wait in (lambda: nap(5), lambda: sleep(5), trio.lowlevel.checkpoint):
                    try:
                        await wait()
                    except trio.Cancelled:
                        seen += 1
        return seen

    assert await play(flow) == 9


async def test_who_is_to_blame_for_a_cancelled_step(autojump_clock: Clock) -> None:
    async def flow() -> None:
        with CancelScope() as outer, CancelScope():
            with trio.CancelScope() as plain:
                plain.cancel()
                await nap(1)
            with CancelScope() as inner:
                outer.cancel("outer")
                inner.cancel("inner")
                await nap(1)

    async with in_memory() as engine:
        await play_on(engine, flow)
        ended = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert [(event.path, event.scope, event.reason) for event in ended] == [("3", None, None), ("5", "4", "inner")]


async def test_a_plain_task_belongs_to_its_nurserys_scope(autojump_clock: Clock) -> None:
    """Not to the scopes that its spawner is in: those are not to blame for what becomes of it."""

    async def flow() -> None:
        with CancelScope() as outer:
            async with trio.open_nursery() as nursery:
                with CancelScope() as inner, CancelScope():
                    nursery.start_soon(nap, 100)
                    async with trio.open_nursery() as deeper:
                        deeper.start_soon(nap, 50)
                        await nap(1)
                        inner.cancel("inner")
                await nap(2)
                outer.cancel("outer")

    async with in_memory() as engine:
        await play_on(engine, flow)
        ended = [event for event in await events(engine) if isinstance(event, StepEnded)]
    cancelled = [(event.scope, event.reason) for event in ended if event.result is Result.CANCELLED]
    assert cancelled == [("2", "inner"), ("1", "outer")]


async def test_a_shielded_scope_is_not_cancelled_by_the_one_around(autojump_clock: Clock) -> None:
    async def flow() -> None:
        with CancelScope() as outer:
            outer.cancel("outer")
            with CancelScope(shield=True), trio.CancelScope() as plain:
                plain.cancel()
                await nap(1)

    async with in_memory() as engine:
        await play_on(engine, flow)
        [ended] = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert (ended.result, ended.scope) == (Result.CANCELLED, None)


async def test_a_scope_is_entered_once(autojump_clock: Clock) -> None:
    async def flow() -> float:
        scope = move_on_after(1)
        with scope:
            with pytest.raises(RuntimeError, match=r"once|single"), scope:
                pass
            await nap(0)
        with pytest.raises(RuntimeError, match=r"once|single"), scope:
            pass
        return await nap(5)

    assert await play(flow) == 5


async def test_a_scope_that_was_entered_wrongly_does_no_harm_to_cancellation(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> None:
        scope = CancelScope()
        with scope:
            with pytest.raises(RuntimeError), scope:
                pass
            await nap(100)

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="flow")
        await trio.sleep(1)
        await engine.cancel("flow")
        await trio.sleep(1)
        assert (await handle.status()).value == "cancelled"


async def test_a_scope_works_between_branches(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        scopes: list[CancelScope] = []

        async def sleeper() -> str:
            with CancelScope() as scope:
                scopes.append(scope)
                await nap(100)
            return "woken"

        async with open_nursery() as nursery:
            handle = nursery.go(sleeper)
            await nap(1)
            scopes[0].cancel("from next door")
        return [await handle.result(), scopes[0].reason]

    assert await play(flow) == ["woken", "from next door"]


async def test_plain_deadlines_are_refused(autojump_clock: Clock) -> None:
    async def under(operation: Callable[[], Any]) -> str:
        @workflow(name="flow")
        async def flow() -> None:
            with trio.move_on_after(5):
                await operation()

        async with in_memory() as engine:
            with pytest.raises(WorkflowStuck, match=r"plain Trio deadline(?s:.)*move_on_after\(\)") as caught:
                await engine.run(flow, id="flow")
            return str(caught.value)

    for operation in (lambda: nap(1), lambda: sleep(1), lambda: open_nursery().__aenter__()):
        assert __file__ in await under(operation)


async def set_later() -> None:
    with trio.CancelScope() as scope:
        scope.deadline = trio.current_time() + 5
        await nap(1)


async def around_a_durable_one() -> None:
    with trio.move_on_after(5), move_on_after(3):
        await nap(1)


async def of_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 5
        await nap(1)


async def of_a_branch() -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(set_later)


@pytest.mark.parametrize("code", [set_later, around_a_durable_one, of_a_nursery, of_a_branch])
async def test_plain_deadlines_are_refused_wherever_they_are(
    autojump_clock: Clock, code: Callable[[], Awaitable[None]]
) -> None:
    async with in_memory() as engine:
        with pytest.raises(WorkflowStuck, match="plain Trio deadline"):
            await engine.run(workflow(name="flow")(code))


# -- sleeping ------------------------------------------------------------------------------------


async def test_sleeping(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        times = [now()]
        await sleep(1.5)
        times.append(now())
        await sleep_until(times[0] + timedelta(seconds=5))
        times.append(now())
        await sleep_until(times[0])
        times.append(now())
        await sleep(0)
        times.append(now())
        return [(b - times[0]).total_seconds() for b in times]

    assert await play(flow) == [0, 1.5, 5, 5, 5]


async def test_a_sleep_that_is_cancelled_leaves_no_timer(autojump_clock: Clock) -> None:
    async def flow() -> float:
        with move_on_after(1):
            await sleep(5)
        return await nap(20)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 20
        assert len([event for event in await events(engine) if isinstance(event, TimerFired)]) == 1


async def test_times_need_sense(autojump_clock: Clock) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point

    async def flow() -> int:
        for wrong in (-1, math.nan):
            for operation in (sleep, after, move_on_after, lambda s: fail_after(s).__enter__()):
                with pytest.raises(ValueError, match="not negative"):
                    found = operation(wrong)
                    await found  # type: ignore[misc]  # only sleep comes so far
        for timed in (sleep_until, at, move_on_at, lambda d: fail_at(d).__enter__(), lambda d: CancelScope(deadline=d)):
            with pytest.raises(ValueError, match="time zone"):
                found = timed(naive)
                await found  # type: ignore[misc]  # only sleep_until comes so far
        return 1

    assert await play(flow) == 1


async def test_durable_operations_need_a_workflow() -> None:
    moment = datetime.now(UTC)
    for operation in (
        lambda: sleep(1),
        lambda: sleep_until(moment),
        lambda: after(1),
        lambda: at(moment),
        CancelScope,
        lambda: move_on_after(1),
        lambda: fail_after(1).__enter__(),
        lambda: open_nursery().__aenter__(),
        now,
    ):
        with pytest.raises(OutsideWorkflowError, match="inside a workflow only"):
            found = operation()
            await found  # type: ignore[misc]  # the async ones come so far
