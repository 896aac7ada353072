"""What is said to a workflow from outside: cancel, kill, resume."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from nurselog import (
    CancelScope,
    NonDeterminismError,
    Status,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowStuck,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog._stores import open_store
from nurselog.lowlevel import Cause, Ended, Result, Resumed, ScopeCancelled, StepEnded
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, in_memory, kinds, on_file, settle, sql

Clock = trio.testing.MockClock
bodies: list[str] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    bodies.append(f"nap {seconds:g}")
    await trio.sleep(seconds)
    return seconds


@step
async def compensate(what: str) -> str:
    bodies.append(what)
    await trio.sleep(1)
    return what


@workflow
async def napping() -> str:
    await nap(100)
    return "awake"


@workflow
async def waiting() -> str:
    await sleep(100)
    return "awake"


@workflow
async def careful() -> str:
    try:
        await nap(100)
    finally:
        with CancelScope(shield=True):
            await compensate("first")
            await compensate("second")
    return "never"


@workflow
async def stubborn() -> str:
    with suppress(trio.Cancelled):
        await nap(100)
    return "went on"


@workflow
async def family() -> list[str]:
    async with open_nursery() as nursery:
        for seconds in (100, 200):
            nursery.go(nap, seconds)
        nursery.go(careful.fn)
    return []


# -- cancel --------------------------------------------------------------------------------------


async def test_cancel_reaches_the_code_and_the_log(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(napping, id="one")
        await trio.sleep(1)
        await engine.cancel("one", "not needed")
        with pytest.raises(WorkflowCancelled, match="'one' was cancelled: not needed") as caught:
            await handle.result()
        assert (caught.value.workflow_id, caught.value.reason) == ("one", "not needed")
        assert await handle.status() is Status.CANCELLED
        noted, ended, last = [entry.event for entry in await handle.log()][-3:]
    assert isinstance(noted, ScopeCancelled)
    assert (noted.by, noted.reason, noted.path) == (Cause.EXTERNAL, "not needed", "")
    assert isinstance(ended, StepEnded)
    assert (ended.result, ended.scope, ended.reason) == (Result.CANCELLED, "", "not needed")
    assert isinstance(last, Ended)
    assert (last.result, last.reason) == (Result.CANCELLED, "not needed")


async def test_cleanup_is_durable_and_seen_as_cancelling(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(careful, id="one")
        await trio.sleep(0.5)
        await engine.cancel("one")
        await engine.cancel("one", "the second reason is too late")
        await trio.sleep(1.5)
        assert await handle.status() is Status.CANCELLING
        with pytest.raises(WorkflowCancelled) as caught:
            await handle.result()
        assert caught.value.reason is None
        assert bodies == ["nap 100", "first", "second"]


async def test_a_workflow_that_swallows_its_cancellation_is_completed(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(stubborn, id="one")
        await trio.sleep(1)
        await engine.cancel("one")
        assert await handle.result() == "went on"
        assert await handle.status() is Status.COMPLETED


async def test_cancel_reaches_every_branch(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(family, id="one")
        await trio.sleep(1)
        await engine.cancel("one")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        ended = [entry.event for entry in await handle.log() if isinstance(entry.event, StepEnded)]
    assert sorted(event.result.value for event in ended) == ["cancelled"] * 3 + ["value"] * 2


async def test_cancel_before_the_first_turn(autojump_clock: Clock) -> None:
    async with in_memory(max_running=1) as engine:
        await engine.submit(napping, id="in the way")
        handle = await engine.submit(careful, id="one")
        assert await handle.status() is Status.PENDING
        await engine.cancel("one", "never mind")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        assert bodies == ["nap 100", "first", "second"], "what it calls under its cancellation does not start"


async def test_crash_in_the_middle_of_cleanup_resumes_there(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, careful, clock=clock) as engine:
        await engine.submit(careful, id="one")
        await trio.sleep(0.5)
        await engine.cancel("one", "why not")
        await trio.sleep(1.5)
    async with on_file(path, clock=clock) as engine:
        assert [info.status for info in await engine.list()] == [Status.CANCELLING]
    async with on_file(path, careful, clock=clock) as engine:
        with pytest.raises(WorkflowCancelled, match="why not"):
            await (await engine.get("one")).result()
    assert bodies == ["nap 100", "first", "second", "second"]


async def test_a_cancellation_survives_a_crash_before_it_was_entered(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, waiting, clock=clock) as engine:
        await engine.submit(waiting, id="one")
    async with on_file(path, clock=clock) as engine:  # nobody here can run it
        await engine.cancel("one", "from elsewhere")
        assert [info.status for info in await engine.list()] == [Status.CANCELLING]
    async with on_file(path, waiting, clock=clock) as engine:
        with pytest.raises(WorkflowCancelled, match="from elsewhere"):
            await (await engine.get("one")).result()


# -- kill ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [0, 1])
async def test_kill_ends_it_without_running_code(autojump_clock: Clock, wait: float) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(careful, id="one")
        await trio.sleep(wait)
        await engine.kill("one")
        with pytest.raises(WorkflowKilled, match="'one' was killed"):
            await handle.result()
        assert await handle.status() is Status.KILLED
        assert "first" not in bodies
        assert (await kinds(handle))[-1] == "Ended"
        with pytest.raises(WorkflowEnded, match="it is killed"):
            await engine.cancel("one")


async def test_what_ends_while_it_is_being_told_something(autojump_clock: Clock) -> None:
    """It had not ended when it was looked for; when the message comes to the store, it has."""
    clock = VirtualClock()
    store = Hooked(open_store("sqlite://", clock=clock))
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, id="one")

        async def see_it_end() -> None:
            assert await handle.result() == "awake"

        store.before_post = see_it_end
        with pytest.raises(WorkflowEnded, match="'one' has ended: it is completed"):
            await engine.cancel("one")


async def test_kill_of_what_waits_in_the_store(autojump_clock: Clock) -> None:
    async with in_memory(max_running=1, evict_after=1) as engine:
        await engine.submit(waiting, id="evicted")
        await trio.sleep(5)
        await engine.submit(napping, id="in the way")
        await engine.submit(napping, id="pending")
        for id_ in ("evicted", "pending"):
            await engine.kill(id_)
            with pytest.raises(WorkflowKilled):
                await (await engine.get(id_)).result()


async def test_kill_of_what_this_engine_cannot_run(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, waiting, clock=clock) as engine:
        await engine.submit(waiting, id="one")
    async with on_file(path, clock=clock) as engine:
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await (await engine.get("one")).result()


async def test_a_cancellation_and_a_kill_that_are_seen_together(autojump_clock: Clock, tmp_path: Path) -> None:
    """Both say how the workflow stands, in one batch: the last word counts."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(napping, id="one")
        await trio.sleep(1)
        await there.cancel("one", "first")
        await there.kill("one")
        with trio.fail_after(60), pytest.raises(WorkflowKilled):
            await handle.result()
        assert (await kinds(handle))[-2:] == ["ScopeCancelled", "Ended"]
        assert await handle.status() is Status.KILLED


