"""Forks: the first rows of another workflow's log, and a life of their own from there on."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import (
    Retry,
    Step,
    UsageError,
    WorkflowCancelled,
    WorkflowConflict,
    WorkflowStuck,
    as_completed,
    attempt,
    expose,
    mailbox,
    open_engine,
    open_nursery,
    patched,
    promise,
    publish,
    sleep,
    step,
    step_key,
    uuid4,
    workflow,
    workflow_id,
)
from nurselog.abc import Batch
from nurselog.lowlevel import Forked, Received, ScopeCancelled, StepEnded, decode_event
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, kinds, on_file, settle

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
async def key() -> str:
    return step_key()


@workflow
async def story() -> list[str]:
    first = [str(uuid4()), await key()]
    await nap(1)
    second = [str(uuid4()), await key()]
    await sleep(5)
    return first + second


@step
async def tell(*what: object) -> None:
    told.append(what)


told: list[tuple[object, ...]] = []
count = 1


@workflow
async def giving_its_id_away() -> None:
    async with open_nursery() as nursery:
        nursery.go(tell, {"reply to": [workflow_id()]}, promise().id, count)
    for _ in range(2):
        await tell(workflow_id())
        await key()
    await tell(workflow_id())


async def test_a_step_that_was_given_the_id_is_given_another_one_in_a_fork(autojump_clock: Clock) -> None:
    """It is the same call all the same; also in the fork of a fork, whose log is of three workflows."""
    async with in_memory() as engine:
        await engine.run(giving_its_id_away, id='the "first"')
        told.clear()
        await (await engine.fork('the "first"', at=4, new_id="second")).result()  # behind the first key
        assert told == [("second",), ("second",)]
        await (await engine.fork("second", at=7, new_id="third")).result()  # behind the second one
        assert told[2:] == [("third",)]


async def test_other_arguments_are_others_in_a_fork(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_memory() as engine:
        await engine.run(giving_its_id_away, id="first")
        monkeypatch.setitem(globals(), "count", 2)
        fork = await engine.fork("first", at=3)
        with pytest.raises(WorkflowStuck, match="the same call with other arguments"):
            await fork.result()


async def test_a_fork_has_the_prefix_and_its_own_future(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        original = await engine.run(story, id="one")
        log = await (await engine.get("one")).log()
        cut = 1 + next(entry.seq for entry in log if isinstance(entry.event, StepEnded) and entry.event.name == "nap")
        fork = await engine.fork("one", at=cut - 1, new_id="two")
        assert fork.id == "two"
        forked = await fork.result()
        assert forked[:3] == original[:3], "what is recorded is the same, and so are random values"
        assert forked[3] != original[3], "the key of a step after the cut is the fork's own"
        rows = await fork.log()
        assert [row.event for row in rows[: cut - 1]] == [row.event for row in log[: cut - 1]]
        assert rows[cut - 1].event == Forked(source="one", at=cut - 1)
    assert bodies == ["nap 1"]


async def test_a_fork_can_be_forked_at_every_row(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(story, id="one")
        length = len(await (await engine.get("one")).log())
        for at in range(1, length):
            fork = await engine.fork("one", at=at)
            again = await engine.fork(fork.id, at=at + 1)
            assert len(await again.result()) == len(await fork.result()) == 4


async def test_the_same_fork_twice_is_one(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(story, id="one")
        first = await engine.fork("one", at=2, new_id="two")
        again = await engine.fork("one", at=2, new_id="two")
        assert await first.result() == await again.result()
        with pytest.raises(WorkflowConflict):
            await engine.fork("one", at=1, new_id="two")


@step(timeout=60)
async def bounded() -> int:
    return await _slow_at_first("bounded")


@step(at_most_once=True)
async def once() -> int:
    return await _slow_at_first("once")


@step(retry=Retry(attempts=2, delay=20, jitter=0))
async def flaky() -> int:
    bodies.append("flaky")
    if len(bodies) % 2:
        raise ConnectionError
    return attempt()


async def _slow_at_first(name: str) -> int:
    bodies.append(name)
    if len(bodies) == 1:
        await trio.sleep(50)
    return attempt()


@pytest.mark.parametrize("unfinished", [bounded, once, flaky], ids=lambda one: one.name)
async def test_what_had_begun_before_the_cut_has_not_begun_in_the_fork(
    autojump_clock: Clock, unfinished: Step[[], int]
) -> None:
    """A step has another key there: what it had spent in time and attempts was spent for the original."""

    @workflow(name="unfinished")
    async def flow() -> int:
        return await unfinished()

    async with in_memory() as engine:
        first = await engine.run(flow, id="one")
        [_, unended, *_] = await kinds(await engine.get("one"))
        assert unended == ("StepRetried" if unfinished is flaky else "StepBegan")
        await trio.sleep(1000)
        assert await (await engine.fork("one", at=2)).result() == first
    assert bodies == [unfinished.name] * (4 if unfinished is flaky else 2)


async def test_what_had_begun_before_the_cut_tells_a_patch_that_the_code_has_passed(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    @workflow(name="patching")
    async def old() -> int:
        return await once()

    @workflow(name="patching")
    async def new() -> int:
        return -1 if patched("before it") else await once()

    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, old, clock=clock) as engine:
        assert await engine.run(old, id="one") == 1
    async with on_file(path, new, clock=clock) as engine:
        assert await (await engine.fork("one", at=2)).result() == 1


async def test_what_fork_refuses(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, story, clock=clock) as engine:
        await engine.run(story, id="one")
        length = len(await (await engine.get("one")).log())
        for at in (0, -1, length, length + 1):
            with pytest.raises(UsageError, match=f"seq 1 to {length - 1}, not {at}"):
                await engine.fork("one", at=at)
        with pytest.raises(UsageError, match="cannot be a workflow's id"):
            await engine.fork("one", at=1, new_id="a/b")
    async with on_file(path, clock=clock) as engine:
        with pytest.raises(UsageError, match="'story', which this engine does not have"):
            await engine.fork("one", at=1)


async def test_a_fork_of_what_is_under_way_goes_on_by_itself(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(story, id="one")
        await trio.sleep(3)
        fork = await engine.fork("one", at=len(await handle.log()))
        assert (await fork.result())[:3] == (await handle.result())[:3]


@pytest.mark.parametrize("sent", [True, False])
async def test_what_comes_while_a_log_is_followed_proves_nothing(autojump_clock: Clock, *, sent: bool) -> None:
    """The process dies in the midst of its replay, before what a former crash had lost is written again."""
    reached, go_on = trio.Event(), trio.Event()
    go_on.set()

    @workflow(name="telling")
    async def telling() -> str:
        box = mailbox("box", str)
        async with open_nursery() as nursery:
            done = 0
            async for _ in as_completed(*(nursery.go(nap, 1) for _ in range(3))):
                done += 1
                publish("progress", done)
                while done == 2 and not go_on.is_set():
                    reached.set()
                    await trio.lowlevel.checkpoint()
        return await box.receive()

    async with in_memory() as engine:
        await engine.submit(telling, id="one")
        await trio.sleep(2)
        assert [type(one.event) for one in (await (await engine.get("one")).log())[1:4]] == [StepEnded] * 3
        go_on = trio.Event()
        second = await engine.fork("one", at=4)
        await reached.wait()
        await (engine.send(second.id, "box", "sent") if sent else engine.cancel(second.id))
        while not isinstance((log := await second.log())[-1].event, Received | ScopeCancelled):
            await trio.lowlevel.checkpoint()
        third = await engine.fork(second.id, at=len(log))
        go_on.set()
        for handle in (second, third):
            if sent:
                assert await handle.result() == "sent"
            else:
                with pytest.raises(WorkflowCancelled):
                    await handle.result()
        await engine.kill("one")


async def test_an_end_says_how_far_the_code_was_whatever_is_left(autojump_clock: Clock, tmp_path: Path) -> None:
    """A message came before the end, and nobody waited for it: who asks about the state follows the log to its end."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    @workflow(name="exposing")
    async def exposing() -> None:
        state = list[float]()
        expose(state)
        state.append(await nap(1))

    @exposing.query
    def look(state: list[float]) -> list[float]:
        return state

    async def hold(batch: Batch) -> None:
        if any(isinstance(decode_event(row.event), StepEnded) for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold
    async with open_engine(store, [exposing], clock=clock) as engine:
        first = await engine.submit(exposing, id="one")
        await trio.sleep(2)
        await engine.send("one", "box", "unread")
        await settle()
        go_on.set()
        await first.result()
        assert await kinds(first) == ["Started", "StepEnded", "Received", "Ended"]
        second = await engine.fork("one", at=3)
        await second.result()
        for handle in (first, second):
            assert (await handle.log())[-1].after == 1
            assert await handle.query(look) == [1]
