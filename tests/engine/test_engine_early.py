"""Messages that come before their workflow is there: kept by its id, and its first ones, whoever makes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nurselog import (
    Engine,
    InboxFull,
    Letter,
    StoreUnavailable,
    UsageError,
    WorkflowEnded,
    WorkflowNotFound,
    mailbox,
    open_engine,
    sleep,
    submit,
    workflow,
)
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file, settle

Clock = trio.testing.MockClock


@workflow
async def collecting(count: int) -> list[object]:
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


@workflow
async def parent() -> list[object]:
    return await collecting(1)


@workflow
async def making(id: str) -> str:
    return await submit(collecting, 1, id=id)


@workflow
async def sleeping() -> None:
    await sleep(3600)


async def send_early(engine: Engine, id: str, *values: object) -> None:
    for value in values:
        assert await engine.send(id, "t", value, early=True)


@asynccontextmanager
async def hooked(folder: Path) -> AsyncIterator[tuple[Engine, Hooked]]:
    """Open an engine on a file, whose calls can be held up."""
    clock = VirtualClock()
    store = Hooked(file_store(folder / "log.db", clock))
    async with open_engine(store, [collecting], clock=clock) as engine:
        yield engine, store


async def collected(engine: Engine, id: str) -> object:
    return await (await engine.get(id)).result()


# -- before, and in order ------------------------------------------------------------------------


async def test_early_messages_are_there_first(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting) as engine:
        await send_early(engine, "one", 1, 2)
        await send_early(engine, "other", "not for it")
        handle = await engine.submit(collecting, 4, id="one")
        await send_early(engine, "one", 3)
        assert await engine.send("one", "t", 4)
        assert await handle.result() == [1, 2, 3, 4]


async def test_a_process_may_die_in_between(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with on_file(path) as engine:
        await send_early(engine, "one", 1)
        twin = crashed(path)
    async with on_file(twin, collecting) as engine:
        assert await engine.run(collecting, 1, id="one") == [1]


async def test_a_life_that_dies_with_the_answer_has_them(autojump_clock: Clock, tmp_path: Path) -> None:
    """The workflow and its messages were durable, and nobody had heard of it."""
    path, twins = tmp_path / "log.db", list[Path]()

    async def die(batch: Batch) -> None:
        if batch.creations:
            twins.append(crashed(path))

    async with hooked(tmp_path) as (engine, store):
        store.after_commit = die
        await send_early(engine, "one", 1)
        assert await engine.run(collecting, 1, id="one") == [1]
    async with on_file(twins[0], collecting) as engine:
        assert await collected(engine, "one") == [1]


async def test_for_whoever_makes_it(autojump_clock: Clock, tmp_path: Path) -> None:
    """A parent, workflow code, or a fork; a child's id is known beforehand, too."""
    async with on_file(tmp_path / "log.db", collecting, parent, making) as engine:
        for id in ("family/1", "made", "fork"):
            await send_early(engine, id, id)
        assert await engine.run(parent, id="family") == ["family/1"]
        assert await collected(engine, await engine.run(making, "made")) == ["made"]
        await engine.submit(collecting, 1, id="origin")
        assert await (await engine.fork("origin", at=1, new_id="fork")).result() == ["fork"]


async def test_a_workflow_for_which_there_is_no_room(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting, sleeping, max_running=1) as engine:
        await engine.submit(sleeping)
        await send_early(engine, "one", 1)
        assert await engine.run(collecting, 1, id="one") == [1]


# -- at the same time ----------------------------------------------------------------------------


async def test_a_message_that_comes_before_the_creation_is_written(autojump_clock: Clock, tmp_path: Path) -> None:
    async with hooked(tmp_path) as (engine, store):

        async def send_first(batch: Batch) -> None:
            if batch.creations:
                await send_early(engine, "one", 1)

        store.before_commit = send_first
        assert await engine.run(collecting, 1, id="one") == [1]


async def test_a_message_that_comes_when_the_creation_is_written(autojump_clock: Clock, tmp_path: Path) -> None:
    """The engine has not heard that the workflow is there; it has looked before it was."""
    async with hooked(tmp_path) as (engine, store):
        looked, written = trio.Event(), trio.Event()

        async def wait_for_the_other() -> None:
            looked.set()
            await written.wait()

        async def note_it(batch: Batch) -> None:
            if batch.creations:
                written.set()
                await settle()

        store.before_post, store.after_commit = wait_for_the_other, note_it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_early, engine, "one", 1)
            await looked.wait()
            assert await engine.run(collecting, 1, id="one") == [1]


# -- what is said of them ------------------------------------------------------------------------


async def test_a_key_is_used_once(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting) as engine:
        answers = [await engine.send("one", "t", n, key="k", early=True) for n in range(2)]
        handle = await engine.submit(collecting, 2, id="one")
        answers += [await engine.send("one", "t", n, key="k", early=early) for n, early in ((2, True), (3, False))]
        assert answers == [True, False, False, False]
        assert await engine.send("one", "t", 4)
        assert await handle.result() == [0, 4]


async def test_they_are_bounded(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting, max_inbox=2) as engine:
        await send_early(engine, "one", 1, 2)
        await send_early(engine, "two", 1)
        with pytest.raises(InboxFull, match="2 messages wait for workflow 'one'"):
            await engine.send("one", "t", 3, early=True)
        assert await engine.run(collecting, 2, id="one") == [1, 2]


async def test_who_has_ended_is_not_awaited(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting) as engine:
        await engine.run(collecting, 0, id="one")
        with pytest.raises(WorkflowEnded):
            await engine.send("one", "t", 1, early=True)


async def test_who_never_comes_is_not_there(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    for _ in range(2):
        async with on_file(path, collecting) as engine:
            await send_early(engine, "never", 1)
            assert await engine.list() == []
            with pytest.raises(WorkflowNotFound):
                await engine.get("never")
            with pytest.raises(WorkflowNotFound):
                await engine.send("never", "t", 1)


async def test_many_at_once(autojump_clock: Clock) -> None:
    async with in_memory(workflows=[collecting]) as engine:
        await engine.submit(collecting, 1, id="there")
        letters = [Letter("new", "t", 1, early=True), Letter("there", "t", 2), Letter("new", "t", 3, early=True)]
        assert await engine.send_all([*letters, Letter("there", "t", 4, early=True)]) == [True] * 4
        with pytest.raises(ExceptionGroup, match="1 of 2") as caught:
            await engine.send_all([Letter("nobody", "t", 1), Letter("new", "t", 5, early=True)])
        assert [type(error) for error in caught.value.exceptions] == [WorkflowNotFound]
        assert await collected(engine, "there") == [2]
        assert await engine.run(collecting, 3, id="new") == [1, 3, 5]


@pytest.mark.parametrize("id", ["", "x" * 201, "a//b", "a\0", "a/"])
async def test_an_id_that_no_workflow_can_have(id: str) -> None:
    async with in_memory() as engine:
        with pytest.raises(UsageError, match="cannot be a workflow's id"):
            await engine.send(id, "t", 1, early=True)


async def test_an_answer_that_was_lost(autojump_clock: Clock, tmp_path: Path) -> None:
    """The sender knows no more than that; the message may have been kept, and was."""
    async with hooked(tmp_path) as (engine, store):

        async def lose() -> None:
            raise StoreUnavailable("the network is away")

        store.after_post = lose
        with pytest.raises(StoreUnavailable):
            await engine.send("one", "t", 1, key="k", early=True)
        assert await engine.run(collecting, 1, id="one") == [1]
