"""Two things at once: what is on its way in or out when the other one happens."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from nurselog import (
    CancelScope,
    EngineClosed,
    Status,
    StoreCorrupt,
    UsageError,
    WorkflowCancelled,
    WorkflowKilled,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog.abc import Batch
from nurselog.lowlevel import Claimed, ScopeCancelled
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, hold_ends, in_background, kinds, on_file, settle, sql

Clock = trio.testing.MockClock
T = TypeVar("T")
bodies: list[float] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    bodies.append(seconds)
    await trio.sleep(seconds)
    return seconds


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def sleeping(seconds: float) -> str:
    await sleep(seconds)
    return "awake"


# -- messages for what is just being taken into memory -------------------------------------------


async def test_a_cancellation_overlaps_the_answer_to_the_creation(autojump_clock: Clock, tmp_path: Path) -> None:
    """The workflow is in the store, and this engine's, but not in its memory yet."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    store.after_commit = lambda _: go_on.wait()
    async with open_engine(store, [napping], clock=clock) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.submit, napping, 1000.0)
            await settle()
            [info] = await engine.list()
            nursery.start_soon(engine.cancel, info.id, "not needed")
            await settle()
            go_on.set()
        with pytest.raises(WorkflowCancelled, match="not needed"):
            await (await engine.get(info.id)).result()
        assert trio.current_time() < 1, "it is cancelled at once"


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_messages_overlap_the_answer_to_a_claim(autojump_clock: Clock, tmp_path: Path, end: str) -> None:
    """Two workflows are taken up together, and both are told something at the very moment."""
    path, clock, ids = tmp_path / "log.db", VirtualClock(), ("one", "two")
    async with on_file(path, sleeping, clock=clock) as engine:
        for id_ in ids:
            await engine.submit(sleeping, 1000.0, id=id_)
    store, claimed, go_on = Hooked(file_store(path, clock)), trio.Event(), trio.Event()

    async def hold() -> None:
        if not claimed.is_set():
            claimed.set()
            await go_on.wait()

    store.after_claim = hold
    async with open_engine(store, [sleeping], clock=clock) as engine:
        await claimed.wait()
        for id_ in ids:
            await getattr(engine, end)(id_)
        go_on.set()
        for id_ in ids:
            handle = await engine.get(id_)
            with pytest.raises(WorkflowCancelled if end == "cancel" else WorkflowKilled):
                await handle.result()
            assert sum(isinstance(entry.event, ScopeCancelled) for entry in await handle.log()) == (end == "cancel")
        assert trio.current_time() < 1


async def test_two_messages_overlap_the_answer_to_a_claim_and_each_other(autojump_clock: Clock, tmp_path: Path) -> None:
    """The look for the first one ends after the look for the second one, and has not seen that."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, sleeping, clock=clock) as engine:
        await engine.submit(sleeping, 1000.0, id="one")
    store, claimed, go_on, looked = Hooked(file_store(path, clock)), trio.Event(), trio.Event(), trio.Event()

    async def hold() -> None:
        if not claimed.is_set():
            claimed.set()
            await go_on.wait()

    async def hold_the_first_look() -> None:
        if not looks:
            looks.append("first")
            await looked.wait()

    looks: list[str] = []
    store.after_claim, store.after_messages = hold, hold_the_first_look
    async with open_engine(store, [sleeping], clock=clock) as engine:
        await claimed.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.cancel, "one")
            await settle()
            nursery.start_soon(engine.kill, "one")
            await settle()
            looked.set()
            await settle()
            go_on.set()
        with pytest.raises(WorkflowKilled):
            await (await engine.get("one")).result()
        assert trio.current_time() < 1


async def test_a_message_that_came_early_is_not_entered_again_later(autojump_clock: Clock, tmp_path: Path) -> None:
    """The workflow leaves memory while it cleans up, and comes back."""

    @workflow(name="careful")
    async def careful() -> None:
        try:
            await sleep(1000)
        finally:
            with CancelScope(shield=True):
                await sleep(100)

    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, careful, clock=clock) as engine:
        await engine.submit(careful, id="one")
    store, claimed, go_on = Hooked(file_store(path, clock)), trio.Event(), trio.Event()

    async def hold() -> None:
        if not claimed.is_set():
            claimed.set()
            await go_on.wait()

    store.after_claim = hold
    async with open_engine(store, [careful], clock=clock, evict_after=5) as engine:
        await claimed.wait()
        await engine.cancel("one", "not needed")
        go_on.set()
        handle = await engine.get("one")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        assert engine.statistics().evicted == 1
        assert (await kinds(handle)).count("ScopeCancelled") == 1


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_a_message_for_what_has_just_ended_is_too_late(autojump_clock: Clock, tmp_path: Path, end: str) -> None:
    """Its end is on its way into the store."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    hold_ends(store, go_on)
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 0.5, id="one")
        await trio.sleep(2)
        async with in_background(lambda: getattr(engine, end)("one")):
            await settle()
            go_on.set()
        assert await handle.result() == 0.5
        assert await handle.status() is Status.COMPLETED
        assert await kinds(handle) == ["Started", "StepEnded", "Ended"]


