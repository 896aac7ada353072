"""`send`: from workflow to workflow, once, whoever dies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import (
    EncodingError,
    InboxFull,
    MisplacedCallError,
    OutsideWorkflowError,
    Retry,
    StoreUnavailable,
    UsageError,
    WorkflowEnded,
    WorkflowNotFound,
    gather,
    mailbox,
    move_on_after,
    open_engine,
    open_nursery,
    send,
    sleep,
    step,
    workflow,
    workflow_id,
)
from nurselog.abc import Batch
from nurselog.lowlevel import Received, StepEnded
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file, settle

Clock = trio.testing.MockClock


@workflow
async def echoing(count: int) -> list[object]:
    """Receive some numbers, and send each back to whoever sent it."""
    got, box = list[object](), mailbox("numbers", tuple[str, int])
    for _ in range(count):
        sender, number = await box.receive()
        await send(sender, "echo", number)
        got.append(number)
    return got


@workflow
async def asking(count: int) -> list[object]:
    """Send some numbers, and wait for each to come back."""
    got, box = list[object](), mailbox("echo", int)
    for number in range(count):
        await send("server", "numbers", (workflow_id(), number))
        got.append(await box.receive())
    return got


@workflow
async def sending(id: str, *keys: str | None) -> str:
    for number, key in enumerate(keys):
        await send(id, "t", number, key=key)
    return "sent"


@workflow
async def collecting(count: int) -> list[object]:
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


@workflow
async def lazy(count: int) -> list[object]:
    await sleep(100)
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


@workflow
async def talking_to_itself() -> int:
    async with open_nursery() as nursery:
        handles = [nursery.go(send, workflow_id(), "t", number) for number in range(10)]
        await gather(*handles)
    box = mailbox("t", int)
    return sum([await box.receive() for _ in range(10)])


# -- whom, and what becomes of it ----------------------------------------------------------------


async def test_two_workflows_talk(autojump_clock: Clock, tmp_path: Path) -> None:
    """Each leaves memory while the other one is slow."""
    async with on_file(tmp_path / "log.db", echoing, asking, evict_after=5) as engine:
        client = await engine.submit(asking, 5, id="client")
        await trio.sleep(1)
        server = await engine.submit(echoing, 5, id="server")
        with pytest.raises(WorkflowNotFound, match="'server'"):
            await client.result()
        client = await engine.submit(asking, 5, id="second client")
        with trio.fail_after(10):
            assert await client.result() == list(range(5))
            assert await server.result() == list(range(5))


async def test_a_workflow_that_sends_to_itself(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        assert await engine.run(talking_to_itself) == 45


async def test_send_is_a_step_of_its_name(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        receiver = await engine.submit(collecting, 1, id="receiver")
        sender = await engine.submit(sending, "receiver", None)
        assert await sender.result() == "sent"
        [ended] = [entry.event for entry in await sender.log() if isinstance(entry.event, StepEnded)]
        assert (ended.name, ended.path, ended.attempts) == ("nurselog.send", "1", 1)
        assert await receiver.result() == [0]


async def test_what_send_raises(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> list[str]:
        said = []
        for id_, topic, value, key in (
            ("nobody", "t", 1, None),
            ("over", "t", 1, None),
            ("full", "t", 1, None),
            ("full", "", 1, None),
            ("full", "t", 1, ""),
            ("full", "t", object(), None),
        ):
            try:
                await send(id_, topic, value, key=key)
            except (WorkflowNotFound, WorkflowEnded, InboxFull, UsageError, EncodingError) as exc:
                said.append(f"{type(exc).__name__}: {exc}".partition(".")[0])
        return said

    async with in_memory(max_inbox=1) as engine:
        await engine.run(collecting, 0, id="over")
        await engine.submit(lazy, 2, id="full")
        await settle()
        for _ in range(2):
            await engine.send("full", "t", 0)
            await settle()
        said = await engine.run(flow)
    assert said == [
        "WorkflowNotFound: there is no workflow 'nobody' in this store",
        "WorkflowEnded: workflow 'over' has ended: it is completed",
        "InboxFull: 1 messages wait for workflow 'full', and no more may",
        "UsageError: a topic must have 1 to 200 printable characters, not ''",
        "UsageError: a message's key must have 1 to 200 printable characters, not ''",
        said[-1],
    ]
    assert said[-1].startswith("EncodingError: ")


async def test_a_retry_waits_for_room(autojump_clock: Clock) -> None:
    patient = send.using(retry=Retry(attempts=10, delay=30, factor=1, jitter=0, when=InboxFull))

    @workflow(name="flow")
    async def flow(id: str) -> str:
        await patient(id, "t", "at last")
        return "sent"

    async with in_memory(max_inbox=1) as engine:
        receiver = await engine.submit(lazy, 3, id="full")
        await settle()
        for number in range(2):
            await engine.send("full", "t", number)
            await settle()
        sender = await engine.submit(flow, "full")
        assert await receiver.result() == [0, 1, "at last"]
        assert await sender.result() == "sent"
        [ended] = [entry.event for entry in await sender.log() if isinstance(entry.event, StepEnded)]
        assert ended.attempts == 5


async def test_messages_with_one_key(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        receiver = await engine.submit(collecting, 3, id="receiver")
        assert await engine.run(sending, "receiver", "k", "k", None, None) == "sent"
        assert await receiver.result() == [0, 2, 3]


async def test_a_cancelled_send(autojump_clock: Clock, tmp_path: Path) -> None:
    """The store hangs, and the time limit around it passes: the message was sent, and the scope is left."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    @workflow(name="flow")
    async def flow() -> bool:
        with move_on_after(1) as scope:
            await send("receiver", "t", 1)
            await sleep(100)
        return scope.cancelled_caught

    async with open_engine(store, [collecting, flow], clock=clock) as engine:
        receiver = await engine.submit(collecting, 1, id="receiver")
        store.after_post = partial(trio.sleep, 10)
        assert await engine.run(flow) is True
        assert await receiver.result() == [1]


