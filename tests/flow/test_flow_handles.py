"""Nurseries and handles: what a child's outcome is, and what may be done with it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import pytest
import trio

from nurselog import (
    CancelScope,
    ChildCancelled,
    Failed,
    Handle,
    Nursery,
    Status,
    Succeeded,
    WasCancelled,
    open_nursery,
    sleep,
    step,
)
from nurselog.lowlevel import Cause, Result, ScopeCancelled, StepEnded
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on
from tests.house.tree import printed

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def fail(message: str, seconds: float = 0) -> None:
    await trio.sleep(seconds)
    raise ValueError(message)


async def branch_nap(seconds: float) -> float:
    await sleep(seconds)
    return seconds


async def branch_fail(message: str, seconds: float = 0) -> None:
    await sleep(seconds)
    raise ValueError(message)


Napper = Callable[[float], Awaitable[float]]
Failer = Callable[[str], Awaitable[None]]
nappers = pytest.mark.parametrize("napper", [nap, branch_nap])
failers = pytest.mark.parametrize("failer", [fail, branch_fail])


# -- outcomes ------------------------------------------------------------------------------------


@nappers
async def test_every_receiver_gets_the_outcome_as_often_as_asked(autojump_clock: Clock, napper: Napper) -> None:
    async def flow() -> list[float]:
        got: list[float] = []

        async def ask(handle: Handle[float]) -> None:
            got.append(await handle.result())

        async with open_nursery() as nursery:
            handle = nursery.go(napper, 3)
            for _ in range(3):
                nursery.go(ask, handle)
            await ask(handle)
            await ask(handle)
            assert await handle.receive() == Succeeded(3)
        return got

    assert await play(flow) == [3] * 5


@nappers
async def test_a_handle_tells_about_its_child(autojump_clock: Clock, napper: Napper) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handle = nursery.go(napper, 1, name="first nap")
            other = nursery.go(napper, 2)
            seen = [handle.path, handle.name, other.name, handle.status.value, repr(handle.outcome), repr(handle)]
            await handle.receive()
            seen += [handle.status.value, repr(handle.outcome), repr(handle)]
            assert handle == handle  # noqa: PLR0124 - equality is what is tested
            assert handle != other
            assert {handle: 1, other: 2}[handle] == 1
        return seen

    seen = await play(flow)
    assert seen[:2] == ["2", "first nap"]
    assert seen[2] in {"nap", "branch_nap"}
    assert seen[3:6] == ["running", "None", "<nurselog.Handle first nap at path 2, running>"]
    assert seen[6] == "completed"
    assert seen[7].startswith("Succeeded(value=1")
    assert seen[8] == "<nurselog.Handle first nap at path 2, completed>"


@failers
async def test_receive_never_raises_and_result_does(autojump_clock: Clock, failer: Failer) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(failer, "no")
            outcome = await handle.receive()
            assert isinstance(outcome, Failed)
            assert handle.status is Status.FAILED
            for _ in range(2):
                with pytest.raises(ValueError, match="no"):
                    await handle.result()
            with pytest.raises(ValueError, match="no"):
                outcome.unwrap()
        return "body goes on"

    assert await play(flow) == "body goes on"


@nappers
async def test_a_cancelled_child_settles_and_says_why(autojump_clock: Clock, napper: Napper) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handle = nursery.go(napper, 100)
            await sleep(1)
            handle.cancel("enough")
            handle.cancel("too late")
            assert await handle.receive() == WasCancelled("enough", handle.path)
            assert handle.status is Status.CANCELLED
            with pytest.raises(ChildCancelled) as caught:
                await handle.result()
            assert (caught.value.path, caught.value.reason) == ("2", "enough")
            handle.cancel("settled")
        return [str(caught.value)]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["the child at path 2 was cancelled: enough"]
        [noted] = [event for event in await events(engine) if isinstance(event, ScopeCancelled)]
    assert (noted.path, noted.by, noted.reason) == ("2", Cause.EXPLICIT, "enough")


@nappers
async def test_children_of_a_cancelled_nursery_settle(autojump_clock: Clock, napper: Napper) -> None:
    async def flow() -> bool:
        async with open_nursery() as nursery:
            handles = [nursery.go(napper, 100) for _ in range(3)]
            await sleep(1)
            nursery.cancel_scope.cancel("all of you")
        for handle in handles:
            assert await handle.receive() == WasCancelled("all of you", handle.path)
        return nursery.cancel_scope.cancelled_caught

    assert await play(flow)


@nappers
async def test_children_of_a_scope_around_settle_too(autojump_clock: Clock, napper: Napper) -> None:
    async def flow() -> bool:
        with CancelScope() as scope:
            async with open_nursery() as nursery:
                handle = nursery.go(napper, 100)
                await sleep(1)
                scope.cancel("from further out")
        assert handle.outcome == WasCancelled("from further out", handle.path)
        return scope.cancelled_caught

    assert await play(flow)


async def test_a_child_that_is_cancelled_before_it_began(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        async with open_nursery() as nursery:
            step_handle, branch_handle = nursery.go(nap, 1), nursery.go(branch_nap, 1)
            step_handle.cancel()
            branch_handle.cancel()
        assert step_handle.outcome == WasCancelled(None, step_handle.path)
        assert branch_handle.outcome == WasCancelled(None, branch_handle.path)
        return True

    async with in_memory() as engine:
        assert await play_on(engine, flow)
        [ended] = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert (ended.begun, ended.attempts, ended.scope) == (False, 0, ended.path)


async def test_a_child_that_finishes_although_cancelled_has_finished(autojump_clock: Clock) -> None:
    @step(name="stubborn")
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return "done all the same"

    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(stubborn)
            await sleep(1)
            handle.cancel("please")
        return await handle.result()

    assert await play(flow) == "done all the same"


async def test_an_error_in_cleanup_is_an_error(autojump_clock: Clock) -> None:
    async def clumsy() -> None:
        try:
            await sleep(100)
        finally:
            raise ValueError("in cleanup")

    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(clumsy)
            await sleep(1)
            handle.cancel()
            outcome = await handle.receive()
        assert isinstance(outcome, Failed)
        return str(outcome.error)

    assert await play(flow) == "in cleanup"


# -- start_soon, start, and the edges ------------------------------------------------------------


@failers
async def test_start_soon_fails_the_nursery_at_once(autojump_clock: Clock, failer: Failer) -> None:
    async def flow() -> float:
        began = trio.current_time()
        with pytest.raises(ExceptionGroup, match="nursery") as caught:
            async with open_nursery() as nursery:
                nursery.start_soon(failer, "no")
                await sleep(100)
        assert [str(exc) for exc in caught.value.exceptions] == ["no"]
        return trio.current_time() - began

    assert await play(flow) == 0


async def test_start_waits_for_started(autojump_clock: Clock) -> None:
    async def server(name: str, *, task_status: trio.TaskStatus[str]) -> None:
        await nap(1)
        task_status.started(f"{name} is up")
        await nap(100)

    async def flow() -> str:
        async with open_nursery() as nursery:
            said = await nursery.start(server, "it", name="server")
            nursery.cancel_scope.cancel()
        return str(said)

    assert await play(flow) == "it is up"


async def test_who_has_started_belongs_to_the_nursery(autojump_clock: Clock) -> None:
    """So a step of it that is cancelled says by which scope, whatever scopes were around the call of `start`."""

    async def server(task_status: trio.TaskStatus[None]) -> None:
        with CancelScope(), CancelScope():
            task_status.started()
            await nap(100)

    async def bare(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await nap(200)

    async def flow() -> None:
        async with open_nursery() as nursery:
            with CancelScope() as around:
                await nursery.start(server)
                await nursery.start(bare)
            around.cancel("too late for them")
            await nap(1)
            nursery.cancel_scope.cancel("enough")

    async with in_memory() as engine:
        await play_on(engine, flow)
        ended = [event for event in await events(engine) if isinstance(event, StepEnded)]
    cancelled = [event for event in ended if event.result is Result.CANCELLED]
    assert [(event.scope, event.reason) for event in cancelled] == [("1", "enough")] * 2


async def test_who_fails_before_started_fails_the_call_of_start_alone(autojump_clock: Clock) -> None:
    async def broken(task_status: trio.TaskStatus[None]) -> None:
        await nap(1)
        raise ValueError("not up")

    async def silent(task_status: trio.TaskStatus[None]) -> None:
        await nap(1)

    async def flow() -> float:
        async with open_nursery() as nursery:
            with pytest.raises(ValueError, match="not up"):
                await nursery.start(broken)
            with pytest.raises(RuntimeError, match="started"):
                await nursery.start(silent)
            return await nap(2)

    assert await play(flow) == 2


async def test_who_has_started_too_late_belongs_to_the_call_of_start(autojump_clock: Clock) -> None:
    """Trio does not move a child that says so when it is cancelled already; nor is its failure the nursery's."""

    async def late(task_status: trio.TaskStatus[str]) -> None:
        try:
            await sleep(100)
        finally:
            task_status.started("too late")
            with CancelScope(shield=True):
                await nap(1)
            raise ValueError("in its cleanup")

    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            sibling = nursery.go(branch_nap, 5)
            with pytest.raises(ValueError, match="in its cleanup"), CancelScope() as scope:
                scope.cancel("of the call")
                await nursery.start(late)
            return [await sibling.result()]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [5]
        assert [event.reason for event in await events(engine) if isinstance(event, ScopeCancelled)] == ["of the call"]