async def test_a_message_is_entered_once_however_often_it_is_seen(autojump_clock: Clock, tmp_path: Path) -> None:
    """Its removal is on its way when the next one comes, and when the workflow is on its way out."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 1000.0, id="one")
        await settle()
        store.before_commit = lambda _: go_on.wait()
        async with trio.open_nursery() as nursery:
            for reason in ("first", "second", "third"):
                nursery.start_soon(engine.cancel, "one", reason)
                await settle()
            go_on.set()
        with pytest.raises(WorkflowCancelled, match="first"):
            await handle.result()
        cancelled = [entry.event for entry in await handle.log() if isinstance(entry.event, ScopeCancelled)]
    assert [event.reason for event in cancelled] == ["first", "second", "third"]


# -- takeovers -----------------------------------------------------------------------------------


async def test_a_cancellation_that_is_durable_before_the_code_has_begun(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may be faster than Trio: what comes first, the commit or the first step, is then a matter of luck."""

    async def at_once(_: InlineExecutor, job: Callable[[], T]) -> T:
        return job()

    monkeypatch.setattr(InlineExecutor, "run", at_once)
    mail = "INSERT INTO message (workflow, kind, body) SELECT key, 'cancel', '{}' FROM workflow"
    for number in range(20):
        path, clock = tmp_path / f"{number}.db", VirtualClock()
        async with on_file(path, napping, clock=clock) as engine:
            await engine.submit(napping, 100.0, id="one")
        sql(path, mail)
        async with on_file(path, napping, clock=clock) as engine:
            with pytest.raises(WorkflowCancelled):
                await (await engine.get("one")).result()


