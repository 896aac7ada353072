"""Inboxes: as many messages as there is room for, and workflows that leave memory until one comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from nurselog import (
    InboxFull,
    Letter,
    Status,
    WorkflowHandle,
    mailbox,
    open_engine,
    open_nursery,
    sleep,
    workflow,
)
from nurselog._engine import ownership
from nurselog.abc import Batch, Message, WorkflowKey
from nurselog.lowlevel import Received
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_memory, on_file, settle

Clock = trio.testing.MockClock


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
async def sheltering(count: int, seconds: float) -> list[object]:
    """Have a child receive some messages, after a sleep."""
    async with open_nursery() as nursery:
        return await nursery.go(collecting_late, count, seconds).result()


@workflow
async def collecting_late(count: int, seconds: float) -> list[object]:
    """Receive some messages, after a sleep."""
    await sleep(seconds)
    return await collecting.fn(count)


@workflow
async def choosy() -> list[object]:
    """Receive what came on one topic, while messages of another one wait."""
    await sleep(10)
    got, wanted = list[object](), mailbox("wanted")
    for _ in range(3):
        mailbox("unwanted").receive_nowait()
    for _ in range(5):
        got.append(await wanted.receive())
    return got


async def received(handle: WorkflowHandle[object]) -> list[str | None]:
    return [entry.event.topic for entry in await handle.log() if isinstance(entry.event, Received)]


# -- how many ------------------------------------------------------------------------------------


async def test_a_full_inbox_is_the_senders_error(autojump_clock: Clock) -> None:
    async with in_memory(max_inbox=2) as engine:
        handle = await engine.submit(collecting_slowly, 5, 10.0, id="one")
        for number in range(4):  # two are entered, two wait in the store
            await engine.send("one", "t", number)
            await settle()
        with pytest.raises(InboxFull, match="2 messages wait for workflow 'one'") as caught:
            await engine.send("one", "t", 4)
        assert (caught.value.workflow_id, caught.value.limit) == ("one", 2)
        await trio.sleep(35)
        await engine.send("one", "t", 5)
        assert await handle.result() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("max_inbox", [1, 2, 7])
async def test_a_slow_reader_gets_all_in_order_and_stays_in_memory(autojump_clock: Clock, max_inbox: int) -> None:
    async with in_memory(max_inbox=max_inbox, evict_after=5) as engine:
        handle = await engine.submit(collecting_slowly, 30, 10.0, id="one")
        for number in range(30):
            while True:
                try:
                    await engine.send("one", "t", number, key=str(number))
                    break
                except InboxFull:
                    assert engine.statistics().evicted == 0, "with messages in the store it would be due at once"
                    await trio.sleep(1)
        assert await handle.result() == list(range(30))
        assert len(await received(handle)) == 30


async def test_any_room_will_do_for_who_waits(autojump_clock: Clock) -> None:
    """What it waits for stands behind messages that it does not read, and more than half of the room is taken."""
    async with in_memory(max_inbox=10) as engine:
        handle = await engine.submit(choosy, id="one")
        await engine.send_all([Letter("one", "unwanted", number) for number in range(10)])
        await settle()
        await engine.send_all([Letter("one", "wanted", number) for number in range(5)])
        assert await handle.result() == list(range(5))


async def test_what_was_in_the_store_is_entered_by_the_next_life(autojump_clock: Clock, tmp_path: Path) -> None:
    """It finds more in its log than there is room for; but it has read them."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, collecting_slowly, clock=clock, max_inbox=4) as engine:
        await engine.submit(collecting_slowly, 14, 10.0, id="one")
        for start in (0, 4):
            await engine.send_all([Letter("one", "t", number) for number in range(start, start + 4)])
            await trio.sleep(41)
        await engine.send_all([Letter("one", "t", number) for number in range(8, 12)])
        await settle()
        await engine.send_all([Letter("one", "t", number) for number in range(12, 14)])
    async with on_file(path, collecting_slowly, clock=clock, max_inbox=4) as engine:
        assert await (await engine.get("one")).result() == list(range(14))


async def test_what_was_entered_is_not_remembered_for_ever(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "REMEMBERED", 3)
    async with in_memory() as engine:
        await engine.submit(collecting, 20, id="one")
        counts = list[int]()
        for number in range(10):
            await engine.send("one", "t", number)
            await settle()
            [run] = engine._runner.runs.values()
            counts.append(len(run.entered))
        assert max(counts) == 3, "one more, and a look finds that all but the last are gone"


class Counting(Hooked):
    """A store that counts what is read."""

    read_messages = 0

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        found = await super().messages(behind)
        self.read_messages += len(found)
        return found


