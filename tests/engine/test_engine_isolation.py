"""One workflow's trouble stays its own: whatever its code and its errors do, the engine and the others go on."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import trio

from nurselog import (
    Status,
    UsageError,
    Workflow,
    WorkflowStuck,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog._flow.sequencer import Sequencer
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, kinds, on_file

Clock = trio.testing.MockClock


@step
async def ok(n: int) -> int:
    return n


@workflow(name="innocent")
async def innocent() -> str:
    await sleep(10)
    return "done"


async def among_others(troubled: Workflow[[], Any], times: int = 2) -> Any:
    """Run a workflow beside another one, and look at it again in a second life; return how it ended."""
    ends: list[Any] = []
    store, clock = "sqlite://", VirtualClock()
    async with open_engine(store, [innocent], clock=clock) as engine:
        other = await engine.submit(innocent)
        handle = await engine.submit(troubled, id="troubled")
        for _ in range(times):
            try:
                ends.append(await handle.result())
            except Exception as exc:  # noqa: BLE001 - it is what is looked at
                ends.append(exc)
        assert await other.result() == "done"
    assert len({repr(end) for end in ends}) == 1
    return ends[0]


# -- errors whose classes have code of their own ---------------------------------------------------


@dataclass(frozen=True)
class Frozen(Exception):
    amount: int


class Underivable(ExceptionGroup[Exception]):
    def derive(self, excs: Any) -> NoReturn:
        raise RuntimeError("derive")


class Homeless(Exception):
    pass


Homeless.__module__ = cast("str", None)


class Unreadable(Exception):
    def __getattribute__(self, name: str) -> object:
        if name == "__dict__":
            raise RuntimeError("dict")
        return super().__getattribute__(name)


class Text(str):
    __slots__ = ()

    def __getitem__(self, key: Any) -> NoReturn:
        raise RuntimeError("getitem")


class Lettered(Exception):
    def __str__(self) -> str:
        return Text("text of its own kind")


def causes() -> Exception:
    error = Frozen(3)
    object.__setattr__(error, "__cause__", ValueError("why"))
    return error


ODD = {
    "frozen, with a cause": causes,
    "a group that cannot be split": lambda: Underivable("odd", [ValueError(1), Frozen(2)]),
    "no module": Homeless,
    "no dict": Unreadable,
    "a text of its own": Lettered,
}


@pytest.mark.parametrize("place", ["awaited", "a child", "the workflow itself"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
async def test_an_error_of_any_class_is_recorded(autojump_clock: Clock, make: Any, place: str) -> None:
    @step(name="fail")
    async def fail() -> None:
        raise make()

    @workflow(name="flow")
    async def flow() -> str:
        try:
            match place:
                case "awaited":
                    await fail()
                case "a child":
                    async with open_nursery() as nursery:
                        nursery.go(fail)
                case _:
                    raise make()
        except Exception as exc:  # noqa: BLE001 - of many kinds
            return type(exc).__name__
        return "no error"

    assert await among_others(flow) in {"Frozen", "ExceptionGroup", "StepFailed", "Lettered", type(make()).__name__}


async def test_a_cause_is_seen_on_an_error_that_is_frozen(autojump_clock: Clock) -> None:
    @step(name="fail")
    async def fail() -> None:
        raise Frozen(3) from ValueError("why")

    @workflow(name="flow")
    async def flow() -> list[str]:
        try:
            await fail()
        except Frozen as exc:
            return [repr(exc), repr(exc.__cause__)]
        return []

    assert await among_others(flow) == ["Frozen(amount=3)", "ValueError('why')"]


async def test_what_is_no_error_does_not_hide_one(autojump_clock: Clock) -> None:
    @step(name="fail")
    async def fail() -> None:
        raise BaseExceptionGroup("both", [ValueError(1), GeneratorExit()])

    @workflow(name="flow")
    async def flow() -> str:
        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        return repr(caught.value.exceptions)

    assert await among_others(flow) == "(ValueError(1),)"


class Stubborn(BaseExceptionGroup[BaseException]):
    def derive(self, excs: Any) -> NoReturn:
        raise RuntimeError("derive")


async def test_a_group_that_cannot_be_split_is_taken_apart_as_a_plain_one(autojump_clock: Clock) -> None:
    @step(name="fail")
    async def fail() -> None:
        raise Stubborn("outer", [Stubborn("inner", [ValueError(1), GeneratorExit()]), ValueError(2)])

    @workflow(name="flow")
    async def flow() -> str:
        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        return repr(caught.value)

    expected = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError(1)]), ValueError(2)])
    assert await among_others(flow) == repr(expected)


async def test_a_generator_with_a_nursery_that_is_closed_early(autojump_clock: Clock) -> None:
    async def numbers() -> Any:
        async with trio.open_nursery():
            for number in range(3):
                yield number

    @workflow(name="flow")
    async def flow() -> None:
        async with aclosing(numbers()) as generator:
            async for number in generator:
                await ok(number)
                break

    end = await among_others(flow)
    assert end is None or isinstance(end, UsageError)


# -- what code leaves open -------------------------------------------------------------------------


async def leaves_a_scope() -> int:
    trio.CancelScope().__enter__()
    return 1


async def leaves_a_nursery() -> int:
    stack = AsyncExitStack()
    nursery = await stack.enter_async_context(trio.open_nursery())
    nursery.start_soon(trio.sleep_forever)
    return 1


async def leaves_the_inner_block() -> int:
    """And swallows what Trio says of it, which has put the task back where it was before the outer one."""
    outer = trio.CancelScope()
    outer.__enter__()
    await leaves_a_nursery()
    with suppress(RuntimeError):
        outer.__exit__(None, None, None)
    return 1


async def leaves_and_fails() -> int:
    await leaves_a_nursery()
    raise KeyError("after that")


@pytest.mark.parametrize("body", [leaves_a_scope, leaves_a_nursery, leaves_the_inner_block])
async def test_a_step_that_leaves_something_open_is_told(autojump_clock: Clock, body: Any) -> None:
    leaking = step(name="leaking")(body)

    @workflow(name="flow")
    async def flow() -> int:
        with pytest.raises(UsageError, match="'leaking' has returned with a cancel scope or nursery left open"):
            await leaking()
        return await ok(2)

    assert await among_others(flow) == 2


async def test_a_step_that_leaves_something_open_and_fails(autojump_clock: Clock) -> None:
    leaking = step(name="leaking")(leaves_and_fails)

    @workflow(name="flow")
    async def flow() -> int:
        with pytest.raises(KeyError):
            await leaking()
        return await ok(2)

    assert await among_others(flow) == 2


def test_a_generator_that_a_step_leaves_half_way_holds_nothing_up() -> None:
    """Trio closes it, in a task of its own, while the step's task closes the nursery that is in it."""
    program = """
import trio
from nurselog import UsageError, open_engine, step, workflow

async def takes_its_time():
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.2)

async def numbers():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(takes_its_time)
        yield 1

@step
async def leaking() -> int:
    return await numbers().__anext__()

@workflow
async def flow() -> str:
    try:
        return str(await leaking())
    except UsageError:
        return "told"

async def main() -> None:
    async with open_engine("sqlite://") as engine:
        print(await engine.run(flow))

trio.run(main)
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "told\nended\n"
    assert "this nursery is closed already" in done.stderr


async def test_a_step_that_has_ended_is_not_noted_as_begun(autojump_clock: Clock) -> None:
    """Its task is still busy with what it has left open, and that takes its time."""

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    @step(name="leaking")
    async def leaking() -> None:
        nursery = await AsyncExitStack().enter_async_context(trio.open_nursery())
        nursery.start_soon(shielded)

    @workflow(name="flow")
    async def flow() -> None:
        with pytest.raises(UsageError):
            await leaking()
        await sleep(20)

    async with in_memory() as engine:
        handle = await engine.submit(flow)
        await handle.result()
        assert await kinds(handle) == ["Started", "StepEnded", "TimerSet", "TimerFired", "Ended"]


async def test_nothing_is_recorded_of_a_step_that_lingers_when_its_workflow_has_left(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """Not even that it has begun: the workflow's log is closed before anything unwinds."""

    @step(name="linger")
    async def linger() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    @workflow(name="flow")
    async def flow() -> None:
        await linger()

    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, flow, clock=clock) as engine:
        await engine.submit(flow, id="one")
        await trio.sleep(0.5)
        closing = trio.current_time()
    assert trio.current_time() - closing > 2, "it was there long enough to be noted as begun"
    async with on_file(path, clock=clock) as engine:
        assert await kinds(await engine.get("one")) == ["Started"]


