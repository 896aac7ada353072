"""What a workflow leaves behind: each line of the table in the reference, when it has ended and when it is deleted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio

from nurselog import (
    CancelScope,
    Engine,
    PromiseSettled,
    Status,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowNotFound,
    after,
    expose,
    mailbox,
    open_engine,
    open_nursery,
    promise,
    publish,
    select,
    send,
    sleep,
    step,
    submit,
    transaction,
    updates,
    workflow,
)
from tests.engine.rig import in_memory, on_file
from tests.house.tree import ROOT
from tests.stores.kit import filled

Clock = trio.testing.MockClock
bodies: list[str] = []

PAGE = (ROOT / "docs" / "reference.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        bodies.append("cancelled")
        raise
    bodies.append("done")
    return seconds


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def listening(seconds: float) -> None:
    """Reads nothing."""
    mailbox("words", str)
    await sleep(seconds)


@workflow
async def asking() -> str:
    asked = promise(str)
    await select(asked, after(10))
    return asked.id


@workflow
async def telling(count: int) -> None:
    for number in range(count):
        publish("count", number)
        await sleep(1)


@workflow
async def parent(seconds: float) -> None:
    async with open_nursery() as nursery:
        nursery.go(napping, seconds)


@workflow
async def careful() -> None:
    async with open_nursery() as nursery:
        nursery.go(tidying)
        await sleep(1)
        nursery.cancel_scope.cancel()


@workflow
async def tidying() -> None:
    try:
        await sleep(1000)
    finally:
        with CancelScope(shield=True):
            await nap(10)


@workflow
async def sending() -> None:
    await send("other", "words", "hello")
    await submit(napping, 100, id="detached")


@workflow
async def reading() -> str:
    await sleep(10)
    return await mailbox("words", str).receive()


@workflow
async def answering() -> None:
    """Answers one update, and not the next one."""
    asked: list[int] = []
    expose(asked)
    first = await updates("count", int).receive()
    asked.append(first.value)
    first.answer(len(asked))
    await sleep(100)


@answering.query
def asked_for(asked: list[int]) -> list[int]:
    return asked


@transaction
def write(connection: sqlite3.Connection, word: str) -> str:
    connection.execute("CREATE TABLE word (word TEXT)")
    connection.execute("INSERT INTO word VALUES (?)", (word,))
    return word


@workflow
async def writing(word: str) -> str:
    return await write(word)


async def status_of(engine: Engine, id: str) -> Status:
    return await (await engine.get(id)).status()


async def children_of(engine: Engine, id: str) -> list[WorkflowHandle[object]]:
    return [await engine.get(one.id) for one in await engine.list(prefix=f"{id}/")]


async def test_its_log_and_its_result(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(napping, 1, id="one")
        await handle.result()
        await trio.sleep(10**6)
        assert (await handle.result(), len(await handle.log())) == (1, 3)
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await handle.result()


async def test_what_it_has_published(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(telling, 3, id="one")
        await trio.sleep(10)
        reader = handle.follow("count")
        assert (await reader.receive()).value == 0
        item = await handle.latest("count")
        assert item is not None
        assert item.value == 2
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await handle.latest("count")
        late = handle.follow("count")
        with pytest.raises(WorkflowNotFound):
            await late.receive()
        assert [item.value async for item in reader] == [1, 2], "it has read that already"


async def test_its_id(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(napping, 1, id="one")
        await engine.run(napping, 1, id="one")
        assert bodies == ["done"]
        await engine.delete("one")
        await engine.run(napping, 1, id="one")
        assert bodies == ["done"] * 2


@pytest.mark.parametrize("ending", ["itself", "cancel", "kill"])
async def test_messages_that_it_has_not_read(autojump_clock: Clock, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "store.db"
    async with on_file(path, listening, max_inbox=1) as engine:
        handle = await engine.submit(listening, 10, id="one")
        await trio.sleep(1)
        for number in range(2):  # one in the log, and one in the store
            await engine.send("one", "words", "hello", key=str(number))
            await trio.sleep(1)
        if ending != "itself":
            await (engine.cancel if ending == "cancel" else engine.kill)("one")
        await trio.sleep(20)
        assert (await handle.status()).final
        with pytest.raises(WorkflowEnded):
            await engine.send("one", "words", "hello")
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await engine.send("one", "words", "hello")


async def test_keys_of_messages_and_that_promises_were_settled(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "store.db", listening, asking) as engine:
        for _ in range(2):
            await engine.submit(listening, 10, id="one")
            await engine.submit(asking, id="two")
            assert await engine.send("one", "words", "hello", key="k")
            await engine.resolve("two#1", "yes")
            await trio.sleep(20)
            assert not await engine.send("one", "words", "hello", key="k")
            with pytest.raises(PromiseSettled):
                await engine.resolve("two#1", "yes")
            for id in ("one", "two"):
                assert (await status_of(engine, id)).final
                await engine.delete(id)


async def test_promises_that_were_not_settled(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        asked = await engine.run(asking, id="one")
        with pytest.raises(WorkflowEnded):
            await engine.resolve(asked, "late")
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await engine.resolve(asked, "later")


async def test_children(autojump_clock: Clock) -> None:
    """They have ended before it does, their cleanup included."""
    async with in_memory() as engine:
        await engine.run(careful, id="one")
        assert bodies == ["done"]
        [child] = await children_of(engine, "one")
        assert await child.status() is Status.CANCELLED
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await child.log()


async def test_children_when_it_is_killed(autojump_clock: Clock, tmp_path: Path) -> None:
    """They go on, and nobody waits for them; they may be cancelled and killed as any other."""
    async with on_file(tmp_path / "store.db", parent, napping) as engine:
        for id in ("one", "two", "three"):
            await engine.submit(parent, 10, id=id)
            await trio.sleep(1)
            await engine.kill(id)
        [two], [three] = await children_of(engine, "two"), await children_of(engine, "three")
        await engine.cancel(two.id)
        await engine.kill(three.id)
        await trio.sleep(20)
        [one] = await children_of(engine, "one")
        assert [await child.status() for child in (one, two, three)] == [
            Status.COMPLETED,
            Status.CANCELLED,
            Status.KILLED,
        ]
        assert bodies.count("done") == 1
        for id in ("one", "two", "three"):
            assert await status_of(engine, id) is Status.KILLED
            await engine.delete(id)
        assert await engine.list() == []


async def test_steps_that_run_when_it_is_killed(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(napping, 10, id="one")
        await trio.sleep(1)
        await engine.kill("one")
        await engine.delete("one")
        await trio.sleep(20)
        assert bodies == ["cancelled"]
        assert await engine.list() == []
        with pytest.raises(WorkflowNotFound):
            await handle.log()


async def test_what_it_has_sent_and_started(autojump_clock: Clock, tmp_path: Path) -> None:
    """They are nobody's children, and stay when it is deleted."""
    async with on_file(tmp_path / "store.db", sending, reading, napping) as engine:
        other = await engine.submit(reading, id="other")
        await engine.run(sending, id="one")
        await engine.delete("one")
        assert await other.result() == "hello"
        assert await (await engine.get("detached")).result() == 100


