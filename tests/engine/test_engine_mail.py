"""Messages from outside: left once, entered once, in their order, whatever else happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from nurselog import (
    EncodingError,
    Engine,
    EngineClosed,
    InboxFull,
    Letter,
    PayloadTooLargeError,
    Status,
    StoreUnavailable,
    UsageError,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowNotFound,
    WorkflowStuck,
    mailbox,
    open_engine,
    sleep,
    step,
    workflow,
)
from nurselog.abc import Batch, Post
from nurselog.lowlevel import Received, ScopeCancelled
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, hold_ends, in_memory, kinds, on_file, settle

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def collecting(count: int) -> list[object]:
    """Receive some messages."""
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


@workflow
async def collecting_slowly(count: int, seconds: float) -> list[object]:
    """Receive some messages, each after a sleep."""
    got, box = list[object](), mailbox("t")
    for _ in range(count):
        await sleep(seconds)
        got.append(await box.receive())
    return got


@workflow
async def napping() -> float:
    return await nap(100)


async def received(handle: WorkflowHandle[object]) -> list[str | None]:
    return [entry.event.topic for entry in await handle.log() if isinstance(entry.event, Received)]


# -- sending -------------------------------------------------------------------------------------


async def test_a_message_is_entered_once_and_removed(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with on_file(path, collecting) as engine:
        handle = await engine.submit(collecting, 2, id="one")
        assert await engine.send("one", "t", 1) is True
        await settle()
        assert await engine.send("one", "t", [2]) is True
        assert await handle.result() == [1, [2]]
        assert await kinds(handle) == ["Started", "Received", "Received", "Ended"]


async def test_messages_that_came_before_the_workflow_waits_or_runs(autojump_clock: Clock) -> None:
    async with in_memory(max_running=1) as engine:
        await engine.submit(napping)
        handle = await engine.submit(collecting, 2)
        assert await handle.status() is Status.PENDING
        for number in range(2):
            await engine.send(handle.id, "t", number)
        assert await handle.result() == [0, 1]


async def test_what_nobody_has_read_is_gone_with_the_workflow(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    store = Hooked(file_store(path, clock := VirtualClock()))
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        await engine.send_all([Letter("one", "t", number) for number in range(3)])
        assert await handle.result() == [0]
        assert await store.messages() == []
        with pytest.raises(WorkflowEnded, match="it is completed"):
            await engine.send("one", "t", 3)


@pytest.mark.parametrize("key", ["k", "k" * 200])
async def test_of_several_messages_with_one_key_the_first_comes(
    autojump_clock: Clock, tmp_path: Path, key: str
) -> None:
    """Also when it was received long ago, in another life."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, collecting, clock=clock) as engine:
        await engine.submit(collecting, 3, id="one")
        assert await engine.send("one", "t", 1, key=key) is True
        assert await engine.send("one", "t", 2, key=key) is False
        await settle()
        assert await engine.send("one", "t", 3, key=key) is False
    async with on_file(path, collecting, clock=clock) as engine:
        handle = await engine.get("one")
        assert await engine.send("one", "t", 4, key=key) is False
        assert await engine.send("one", "t", 5, key="another") is True
        assert await engine.send("one", "t", 6) is True
        assert await handle.result() == [1, 5, 6]


