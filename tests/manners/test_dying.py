"""Whatever ends the host, its workflows are suspended, and nothing of that is history."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio

from nurselog import (
    CancelScope,
    Engine,
    UsageError,
    Workflow,
    move_on_after,
    open_engine,
    open_nursery,
    select,
    sleep,
    step,
    workflow,
)
from nurselog.testing import VirtualClock
from tests.engine.rig import file_store, on_file

Clock = trio.testing.MockClock


class Fatal(BaseException):
    """What no workflow may handle."""


@step
async def quick() -> int:
    return 1


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def compensate() -> str:
    return "compensated"


def rows(path: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.execute("SELECT seq, event FROM log ORDER BY workflow, seq"))


# -- workflows that clean up in every way --------------------------------------------------------


@workflow
async def with_finally() -> str:
    await quick()
    try:
        await nap(100)
    finally:
        await compensate()
    return "done"


@workflow
async def with_shielded_cleanup() -> str:
    await quick()
    try:
        await nap(100)
    except BaseException:
        with CancelScope(shield=True):
            await compensate()
            await sleep(1)
        raise
    return "done"


@workflow
async def with_nursery() -> str:
    async with open_nursery() as nursery:
        nursery.go(nap, 100)
        nursery.go(with_finally.fn)
        nursery.start_soon(with_shielded_cleanup.fn)
        try:
            await select(nursery.go(nap, 200))
        finally:
            nursery.cancel_scope.cancel("cleaning up")
    return "done"


@workflow
async def with_scopes() -> str:
    with move_on_after(1000) as scope:
        try:
            await sleep(100)
        finally:
            scope.cancel("in finally")
            with suppress(trio.Cancelled):
                await compensate()
    return "done"


@workflow
async def with_a_swallower() -> str:
    for _ in range(3):
        with suppress(BaseException):
            await nap(100)
    return "done"


@workflow
async def with_another_error() -> str:
    try:
        await nap(100)
    except BaseException:  # noqa: BLE001 - as careless code does
        raise LookupError("instead") from None
    return "done"


CAREFUL = [with_finally, with_shielded_cleanup, with_nursery, with_scopes, with_a_swallower, with_another_error]
careful = pytest.mark.parametrize("flow", CAREFUL, ids=lambda flow: flow.name)


# -- ways to die ---------------------------------------------------------------------------------


async def leave(_: Engine) -> None:
    """Leave the block."""


async def be_cancelled(_: Engine) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()


async def raise_an_error(_: Engine) -> NoReturn:
    raise LookupError("of the host")


async def raise_an_exit(_: Engine) -> NoReturn:
    raise SystemExit(3)


async def get_a_keyboard_interrupt(_: Engine) -> None:
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()


async def fail_in_another_task(_: Engine) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_an_error, None)
        await trio.sleep_forever()


WAYS: dict[str, tuple[Callable[[Any], Awaitable[None]], type[BaseException] | None]] = {
    "left": (leave, None),
    "error": (raise_an_error, LookupError),
    "exit": (raise_an_exit, SystemExit),
    "interrupt": (get_a_keyboard_interrupt, KeyboardInterrupt),
    "another task": (fail_in_another_task, ExceptionGroup),
}


def live(path: Path, flow: Workflow[[], str], way: str, out_of: type[BaseException] | None) -> None:
    """Run a workflow in a trio.run of its own until the host dies."""

    async def main() -> None:
        clock = VirtualClock()
        async with on_file(path, flow, clock=clock) as engine:
            await engine.submit(flow, id="one")
            await trio.sleep(10)
            before.extend(rows(path))
            await WAYS[way][0](engine)

    before: list[tuple[int, str]] = []
    mock = trio.testing.MockClock(autojump_threshold=0)
    if out_of is None:
        trio.run(main, clock=mock)
    else:
        with pytest.raises(out_of):
            trio.run(main, clock=mock)
    assert before
    assert rows(path) == before, "something of the dying was recorded"


@careful
@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_the_hosts_end_is_recorded(tmp_path: Path, flow: Workflow[[], str], way: str) -> None:
    path = tmp_path / "log.db"
    live(path, flow, way, WAYS[way][1])

    async def main() -> str:
        async with on_file(path, flow) as engine:
            return str(await (await engine.get("one")).result())

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == "done"


@careful
async def test_a_cancelled_host_suspends(autojump_clock: Clock, tmp_path: Path, flow: Workflow[[], str]) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    with trio.move_on_after(10) as scope:
        async with on_file(path, flow, clock=clock) as engine:
            await engine.run(flow, id="one")
    assert scope.cancelled_caught
    before = rows(path)
    async with on_file(path, flow, clock=clock) as engine:
        assert await (await engine.get("one")).result() == "done"
    assert rows(path)[: len(before)] == before
    assert '"cancelled"' not in "".join(event for _, event in before)


# -- from within workflow code and steps ---------------------------------------------------------


def fatal_flow(raiser: Callable[[], Awaitable[object]]) -> Workflow[[], str]:
    """Return a workflow that dies in the middle of a nursery, with cleanup on the way out."""

    @workflow(name="fatal")
    async def fatal() -> str:
        async with open_nursery() as nursery:
            nursery.go(nap, 100)
            nursery.go(with_finally.fn)
            try:
                await quick()
                await nap(1)
                await raiser()
            finally:
                nursery.cancel_scope.cancel("in finally")
                with CancelScope(shield=True):
                    await compensate()
                    await sleep(1)
        return "done"

    return fatal


async def in_workflow_code() -> None:
    if armed:
        raise armed[0]


async def in_a_plain_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nap, 100)
        await quick()
        await in_workflow_code()
        nursery.cancel_scope.cancel()


async def in_a_branch() -> None:
    async with open_nursery() as nursery:
        nursery.go(nap, 100)
        nursery.go(in_workflow_code)
        await quick()
        nursery.cancel_scope.cancel()


@step
async def in_a_step() -> None:
    await in_workflow_code()


@step
async def in_a_group_in_a_step() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_workflow_code)
        await trio.lowlevel.checkpoint()


armed: list[BaseException] = []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Fatal])
@pytest.mark.parametrize(
    "place",
    [in_workflow_code, in_a_plain_nursery, in_a_branch, in_a_step, in_a_group_in_a_step],
    ids=lambda f: getattr(f, "__name__", ""),
)
@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "elsewhere"])
async def test_what_no_workflow_may_handle_ends_the_engine_and_is_not_history(
    autojump_clock: Clock,
    tmp_path: Path,
    place: Callable[[], Awaitable[object]],
    kind: type[BaseException],
    waits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    path, clock, flow = tmp_path / "log.db", VirtualClock(), fatal_flow(place)
    error = kind("as it is")
    armed[:] = [error]
    caught: BaseException | None = None
    try:
        async with on_file(path, flow, clock=clock) as engine:
            handle = await engine.submit(flow, id="one")
            if waits:
                await handle.result()
            await trio.sleep_forever()
    except BaseException as exc:  # noqa: BLE001 - it is looked at
        caught = exc
    assert caught is error
    armed.clear()
    before = rows(path)
    text = "".join(event for _, event in before)
    assert '"cancelled"' not in text
    assert "compensate" not in text
    async with on_file(path, flow, clock=clock) as engine:
        assert await (await engine.get("one")).result() == "done"


@pytest.mark.parametrize(
    "error", [GeneratorExit("by hand"), BaseExceptionGroup("by hand", [GeneratorExit()])], ids=["alone", "in a group"]
)
async def test_an_exit_that_only_generators_should_see_is_a_failure(
    autojump_clock: Clock, tmp_path: Path, error: BaseException
) -> None:
    """A nursery around a generator's `yield` makes a group of it when the generator is closed."""
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="flow")
    async def flow() -> str:
        await quick()
        raise error

    @workflow(name="innocent")
    async def innocent() -> str:
        await sleep(10)
        return "done"

    for _ in range(2):
        async with on_file(path, flow, innocent, clock=clock) as engine:
            other = await engine.submit(innocent, id="other")
            with pytest.raises(UsageError, match="the workflow raised GeneratorExit, but nobody has cancelled it"):
                await engine.run(flow, id="one")
            assert await other.result() == "done"


