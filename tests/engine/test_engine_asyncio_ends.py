"""Steps that are written for asyncio, and what ends without them: workflows, engines, loops; and where no engine is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
import trio

from nurselog import (
    Retry,
    StepInterrupted,
    UsageError,
    WorkflowKilled,
    WorkflowStuck,
    attempt,
    open_engine,
    step,
    workflow,
)
from nurselog._flow.body import Body
from nurselog._flow.venue import Venue
from nurselog.lowlevel import StepEnded
from tests.engine.rig import in_memory, kinds, on_file, settle
from tests.flow.rig import play, play_on
from tests.neighbours import need

trio_asyncio: Any = need(Venue.ASYNCIO)
from nurselog._engine.crossing import Loop, _Crossing  # noqa: E402 - see above

Clock = trio.testing.MockClock

LONG = 60.0
"""Virtual seconds; stores on files look around twenty times in each."""

seen: list[object] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


async def slow() -> str:
    seen.append("begun")
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    return "done"


slow_step = step(name="slow", asyncio=True)(slow)


@workflow(name="flow")
async def flow() -> str:
    return await slow_step()


# -- suspension ----------------------------------------------------------------------------------


async def test_a_suspended_step_is_cancelled_and_runs_again(tmp_path: Path, autojump_clock: Clock) -> None:
    path = tmp_path / "log.db"
    async with on_file(path, flow) as engine:
        handle = await engine.submit(flow, id="one")
        await trio.sleep(5)
        assert await kinds(handle) == ["Started", "StepBegan"]
    assert seen == ["begun", "cancelled"]
    async with on_file(path, flow) as engine:
        handle = await engine.get("one")
        assert await handle.result() == "done"
        assert await kinds(handle) == ["Started", "StepBegan", "Claimed", "StepBegan", "StepEnded", "Ended"]


async def test_one_that_had_begun_at_most_once_is_interrupted(tmp_path: Path, autojump_clock: Clock) -> None:
    @workflow(name="once")
    async def once() -> str:
        with pytest.raises(StepInterrupted):
            await step(name="slow", asyncio=True, at_most_once=True)(slow)()
        return "not again"

    path = tmp_path / "log.db"
    async with on_file(path, once) as engine:
        await engine.submit(once, id="one")
        await trio.sleep(5)
    async with on_file(path, once) as engine:
        assert await (await engine.get("one")).result() == "not again"
    assert seen == ["begun", "cancelled"]


async def test_a_cleanup_is_hurried_up_when_the_engine_closes(autojump_clock: Clock) -> None:
    async def slow_to_go() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            seen.append("cleaning up")
            await asyncio.sleep(LONG)

    @workflow(name="careful")
    async def careful() -> None:
        await step(name="slow to go", asyncio=True, timeout=1)(slow_to_go)()

    async with in_memory() as engine:
        await engine.submit(careful)
        await trio.sleep(5)
        assert seen == ["cleaning up"]
        closing = trio.current_time()
    assert trio.current_time() - closing < 1, "less than grace"


async def deaf() -> None:
    seen.append("begun")
    while True:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            seen.append("ignored")


async def deaf_as_a_post() -> None:
    seen.append("begun")
    while True:
        try:
            await asyncio.sleep(LONG)
        except BaseException:  # noqa: BLE001 - the point
            seen.append("ignored")


async def has_a_deaf_task() -> None:
    asyncio.create_task(deaf())  # noqa: RUF006 - the point
    await asyncio.sleep(1)


@pytest.mark.parametrize("fn", [deaf, deaf_as_a_post, has_a_deaf_task])
async def test_who_does_not_go_keeps_no_engine_from_closing(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture, fn: Callable[[], Awaitable[None]]
) -> None:
    @workflow(name="stubborn")
    async def stubborn() -> None:
        await step(asyncio=True)(fn)()

    async with in_memory() as engine:
        await engine.submit(stubborn, id="one")
        await trio.sleep(5)
    assert seen[0] == "begun"
    assert "does not end although it was cancelled, and is closed at its wait" in caplog.text


async def test_a_kill_does_not_wait(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        await trio.sleep(5)
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()
        await settle()
    assert seen == ["begun", "cancelled"]


# -- the loop ------------------------------------------------------------------------------------


async def tear() -> None:
    await asyncio.sleep(1)
    raise SystemExit(3)


async def test_who_tears_the_loop_down_closes_the_engine_and_no_step_has_an_outcome(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    @workflow(name="tearing")
    async def tearing() -> None:
        await step(asyncio=True)(tear)()

    path = tmp_path / "log.db"
    with pytest.raises(SystemExit):
        async with on_file(path, flow, tearing) as engine:
            await engine.submit(flow, id="one")
            await engine.submit(tearing, id="two")
            await trio.sleep_forever()
    assert seen == ["begun"], "it was closed, for nothing could have cancelled it"
    async with on_file(path, flow) as engine:
        handle = await engine.get("one")
        assert await handle.result() == "done"
        assert (await kinds(handle)).count("StepEnded") == 1


async def test_who_tears_the_applications_loop_down_ends_the_application(tmp_path: Path, autojump_clock: Clock) -> None:
    @workflow(name="tearing")
    async def tearing() -> None:
        await step(asyncio=True)(tear)()

    path = tmp_path / "log.db"
    with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(LONG):
        async with trio_asyncio.open_loop(), on_file(path, flow, tearing) as engine:
            await engine.submit(flow, id="one")
            await engine.submit(tearing, id="two")
            await trio.sleep_forever()
    assert caught.group_contains(SystemExit)
    assert seen == ["begun"], "it was closed, for nothing could have cancelled it"
    async with on_file(path, flow) as engine:
        assert await (await engine.get("one")).result() == "done"


async def test_a_task_may_end_when_nobody_waits_for_it_any_more(autojump_clock: Clock) -> None:
    async with trio_asyncio.open_loop() as own:
        loop = Loop(own)
        loop.over = True
        task = own.create_task(asyncio.sleep(2))
        with trio.move_on_after(1) as scope:
            await _Crossing(loop, cast("Body", None), "nobody's")._ended(task)
        assert scope.cancelled_caught
        await trio.sleep(2)
        assert task.done()
        assert not task.cancelled()


async def test_the_applications_loop_is_taken_and_stays(autojump_clock: Clock) -> None:
    async def which() -> list[bool]:
        await asyncio.sleep(1)
        seen.append(asyncio.get_running_loop())
        return []

    async def ask() -> list[bool]:
        found: list[bool] = await step(name="which", asyncio=True)(which)()
        return found

    async with trio_asyncio.open_loop() as loop:
        for _ in range(2):
            await play(ask)
        async with in_memory() as first, in_memory() as second:
            await play_on(first, ask)
            await play_on(second, ask)
        await trio_asyncio.aio_as_trio(which)()
    assert seen == [loop] * 5


async def test_other_asyncio_code_in_the_applications_loop_is_left_alone(autojump_clock: Clock) -> None:
    async with trio_asyncio.open_loop(), trio.open_nursery() as nursery:
        nursery.start_soon(trio_asyncio.aio_as_trio(slow))
        await trio.sleep(1)

        async def quick() -> str:
            return "quick"

        async def ask() -> str:
            return str(await step(name="quick", asyncio=True)(quick)())

        assert await play(ask) == "quick"
        assert seen == ["begun"]
        nursery.cancel_scope.cancel()


# -- where no workflow records it ----------------------------------------------------------------


async def test_it_is_a_part_of_another_step(autojump_clock: Clock) -> None:
    async def count() -> int:
        await asyncio.sleep(1)
        return 1

    one = step(name="count", asyncio=True)(count)

    async def in_asyncio() -> int:
        return int(await one()) + int(await one())

    async def in_trio() -> int:
        found: list[int] = []

        async def add() -> None:
            found.append(await one())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            nursery.start_soon(add)
        return sum(found)

    async def both() -> list[int]:
        return [await step(name="asyncio", asyncio=True)(in_asyncio)(), await step(name="trio")(in_trio)()]

    async with in_memory() as engine:
        assert await play_on(engine, both) == [2, 2]
        log = await (await engine.get("played")).log()
        assert [entry.event.name for entry in log if isinstance(entry.event, StepEnded)] == ["asyncio", "trio"]


async def test_a_part_is_cancelled_and_its_leftovers_are_the_steps(autojump_clock: Clock) -> None:
    async def forgetful() -> None:
        asyncio.create_task(slow())  # noqa: RUF006 - the point
        await asyncio.sleep(1)

    async def in_trio() -> str:
        with trio.move_on_after(1):
            await slow_step()
        await step(name="forgetful", asyncio=True)(forgetful)()
        return "unheard"

    async def whole() -> str:
        with pytest.raises(UsageError, match=r"step 'trio' has returned and left asyncio tasks behind.*slow at"):
            await step(name="trio")(in_trio)()
        return "told"

    assert await play(whole) == "told"
    assert seen == ["begun", "cancelled"] * 2


async def test_what_a_failed_attempt_has_left_is_forgotten(autojump_clock: Clock) -> None:
    async def forgetful() -> None:
        asyncio.create_task(slow())  # noqa: RUF006 - the point
        await asyncio.sleep(1)

    async def in_trio() -> int:
        if attempt() == 1:
            await step(name="forgetful", asyncio=True)(forgetful)()
            raise OSError
        return attempt()

    async def whole() -> int:
        return await step(name="trio", retry=Retry(attempts=2))(in_trio)()

    assert await play(whole) == 2
    assert seen == ["begun", "cancelled"]


def test_by_itself_in_asyncio() -> None:
    async def main() -> str:
        async def quick() -> str:
            await asyncio.sleep(0)
            return "quick"

        return str(await step(name="quick", asyncio=True)(quick)())

    assert asyncio.run(main()) == "quick"


async def test_by_itself_under_trio(autojump_clock: Clock) -> None:
    with pytest.raises(UsageError, match=r"step 'slow' needs an asyncio loop.*trio_asyncio\.open_loop"):
        await slow_step()
    async with trio_asyncio.open_loop():
        assert await slow_step() == "done"


# -- what it needs -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ImportError, AttributeError])
async def test_without_the_library_a_workflow_is_stuck_and_may_go_on(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """AttributeError is what becomes of trio-asyncio's import in Python 3.14."""

    def fail(name: str) -> None:
        raise error(name)

    monkeypatch.setattr("nurselog._flow.venue.importlib", SimpleNamespace(import_module=fail))
    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        with pytest.raises(WorkflowStuck, match=r"pip install 'nurselog\[asyncio\]' \(trio_asyncio\)"):
            await handle.result()
        assert await kinds(handle) == ["Started"]
        monkeypatch.undo()
        await engine.resume("one")
        await trio.sleep(1)
        assert await handle.result() == "done"