async def test_a_fork_sends_anew_what_comes_after_the_cut(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        receiver = await engine.submit(collecting, 3, id="receiver")
        sender = await engine.submit(sending, "receiver", None, None)
        await sender.result()
        fork = await engine.fork(sender.id, at=2)
        await fork.result()
        assert await receiver.result() == [0, 1, 1]


# -- when the sender's process dies --------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 2])
async def test_a_sender_that_dies_after_the_message_was_left(
    autojump_clock: Clock, tmp_path: Path, wanted: int
) -> None:
    """Its body runs again, and nothing is left twice; the receiver may have read it by then, or even have ended."""
    path, clock, go_on = tmp_path / "log.db", VirtualClock(), trio.Event()
    store = Hooked(file_store(path, clock))

    async def hold(batch: Batch) -> None:
        if any(b"nurselog.send" in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold
    async with (
        on_file(path, collecting, clock=clock) as there,
        open_engine(store, [sending], clock=clock) as here,
    ):
        receiver = await there.submit(collecting, wanted, id="receiver")
        await here.submit(sending, "receiver", *[None] * wanted, id="sender")
        await trio.sleep(5)
        assert sum(isinstance(entry.event, Received) for entry in await receiver.log()) == 1
        twin = crashed(path)
        go_on.set()
    async with on_file(twin, collecting, sending, clock=clock) as engine:
        assert await (await engine.get("sender")).result() == "sent"
        receiver = await engine.get("receiver")
        assert await receiver.result() == list(range(wanted))
        assert sum(isinstance(entry.event, Received) for entry in await receiver.log()) == wanted


async def test_a_sender_whose_store_goes_away_behind_the_message(autojump_clock: Clock, tmp_path: Path) -> None:
    """It waits, and leaves the message again; that is known by then."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def lose() -> None:
        if trio.current_time() < 1:
            raise StoreUnavailable("gone")

    store.after_post = lose
    async with open_engine(store, [collecting, sending], clock=clock) as engine:
        receiver = await engine.submit(collecting, 2, id="receiver")
        assert await engine.run(sending, "receiver", None, None) == "sent"
        assert await receiver.result() == [0, 1]
        assert trio.current_time() > 1


# -- wrong places --------------------------------------------------------------------------------


@step
async def send_inside(id: str, key: str | None) -> None:
    await send(id, "t", key, key=key)


async def test_send_inside_a_step_needs_a_key(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        with pytest.raises(MisplacedCallError, match="needs a key of its own"):
            await send_inside("receiver", None)
        await send_inside("receiver", "k")
        await send_inside("receiver", "k")
        await send_inside("receiver", "l")
        return "sent"

    async with in_memory() as engine:
        receiver = await engine.submit(collecting, 2, id="receiver")
        assert await engine.run(flow) == "sent"
        assert await receiver.result() == ["k", "l"]


async def test_send_outside_of_workflows(autojump_clock: Clock) -> None:
    with pytest.raises(OutsideWorkflowError, match="outside, use the engine's"):
        await send("id", "t", 1)