def test_control_c_reaches_a_step(tmp_path: Path) -> None:
    @step(name="interrupted")
    async def interrupted() -> str:
        if runs.pop():
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the signal must strike here")
        return "second time"

    @workflow(name="flow")
    async def flow() -> str:
        return await interrupted()

    runs = [False, True]

    async def main() -> str:
        clock = VirtualClock()
        async with open_engine(file_store(tmp_path / "log.db", clock), [flow], clock=clock) as engine:
            return await engine.run(flow, id="one")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert trio.run(main) == "second time"


def test_control_c_does_not_strike_in_workflow_code(tmp_path: Path) -> None:
    """It comes at the host's next checkpoint instead: half a turn of a workflow would be a broken one."""
    whole: list[str] = []

    @workflow(name="flow")
    async def flow() -> str:
        if not whole:
            signal.raise_signal(signal.SIGINT)
            whole.append("the turn goes on to its end")
        await quick()
        return "done"

    async def main() -> str:
        clock = VirtualClock()
        async with open_engine(file_store(tmp_path / "log.db", clock), [flow], clock=clock) as engine:
            return await engine.run(flow, id="one")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert whole == ["the turn goes on to its end"]
    assert trio.run(main) == "done"


async def test_sigterm_as_a_host_handles_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def until_sigterm(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        await nursery.start(until_sigterm, nursery.cancel_scope)
        async with open_engine(f"sqlite:///{path}", [with_nursery]) as engine:
            handle = await engine.submit(with_nursery, id="one")
            while len(await handle.log()) < 3:  # noqa: ASYNC110 - it is in the store
                await trio.sleep(0.01)
            before = rows(path)
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep_forever()
    assert nursery.cancel_scope.cancelled_caught
    assert '"cancelled"' not in "".join(event for _, event in rows(path))
    assert rows(path)[: len(before)] == before
