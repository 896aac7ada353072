"""Conversations where they do not belong, with codecs and types that change, and at moments that are nobody's plan."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    EngineClosed,
    MisplacedCallError,
    Status,
    StuckError,
    UsageError,
    WorkflowStuck,
    open_engine,
    open_nursery,
    promise,
    reject,
    resolve,
    send,
    sleep,
    step,
    submit,
    workflow,
    workflow_id,
)
from nurselog._engine import journal
from nurselog._flow.inbox import Arrival
from nurselog.abc import Batch, Created, Creation
from nurselog.lowlevel import JsonCodec
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, on_file

Clock = trio.testing.MockClock


@workflow
async def answering(number: int) -> int:
    await sleep(number)
    return number


@workflow
async def listening() -> int:
    return await promise(int).result()


# -- in the wrong place --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda engine: engine.send("self", "topic", 1),
        lambda engine: engine.run(answering, 1),
        lambda engine: engine.list(),
        lambda engine: engine.resolve("self#1", 1),
    ],
    ids=["send", "run", "list", "resolve"],
)
async def test_an_engine_is_not_asked_in_workflow_code(
    ask: Callable[[Engine], Awaitable[object]], autojump_clock: Clock
) -> None:
    @workflow(name="asking")
    async def asking() -> None:
        with pytest.raises(MisplacedCallError, match="in workflow code"):
            await ask(engine)

    async with in_memory() as engine:
        await engine.run(asking, id="self")


async def test_a_result_is_not_waited_for_in_workflow_code(autojump_clock: Clock) -> None:
    @workflow(name="asking")
    async def asking() -> None:
        with pytest.raises(MisplacedCallError, match="in workflow code"):
            await handle.result()

    async with in_memory() as engine:
        handle = await engine.submit(answering, 1)
        await engine.run(asking)


async def test_a_step_may_ask_the_engine(autojump_clock: Clock) -> None:
    @step(name="ask")
    async def ask() -> int:
        return await engine.run(answering, 3)

    @workflow(name="asking")
    async def asking() -> int:
        return await ask()

    async with in_memory() as engine:
        assert await engine.run(asking) == 3


async def test_code_that_swallows_everything_around_a_child_does_not_hold_up_the_end(tmp_path: Path) -> None:
    @workflow(name="swallowing")
    async def swallowing() -> None:
        while not over:
            with suppress(BaseException):
                await answering(1000)

    async def end() -> None:
        await trio.sleep(0.2)
        over.append(True)

    over: list[bool] = []
    async with (
        trio.open_nursery() as nursery,
        on_file(tmp_path / "log.db", swallowing, answering, grace=60) as engine,
    ):
        await engine.submit(swallowing)
        await trio.sleep(0.1)
        nursery.start_soon(end)


async def test_what_is_no_id_and_no_error(autojump_clock: Clock) -> None:
    @workflow(name="wrong")
    async def wrong() -> None:
        with pytest.raises(UsageError, match="must be a str"):
            await send(5, "topic", 1)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(UsageError, match="rejected with an Exception"):
            await reject(f"{workflow_id()}#1", "no")  # type: ignore[arg-type]  # that is the point

    async with in_memory() as engine:
        await engine.run(wrong)


# -- children ------------------------------------------------------------------------------------


class Nonce(JsonCodec):
    """Writes other bytes each time, as one that encrypts does."""

    def encode(self, value: object, annotation: Any) -> bytes:
        return secrets.token_hex(4).encode() + super().encode(value, annotation)

    def decode(self, data: bytes, annotation: Any) -> Any:
        return super().decode(data[8:], annotation)


@workflow
async def asking_a_child() -> int:
    return await answering(2)


async def test_a_child_whose_input_is_encrypted(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, asking_a_child, answering, clock=clock, codec=Nonce()) as engine:
        await engine.submit(asking_a_child, id="one")
        await trio.sleep(1)
    async with on_file(path, asking_a_child, answering, clock=clock, codec=Nonce()) as engine:
        assert await (await engine.get("one")).result() == 2


async def test_a_child_gets_a_parameter_more(autojump_clock: Clock, tmp_path: Path) -> None:
    @workflow(name="answering")
    async def younger(number: int, unit: str = "s") -> int:
        await sleep(number)
        return number

    @workflow(name="asking_a_child")
    async def parent() -> int:
        return await younger(2)

    @workflow(name="answering")
    async def older(number: int) -> int:
        await sleep(number)
        return number

    @workflow(name="asking_a_child")
    async def former() -> int:
        return await older(2)

    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, former, older, clock=clock) as engine:
        await engine.submit(former, id="one")
        await trio.sleep(1)
    async with on_file(path, parent, younger, clock=clock) as engine:
        assert await (await engine.get("one")).result() == 2


async def test_a_child_that_is_to_answer_its_parent_in_a_fork(autojump_clock: Clock) -> None:
    @workflow(name="echo")
    async def echo(whose: str) -> str:
        return whose

    @workflow(name="asking")
    async def asking() -> list[str]:
        first = await echo(workflow_id())
        await sleep(1)
        return [first, await echo(workflow_id())]

    async with in_memory() as engine:
        handle = await engine.submit(asking, id="one")
        assert await handle.result() == ["one", "one"]
        fork = await engine.fork("one", at=4, new_id="two")
        assert await fork.result() == ["one", "two"]


async def test_a_promise_of_a_child_that_was_started_just_now(autojump_clock: Clock) -> None:
    @workflow(name="settling")
    async def settling() -> list[int]:
        async with open_nursery() as nursery:
            first, second = nursery.go(listening), nursery.go(listening)
            await resolve(f"{workflow_id()}/{first.path}#1", 5)
            await reject(f"{workflow_id()}/{second.path}#1", ValueError("no"))
            with pytest.raises(ValueError, match="no"):
                await second.result()
        return [await first.result()]

    async with in_memory() as engine:
        assert await engine.run(settling) == [5]


# -- what can come at a bad moment ---------------------------------------------------------------


async def test_an_early_rejection_that_cannot_be_read(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when the code comes to the promise: stuck, not failed, so `resume` goes on once it can be read."""

    @workflow(name="late")
    async def late() -> str:
        await sleep(1)
        with pytest.raises(ValueError, match="why"):
            await promise(int).result()
        return "read"

    def unreadable(*_: object) -> None:
        raise StuckError("not to be read")

    async with in_memory() as engine:
        handle = await engine.submit(late, id="one")
        await engine.reject("one#2", ValueError("why"))
        with monkeypatch.context() as patch:
            patch.setattr(Arrival, "open", unreadable)
            with pytest.raises(WorkflowStuck, match="not to be read"):
                await handle.result()
        await engine.resume("one")
        assert await handle.result() == "read"


