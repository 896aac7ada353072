"""The borders of a workflow: deadlocks inside, calls from the wrong side, tasks and wake-ups across."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import nurselog
from nurselog import (
    DeadlockError,
    MisplacedCallError,
    Status,
    UsageError,
    WorkflowStuck,
    after,
    attempt,
    move_on_after,
    now,
    open_engine,
    open_memory_channel,
    open_nursery,
    rng,
    select,
    sleep,
    step_key,
    workflow_id,
)
from nurselog.testing import Cancelled
from nurselog.testing.corpus.workflows.steps import fetch, slow, step
from nurselog.testing.keeper import ID
from nurselog.testing.life import Stuck
from tests.laws.checks import check_replay, finished
from tests.laws.harness import as_workflow, resume, run_live


def marked(fn: Callable[..., Any], mark: str = "# here") -> str:
    """Return the place of a line in a function."""
    lines, first = inspect.getsourcelines(fn)
    return f"{__file__}:{first + next(i for i, line in enumerate(lines) if mark in line)}"


# -- deadlocks -----------------------------------------------------------------------------------


async def waits_for_itself() -> None:
    await fetch(1)
    await trio.Event().wait()  # 0


async def two_locks() -> None:
    one, two = trio.Lock(), trio.Lock()

    async def first() -> None:
        async with one:
            await fetch(1)
            async with two:  # 1
                pass

    async def second() -> None:
        async with two:
            await fetch(2)
            async with one:  # 2
                pass

    async with open_nursery() as nursery:  # 0
        nursery.go(first)
        nursery.go(second)


async def nobody_sends() -> None:
    send, receive = open_memory_channel[int](0)
    async with open_nursery() as nursery:
        handle = nursery.go(receive.receive)
        await fetch(1)
        await select(handle, receive)  # 0
    await send.aclose()


async def waits_for_its_own_nursery() -> None:
    async def child() -> None:
        await done.wait()  # 1

    done = trio.Event()
    async with trio.open_nursery() as nursery:  # 0
        nursery.start_soon(child)
        await fetch(1)
    done.set()


DEADLOCKS = {
    waits_for_itself: {"": "# 0"},
    two_locks: {"": "# 0", "2": "# 1", "3": "# 2"},
    nobody_sends: {"": "# 0"},
    waits_for_its_own_nursery: {"": "# 0", "t1": "# 1"},
}


@pytest.mark.parametrize("code", DEADLOCKS)
def test_deadlock(code: Callable[[], Awaitable[None]]) -> None:
    """Reported at once, with who waits where; and again in each later life, until somebody cancels the workflow."""
    workflow = as_workflow(f"borders.{code.__name__}", code)
    recording = run_live(workflow)
    for stuck in (recording, resume(workflow, recording.rows, stuck=True)):
        assert isinstance(stuck.outcome, Stuck)
        problem = stuck.problem
        assert isinstance(problem, DeadlockError)
        assert problem.workflow_id == ID
        for path, mark in DEADLOCKS[code].items():
            expected = f"path {path or 'root'} waits at {marked(code, mark)}"
            assert expected in problem.waiting, problem
            assert expected in str(problem)
        assert stuck.rows[-1].at == recording.rows[-1].at, "it waited before it said so"
    cancelled = finished(resume(workflow, recording.rows, cancel_after=0))
    assert cancelled.outcome == Cancelled(None)
    check_replay(cancelled)


def test_waiting_for_a_time_is_no_deadlock() -> None:
    """Whatever may still fire can wake somebody."""

    async def code() -> str:
        event = trio.Event()
        with move_on_after(3600):
            await event.wait()
        alarm = after(3600)
        async with open_nursery() as nursery:
            nursery.go(slow, 1)
            with move_on_after(1):
                await event.wait()
        await select(alarm)
        return now().isoformat()

    check_replay(finished(run_live(as_workflow("borders.patient", code))))


# -- calls from the wrong side -------------------------------------------------------------------


async def durable_sleep() -> None:
    await sleep(1)


async def durable_nursery() -> None:
    async with open_nursery():
        pass


async def plain_task_in_a_step() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(durable_sleep)


MISPLACED: list[Callable[[], Any]] = [
    now,
    rng,
    lambda: open_memory_channel(1),
    lambda: after(1),
    lambda: move_on_after(1),
]


@step
async def misplaced(index: int) -> list[str]:
    found = []
    if index < 0:
        await (durable_sleep, durable_nursery, plain_task_in_a_step)[index]()
    for call in MISPLACED[: index + 1]:
        try:
            call()
        except MisplacedCallError as exc:
            found.append(str(exc))
    return found


def test_durable_calls_in_a_step() -> None:
    """A step's body is outside: what is durable says so, and what tells where one is works."""

    async def code() -> list[str]:
        return list(await misplaced(len(MISPLACED)))

    recording = finished(run_live(as_workflow("borders.misplaced", code)))
    assert len(recording.outcome.value) == len(MISPLACED)
    assert all("inside a step" in text for text in recording.outcome.value)