async def test_a_workflow_that_leaves_a_nursery_open_has_failed(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> int:
        stack = AsyncExitStack()
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(sleep, 1000)
        return await ok(1)

    assert isinstance(await among_others(flow), RuntimeError)


async def test_a_cancellation_that_comes_when_the_body_has_ended_meets_no_other_body(autojump_clock: Clock) -> None:
    """Bodies share tasks and their scopes, one after the other."""

    @step(name="other")
    async def other() -> int:
        await trio.sleep(1)
        return 1

    @workflow(name="flow")
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            first, second = nursery.go(ok, 1), nursery.go(ok, 2)
            await first.result()
            second.cancel()  # its outcome is in the log, and comes next
            return [await other(), await other()]

    assert await among_others(flow) == [1, 1]


# -- trouble that nurselog itself meets ------------------------------------------------------------


async def test_what_should_not_come_up_makes_one_workflow_stuck(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow(name="flow")
    async def flow() -> int:
        return await ok(1)

    deliver = Sequencer._deliver

    def fail(sequencer: Sequencer, entry: Any) -> None:
        if sequencer.id == "troubled":
            raise LookupError("in a hook")
        deliver(sequencer, entry)

    monkeypatch.setattr(Sequencer, "_deliver", fail)
    end = await among_others(flow)
    assert isinstance(end, WorkflowStuck)
    assert "'troubled' met LookupError outside of its own code" in str(end)
    assert caplog.records[0].exc_info is not None


async def test_a_submit_that_was_cancelled_before_keeps_no_place(autojump_clock: Clock) -> None:
    async with in_memory(max_running=2) as engine:
        for _ in range(3):
            with trio.CancelScope() as scope:
                scope.cancel()
                await engine.submit(innocent)
            assert scope.cancelled_caught
        assert await engine.run(innocent) == "done"


@pytest.mark.parametrize("nested", ["blocks", "branches"])
async def test_hundreds_of_nurseries_in_each_other(autojump_clock: Clock, nested: str) -> None:
    async def inside(depth: int) -> int:
        if not depth:
            return await ok(1)
        async with open_nursery() as nursery:
            return await (inside(depth - 1) if nested == "blocks" else nursery.go(inside, depth - 1).result())

    @workflow(name="flow")
    async def flow() -> int:
        return await inside(60)

    assert await among_others(flow) == 1


async def test_a_deadline_that_is_too_many_scopes_away(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio looks for it scope by scope, each a call deeper."""

    def too_deep() -> NoReturn:
        raise RecursionError

    @workflow(name="flow")
    async def flow() -> int:
        with trio.CancelScope():  # else nobody asks: the workflow's own scope has no deadline
            return await ok(1)

    monkeypatch.setattr(trio, "current_effective_deadline", too_deep)
    async with in_memory() as engine:
        assert await engine.run(flow) == 1


# -- stuck, but held up ----------------------------------------------------------------------------


async def test_stuck_is_said_while_a_thread_keeps_the_code(caplog: pytest.LogCaptureFixture) -> None:
    """In real time: there is a thread."""
    gate = threading.Event()

    @workflow(name="flow")
    async def flow() -> None:
        await trio.to_thread.run_sync(gate.wait)

    async with open_engine("sqlite://", [], grace=0.02) as engine:
        handle = await engine.submit(flow, id="held up")
        with pytest.raises(WorkflowStuck, match="wait"):
            await handle.result()
        assert await handle.status() is Status.STUCK

        class Patience(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                gate.set()

        patience = Patience()
        logging.getLogger("nurselog").addHandler(patience)
    logging.getLogger("nurselog").removeHandler(patience)
    assert "workflow 'held up' is stuck: workflow 'held up'" in caplog.text
    assert "workflow 'held up' cannot leave memory while it waits for a thread: path root at" in caplog.text