async def test_what_a_lost_run_still_had_to_write_does_not_hold_up_the_next_one(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """The engine loses a workflow and takes it up again while a commit hangs, and both runs have something to write."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 2.5, id="one")
        await trio.sleep(1)
        store.before_commit = lambda _: go_on.wait()
        async with in_background(lambda: engine.submit(napping, 0.0, id="in the way")):
            await trio.sleep(2)  # the outcome of "one" is behind it
            sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
            await trio.sleep(30)
            assert bodies == [2.5, 2.5], "it runs for the second time, and its outcome is there"
            go_on.set()
        with trio.fail_after(100):
            assert await handle.result() == 2.5
        assert await kinds(handle) == ["Started", "Claimed", "StepBegan", "StepEnded", "Ended"]
    assert bodies == [2.5, 2.5, 0]


async def test_a_run_that_will_not_go_does_not_hold_up_the_next_one(autojump_clock: Clock, tmp_path: Path) -> None:
    """The lease is lost, the code is in a wait that cannot be left, and the engine takes the workflow up again."""

    @workflow(name="stubborn")
    async def stubborn() -> float:
        lives.append(trio.lowlevel.current_task())
        async with open_nursery() as nursery:
            nursery.go(nap, 30)
            if len(lives) == 1:
                await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return await nap(10)

    lives: list[trio.lowlevel.Task] = []
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, stubborn, clock=clock, grace=1000) as engine:
        handle = await engine.submit(stubborn, id="one")
        await trio.sleep(1)
        sql(path, "DELETE FROM worker", "UPDATE workflow SET owner = NULL")
        await trio.sleep(15)
        assert len(lives) == 2
        trio.lowlevel.reschedule(lives[0])
        await settle()
        assert engine.statistics().running == 1, "the one that came later is still there"
        assert await handle.result() == 10
        assert engine.statistics().running == 0
    assert bodies == [30, 30, 10]


async def test_a_workflow_is_made_while_the_loss_of_the_lease_is_still_to_be_told(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """The store has entered the worker anew and takes the new workflow for its own; then the engine lets go of all."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    store.after_renew = go_on.wait
    async with open_engine(store, [sleeping], clock=clock) as engine:
        sql(path, "DELETE FROM worker")
        await trio.sleep(6)
        handle = await engine.submit(sleeping, 30.0)
        go_on.set()
        with trio.fail_after(100):
            assert await handle.result() == "awake"


# -- closing -------------------------------------------------------------------------------------


async def test_a_fork_that_has_read_the_log_when_the_engine_closes(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()

    async def fork() -> None:
        with pytest.raises(EngineClosed, match="the engine is closed"):
            await engine.fork("one", at=1, new_id="two")

    async with trio.open_nursery() as nursery:
        async with open_engine(store, [sleeping], clock=clock) as engine:
            await engine.submit(sleeping, 5.0, id="one")
            store.after_read = go_on.wait
            nursery.start_soon(fork)
            await settle()
        go_on.set()
    async with on_file(path, clock=clock) as engine:
        assert [info.id for info in await engine.list()] == ["one"]


async def test_a_submit_that_a_broken_store_leaves_open(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    told: list[str] = []

    async def break_(_: Batch) -> None:
        await go_on.wait()
        raise StoreCorrupt("broken")

    async def submit(number: float) -> None:
        try:
            await engine.submit(napping, number)
        except EngineClosed as exc:
            told.append(str(exc))

    with pytest.raises(StoreCorrupt, match="broken"):
        async with open_engine(store, [napping], clock=clock) as engine, trio.open_nursery() as nursery:
            store.before_commit = break_
            for number in range(3):  # one in the batch that breaks, and two behind it
                nursery.start_soon(submit, float(number))
                await settle()
            go_on.set()
    assert told == ["it was closed, or its store has broken, before the workflow was made"] * 3
    async with on_file(path, clock=clock) as engine:
        assert await engine.list() == []


async def test_a_submit_that_is_behind_a_slow_commit_when_the_engine_closes(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """It is made, since it was accepted, and it does not run here any more."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    made: list[str] = []

    async def submit(id_: str) -> None:
        made.append((await engine.submit(napping, 1.0, id=id_)).id)

    async with trio.open_nursery() as nursery, open_engine(store, [napping], clock=clock) as engine:
        store.before_commit = lambda _: go_on.wait()
        for id_ in ("one", "two"):
            nursery.start_soon(submit, id_)
            await settle()
        nursery.start_soon(_open_later, go_on)
    assert made == ["one", "two"]
    assert bodies == []
    async with on_file(path, napping, clock=clock) as engine:
        for id_ in made:
            assert await (await engine.get(id_)).result() == 1


async def _open_later(event: trio.Event) -> None:
    await trio.sleep(1)
    event.set()


async def test_a_claim_that_is_answered_when_the_engine_has_closed(autojump_clock: Clock, tmp_path: Path) -> None:
    """Whoever told the workflow something may go; whoever comes next takes it up."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    async with trio.open_nursery() as nursery:
        async with open_engine(store, [sleeping], clock=clock, max_running=1) as engine:
            await settle()
            await engine.submit(sleeping, 50.0, id="in the way")
            await engine.submit(sleeping, 1000.0, id="one")
            await settle()
            store.after_claim = go_on.wait
            nursery.start_soon(engine.cancel, "one", "not needed")
            await settle()
        go_on.set()
    async with on_file(path, sleeping, clock=clock) as engine:
        handle = await engine.get("one")
        with pytest.raises(WorkflowCancelled, match="not needed"):
            await handle.result()
        claims = [entry for entry in await handle.log() if isinstance(entry.event, Claimed)]
    assert len(claims) == 2
    assert trio.current_time() < 50


# -- errors --------------------------------------------------------------------------------------


async def test_a_stores_own_misuse_comes_out_while_the_engine_is_open(autojump_clock: Clock, tmp_path: Path) -> None:
    """`UsageError` is what a closed store answers, too: it must not be taken for that."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def refuse() -> None:
        raise UsageError("the store does not want this")

    async with open_engine(store, [napping], clock=clock) as engine:
        store.before_find = refuse
        with pytest.raises(UsageError, match="the store does not want this"):
            await engine.get("one")


class Fatal(BaseException):
    """What no workflow may handle."""


async def test_of_two_fatal_errors_the_first_comes_out(autojump_clock: Clock, tmp_path: Path) -> None:
    raised: list[Fatal] = []

    @workflow(name="fatal")
    async def fatal(number: int) -> None:
        await sleep(10)
        raised.append(Fatal(number))
        raise raised[-1]

    caught: BaseException | None = None
    try:
        async with on_file(tmp_path / "log.db", fatal) as engine:
            for number in range(2):
                await engine.submit(fatal, number)
            await trio.sleep_forever()
    except BaseException as exc:  # noqa: BLE001 - it is looked at
        caught = exc
    assert len(raised) == 2
    assert caught is raised[0]


def test_control_c_while_an_engine_breaks_comes_out_beside_its_error(tmp_path: Path) -> None:
    """Two errors that have nothing to do with each other: neither may hide the other one."""

    async def interrupt_and_break() -> None:
        signal.raise_signal(signal.SIGINT)
        await settle()
        raise StoreCorrupt("broken at the end")

    async def main() -> None:
        clock = VirtualClock()
        store = Hooked(file_store(tmp_path / "log.db", clock))
        store.before_close = interrupt_and_break
        async with open_engine(store, [napping], clock=clock) as engine:
            await engine.run(napping, 0.0)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert {type(exc) for exc in caught.value.exceptions} == {KeyboardInterrupt, StoreCorrupt}


@pytest.mark.parametrize("message", ["('unheard of', '{}')", "('cancel', 'no json')"])
async def test_a_message_that_cannot_be_read_stays_where_it_is(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, message: str
) -> None:
    """A newer release may have left it."""

    @workflow(name="flow")
    async def flow() -> str:
        await sleep(10)
        return "awake"

    path = tmp_path / "log.db"
    async with on_file(path, flow) as engine:
        handle = await engine.submit(flow, id="one")
        sql(path, f"INSERT INTO message (workflow, kind, body) SELECT key, {message[1:-1]} FROM workflow")
        assert await handle.result() == "awake"
    assert any("cannot read it" in record.getMessage() for record in caplog.records)