async def test_what_there_is_no_room_for_is_not_read_at_each_look(autojump_clock: Clock, tmp_path: Path) -> None:
    """Else each message that comes costs a look at all that wait, and a slow reader's the square of their number."""
    count, clock = 60, VirtualClock()
    store = Counting(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [collecting_slowly, collecting], clock=clock, max_inbox=20) as engine:
        slow = await engine.submit(collecting_slowly, 40, 1000.0, id="slow")
        quick = await engine.submit(collecting, count, id="quick")
        for number in range(count):
            if number < 40:
                await engine.send("slow", "t", number)
            await settle()
            await engine.send("quick", "t", number)
            await settle()
        assert await quick.result() == list(range(count))
        assert store.read_messages <= 2 * (count + 40)
        await engine.cancel("slow")
        await settle()
        assert await slow.status() is Status.CANCELLED, "an order comes past the messages that wait"


@pytest.mark.parametrize("room", [1, 2, 5, 8])
async def test_what_there_is_no_room_for_keeps_its_place(autojump_clock: Clock, tmp_path: Path, room: int) -> None:
    """Messages come while it reads: in the moment of a look, too, when there is room again before that is done."""
    clock = VirtualClock()
    store = Counting(file_store(tmp_path / "log.db", clock))

    async def dawdle() -> None:
        await trio.sleep(0.7)

    store.after_messages = dawdle
    async with open_engine(store, [collecting_slowly], clock=clock, max_inbox=room) as engine:
        handle = await engine.submit(collecting_slowly, 40, 1.0, id="one")
        sent = 0
        while sent < 40:
            with suppress(InboxFull):
                await engine.send("one", "t", sent)
                sent += 1
            await trio.sleep(0.3)
        assert await handle.result() == list(range(40))


# -- leaving memory ------------------------------------------------------------------------------


async def test_what_only_waits_for_a_message_leaves_memory(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", collecting, evict_after=5) as engine:
        handle = await engine.submit(collecting, 2, id="one")
        for number in range(2):
            await trio.sleep(50)
            assert engine.statistics().evicted == number + 1
            [info] = await engine.list()
            assert (info.status, info.due) == (Status.WAITING, None)
            await engine.send("one", "t", number)
        with trio.fail_after(1):
            assert await handle.result() == [0, 1]


async def test_a_message_from_another_engine_wakes_it(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, collecting, clock=clock, evict_after=5) as here, on_file(path, clock=clock) as there:
        handle = await here.submit(collecting, 2, id="one")
        await there.send("one", "t", "while it is in memory")
        await trio.sleep(50)
        assert here.statistics().evicted == 1
        await there.send("one", "t", "while it is not")
        with trio.fail_after(10):
            assert await handle.result() == ["while it is in memory", "while it is not"]


async def test_who_makes_place_for_others_is_first_given_what_waits_for_it(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """Put out before anybody has looked, it would be due, and taken up, and put out again, for ever."""
    path, clock = tmp_path / "log.db", VirtualClock()
    both = (sheltering, collecting_late)
    async with on_file(path, *both, clock=clock) as engine:
        await engine.submit(sheltering, 3, 100.0, id="one")
        await settle()
        await engine.send("one/2", "t", 0)
        await settle()
    async with on_file(path, clock=clock) as elsewhere:
        for number in (1, 2):
            await elsewhere.send("one/2", "t", number)
    await trio.sleep(200)
    store, claims = Hooked(file_store(path, clock)), 0

    async def count() -> None:
        nonlocal claims
        claims += 1
        assert claims < 8

    store.before_claim = count
    async with open_engine(store, both, clock=clock, max_running=1, max_inbox=1) as engine:
        with trio.fail_after(100):
            assert await (await engine.get("one")).result() == [0, 1, 2]


async def test_a_message_that_comes_while_it_leaves_memory(autojump_clock: Clock, tmp_path: Path) -> None:
    clock, go_on = VirtualClock(), trio.Event()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hold(batch: Batch) -> None:
        if any(append.standing and append.standing.status is Status.WAITING for append in batch.appends):
            leaving.set()
            await go_on.wait()

    store.before_commit, leaving = hold, trio.Event()
    async with open_engine(store, [collecting], clock=clock, evict_after=5) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        await leaving.wait()
        await engine.send("one", "t", 1)
        await settle()
        go_on.set()
        with trio.fail_after(60):
            assert await handle.result() == [1]
        assert await received(handle) == ["t"]


async def test_messages_for_a_workflow_that_nobody_runs(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, collecting, clock=clock) as engine:
        await engine.submit(collecting, 2, id="one")
    async with on_file(path, clock=clock) as engine:
        await engine.send_all([Letter("one", "t", number) for number in range(2)])
    async with on_file(path, collecting, clock=clock) as engine:
        assert await (await engine.get("one")).result() == [0, 1]
