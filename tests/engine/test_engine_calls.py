"""The engine's calls, one by one: run, submit, get, list, and what a handle tells."""

from __future__ import annotations

import functools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from nurselog import (
    EngineClosed,
    RegistrationError,
    Status,
    UsageError,
    WorkflowConflict,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowNotFound,
    open_engine,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Ended, Started
from nurselog.testing import VirtualClock
from nurselog.testing.clock import BEGIN
from tests.engine.rig import Hooked, file_store, in_background, in_memory, kinds, on_file

Clock = trio.testing.MockClock


@step
async def add(a: int, b: int) -> int:
    return a + b


@workflow
async def adding(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return await add(a, b)


@workflow
async def sleeping(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@workflow
async def failing() -> None:
    raise LookupError("as it is")


# -- run and submit ------------------------------------------------------------------------------


async def test_run_gives_the_result(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        assert await engine.run(adding, 1, 2) == 3
        assert await engine.run(functools.partial(adding, b=5), 1) == 6
        with pytest.raises(LookupError, match="as it is"):
            await engine.run(failing)


async def test_the_same_id_and_input_is_the_same_run(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        first = await engine.submit(adding, 1, 2, id="one")
        again = await engine.submit(functools.partial(adding, a=1, b=2), id="one")
        assert first.id == again.id == "one"
        assert await first.result() == await again.result() == 3
        assert await engine.run(adding, 1, 2, id="one") == 3
        assert await kinds(first) == ["Started", "StepEnded", "Ended"]


async def test_a_default_is_part_of_the_input(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.submit(adding, 1, id="one")
        assert await engine.run(adding, 1, 1, id="one") == 2


@pytest.mark.parametrize("at_once", [False, True])
async def test_another_input_or_another_workflow_is_a_conflict(
    autojump_clock: Clock,
    at_once: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    refused: list[str] = []

    async with in_memory() as engine:

        async def submit(*arguments: object) -> None:
            try:
                await engine.submit(*arguments, id="one")  # type: ignore[arg-type]  # several signatures
            except WorkflowConflict as exc:
                refused.append(f"{exc.existing}: {'Use another id' in str(exc)}")

        await engine.submit(adding, 1, id="one")
        async with trio.open_nursery() as nursery:
            for arguments in ((adding, 2), (sleeping, 1.0), (adding, 1)):
                nursery.start_soon(submit, *arguments)
                if not at_once:
                    await trio.sleep(1)
    assert sorted(refused) == ["workflow 'adding' with another input: True", "workflow 'adding': True"]


async def test_a_run_without_id_is_a_new_one(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        assert len({(await engine.submit(adding, 1)).id for _ in range(3)}) == 3


async def test_what_submit_refuses(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        for wrong in ("", "x" * 201, "a/b", "a\nb"):
            with pytest.raises(UsageError, match="cannot be a workflow's id"):
                await engine.submit(adding, 1, id=wrong)
        with pytest.raises(TypeError, match=r"adding\(\)"):
            await engine.submit(adding, 1, 2, 3)  # type: ignore[arg-type]  # that is the point
        for no_workflow in (add, adding.fn):
            with pytest.raises(RegistrationError, match="is no workflow"):
                await engine.submit(no_workflow, 1, 1)
        assert await engine.list() == []


async def test_cancelling_the_waiter_never_cancels_the_workflow(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        with trio.move_on_after(1) as scope:
            await engine.run(sleeping, 5.0, id="one")
        assert scope.cancelled_caught
        assert await (await engine.get("one")).result() == 5


async def test_many_wait_for_one(autojump_clock: Clock) -> None:
    got: list[float] = []

    async with in_memory() as engine:
        handle = await engine.submit(sleeping, 5.0)

        async def wait() -> None:
            got.append(await handle.result())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(wait)
        await wait()
    assert got == [5.0] * 11


# -- get, status, log ----------------------------------------------------------------------------


async def test_a_handle_tells_about_its_workflow(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle: WorkflowHandle[float] = await engine.submit(sleeping, 5.0, id="one")
        assert (handle.id, handle.name, repr(handle)) == (
            "one",
            "sleeping",
            "<nurselog.WorkflowHandle 'one' of sleeping>",
        )
        assert await handle.status() is Status.RUNNING
        await handle.result()
        assert await handle.status() is Status.COMPLETED
        first, *_, last = await handle.log()
        assert isinstance(first.event, Started)
        assert isinstance(last.event, Ended)
        assert (first.event.name, first.value, last.value) == ("sleeping", b'{"seconds":5.0}', b"5.0")
        assert [first.seq, last.seq] == [1, len(await handle.log())]
        failed = await engine.submit(failing)
        with pytest.raises(LookupError):
            await failed.result()
        assert await failed.status() is Status.FAILED


async def test_get_finds_what_exists(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.submit(adding, 1, id="one")
        assert await (await engine.get("one")).result() == 2
        with pytest.raises(WorkflowNotFound, match="'two'"):
            await engine.get("two")
        for call in (engine.cancel, engine.kill, engine.resume, functools.partial(engine.fork, at=1)):
            with pytest.raises(WorkflowNotFound):
                await call("two")


async def test_what_has_ended_cannot_be_told_anything(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(adding, 1, id="one")
        for call in (engine.cancel, engine.kill):
            with pytest.raises(WorkflowEnded, match="it is completed"):
                await call("one")


async def test_a_result_of_a_function_that_this_engine_does_not_have(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", adding) as engine:
        await engine.run(adding, 1, id="one")
    async with on_file(tmp_path / "log.db") as engine:
        handle = await engine.get("one")
        assert await handle.result() == 2
        assert handle.name == "adding"


# -- list ----------------------------------------------------------------------------------------


async def test_list_shows_the_newest_first_and_pages(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        for number in range(5):
            await engine.run(adding, number, id=f"add-{number}")
        ids = [info.id for info in await engine.list()]
        assert ids == [f"add-{number}" for number in (4, 3, 2, 1, 0)]
        paged, page = [], await engine.list(limit=2)
        while page:
            paged += page
            page = await engine.list(limit=2, before=page[-1])
        assert [info.id for info in paged] == ids
        assert await engine.list(limit=0) == []


async def test_list_filters(autojump_clock: Clock) -> None:
    async with in_memory(max_running=2) as engine:
        await engine.run(adding, 1, id="a-1")
        with pytest.raises(LookupError):
            await engine.run(failing, id="a-2")
        for number in range(3):
            await engine.submit(sleeping, 5.0, id=f"b-{number}")
        await trio.sleep(1)

        async def ids(**filters: object) -> set[str]:
            return {info.id for info in await engine.list(**filters)}  # type: ignore[arg-type]  # several types

        assert await ids(status=[Status.COMPLETED, Status.FAILED]) == {"a-1", "a-2"}
        assert await ids(status={Status.RUNNING}) == {"b-0", "b-1"}
        assert await ids(status=[Status.PENDING]) == {"b-2"}
        assert await ids(status=[]) == set()
        assert await ids(name="sleeping") == {"b-0", "b-1", "b-2"}
        assert await ids(prefix="a-") == {"a-1", "a-2"}
        assert await ids(prefix="a-", name="failing", status=[Status.FAILED]) == {"a-2"}
        assert await ids(prefix="%") == set()


async def test_what_a_list_tells(autojump_clock: Clock) -> None:
    async with in_memory(VirtualClock(), evict_after=1) as engine:
        await trio.sleep(10)
        await engine.submit(workflow(name="versioned", version="v2")(sleeping.fn), 100.0, id="one")
        await trio.sleep(10)
        [info] = await engine.list()
    assert (info.id, info.name, info.version, info.status, info.problem) == (
        "one",
        "versioned",
        "v2",
        Status.WAITING,
        None,
    )
    assert info.created == BEGIN + timedelta(seconds=10)
    assert info.due == BEGIN + timedelta(seconds=110)
    assert info.created < info.updated < info.due


# -- closing -------------------------------------------------------------------------------------


async def test_a_closed_engine_answers_nothing(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(sleeping, 5.0, id="one")
    for call in (
        lambda: engine.run(adding, 1),
        lambda: engine.get("one"),
        engine.list,
        lambda: engine.cancel("one"),
        lambda: engine.kill("one"),
        lambda: engine.resume("one"),
        lambda: engine.fork("one", at=1),
        handle.status,
        handle.log,
        handle.result,
    ):
        with pytest.raises(EngineClosed, match="go on when one is opened"):
            await call()
    assert engine.statistics().running == 0


async def test_who_waits_while_the_engine_closes_is_told(autojump_clock: Clock) -> None:
    told: list[str] = []

    async def wait(handle: WorkflowHandle[float]) -> None:
        try:
            await handle.result()
        except EngineClosed as exc:
            told.append(str(exc))

    async with trio.open_nursery() as nursery, in_memory(max_running=1, evict_after=1) as engine:
        for seconds in (100.0, 200.0, 300.0):
            nursery.start_soon(wait, await engine.submit(sleeping, seconds))
        await trio.sleep(5)
    assert len(told) == 3


@pytest.mark.parametrize("call", ["fork", "get", "cancel"])
async def test_a_call_that_overlaps_the_close_ends(autojump_clock: Clock, tmp_path: Path, call: str) -> None:
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def overlap() -> None:
        calls = {
            "fork": lambda: engine.fork("one", at=1),
            "get": lambda: engine.get("one"),
            "cancel": lambda: engine.cancel("one"),
        }
        with pytest.raises(EngineClosed):
            await calls[call]()

    async with trio.open_nursery() as nursery:
        async with open_engine(store, [sleeping], clock=clock) as engine:
            await engine.submit(sleeping, 5.0, id="one")
            store.before_find = store.after_read = store.before_post = go_on.wait
            nursery.start_soon(overlap)
            await trio.sleep(1)
        go_on.set()


async def test_a_submit_that_overlaps_the_close_is_durable_or_refused(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    accepted: list[str] = []
    for ticks in range(25):
        async with trio.open_nursery() as nursery, on_file(path, sleeping, clock=clock) as engine:

            async def submit(id_: str = f"run-{ticks}") -> None:
                with suppress(EngineClosed):
                    await engine.submit(sleeping, 5.0, id=id_)
                    accepted.append(id_)

            nursery.start_soon(submit)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
    async with on_file(path, sleeping, clock=clock) as engine:
        for id_ in accepted:
            assert await (await engine.get(id_)).result() == 5
    assert accepted


async def test_an_engine_that_is_cancelled_leaves_its_workflows(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    due = clock.utc() + 5_000_000
    with trio.move_on_after(2) as scope:
        async with on_file(path, sleeping, clock=clock) as engine:
            await engine.run(sleeping, 5.0, id="one")
    assert scope.cancelled_caught
    async with on_file(path, clock=clock) as engine:
        assert await kinds(await engine.get("one")) == ["Started", "TimerSet"]
    async with on_file(path, sleeping, clock=clock) as engine:
        assert await (await engine.get("one")).result() == 5
        assert clock.utc() == due


async def test_what_the_options_refuse() -> None:
    for option in ("max_running", "max_threads", "max_processes", "max_payload", "evict_after", "lease", "grace"):
        for wrong in (0, -1, float("nan")):
            with pytest.raises(UsageError, match=f"{option} must be a .*more"):
                async with open_engine("sqlite://", [], **{option: wrong}):  # type: ignore[arg-type]  # several types
                    pytest.fail("it must not open")


async def test_statistics(autojump_clock: Clock) -> None:
    @step(name="busy")
    async def busy() -> None:
        await trio.sleep(100)

    @workflow(name="working")
    async def working() -> None:
        await busy()

    async with in_memory(evict_after=1000) as engine:
        await engine.submit(working)
        await engine.submit(sleeping, 5.0)
        await trio.sleep(1)
        now = engine.statistics()
        assert (now.running, now.waiting, now.evicted, now.stuck, now.commit_lag) == (1, 1, 0, 0, 0)
        assert now.lease_left == float("inf")


async def test_commit_lag_says_how_long_the_oldest_row_has_waited(autojump_clock: Clock, tmp_path: Path) -> None:
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [], clock=clock) as engine:
        store.before_commit = lambda _: go_on.wait()
        async with in_background(lambda: engine.run(adding, 1)):
            await trio.sleep(3)
            assert engine.statistics().commit_lag == pytest.approx(3)
            assert engine.statistics().lease_left == pytest.approx(12, abs=5)
            go_on.set()
        assert engine.statistics().commit_lag == 0


@pytest.mark.parametrize("wrong", [1e15, True, None, datetime(2026, 1, 1, tzinfo=UTC)])
async def test_a_clock_that_gives_no_microseconds_is_refused_before_anything_is_written(
    wrong: object, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = file_store(path, clock)
    clock.utc = lambda: wrong  # type: ignore[assignment,method-assign,return-value]  # that is the point
    with pytest.raises(UsageError, match=r"utc\(\) gives, in microseconds, must be a whole number, not"):
        async with open_engine(store, (), clock=clock):
            pass
    assert not path.exists()