async def test_a_key_names_a_message_of_one_workflow(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handles = [await engine.submit(collecting, 1) for _ in range(2)]
        assert await engine.send_all([Letter(handle.id, "t", 1, "k") for handle in handles]) == [True, True]
        for handle in handles:
            assert await handle.result() == [1]


async def test_send_all_keeps_the_order(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting) as engine:
        handles = [await engine.submit(collecting, 100) for _ in range(2)]
        letters = [Letter(handles[number % 2].id, "t", number) for number in range(200)]
        assert await engine.send_all(iter(letters)) == [True] * 200
        assert [await handle.result() for handle in handles] == [list(range(0, 200, 2)), list(range(1, 200, 2))]


async def test_send_all_of_nothing(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        assert await engine.send_all([]) == []


async def test_send_all_that_partly_fails(autojump_clock: Clock) -> None:
    async with in_memory(max_inbox=2) as engine:
        await engine.submit(napping, id="napping")
        handle = await engine.submit(collecting, 2, id="one")
        await engine.run(collecting, 0, id="over")
        letters = [
            Letter("one", "t", 1, "k"),
            Letter("nobody", "t", 2),
            Letter("one", "t", 3, "k"),
            Letter("over", "t", 4),
            *[Letter("napping", "t", number) for number in range(3)],
            Letter("one", "t", 5),
        ]
        with pytest.raises(ExceptionGroup, match="3 of 8 messages were not left") as caught:
            await engine.send_all(letters)
        missing, over, full = caught.value.exceptions
        assert isinstance(missing, WorkflowNotFound)
        assert isinstance(over, WorkflowEnded)
        assert isinstance(full, InboxFull)
        assert await handle.result() == [1, 5]


async def test_nothing_is_sent_if_one_of_them_cannot_be(autojump_clock: Clock) -> None:
    async with in_memory(max_payload=100) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        for value, error in ((object(), EncodingError), ("x" * 100, PayloadTooLargeError)):
            with pytest.raises(error):
                await engine.send_all([Letter("one", "t", 1), Letter("one", "t", value)])
        for wrong in (Letter("one", "", 1), Letter("one", "t", 1, "a\nb"), Letter(1, "t", 1), ("one", "t", 1)):  # type: ignore[arg-type]  # that is the point
            with pytest.raises(UsageError):
                await engine.send_all([Letter("one", "t", 1), wrong])  # type: ignore[list-item]  # that is the point
        await engine.send("one", "t", 2)
        assert await handle.result() == [2]


@pytest.mark.parametrize("word", ["", "x" * 201, "a\0b", "half of a character: \ud800", 5, b"word"])
async def test_topics_and_keys_are_printable_texts(autojump_clock: Clock, word: str) -> None:
    async with in_memory() as engine:
        await engine.submit(napping, id="one")
        with pytest.raises(UsageError, match="a topic must have 1 to 200 printable characters"):
            await engine.send("one", word, 1)
        with pytest.raises(UsageError, match="a message's key must have 1 to 200 printable characters"):
            await engine.send("one", "t", 1, key=word)


async def test_what_send_says_of_the_receiver_and_the_value(autojump_clock: Clock) -> None:
    async with in_memory(max_payload=100) as engine:
        with pytest.raises(WorkflowNotFound, match="'nobody'"):
            await engine.send("nobody", "t", 1)
        with pytest.raises(UsageError, match="a workflow's id must be a str"):
            await engine.send(1, "t", 1)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(EncodingError):
            await engine.send("nobody", "t", object())
        with pytest.raises(PayloadTooLargeError, match="a message for mailbox 't' is 102 bytes"):
            await engine.send("nobody", "t", "x" * 100)
    with pytest.raises(EngineClosed):
        await engine.send("nobody", "t", 1)


# -- when something goes wrong -------------------------------------------------------------------


async def test_a_message_whose_sender_is_cancelled_at_once(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is left whole, and entered, or not at all."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    store.after_post = go_on.wait
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.send("one", "t", "never")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.send, "one", "t", 1)
            await settle()
            nursery.cancel_scope.cancel()
            go_on.set()
        assert await handle.result() == [1]


async def test_a_message_is_entered_although_the_store_goes_away_behind_it(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def go_away() -> None:
        store.after_messages = come_back
        raise StoreUnavailable("gone")

    async def come_back() -> None:
        pass

    store.after_messages = go_away
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        assert await engine.send("one", "t", 1)
        assert await handle.result() == [1]
        assert await received(handle) == ["t"]


async def test_a_message_is_entered_although_the_answer_to_its_sender_was_lost(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def lose() -> None:
        raise StoreUnavailable("gone")

    store.after_post = lose
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        with pytest.raises(StoreUnavailable):
            await engine.send("one", "t", 1)
        with trio.fail_after(10):
            assert await handle.result() == [1]


async def test_an_engine_that_closes_leaves_messages_where_they_are(autojump_clock: Clock, tmp_path: Path) -> None:
    """The workflow has left memory, and what it leaves with is on its way, when the message comes."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, leaving, go_on = Hooked(file_store(path, clock)), trio.Event(), trio.Event()

    async def hold(batch: Batch) -> None:
        if any(append.standing and append.standing.release for append in batch.appends):
            leaving.set()
            await go_on.wait()

    async def close() -> None:
        async with open_engine(store, [collecting], clock=clock) as here:
            await here.submit(collecting, 1, id="one")
            store.before_commit = hold

    async with on_file(path, clock=clock) as there, trio.open_nursery() as nursery:
        nursery.start_soon(close)
        await leaving.wait()
        await there.send("one", "t", 1)
        await trio.sleep(1)
        assert await kinds(await there.get("one")) == ["Started"]
        go_on.set()
    async with on_file(path, collecting, clock=clock) as engine:
        handle = await engine.get("one")
        assert await handle.result() == [1]
        assert await kinds(handle) == ["Started", "Claimed", "Received", "Ended"]


async def test_an_engine_that_closes_before_the_message_was_left(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    store.before_post = go_on.wait

    async def send() -> None:
        with pytest.raises(EngineClosed):
            await engine.send("one", "t", 1)

    async with trio.open_nursery() as nursery:
        async with open_engine(store, [collecting], clock=clock) as engine:
            await engine.submit(collecting, 1, id="one")
            nursery.start_soon(send)
            await settle()
        go_on.set()
    async with on_file(path, clock=clock) as engine:
        assert await kinds(await engine.get("one")) == ["Started"]


async def test_a_crash_after_any_moment_of_a_message(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is in the store or in the log, and comes once."""
    path, clock, moments = tmp_path / "log.db", VirtualClock(), list[Path]()
    store = Hooked(file_store(path, clock))

    async def keep(*_: object) -> None:
        copied = crashed(path)
        if not moments:
            moments.append(copied)

    async with open_engine(store, [collecting], clock=clock) as engine:
        await engine.submit(collecting, 1, id="one")
        await settle()
        store.after_post = keep
        await engine.send("one", "t", 1)
        await settle()
    async with on_file(moments[0], collecting, clock=clock) as engine:
        handle = await engine.get("one")
        assert await handle.result() == [1]
        assert await received(handle) == ["t"]


async def test_a_look_that_is_older_than_a_life_enters_nothing_into_it(autojump_clock: Clock, tmp_path: Path) -> None:
    """It has seen a message that the life before has used up since."""
    clock, go_on, committed = VirtualClock(), trio.Event(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(batch: Batch) -> None:
        if any(append.taken for append in batch.appends):
            await committed.wait()

    async with open_engine(store, [collecting], clock=clock, evict_after=5) as engine:
        handles = [await engine.submit(collecting, count, id=str(count)) for count in (3, 1)]
        store.before_commit = hold
        await engine.send("3", "t", "first")
        await settle()
        store.after_messages = go_on.wait
        engine._runner.mail.set()
        await settle()  # that look has seen the first message
        await engine.send("1", "t", "only")
        committed.set()
        await trio.sleep(50)
        assert engine.statistics().evicted == 2
        await engine.send("3", "t", "second")
        await settle()
        go_on.set()
        await settle()
        await engine.send("3", "t", "third")
        assert [await handle.result() for handle in handles] == [["first", "second", "third"], ["only"]]
        assert [await received(handle) for handle in handles] == [["t"] * 3, ["t"]]


async def test_a_message_that_this_release_cannot_read_stays_and_is_in_nobodys_way(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        [row] = await store.find(["one"])
        for kind, body in (("send", b"{}"), ("shout", b"{}"), ("settle", b"no JSON")):
            await store.post([Post(key=row.key, kind=kind, body=body)])
        await engine.send("one", "t", 1)
        assert await handle.result() == [1]
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 3
    assert said[0] == (
        "workflow 'one': a message stays where it is, this release cannot read it: "
        "a message of kind 'send' has no event"
    )


# -- together with other things ------------------------------------------------------------------


@pytest.mark.parametrize("first", ["message", "cancel"])
async def test_a_message_and_a_cancellation(autojump_clock: Clock, tmp_path: Path, first: str) -> None:
    """Whichever is first: the message is in the log before its end, or gone with it; never both, never lost alone."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, collecting, clock=clock) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(collecting, 2, id="one")
        await settle()
        for what in ("message", "cancel") if first == "message" else ("cancel", "message"):
            await (there.send("one", "t", 1) if what == "message" else there.cancel("one"))
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        events = [type(entry.event) for entry in await handle.log()]
    order = [event for event in events if event in {Received, ScopeCancelled}]
    assert order == ([Received, ScopeCancelled] if first == "message" else [ScopeCancelled, Received])


async def test_a_message_that_comes_while_the_end_is_on_its_way(autojump_clock: Clock, tmp_path: Path) -> None:
    """It was left in time, and goes with the end; the next one is too late, and says so."""
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [collecting], clock=clock) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        await settle()
        hold_ends(store, go_on)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.cancel, "one")
            await settle()
            assert await engine.send("one", "t", 1) is True
            await settle()
            go_on.set()
        with pytest.raises(WorkflowCancelled):
            await handle.result()
        with pytest.raises(WorkflowEnded, match="it is cancelled"):
            await engine.send("one", "t", 2)
        assert await kinds(handle) == ["Started", "ScopeCancelled", "Ended"]
        assert await store.messages() == []


async def test_kill_with_messages_waiting(autojump_clock: Clock) -> None:
    async with in_memory(max_inbox=1) as engine:
        handle = await engine.submit(collecting_slowly, 5, 10.0, id="one")
        for number in range(2):
            await engine.send("one", "t", number)
            await settle()
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()
        with pytest.raises(WorkflowEnded, match="it is killed"):
            await engine.send("one", "t", 3)


async def test_a_fork_has_the_messages_of_its_rows_and_no_others(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(collecting, 4, id="one")
        for number in range(3):
            await engine.send("one", "t", number, key=str(number))
        await settle()
        fork = await engine.fork("one", at=3)
        assert await engine.send(fork.id, "t", "its own", key="0") is True, "its keys are its own"
        await engine.send(fork.id, "t", "last")
        await engine.send("one", "t", 3)
        assert await fork.result() == [0, 1, "its own", "last"]
        assert await handle.result() == [0, 1, 2, 3]


async def before() -> list[object]:
    await sleep(100)
    box = mailbox("t")
    return [await box.receive(), await box.receive()]


async def broken() -> list[object]:
    await nap(1)
    return []


async def test_messages_wait_for_what_is_stuck(autojump_clock: Clock, tmp_path: Path) -> None:
    """Each is a new try, which fails as before; with the code mended they are there."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, workflow(name="mended")(before), clock=clock) as engine:
        await engine.submit(workflow(name="mended")(before), id="one")
        await trio.sleep(1)
    async with on_file(path, workflow(name="mended")(broken), clock=clock) as engine:
        handle: WorkflowHandle[Sequence[object]] = await engine.get("one")
        for number in range(2):
            with pytest.raises(WorkflowStuck):
                await handle.result()
            await engine.send("one", "t", number)
            await settle()
    async with on_file(path, workflow(name="mended")(before), clock=clock) as engine:
        handle = await engine.get("one")
        await engine.resume("one")
        assert await handle.result() == [0, 1]


async def test_an_engine_that_has_no_such_function_sends_all_the_same(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    async def send(engine: Engine) -> None:
        assert await engine.send("one", "t", 1)

    async with on_file(path, collecting, clock=clock) as here:
        handle = await here.submit(collecting, 1, id="one")
        async with on_file(path, clock=clock) as there:
            await send(there)
        assert await handle.result() == [1]
