"""Promises from outside: settled once, wherever the workflow is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from nurselog import (
    EncodingError,
    EngineClosed,
    OutsideWorkflowError,
    PayloadTooLargeError,
    PromiseSettled,
    Status,
    UsageError,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowKilled,
    WorkflowNotFound,
    mailbox,
    move_on_after,
    promise,
    reject,
    resolve,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Received
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, kinds, on_file, settle

Clock = trio.testing.MockClock
given: list[str] = []


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    given.clear()


@step
async def give(id: str) -> None:
    given.append(id)


@workflow
async def asking() -> str:
    """Ask somebody, and wait for the answer."""
    approval = promise(str)
    await give(approval.id)
    try:
        return await approval.result()
    except PermissionError as exc:
        return f"refused: {exc}"


@workflow
async def asking_twice() -> list[str]:
    """Ask two people, one after the other."""
    first, second = promise(str), promise(str)
    await give(first.id)
    got = [await first.result()]
    await give(second.id)
    return [*got, await second.result()]


@workflow
async def impatient() -> str:
    with move_on_after(10):
        return await promise(str).result()
    await sleep(100)
    return "too late"


# -- settling ------------------------------------------------------------------------------------


async def test_resolve_and_reject(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handles = [await engine.submit(asking, id=str(number)) for number in range(2)]
        await settle()
        assert given == ["0#1", "1#1"]
        await engine.resolve("0#1", "fine")
        await engine.reject("1#1", PermissionError("not today"))
        assert [await handle.result() for handle in handles] == ["fine", "refused: not today"]


@pytest.mark.parametrize("first", ["resolve", "reject"])
async def test_only_the_first_one_settles_it(autojump_clock: Clock, tmp_path: Path, first: str) -> None:
    """Also if the second comes much later, in another life."""
    path, clock = tmp_path / "log.db", VirtualClock()

    async def twice() -> None:
        with pytest.raises(PromiseSettled, match="'one#1' was settled before"):
            await engine.resolve("one#1", "later")
        with pytest.raises(PromiseSettled):
            await engine.reject("one#1", ValueError("later"))

    @workflow(name="flow")
    async def flow() -> str:
        outcome = repr(await promise(str).receive())
        await sleep(10)
        return outcome

    async with on_file(path, flow, clock=clock) as engine:
        await engine.submit(flow, id="one")
        await (engine.resolve("one#1", "x") if first == "resolve" else engine.reject("one#1", ValueError("x")))
        await twice()
        await settle()
        await twice()
    async with on_file(path, flow, clock=clock) as engine:
        await twice()
        handle = await engine.get("one")
        assert await handle.result() == (
            "Succeeded(value='x')" if first == "resolve" else "Failed(error=ValueError('x'))"
        )
        assert sum(isinstance(entry.event, Received) for entry in await handle.log()) == 1
        await twice()
        with pytest.raises(WorkflowEnded, match="it is completed"):
            await engine.resolve("one#2", "nobody has settled this one")


async def test_one_whose_scope_is_gone(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(impatient, id="one")
        await trio.sleep(50)
        await engine.resolve("one#2", "here")
        with pytest.raises(PromiseSettled):
            await engine.resolve("one#2", "again")
        assert await handle.result() == "too late"


async def test_one_whose_workflow_is_cancelled(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(asking, id="one")
        await settle()
        await engine.cancel("one")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        with pytest.raises(WorkflowEnded, match="it is cancelled"):
            await engine.resolve("one#1", "fine")


async def test_kill_of_one_that_waits_for_a_promise(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(asking, id="one")
        await settle()
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()


async def test_a_promise_is_settled_however_full_the_inbox_is(autojump_clock: Clock) -> None:
    async with in_memory(max_inbox=1) as engine:
        handle = await engine.submit(asking, id="one")
        for number in range(2):
            await engine.send("one", "t", number)
            await settle()
        await engine.resolve("one#1", "fine")
        assert await handle.result() == "fine"


async def test_the_same_id_in_each_life_and_another_one_in_a_fork(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, asking_twice, clock=clock) as engine:
        await engine.submit(asking_twice, id="one")
        await settle()
    async with on_file(path, asking_twice, clock=clock) as engine:
        handle = await engine.get("one")
        await engine.resolve("one#1", "first")
        await settle()
        cut = 1 + (await kinds(handle)).index("Received")
        fork = await engine.fork("one", at=cut, new_id="two")
        await settle()
        assert given == ["one#1", "one#2", "two#2"]
        await engine.resolve("two#1", "the original's stands")
        await engine.resolve("two#2", "of the fork")
        await engine.resolve("one#2", "second")
        assert await handle.result() == ["first", "second"]
        assert await fork.result() == ["first", "of the fork"]


# -- from other workflows ------------------------------------------------------------------------


@workflow
async def answering(id: str, answer: str) -> str:
    """Answer twice: with what was asked for, and with its opposite."""
    if answer == "no":
        await reject(id, PermissionError("not by me"))
        await resolve(id, "yes")
    else:
        await resolve(id, answer)
        await reject(id, PermissionError("not by me"))
    return "answered"


@pytest.mark.parametrize(("answer", "said"), [("yes", "yes"), ("no", "refused: not by me")])
async def test_a_workflow_settles_anothers_promise(
    autojump_clock: Clock, tmp_path: Path, answer: str, said: str
) -> None:
    async with on_file(tmp_path / "log.db", asking, answering) as engine:
        handle = await engine.submit(asking, id="one")
        answers = await engine.submit(answering, "one#1", answer)
        assert await handle.result() == said
        with suppress(WorkflowEnded):  # it depends on how soon the other one has ended
            assert await answers.result() == "answered"


async def test_what_settling_raises_in_a_workflow(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> list[str]:
        said = []
        for id_, value in (("nobody#1", 1), ("over#1", 1), ("over", 1), ("over#1", object())):
            try:
                await resolve(id_, value)
            except (WorkflowNotFound, WorkflowEnded, UsageError, EncodingError) as exc:
                said.append(type(exc).__name__)
        return said

    @workflow(name="over")
    async def over() -> None:
        """Do nothing."""

    async with in_memory() as engine:
        await engine.run(over, id="over")
        assert await engine.run(flow) == ["WorkflowNotFound", "WorkflowEnded", "UsageError", "EncodingError"]
    for settling in (resolve("one#1"), reject("one#1", ValueError())):
        with pytest.raises(OutsideWorkflowError):
            await settling


# -- leaving memory ------------------------------------------------------------------------------


async def test_what_only_waits_for_a_promise_leaves_memory(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", asking, evict_after=5) as engine:
        handle = await engine.submit(asking, id="one")
        await trio.sleep(50)
        assert engine.statistics().evicted == 1
        assert await handle.status() is Status.WAITING
        await engine.resolve("one#1", "fine")
        with trio.fail_after(1):
            assert await handle.result() == "fine"


async def test_another_engine_settles_it(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, asking, clock=clock, evict_after=5) as here, on_file(path, clock=clock) as there:
        handles = [await here.submit(asking, id=str(number)) for number in range(2)]
        await settle()
        await there.resolve("0#1", "while it is in memory")
        await trio.sleep(50)
        await there.resolve("1#1", "while it is not")
        with trio.fail_after(10):
            assert [await handle.result() for handle in handles] == ["while it is in memory", "while it is not"]


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["", "one", "one#", "#1", "one#x", "one#0", "one#1.", "half: \ud800#1", 5, None])
async def test_an_id_that_is_none(autojump_clock: Clock, id_: str) -> None:
    async with in_memory() as engine:
        for settling in (engine.resolve(id_, 1), engine.reject(id_, ValueError())):
            with pytest.raises(UsageError, match="promise's id"):
                await settling


async def test_what_settling_says_of_the_workflow_and_the_value(autojump_clock: Clock) -> None:
    async with in_memory(max_payload=500) as engine:
        await engine.submit(asking, id="one")
        with pytest.raises(WorkflowNotFound, match="'nobody'"):
            await engine.resolve("nobody#1", 1)
        with pytest.raises(EncodingError):
            await engine.resolve("one#1", object())
        with pytest.raises(PayloadTooLargeError, match="what promise 'one#1' is settled with is 502 bytes"):
            await engine.resolve("one#1", "x" * 500)
        with pytest.raises(PayloadTooLargeError):
            await engine.reject("one#1", ValueError("x" * 500))
        for error in ("no", KeyboardInterrupt(), ValueError):
            with pytest.raises(UsageError, match="a promise is rejected with an Exception, not with"):
                await engine.reject("one#1", error)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(EngineClosed):
        await engine.resolve("one#1", 1)


async def test_a_message_to_a_mailbox_settles_nothing(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> list[object]:
        box, approval = mailbox("1"), promise(str)
        return [await approval.result(), await box.receive()]

    async with in_memory() as engine:
        handle = await engine.submit(flow, id="one")
        await engine.send("one", "1", "message")
        await settle()
        await engine.resolve("one#1", "settled")
        assert await handle.result() == ["settled", "message"]