async def test_its_forks(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(napping, 1, id="one")
        await engine.fork("one", at=1, new_id="two")
        await engine.delete("one")
        assert await (await engine.get("two")).result() == 1


async def test_nothing_is_left_in_the_store(autojump_clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("store") / "store.db"
    async with on_file(path, sending, reading, napping, parent, asking, listening) as engine:
        await engine.submit(reading, id="other")
        await engine.submit(listening, 1, id="listening")
        for number in range(5):
            await engine.send("listening", "words", "hello", key=str(number))
        await engine.submit(asking, id="asking")
        await engine.submit(parent, 2, id="parent")
        await trio.sleep(3)
        for info in await engine.list():
            if not info.status.final and "/" not in info.id:
                await engine.kill(info.id)
        for info in await engine.list():
            if "/" not in info.id:
                await engine.delete(info.id)
        assert filled(f"sqlite:///{path}") == set()


async def test_answers_to_updates_and_its_state(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(answering, id="one")
        assert await engine.update("one", "count", 5, int, key="a") == 1
        await handle.result()
        assert await engine.update("one", "count", 5, int, key="a") == 1
        assert await handle.query(asked_for) == [5]
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await engine.update("one", "count", 5, int, key="a")
        with pytest.raises(WorkflowNotFound):
            await handle.query(asked_for)


async def test_updates_that_it_has_not_answered(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.submit(answering, id="one")
        await engine.update("one", "count", 5, int)
        with pytest.raises(WorkflowEnded, match="answer"):
            await engine.update("one", "count", 6, int, key="b")
        await engine.delete("one")
        with pytest.raises(WorkflowNotFound):
            await engine.update("one", "count", 6, int, key="b")


async def test_what_its_transactions_have_written(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with open_engine(f"sqlite:///{path}", [writing]) as engine:
        assert await engine.run(writing, "hello", id="one") == "hello"
        assert "transaction_key" in filled(f"sqlite:///{path}")
        await engine.delete("one")
        assert filled(f"sqlite:///{path}") == {"word"}


def test_the_table_has_a_line_for_each() -> None:
    """Who adds a line adds a test of it."""
    _, _, rest = PAGE.partition("| what it leaves behind |")
    lines = [line for line in rest.partition("\n\n")[0].splitlines()[2:] if line]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == [
        "its log, its input and its result",
        "what it has published",
        "its id",
        "messages that it has not read",
        "the keys of messages, and that promises were settled",
        "answers to updates",
        "updates that it has not answered",
        "its state",
        "what its transactions have written, and their outcomes",
        "promises that were not settled",
        "children",
        "children, when it is killed",
        "steps that run when it is killed",
        "messages that it has sent, and workflows that it has started by `submit`",
        "forks of it",
    ]