async def test_without_the_library_nothing_has_begun(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow(name="once")
    async def once() -> str:
        return str(await step(name="slow", asyncio=True, at_most_once=True)(slow)())

    monkeypatch.setitem(sys.modules, "trio_asyncio", None)
    async with in_memory() as engine:
        handle = await engine.submit(once, id="one")
        with pytest.raises(WorkflowStuck):
            await handle.result()
        monkeypatch.undo()
        await engine.resume("one")
        await trio.sleep(1)
        assert await handle.result() == "done"


def test_nothing_of_it_is_imported_before_it_is_needed() -> None:
    program = """
import sys, trio
from nurselog import open_engine, step, workflow

@step
async def plain() -> None: ...

@workflow
async def flow() -> None:
    await plain()

async def main() -> None:
    async with open_engine("sqlite://") as engine:
        await engine.run(flow)

trio.run(main)
print([name for name in ("asyncio", "trio_asyncio", "trio_parallel") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_asyncio_is_as_ever_where_trio_does_not_run() -> None:
    program = """
import asyncio, threading, trio
from nurselog import open_engine, step, workflow

@step(asyncio=True)
async def inside() -> str:
    return type(asyncio.get_running_loop()).__module__.split(".")[0]

@workflow
async def flow() -> str:
    return await inside()

async def outside() -> str:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__

def run() -> None:
    print(asyncio.run(outside()))

async def main() -> None:
    async with open_engine("sqlite://") as engine:
        print(await engine.run(flow))
        await trio.to_thread.run_sync(run)

trio.run(main)
run()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["trio_asyncio", *["asyncio.unix_events"] * 2]


def test_trio_may_be_a_guest_of_asyncios() -> None:
    """And then two loops run in one thread, and nobody mistakes one for the other."""

    async def which() -> list[str]:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(60)
        return [type(asyncio.get_running_loop()).__name__, str(scope.cancelled_caught)]

    @workflow(name="guest")
    async def guest() -> list[str]:
        return list(await step(name="which", asyncio=True)(which)())

    async def main() -> list[str]:
        async with open_engine("sqlite://", [guest]) as engine:
            return await engine.run(guest)

    async def host() -> list[str]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        while not done.done():
            await anyio.sleep(0.01)
            assert asyncio.get_running_loop() is loop
        return list((await done).unwrap())

    assert asyncio.run(host()) == ["TrioEventLoop", "True"]


async def test_control_c_in_asyncio_code_closes_the_engine(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def interrupted() -> None:
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.sleep(LONG)

    @workflow(name="interrupted")
    async def flow() -> None:
        await step(name="interrupted", asyncio=True)(interrupted)()

    with pytest.raises(KeyboardInterrupt):
        async with open_engine(f"sqlite:///{tmp_path / 'log.db'}", [flow]) as engine:
            handle = await engine.submit(flow)
            await handle.result()
