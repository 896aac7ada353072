"""A message before which nothing waits is entered as soon as it was left, without a look; and never twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import Engine, Letter, mailbox, open_engine, sleep, workflow
from nurselog._engine.messages import body_of
from nurselog._engine.run import Leaving, Run
from nurselog.abc import Batch, Claim, Message, Post, Store, Wanted, WorkflowKey
from nurselog.lowlevel import Received
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, settle

Clock = trio.testing.MockClock


@workflow(name="arrival.collects")
async def collects(count: int) -> list[object]:
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


class Looked(Hooked):
    """A store that counts the looks for messages."""

    looks = 0

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        self.looks += 1
        return await super().messages(behind)


@asynccontextmanager
async def waiting(path: Path, count: int, **options: float) -> AsyncIterator[tuple[Engine, Looked]]:
    """Have a workflow wait for so many messages."""
    clock = VirtualClock()
    store = Looked(file_store(path / "log.db", clock))
    async with open_engine(store, [collects], clock=clock, **options) as engine:
        await engine.submit(collects, count, id="one")
        await settle()
        yield engine, store


async def result(engine: Engine) -> object:
    return await (await engine.get("one")).result()


async def received(engine: Engine) -> list[int]:
    log = await (await engine.get("one")).log()
    return [int(entry.value or b"") for entry in log if isinstance(entry.event, Received)]


async def test_nobody_looks_for_what_comes_first(autojump_clock: Clock, tmp_path: Path) -> None:
    async with waiting(tmp_path, 12) as (engine, store):
        before = store.looks
        for number in range(4):
            await engine.send("one", "t", number)
            await settle()  # until it has been taken out of the store
        await engine.send_all([Letter("one", "t", number) for number in range(4, 12)])
        assert await result(engine) == list(range(12))
        assert store.looks == before


async def test_senders_at_the_same_time_keep_their_order(autojump_clock: Clock, tmp_path: Path) -> None:
    """They wait for one call, and whoever goes on first afterwards, the messages were entered before that."""
    async with waiting(tmp_path, 30) as (engine, _):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(engine.send, "one", "t", number)
                await trio.testing.wait_all_tasks_blocked()
        assert await result(engine) == list(range(30))


class Held:
    """Keeps the answer to the first `post` back."""

    def __init__(self, store: Hooked) -> None:
        self.left, self.go_on = trio.Event(), trio.Event()
        self._store = store
        store.after_post = self._hold

    async def _hold(self) -> None:
        self._store.after_post = self._nothing
        self.left.set()
        await self.go_on.wait()

    async def _nothing(self) -> None:
        pass


async def test_what_a_look_has_seen_meanwhile_is_not_entered_again(autojump_clock: Clock, tmp_path: Path) -> None:
    """One look enters it, and the next forgets that it did: by then it is not in the store any more."""
    async with waiting(tmp_path, 2) as (engine, store), trio.open_nursery() as nursery:
        held = Held(store)
        nursery.start_soon(partial(engine.send, "one", "t", 0))
        await held.left.wait()
        for _ in range(2):
            engine._runner.mail.set()
            await settle()
        [run] = engine._runner.runs.values()
        assert (await received(engine), run.entered) == ([0], set())
        held.go_on.set()
        await settle()
        assert await received(engine) == [0]
        await engine.send("one", "t", 1)
        assert await result(engine) == [0, 1]


async def test_a_look_under_way_does_not_forget_what_is_entered(autojump_clock: Clock, tmp_path: Path) -> None:
    """It has seen the store before the message was left, and so it says that it is not there."""
    async with waiting(tmp_path, 2) as (engine, store), trio.open_nursery() as nursery:
        looked, go_on, commit = trio.Event(), trio.Event(), trio.Event()

        async def hold() -> None:
            store.after_messages = Hooked(store).after_messages
            looked.set()
            await go_on.wait()

        async def hold_commit(_: object) -> None:
            await commit.wait()

        store.after_messages = hold
        engine._runner.mail.set()
        await looked.wait()
        store.before_commit = hold_commit
        await engine.send("one", "t", 0)
        await settle()
        go_on.set()
        await settle()  # the look's answer comes, and the look that the message asked for
        engine._runner.mail.set()
        await settle()
        commit.set()
        nursery.start_soon(engine.send, "one", "t", 1)
        assert await result(engine) == [0, 1]
        assert await received(engine) == [0, 1]


async def test_what_another_life_has_entered_is_not_entered_again(autojump_clock: Clock, tmp_path: Path) -> None:
    """It has come back with the message, left, and come back without it, before its sender heard that it was left."""
    async with waiting(tmp_path, 3, evict_after=5.0) as (engine, store), trio.open_nursery() as nursery:
        [first] = engine._runner.runs.values()
        held = Held(store)
        nursery.start_soon(partial(engine.send, "one", "t", 0))
        await held.left.wait()
        second = await next_life(engine, first)
        await second.gone.wait()
        await store.post([Post(key=first.key, kind="send", body=body_of(event=Received(topic="t"), value=b"1"))])
        engine._ownership.look()
        third = await next_life(engine, second)
        await settle()
        assert await received(engine) == [0, 1]
        held.go_on.set()
        await settle()
        assert engine._runner.runs == {first.key: third}
        assert await received(engine) == [0, 1]
        await engine.send("one", "t", 2)
        assert await result(engine) == [0, 1, 2]


async def next_life(engine: Engine, former: Run) -> Run:
    await former.gone.wait()
    await engine._runner.occupied.wait()
    [run] = engine._runner.runs.values()
    return run


async def test_an_answer_that_is_lost_is_looked_for(autojump_clock: Clock, tmp_path: Path) -> None:
    async with waiting(tmp_path, 1) as (engine, store):

        async def lose() -> None:
            raise OSError("the wire is cut")

        store.after_post = lose
        with pytest.raises(OSError, match="wire"):
            await engine.send("one", "t", 0)
        assert await result(engine) == [0]


@workflow(name="arrival.sleeps_first")
async def sleeps_first() -> object:
    await sleep(20)
    return await mailbox("t").receive()


class Claiming(Looked):
    """A store that keeps the answer to a claim back, and that to the last words of a workflow."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.claimed, self.claim_known, self.release_known = trio.Event(), trio.Event(), trio.Event()
        self.after_commit = self._keep_release

    async def _keep_release(self, batch: Batch) -> None:
        if any(append.standing and append.standing.release is not None for append in batch.appends):
            await self.release_known.wait()

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        claims = await super().claim(wanted)
        if claims:
            self.claimed.set()
            with trio.CancelScope(shield=True):
                await self.claim_known.wait()
        return claims


async def test_what_comes_for_one_that_goes_is_entered_in_its_next_life(autojump_clock: Clock, tmp_path: Path) -> None:
    """The store has taken it up again; neither its last words nor its next life are heard of yet."""
    clock = VirtualClock()
    store = Claiming(file_store(tmp_path / "log.db", clock))
    async with (
        open_engine(store, [sleeps_first], clock=clock, evict_after=1e6) as engine,
        trio.open_nursery() as nursery,
    ):
        handle = await engine.submit(sleeps_first, id="one")
        await settle()
        [first] = engine._runner.runs.values()
        first.leave(Leaving.EVICTED)
        with trio.fail_after(60):
            await store.claimed.wait()
        assert engine._runner.runs == {first.key: first}
        nursery.start_soon(partial(engine.send, "one", "t", 0))
        await settle()
        store.claim_known.set()
        await settle()
        store.release_known.set()
        with trio.fail_after(60):
            assert await handle.result() == 0
