"""Child workflows where they must not be, or with what cannot be: an error says so, and nothing is started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from nurselog import (
    EncodingError,
    MisplacedCallError,
    Nursery,
    OutsideWorkflowError,
    PayloadTooLargeError,
    RegistrationError,
    Status,
    UsageError,
    Workflow,
    WorkflowStuck,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import ChildStarted, Started, TimerSet
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock
Way = Callable[..., Awaitable[Any]]


@workflow
async def echo(value: int) -> int:
    await sleep(value)
    return value


async def at_once(_nursery: Nursery, child: Workflow[..., Any], *args: Any) -> Any:
    return await child(*args)


async def by_go(nursery: Nursery, child: Workflow[..., Any], *args: Any) -> Any:
    return nursery.go(child, *args)


@step
async def misplaced() -> None:
    await echo(1)


async def test_a_child_cannot_be_started_in_a_step(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with pytest.raises(MisplacedCallError, match="workflow 'echo'") as caught:
            await misplaced()
        return str(caught.value)

    assert await play(flow)


async def test_a_child_cannot_be_started_outside() -> None:
    with pytest.raises(OutsideWorkflowError, match=r"engine\.run"):
        echo(1)


@pytest.mark.parametrize("started", [at_once, by_go])
async def test_arguments_that_cannot_be_encoded(autojump_clock: Clock, started: Way) -> None:
    async def flow() -> int:
        async with open_nursery() as nursery:
            for wrong in (object(), "text"):
                with pytest.raises(EncodingError):
                    await started(nursery, echo, wrong)
            with pytest.raises(TypeError, match="argument"):
                await started(nursery, echo)
        return await echo(1)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 1
        assert len([event for event in await events(engine) if isinstance(event, ChildStarted)]) == 1


@pytest.mark.parametrize("started", [at_once, by_go])
async def test_an_input_that_is_too_large(autojump_clock: Clock, started: Way) -> None:
    @workflow(name="long")
    async def long(text: str) -> int:
        return len(text)

    async def flow() -> int:
        async with open_nursery() as nursery:
            with pytest.raises(PayloadTooLargeError, match="the input of workflow"):
                await started(nursery, long, "x" * 20_000)
        return await long("x" * 20)

    assert await play(flow, max_payload=10_000) == 20


@pytest.mark.parametrize("started", [at_once, by_go])
async def test_two_functions_of_one_name(autojump_clock: Clock, started: Way) -> None:
    @workflow(name="echo")
    async def other(value: str) -> str:
        return value

    async def flow() -> int:
        async with open_nursery() as nursery:
            await started(nursery, echo, 1)
            with pytest.raises(RegistrationError, match="two functions are recorded as workflow 'echo'"):
                await started(nursery, other, "x")
        return await echo(2)

    assert await play(flow) == 2


async def test_a_nursery_cannot_wait_for_a_childs_start(autojump_clock: Clock) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            with pytest.raises(UsageError, match=r"go\(\)") as caught:
                await nursery.start(echo, 1)
        return str(caught.value)

    assert await play(flow)


async def test_a_nursery_that_is_over_takes_no_child(autojump_clock: Clock) -> None:
    async def flow() -> int:
        async with open_nursery() as nursery:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            nursery.go(echo, 1)
        return await echo(2)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 2
        assert await engine._store.find(["played/2"]) == []


@pytest.mark.parametrize("by", ["await", "go"])
async def test_a_plain_timeout_around_a_child_that_comes_afterwards(autojump_clock: Clock, by: str) -> None:
    """Nothing in the log says when it ends: the workflow is stuck, and no child is told."""

    async def flow() -> None:
        async with open_nursery() as nursery:
            with trio.CancelScope() as plain:

                async def later() -> None:
                    await sleep(1)
                    plain.deadline = trio.current_time() + 1

                nursery.start_soon(later)
                if by == "await":
                    await echo(100)
                else:
                    async with open_nursery() as inner:
                        inner.go(echo, 100)

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="played")
        with pytest.raises(WorkflowStuck, match="a plain Trio deadline"):
            await handle.result()
        [child] = await engine.list(prefix="played/")
        assert child.status is Status.RUNNING
        assert [type(event) for event in await events(engine, child.id)] == [Started, TimerSet]