async def test_who_is_late_is_cancelled_by_the_scope_of_the_call_of_start(autojump_clock: Clock) -> None:
    async def late(task_status: trio.TaskStatus[None]) -> None:
        try:
            await sleep(100)
        finally:
            task_status.started()
            await nap(1)

    async def flow() -> int:
        async with open_nursery() as nursery:
            with CancelScope() as scope:
                scope.cancel("of the call")
                await nursery.start(late)
        return 1

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 1
        assert [event.reason for event in await events(engine) if isinstance(event, StepEnded)] == ["of the call"]


async def test_who_fails_after_started_fails_the_nursery(autojump_clock: Clock) -> None:
    async def fragile(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await nap(1)
        raise ValueError("fell over")

    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                await nursery.start(fragile)
                await nap(100)
        return [repr(exc) for exc in caught.value.exceptions]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["ValueError('fell over')"]
        assert Cause.FAILURE in [event.by for event in await events(engine) if isinstance(event, ScopeCancelled)]


async def test_a_closed_nursery_takes_nobody(autojump_clock: Clock) -> None:
    async def flow() -> int:
        async with open_nursery() as nursery:
            pass
        for start in (nursery.go, nursery.start_soon):
            for child in (nap, branch_nap):
                with pytest.raises(RuntimeError, match="closed"):
                    start(child, 1)
        return 1

    assert await play(flow) == 1


async def test_children_may_bring_children(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        got = []

        async def parent(nursery: Nursery, depth: int) -> None:
            got.append(await nap(depth))
            if depth:
                nursery.start_soon(parent, nursery, depth - 1)
                got.append(await nursery.go(nap, depth / 2).result())

        async with open_nursery() as nursery:
            nursery.go(parent, nursery, 3)
        return sorted(got)

    assert await play(flow) == [0, 0.5, 1, 1, 1.5, 2, 3]


async def test_partials_of_steps_and_branches(autojump_clock: Clock) -> None:
    async def branch(a: int, b: int, *, c: int) -> list[int]:
        return [a, b, c]

    async def flow() -> list[object]:
        async with open_nursery() as nursery:
            one = nursery.go(functools.partial(functools.partial(branch, 1), c=3), 2)
            two = nursery.go(functools.partial(nap, seconds=0.5))
            assert (one.name.rpartition(".")[2], two.name) == ("branch", "nap")
        return [await one.result(), await two.result()]

    assert await play(flow) == [[1, 2, 3], 0.5]


async def test_a_nursery_whose_shield_comes_after_its_cancellation(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with CancelScope() as outer:
            async with open_nursery() as nursery:
                first = nursery.go(nap, 100)
                await sleep(1)
                outer.cancel("outer")
                nursery.cancel_scope.shield = True
                second = nursery.go(nap, 2)
                await sleep(3)
                first.cancel("inner")
        return [first.status.value, second.status.value, str(nursery.cancel_scope.shield)]

    assert await play(flow) == ["cancelled", "completed", "True"]


def test_a_set_of_outcomes_has_one_order_in_all_processes() -> None:
    """Workflow code may go through one: their hashes must come of what they hold, not of where they are."""
    code = "from nurselog import Succeeded; print([one.value for one in {Succeeded(number) for number in range(9)}])"
    assert len({printed(code) for _ in range(3)}) == 1