async def test_more_children_than_places(autojump_clock: Clock) -> None:
    @workflow(name="many")
    async def many(count: int) -> int:
        async with open_nursery() as nursery:
            handles = [nursery.go(answering, 1) for _ in range(count)]
        return sum([await handle.result() for handle in handles])

    async with in_memory(max_running=2) as engine:
        assert await engine.run(many, 20) == 20


async def test_children_that_start_at_once_are_made_in_lots(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST", 3)
    lots: list[int] = []

    async def count(batch: Batch) -> None:
        lots.append(sum(creation.parent is not None for creation in batch.creations))
        await trio.lowlevel.checkpoint()

    @workflow(name="many")
    async def many() -> int:
        async with open_nursery() as nursery:
            handles = [nursery.go(answering, 0) for _ in range(10)]
        return len([await handle.result() for handle in handles])

    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    store.before_commit = count
    async with open_engine(store, [many, answering], clock=clock) as engine:
        assert await engine.run(many) == 10
    assert sum(lots) == 10
    assert max(lots) <= 3


async def test_a_root_that_is_submitted_under_a_name(autojump_clock: Clock) -> None:
    @workflow(name="submitting")
    async def submitting() -> str:
        with pytest.raises(UsageError, match="cannot be a workflow's id"):
            await submit(answering, 1, id="a/b")
        return await submit(answering, 1, id="of its own")

    async with in_memory() as engine:
        assert await engine.run(submitting) == "of its own"
        assert await (await engine.get("of its own")).result() == 1


async def test_nothing_is_made_when_the_engine_is_gone(autojump_clock: Clock) -> None:
    """A step that outlasts the engine may still want to."""
    async with in_memory() as engine:
        pass
    made: list[Created | None] = []
    creation = Creation(id="late", name="late", digest="", status=Status.RUNNING, owner=None, at=0, rows=())
    with pytest.raises(EngineClosed, match="the workflow was not made"):
        await engine._journal.create(creation, made.append)
    assert made == [None]