async def test_kill_while_it_cleans_up(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(careful, id="one")
        await trio.sleep(0.5)
        await engine.cancel("one")
        await trio.sleep(0.5)
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()
        assert bodies == ["nap 100", "first"]


async def test_a_cancelled_workflow_is_seen_as_cancelling_however_it_came_into_memory(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """The row of a fork, and of one that was stuck, does not tell: the log does."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, careful, clock=clock) as engine:
        await engine.submit(careful, id="one")
        await trio.sleep(0.5)
        await engine.cancel("one", "not wanted")
        await trio.sleep(1.5)
        original = await engine.get("one")
        assert await original.status() is Status.CANCELLING
        at = 1 + [type(entry.event) for entry in await original.log()].index(ScopeCancelled)
        fork = await engine.fork("one", at=at)
        await settle()
        assert await fork.status() is Status.CANCELLING
    sql(path, "UPDATE workflow SET status = 'stuck', due_at = NULL, problem = 'the test says so' WHERE id = 'one'")
    async with on_file(path, careful, clock=clock) as engine:
        await engine.resume("one")
        await settle()
        assert await (await engine.get("one")).status() is Status.CANCELLING


# -- stuck and resume ----------------------------------------------------------------------------


async def before() -> str:
    await nap(1)
    await sleep(100)
    return "before"


async def broken() -> str:
    await sleep(100)
    return "broken"


def version(code: object) -> object:
    return workflow(name="changing")(code)  # type: ignore[call-overload]  # an async function


async def get_stuck(path: Path, clock: VirtualClock) -> None:
    async with on_file(path, version(before), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        await engine.submit(version(before), id="one")  # type: ignore[arg-type]  # a workflow
        await trio.sleep(10)
    async with on_file(path, version(broken), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        handle: WorkflowHandle[str] = await engine.get("one")
        with pytest.raises(WorkflowStuck, match="a timer of sleep at path 1") as caught:
            await handle.result()
        assert caught.value.problem in str(caught.value)
        [info] = await engine.list()
        assert info.status is Status.STUCK
        assert info.problem is not None
        assert "patched()" in info.problem
        assert engine.statistics().stuck == 1


async def test_what_is_stuck_waits_and_resume_goes_on_after_a_fix(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await get_stuck(path, clock)
    async with on_file(path, version(before), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        handle = await engine.get("one")
        await trio.sleep(100)
        with pytest.raises(WorkflowStuck):
            await handle.result()
        await engine.resume("one")
        assert await handle.result() == "before"
        await engine.resume("one")  # nothing to do
        log = [entry.event for entry in await handle.log()]
    assert sum(isinstance(event, Resumed) for event in log) == 1
    assert bodies == ["nap 1"]


async def test_resume_without_a_fix_gets_stuck_again(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await get_stuck(path, clock)
    async with on_file(path, version(broken), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        await engine.resume("one")
        with pytest.raises(WorkflowStuck):
            await (await engine.get("one")).result()


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_what_is_stuck_can_be_killed_and_cancelled(autojump_clock: Clock, tmp_path: Path, end: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await get_stuck(path, clock)
    async with on_file(path, version(broken), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        await getattr(engine, end)("one")
        handle = await engine.get("one")
        with pytest.raises(WorkflowKilled if end == "kill" else WorkflowStuck):
            await handle.result()
    async with on_file(path, version(before), clock=clock) as engine:  # type: ignore[arg-type]  # a workflow
        if end == "cancel":  # its code must be mended first; the cancellation waits
            await engine.resume("one")
            with pytest.raises(WorkflowCancelled):
                await (await engine.get("one")).result()


async def test_resume_of_what_is_not_stuck_does_nothing(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(waiting, id="one")
        await engine.resume("one")
        assert await handle.result() == "awake"
        assert "Resumed" not in await kinds(handle)


async def test_a_problem_is_of_its_own_class_inside(autojump_clock: Clock) -> None:
    assert issubclass(NonDeterminismError, Exception)
    assert not issubclass(WorkflowStuck, NonDeterminismError)


async def test_a_fork_after_a_cancellation_cleans_up_again(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(careful, id="one")
        await trio.sleep(0.5)
        await engine.cancel("one", "original")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        at = 1 + [type(entry.event) for entry in await handle.log()].index(ScopeCancelled)
        fork = await engine.fork("one", at=at)
        with pytest.raises(WorkflowCancelled, match="original"):
            await fork.result()
    assert bodies == ["nap 100", "first", "second", "first", "second"]