@pytest.mark.parametrize("index", [-1, -2, -3])
def test_durable_waits_in_a_step(index: int) -> None:
    async def code() -> None:
        await misplaced(index)

    recording = finished(run_live(as_workflow("borders.misplaced wait", code)))
    assert "MisplacedCallError" in str(recording.outcome)


@step
async def outer(i: int) -> list[Any]:
    return [workflow_id(), attempt(), step_key(), await fetch(i)]


def test_a_step_in_a_step_is_part_of_it() -> None:
    async def code() -> list[Any]:
        return list(await outer(1))

    recording = finished(run_live(as_workflow("borders.nested", code)))
    assert [event.path for event in recording.events if event.path] == ["1"]
    assert recording.outcome.value[0] == ID
    assert recording.outcome.value[1] == 1


# -- across the border ---------------------------------------------------------------------------


@nurselog.step
async def brief(i: int) -> int:
    await trio.sleep(0.001)
    return i * 10


@nurselog.step
async def lengthy(i: int) -> int:
    await trio.sleep(10)
    return i


class Outside:
    """What a careless program shares between its own tasks and its workflows."""

    nursery: trio.Nursery
    event: trio.Event
    scope: trio.CancelScope
    send: trio.MemorySendChannel[int]
    inner: trio.Nursery
    context: nurselog.Nursery


outside = Outside()


async def spawns_outside() -> None:
    await brief(1)
    outside.nursery.start_soon(trio.sleep, 0)
    await lengthy(2)


async def waits_for_an_event_of_the_host() -> None:
    outside.event = trio.Event()
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        await outside.event.wait()  # here


async def cancelled_by_the_host() -> None:
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        with trio.CancelScope() as outside.scope:
            await trio.sleep_forever()  # here


async def step_cancelled_by_the_host() -> None:
    with trio.CancelScope() as outside.scope:
        await lengthy(1)  # here


async def sleep_cancelled_by_the_host() -> None:
    with trio.CancelScope() as outside.scope:
        await sleep(10)  # here


async def receive_cancelled_by_the_host() -> None:
    _send, receive = open_memory_channel[int](0)
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        with trio.CancelScope() as outside.scope:
            await receive.receive()  # here


async def send_cancelled_by_the_host() -> None:
    send, _receive = open_memory_channel[int](0)
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        with trio.CancelScope() as outside.scope:
            await send.send(1)  # here


async def nursery_cancelled_by_the_host() -> None:
    with trio.CancelScope() as outside.scope:
        async with open_nursery() as nursery:
            nursery.go(lengthy, 1)
            nursery.go(lengthy, 2)


async def stuck_and_careless_in_its_cleanup() -> None:
    outside.event = trio.Event()
    try:
        async with open_nursery() as nursery:
            nursery.go(lengthy, 1)
            await outside.event.wait()  # here
    finally:
        outside.nursery.start_soon(trio.sleep, 0)


async def receives_from_the_host() -> None:
    outside.send, receive = trio.open_memory_channel[int](0)
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        await receive.receive()  # here


