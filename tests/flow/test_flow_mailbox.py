"""Mailboxes, from the side of the workflow: who gets which message, when, and as what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

import pytest
import trio

from nurselog import (
    DecodingError,
    Engine,
    Failed,
    Mailbox,
    MisplacedCallError,
    OutsideWorkflowError,
    RegistrationError,
    Succeeded,
    UsageError,
    WorkflowStuck,
    after,
    mailbox,
    move_on_after,
    open_nursery,
    promise,
    select,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Received
from nurselog.lowlevel import Selected as SelectedEvent
from tests.engine.rig import in_memory
from tests.flow.rig import Outside, events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def call(fn: Callable[[], Awaitable[object]]) -> None:
    await fn()


@dataclass
class Order:
    item: str
    on: date


def says(*messages: tuple[str, object], every: float = 1) -> Outside:
    """Return somebody who sends these to these topics, one a second."""

    async def outside(engine: Engine) -> None:
        for topic, value in messages:
            await trio.sleep(every)
            await engine.send("played", topic, value)

    return outside


# -- receiving -----------------------------------------------------------------------------------


async def test_messages_come_in_their_order_topic_by_topic(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        a, b = mailbox("a", int), mailbox("b", int)
        return [await b.receive(), await b.receive(), await a.receive(), await a.receive()]

    async with in_memory() as engine:
        assert await play_on(engine, flow, outside=says(("a", 1), ("b", 2), ("a", 3), ("b", 4))) == [2, 4, 1, 3]
        received = [event for event in await events(engine) if isinstance(event, Received)]
    assert [event.topic for event in received] == ["a", "b", "a", "b"]


async def test_what_came_before_anybody_asked_is_there(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        await sleep(10)
        numbers = mailbox("numbers", int)
        return [numbers.receive_nowait(), await mailbox("numbers", int).receive(), await numbers.receive()]

    assert await play(flow, says(("numbers", 1), ("numbers", 2), ("numbers", 3))) == [1, 2, 3]


async def test_receive_nowait(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        numbers = mailbox("numbers", int)
        with pytest.raises(trio.WouldBlock):
            numbers.receive_nowait()
        await sleep(10)
        got = [numbers.receive_nowait()]
        with pytest.raises(trio.WouldBlock):
            numbers.receive_nowait()
        return got

    assert await play(flow, says(("numbers", 1))) == [1]


async def test_strands_on_one_topic_are_served_in_the_order_in_which_they_came(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        got: list[str] = []

        async def serve(name: str, delay: float) -> None:
            await sleep(delay)
            got.append(f"{name}{await mailbox('jobs', int).receive()}")

        async with open_nursery() as nursery:
            for name, delay in (("a", 3), ("b", 1), ("c", 2)):
                nursery.start_soon(serve, name, delay)
        return got

    assert await play(flow, says(("jobs", 1), ("jobs", 2), ("jobs", 3), every=5)) == ["b1", "c2", "a3"]


async def test_each_of_several_mailboxes_of_one_topic_reads_by_its_own_type(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        texts, anything = mailbox("t", Order), mailbox("t")
        return [repr(await texts.receive()), repr(await anything.receive())]

    order = Order("lamp", date(2026, 1, 2))
    assert await play(flow, says(("t", order), ("t", order))) == [repr(order), "{'item': 'lamp', 'on': '2026-01-02'}"]


async def test_async_for_goes_on_until_it_is_cancelled(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        got = []
        with move_on_after(10):
            async for number in mailbox("numbers", int):
                await nap(0.5)
                got.append(number)
        return got

    assert await play(flow, says(("numbers", 1), ("numbers", 2), ("numbers", 3))) == [1, 2, 3]


async def test_a_cancelled_receive_has_received_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        numbers = mailbox("numbers", int)
        with move_on_after(1) as scope:
            await numbers.receive()
        assert scope.cancelled_caught
        with move_on_after(100) as scope:
            scope.cancel()
            await numbers.receive()
        await sleep(10)
        with move_on_after(100) as scope:
            scope.cancel()
            await numbers.receive()
        return [numbers.receive_nowait()]

    assert await play(flow, says(("numbers", 1), every=5)) == [1]


async def test_how_it_looks(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        box = mailbox("t", int)
        await sleep(10)
        return [box.topic, repr(box)]

    assert await play(flow, says(("t", 1), ("t", 2))) == ["t", "<nurselog.Mailbox 't', 2 unread>"]


# -- types ---------------------------------------------------------------------------------------


async def test_what_does_not_fit_is_its_readers_error_and_used_up(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        numbers = mailbox("numbers", int)
        with pytest.raises(DecodingError, match=r"a message for mailbox 'numbers' \(row 2 of the log\) cannot be read"):
            await numbers.receive()
        got = [await numbers.receive()]
        await sleep(10)
        with pytest.raises(DecodingError):
            numbers.receive_nowait()
        taken = await select(numbers)
        assert isinstance(taken.outcome, Failed)
        assert isinstance(taken.outcome.error, DecodingError)
        return [*got, numbers.receive_nowait()]

    sent = [("numbers", value) for value in ("one", 2, "three", "four", 5)]
    assert await play(flow, says(*sent)) == [2, 5]


async def test_a_type_that_nothing_could_be_read_back_as(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(RegistrationError, match="mailbox 't', its messages"):
            mailbox("t", Callable[[int], int])
        return 1

    assert await play(flow) == 1


# -- closing -------------------------------------------------------------------------------------


async def test_who_waits_on_a_mailbox_that_is_closed(autojump_clock: Clock) -> None:
    """The others of its topic go on, and get its messages."""

    async def flow() -> list[object]:
        closing, other = mailbox("t", int), mailbox("t", int)
        got: list[object] = []

        async def wait(box: Mailbox[int]) -> None:
            try:
                got.append(await box.receive())
            except trio.ClosedResourceError:
                got.append("closed")

        async with open_nursery() as nursery:
            for box in (closing, other, closing):
                nursery.start_soon(wait, box)
            await sleep(1)
            closing.close()
            closing.close()
        return got

    assert await play(flow, says(("t", 1), every=5)) == ["closed", "closed", 1]


async def test_a_closed_mailbox_gives_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        async with mailbox("t", int) as box:
            await sleep(5)
        await box.aclose()
        with pytest.raises(trio.ClosedResourceError):
            box.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            await box.receive()
        with pytest.raises(trio.ClosedResourceError):
            async for _ in box:
                pass
        taken = await select(box, after(1))
        assert isinstance(taken.outcome, Failed)
        assert isinstance(taken.outcome.error, trio.ClosedResourceError)
        return [await mailbox("t", int).receive()]

    assert await play(flow, says(("t", 1))) == [1]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_select_on_two_mailboxes_of_one_topic_sees_each_close(autojump_clock: Clock, which: int) -> None:
    async def flow() -> int:
        boxes = mailbox("t", int), mailbox("t", int)

        async def close() -> None:
            await sleep(1)
            boxes[which].close()

        async with open_nursery() as nursery:
            nursery.start_soon(close)
            taken = await select(*boxes)
        assert isinstance(taken.outcome, Failed)
        return taken.index

    assert await play(flow) == which


async def test_closing_when_the_workflow_is_over_tells_nobody(autojump_clock: Clock) -> None:
    boxes: list[Mailbox[int]] = []

    async def flow() -> int:
        boxes.append(mailbox("t", int))
        return 1

    assert await play(flow) == 1
    for box in boxes:
        box.close()
    with pytest.raises(OutsideWorkflowError):
        boxes[0].receive_nowait()


# -- select --------------------------------------------------------------------------------------

WINNERS = {"mailbox": 0, "first child": 1, "second child": 2, "promise": 3, "timer": 4}


@pytest.mark.parametrize("winner", WINNERS)
async def test_each_of_them_wins_and_the_losers_are_used_afterwards(autojump_clock: Clock, winner: str) -> None:
    moments = dict.fromkeys(WINNERS, 10.0) | {winner: 5.0}
    ids: list[str] = []

    async def flow() -> list[object]:
        async with open_nursery() as nursery:
            box, first = mailbox("t", str), nursery.go(nap, moments["first child"])
            second, approval = nursery.go(nap, moments["second child"]), promise(str)
            ids.append(approval.id)
            alarm = after(moments["timer"])
            taken = await select(box, first, second, approval, alarm)
            if winner != "mailbox":
                assert await box.receive() == "message"
            assert [await first.result(), await second.result()] == [moments["first child"], moments["second child"]]
            assert await approval.result() == "yes"
            await select(alarm)
            with pytest.raises(trio.WouldBlock):
                box.receive_nowait()
        return [taken.index, taken.unwrap()]

    async def outside(engine: Engine) -> None:
        async def later(seconds: float, call: Callable[[], Awaitable[object]]) -> None:
            await trio.sleep(seconds)
            await call()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, moments["mailbox"], partial(engine.send, "played", "t", "message"))
            nursery.start_soon(later, moments["promise"], lambda: engine.resolve(ids[0], "yes"))

    values = {"mailbox": "message", "promise": "yes", "timer": None}
    async with in_memory() as engine:
        assert await play_on(engine, flow, outside=outside) == [WINNERS[winner], values.get(winner, 5)]
        chosen = [event.index for event in await events(engine) if isinstance(event, SelectedEvent)]
    assert chosen == [WINNERS[winner], 0]


async def test_of_several_that_are_ready_the_earliest_in_the_log(autojump_clock: Clock) -> None:
    ids: list[str] = []

    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            box, other, child, approval = mailbox("a"), mailbox("b"), nursery.go(nap, 3.5), promise()
            ids.append(approval.id)
            await sleep(10)
            return [(await select(approval, child, box, other)).index for _ in range(4)]

    async def outside(engine: Engine) -> None:
        await says(("b", 1), ("a", 2))(engine)  # after 1 and 2 seconds
        await trio.sleep(1)
        await engine.resolve(ids[0], 3)
        await trio.sleep(2)
        await engine.send("played", "b", 4)

    # The mailboxes are used up; the promise and the child are not, and the promise was there first.
    assert await play(flow, outside) == [3, 2, 0, 0]


async def test_ties_go_by_position(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        first, second = mailbox("t", int), mailbox("t", int)
        await sleep(10)
        ready = await select(second, first)
        waited = await select(first, second, first)
        return [ready.index, ready.unwrap(), waited.index, waited.unwrap()]

    assert await play(flow, says(("t", 1), ("t", 2), every=8)) == [0, 1, 0, 2]


async def test_a_select_takes_one_message_of_two_topics(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        boxes = mailbox("a", int), mailbox("b", int)
        taken = await select(*boxes)
        await sleep(10)
        return [taken.index, taken.unwrap(), boxes[0].receive_nowait(), boxes[1].receive_nowait()]

    assert await play(flow, says(("b", 1), ("a", 2), ("b", 3))) == [1, 1, 2, 3]


async def test_a_select_that_is_cancelled_has_taken_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        box = mailbox("t", int)
        with move_on_after(1):
            await select(box, after(100))
        await sleep(10)
        return [box.receive_nowait()]

    assert await play(flow, says(("t", 1), every=5)) == [1]


# -- wrong places, wrong words -------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["", "x" * 201, "a\nb", "half of a character: \ud800", 5, None, b"topic"])
async def test_a_topic_is_a_printable_text(autojump_clock: Clock, topic: str) -> None:
    async def flow() -> int:
        with pytest.raises(UsageError, match="a topic must have 1 to 200 printable characters"):
            mailbox(topic)
        return 1

    assert await play(flow) == 1


async def test_where_there_are_no_mailboxes(autojump_clock: Clock) -> None:
    async def make() -> None:
        mailbox("t")

    async def flow() -> int:
        with pytest.raises(MisplacedCallError, match="mailbox was called inside a step"):
            await call(make)
        return 1

    with pytest.raises(OutsideWorkflowError, match="mailbox works inside a workflow only"):
        await make()
    assert await play(flow) == 1


async def test_another_workflows_mailbox(autojump_clock: Clock) -> None:
    boxes: list[Mailbox[int]] = []

    @workflow(name="first")
    async def first() -> None:
        boxes.append(mailbox("t", int))
        await sleep(10)

    async def flow() -> int:
        [box] = boxes
        for use in (box.receive, box.aclose, partial(select, box)):
            with pytest.raises(MisplacedCallError, match="belongs to workflow 'one'"):
                await use()
        with pytest.raises(MisplacedCallError):
            box.receive_nowait()
        return 1

    async with in_memory() as engine:
        handle = await engine.submit(first, id="one")
        await trio.sleep(1)
        assert await play_on(engine, flow) == 1
        await handle.result()


async def test_a_mailbox_that_nobody_waits_on_saves_nobody_from_a_deadlock(autojump_clock: Clock) -> None:
    async def flow() -> None:
        box = mailbox("t", int)
        with move_on_after(1):
            await box.receive()
        await trio.Event().wait()

    with pytest.raises(WorkflowStuck, match="everybody waits, and nobody can move"):
        async with in_memory() as engine:
            await (await engine.submit(workflow(name="flow")(flow))).result()


async def test_an_outcome_of_a_message_is_a_value(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        taken = await select(mailbox("t", int))
        return taken.outcome == Succeeded(1)

    assert await play(flow, says(("t", 1)))
