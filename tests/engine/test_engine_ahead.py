"""The code goes on with what came from outside before that is in the log; nothing leaves the workflow before it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from nurselog import Engine, Status, expose, mailbox, open_engine, open_nursery, open_stream, step, workflow
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_background, kinds, on_file, settle

said: list[str] = []
"""What the code and the bodies have come to; a test that reads it empties it first."""


@step
async def act(word: str) -> str:
    said.append(f"the body has {word}")
    return word


@workflow
async def acting() -> str:
    state: list[str] = []
    expose(state)
    async for word in mailbox("words", str):
        said.append(f"the code has {word}")
        state.append(word)
        if word == "act":
            return await act(word)
    return ""


@acting.query
def words(state: list[str]) -> list[str]:
    return state


@workflow
async def echo() -> str:
    return await mailbox("words", str).receive()


@workflow
async def nothing() -> None:
    pass


@workflow
async def family(count: int) -> None:
    for _ in range(count):
        await nothing()


@step
async def count_on() -> None:
    """Have something to be committed, always."""
    stream = open_stream("numbers")
    while True:
        await stream.send(0)
        await trio.lowlevel.checkpoint()


@workflow
async def parted() -> str:
    """End a child at a word, while a step beside it is busy."""
    async with open_nursery() as busy:
        busy.go(count_on)
        async with open_nursery() as inner:
            inner.go(echo)
            word = await mailbox("words", str).receive()
            inner.cancel_scope.cancel()
        busy.cancel_scope.cancel()
    return word


async def ask(engine: Engine, answers: list[list[str]]) -> None:
    """Ask for the words, and keep the answer."""
    answers.append(await engine.query("one", words))


@contextmanager
def holding(store: Hooked) -> Iterator[trio.Event]:
    """Let nothing be committed until the event is set, which is done at the end."""
    go_on = trio.Event()

    async def hold(_: Batch) -> None:
        await go_on.wait()

    store.before_commit = hold
    try:
        yield go_on
    finally:
        go_on.set()


def counted(store: Hooked) -> list[Batch]:
    """Return the batches that are committed from now on."""
    batches: list[Batch] = []

    async def count(batch: Batch) -> None:
        batches.append(batch)

    store.before_commit = count
    return batches


async def test_a_message_and_the_end_that_follows_are_one_commit(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [echo], clock=clock) as engine:
        handle = await engine.submit(echo, id="one")
        await settle()
        batches = counted(store)
        await engine.send("one", "words", "hello")
        assert await handle.result() == "hello"
        assert len(batches) == 1
        assert await kinds(handle) == ["Started", "Received", "Ended"]


async def test_a_child_is_two_commits(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its end is one; what its parent makes of that goes with the start of the next one."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [family, nothing], clock=clock) as engine:
        batches = counted(store)
        await engine.run(family, 10, id="one")
        assert len(batches) == 1 + 2 * 10 + 1  # its own start, and the last child's end with its own


async def test_no_body_starts_before_what_led_to_it_is_durable(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    said.clear()
    async with open_engine(store, [acting], clock=clock) as engine:
        handle = await engine.submit(acting, id="one")
        await settle()
        with holding(store):
            await engine.send("one", "words", "act")
            await settle()
            assert said == ["the code has act"]
        assert await handle.result() == "act"
    assert said == ["the code has act", "the body has act"]


async def test_a_child_is_cancelled_while_there_is_always_something_to_commit(tmp_path: Path) -> None:
    """What led to it is durable soon, and all that is written is not, for as long as the step goes on."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def take_a_while(_: Batch) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    async with open_engine(store, [parted, echo], clock=clock) as engine:
        handle = await engine.submit(parted, id="one")
        store.before_commit = take_a_while
        await engine.send("one", "words", "enough")
        for _ in range(1000):
            if await handle.status() is Status.COMPLETED:
                break
            await trio.lowlevel.checkpoint()
        else:
            pytest.fail("the child was never cancelled")
        assert await handle.result() == "enough"


async def test_what_was_not_durable_has_not_happened(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A crash then loses the order of what came, and nothing else: all of it is still in the inbox."""
    clock, path = VirtualClock(), tmp_path / "log.db"
    store = Hooked(file_store(path, clock))
    said.clear()
    async with open_engine(store, [acting], clock=clock) as engine:
        await engine.submit(acting, id="one")
        await settle()
        with holding(store):
            await engine.send("one", "words", "hello")
            await engine.send("one", "words", "act")
            await settle()
            assert said == ["the code has hello", "the code has act"]
            twin = crashed(path)
    said.clear()
    async with on_file(twin, acting, clock=clock) as engine:
        handle = await engine.get("one")
        assert await handle.result() == "act"
        assert (await kinds(handle)).count("Received") == 2
    assert said == ["the code has hello", "the code has act", "the body has act"]


async def test_a_query_sees_only_what_is_durable(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock, answers = VirtualClock(), list[list[str]]()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async with open_engine(store, [acting], clock=clock) as engine:
        await engine.submit(acting, id="one")
        await settle()
        with holding(store) as go_on:
            await engine.send("one", "words", "hello")
            await settle()
            async with in_background(partial(ask, engine, answers)):
                await settle()
                assert answers == []
                go_on.set()
        assert answers == [["hello"]]


async def test_a_query_of_one_that_is_ahead_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It waits for one commit, not for the moment when nothing is new."""
    clock, answers, permits = VirtualClock(), list[list[str]](), trio.Semaphore(0)
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(_: Batch) -> None:
        await permits.acquire()

    async with open_engine(store, [acting], clock=clock) as engine:
        await engine.submit(acting, id="one")
        await settle()
        store.before_commit = hold
        await engine.send("one", "words", "hello")
        await settle()
        async with in_background(partial(ask, engine, answers)):
            await settle()
            await engine.send("one", "words", "again")
            await settle()
            permits.release()
        for _ in range(10):
            permits.release()
        assert answers == [["hello"]]


async def test_a_query_of_what_leaves_memory_meanwhile(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is answered by the log as it is."""
    clock, answers = VirtualClock(), list[list[str]]()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async with open_engine(store, [acting], clock=clock) as engine:
        await engine.submit(acting, id="one")
        await settle()
        with holding(store) as go_on:
            await engine.send("one", "words", "hello")
            await settle()
            async with in_background(partial(ask, engine, answers)), in_background(partial(engine.kill, "one")):
                await settle()
                assert answers == [[]]
                go_on.set()