async def nursery_for_the_host() -> None:
    async with trio.open_nursery() as outside.inner:
        await lengthy(1)


async def durable_nursery_for_the_host() -> None:
    async with open_nursery() as outside.context:
        await lengthy(1)


async def provoke(workflow: nurselog.Workflow[..., Any], host: Callable[[], Any]) -> str:
    """Run a workflow, do something from the host's side, and return what it is stuck on."""
    async with trio.open_nursery() as outside.nursery, open_engine("sqlite://", [workflow]) as engine:
        handle = await engine.submit(workflow, id="w")
        await trio.testing.wait_all_tasks_blocked()
        host()
        with pytest.raises(WorkflowStuck) as caught:
            await handle.result()
        assert await handle.status() is Status.STUCK
        return caught.value.problem


def set_the_event() -> None:
    outside.event.set()


def cancel_the_scope() -> None:
    outside.scope.cancel()


HOSTS: dict[Callable[[], Any], Callable[[], Any]] = {
    spawns_outside: lambda: None,
    waits_for_an_event_of_the_host: set_the_event,
    cancelled_by_the_host: cancel_the_scope,
    step_cancelled_by_the_host: cancel_the_scope,
    sleep_cancelled_by_the_host: cancel_the_scope,
    receive_cancelled_by_the_host: cancel_the_scope,
    send_cancelled_by_the_host: cancel_the_scope,
    nursery_cancelled_by_the_host: cancel_the_scope,
    stuck_and_careless_in_its_cleanup: set_the_event,
    receives_from_the_host: lambda: outside.send.send_nowait(1),
    nursery_for_the_host: lambda: outside.inner.start_soon(trio.sleep, 0),
}


DURABLE_WAITS = {
    step_cancelled_by_the_host,
    sleep_cancelled_by_the_host,
    receive_cancelled_by_the_host,
    send_cancelled_by_the_host,
}


@pytest.mark.parametrize("code", HOSTS)
async def test_nothing_crosses_the_border(code: Callable[[], Any], autojump_clock: trio.testing.MockClock) -> None:
    problem = await provoke(as_workflow(f"borders.{code.__name__}", code), HOSTS[code])
    assert "'w'" in problem
    if "# here" in inspect.getsource(code):
        assert marked(code) in problem
    if code in DURABLE_WAITS:
        assert "a plain Trio deadline" in problem, "the remedy is a scope of nurselog's"


async def test_the_host_cannot_start_durable_children(autojump_clock: trio.testing.MockClock) -> None:
    """The error goes to the host, who is at fault; the workflow is not harmed."""
    workflow = as_workflow("borders.go", durable_nursery_for_the_host)
    async with open_engine("sqlite://", [workflow]) as engine:
        handle = await engine.submit(workflow, id="w")
        await trio.testing.wait_all_tasks_blocked()
        for call in (lambda: outside.context.go(brief, 1), lambda: outside.context.cancel_scope.cancel("no")):
            with pytest.raises(UsageError):
                call()
        assert await handle.result() is None


async def first_workflow() -> None:
    outside.event = trio.Event()
    async with open_nursery() as nursery:
        nursery.go(lengthy, 1)
        await outside.event.wait()  # here


async def second_workflow() -> int:
    await brief(1)
    outside.event.set()
    return int(await brief(2))


async def test_two_workflows_must_not_wake_each_other(autojump_clock: trio.testing.MockClock) -> None:
    """The one that is woken is stuck; the other one has done nothing that its own log could not explain."""
    first = as_workflow("borders.first", first_workflow)
    second = as_workflow("borders.second", second_workflow)
    async with open_engine("sqlite://", [first, second]) as engine:
        one = await engine.submit(first)
        await trio.testing.wait_all_tasks_blocked()
        two = await engine.submit(second)
        with pytest.raises(WorkflowStuck) as caught:
            await one.result()
        assert marked(first_workflow) in str(caught.value)
        assert await two.result() == 20
