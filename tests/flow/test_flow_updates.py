"""Updates, from the side of the workflow: who gets which, when, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
import trio

from nurselog import (
    DecodingError,
    EncodingError,
    Engine,
    Failed,
    MisplacedCallError,
    OutsideWorkflowError,
    PayloadTooLargeError,
    RegistrationError,
    Update,
    Updates,
    UsageError,
    WorkflowEnded,
    WorkflowStuck,
    after,
    mailbox,
    move_on_after,
    open_nursery,
    select,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog.lowlevel import Answered, Received, Result
from tests.engine.rig import in_memory, settle
from tests.flow.rig import events, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@dataclass
class Order:
    item: str
    on: date


Answers = list[Any]


async def asked(
    flow: Callable[[], Awaitable[object]], *asks: tuple[str, object], every: float = 1, **options: Any
) -> Answers:
    """Run a workflow, and ask it for these updates, one a second; return what came of each, and what it returned."""
    got: Answers = [None] * len(asks)

    async def ask(engine: Engine, number: int, name: str, value: object) -> None:
        try:
            got[number] = await engine.update("played", name, value, key=f"key {number}")
        except Exception as exc:  # noqa: BLE001 - the answer
            got[number] = exc

    async with in_memory(**options) as engine, trio.open_nursery() as nursery:

        async def outside(engine: Engine) -> None:
            for number, (name, value) in enumerate(asks):
                await trio.sleep(every)
                nursery.start_soon(ask, engine, number, name, value)

        returned = await play_on(engine, flow, outside=outside)
        await settle()
        return [*got, returned]


# -- receiving and answering ---------------------------------------------------------------------


async def test_each_is_answered_and_the_answers_are_in_the_log(autojump_clock: Clock) -> None:
    async def flow() -> int:
        total = 0
        with move_on_after(10):
            async for one in updates("add", int, int):
                total += one.value
                one.answer(total)
        return total

    assert await asked(flow, ("add", 1), ("add", 20), ("add", 300)) == [1, 21, 321, 321]


async def test_what_the_log_has_of_them(autojump_clock: Clock) -> None:
    async def flow() -> None:
        (await updates("add", int).receive()).answer("fine")

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="played")
        assert await engine.update("played", "add", 1, str, key="first") == "fine"
        await handle.result()
        log = [entry for entry in await handle.log() if isinstance(entry.event, Received | Answered)]
    assert [entry.event for entry in log] == [
        Received(topic="add", update="first"),
        Answered(key="first", result=Result.VALUE),
    ]
    assert [entry.value for entry in log] == [b"1", b'"fine"']


async def test_what_came_before_anybody_asked_is_there(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        await sleep(10)
        ups = updates("t", str, str)
        first, second = ups.receive_nowait(), await ups.receive()
        with pytest.raises(trio.WouldBlock):
            ups.receive_nowait()
        second.answer("two")
        await sleep(1)
        first.answer("one")
        return [first.key, second.key]

    assert await asked(flow, ("t", "a"), ("t", "b")) == ["one", "two", ["key 0", "key 1"]]


async def test_a_rejected_one(autojump_clock: Clock) -> None:
    async def flow() -> None:
        (await updates("t", str).receive()).reject(PermissionError("not today"))

    error, _ = await asked(flow, ("t", "a"))
    assert repr(error) == repr(PermissionError("not today"))


async def test_an_answer_is_given_once(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        first, second = [await updates("t", str).receive() for _ in range(2)]
        first.answer(1)
        second.reject(ValueError("no"))
        got = []
        for one in (first, second):
            with pytest.raises(UsageError, match=f"update '{one.key}' was answered before") as caught:
                one.answer(2)
            with pytest.raises(UsageError, match=f"update '{one.key}' was answered before"):
                one.reject(ValueError("again"))
            got.append(str(caught.value))
        return got

    one, error, said = await asked(flow, ("t", "a"), ("t", "b"))
    assert one == 1
    assert repr(error) == "ValueError('no')"
    assert said[0] == "update 'key 0' was answered before, and an answer is given once"


async def test_an_answer_that_cannot_be_given_leaves_it_open(autojump_clock: Clock) -> None:
    async def flow() -> None:
        one = await updates("t", str, int).receive()
        with pytest.raises(EncodingError):
            one.answer("no number")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(PayloadTooLargeError, match="the answer to update 'key 0' is"):
            one.answer(10**300)
        with pytest.raises(UsageError, match="rejected with an Exception, not with 'no'"):
            one.reject("no")  # type: ignore[arg-type]  # on purpose
        one.answer(1)

    assert await asked(flow, ("t", "a"), max_payload=200) == [1, None]


async def test_answers_are_written_by_their_type(autojump_clock: Clock) -> None:
    async def flow() -> str:
        one = await updates("t", Order, Order).receive()
        one.answer(Order("lamp", one.value.on))
        return repr(one.value)

    order = Order("chair", date(2026, 1, 2))
    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="played")
        assert await engine.update("played", "t", order, Order) == Order("lamp", order.on)
        assert await handle.result() == repr(order)


async def test_strands_are_served_in_the_order_in_which_they_came(autojump_clock: Clock) -> None:
    async def flow() -> None:
        async def serve(name: str, delay: float) -> None:
            await sleep(delay)
            one = await updates("jobs", int, str).receive()
            await nap(one.value)
            one.answer(name)

        async with open_nursery() as nursery:
            for name, delay in (("a", 3), ("b", 1), ("c", 2)):
                nursery.start_soon(serve, name, delay)

    assert await asked(flow, ("jobs", 10), ("jobs", 0), ("jobs", 5), every=5) == ["b", "c", "a", None]


async def test_messages_of_the_same_name_are_something_else(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        taken = await select(mailbox("t", int), updates("t", int, int))
        one = await updates("t", int, int).receive() if taken.index == 0 else taken.unwrap()
        assert isinstance(one, Update)
        one.answer(one.value)
        return [taken.index, await mailbox("t", int).receive() if taken.index else taken.unwrap()]

    async with in_memory() as engine:

        async def outside(engine: Engine) -> None:
            await settle()
            assert await engine.update("played", "t", 1) == 1
            await engine.send("played", "t", 2)

        assert await play_on(engine, flow, outside=outside) == [1, 2]


# -- what does not fit ---------------------------------------------------------------------------


async def test_what_does_not_fit_is_rejected_and_nobody_sees_it(autojump_clock: Clock) -> None:
    """While somebody waits, and when somebody looks."""

    async def flow() -> list[int]:
        numbers = updates("numbers", int, int)

        async def next_one() -> int:
            one = await numbers.receive()
            one.answer(one.value + 1)
            return one.value

        got = [await next_one()]
        await sleep(10)
        with pytest.raises(trio.WouldBlock):
            numbers.receive_nowait()
        got.append(await next_one())
        return got

    asks = [("numbers", value) for value in ("one", 2, "three", 20)]
    first, second, third, fourth, got = await asked(flow, *asks, every=6)
    assert [second, fourth, got] == [3, 21, [2, 20]]
    for error in (first, third):
        assert isinstance(error, DecodingError)
    assert "an update 'numbers' (row 2 of the log) cannot be read" in str(first)


async def test_in_a_select_it_is_not_there(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        await sleep(5)
        alarm = after(10)
        got = []
        while True:
            taken = await select(updates("numbers", int, int), alarm)
            if taken.case is alarm:
                return got
            one = taken.unwrap()
            assert one is not None
            one.answer(0)
            got.append(one.value)

    *errors, got = await asked(flow, ("numbers", "one"), ("numbers", "two"), ("numbers", "three"), every=4)
    assert [type(error) for error in errors] == [DecodingError] * 3
    assert got == []


async def test_whose_type_counts(autojump_clock: Clock) -> None:
    """Of who has waited longest."""

    async def flow() -> list[str]:
        got = []

        async def wait(type: object, delay: float) -> None:
            await sleep(delay)
            one = await updates("t", type).receive()
            one.answer("fine")
            got.append(f"{type} {one.value}")

        async with open_nursery() as nursery:
            nursery.start_soon(wait, str, 1)
            nursery.start_soon(wait, int, 0)
        return got

    error, first, second, got = await asked(flow, ("t", "a"), ("t", 1), ("t", "b"), every=5)
    assert isinstance(error, DecodingError)
    assert [first, second, got] == ["fine", "fine", ["<class 'int'> 1", "<class 'str'> b"]]


async def test_two_types_in_one_select(autojump_clock: Clock) -> None:
    """The first end rejects what it cannot read, and the other one does not take away what the first one can."""

    async def flow() -> object:
        await sleep(10)
        taken = await select(updates("t", int), updates("t", str))
        one = taken.unwrap()
        one.answer(taken.index)
        with pytest.raises(trio.WouldBlock):
            updates("t").receive_nowait()
        return one.value

    error, index, got = await asked(flow, ("t", "a"), ("t", 5))
    assert isinstance(error, DecodingError)
    assert (index, got) == (0, 5)


async def test_types_that_nothing_could_be_read_back_as(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(RegistrationError, match="updates 't', what is asked"):
            updates("t", Callable[[int], int])
        with pytest.raises(RegistrationError, match="updates 't', the answers"):
            updates("t", int, Callable[[int], int])
        with pytest.raises(UsageError, match="a name must have 1 to 200 printable characters"):
            updates("")
        return 1

    assert await asked(flow) == [1]


# -- closing, and where it is used ---------------------------------------------------------------


async def test_an_end_that_is_closed_gives_nothing_and_rejects_nothing(autojump_clock: Clock) -> None:
    async def flow() -> int:
        closing = updates("t", int)

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await closing.receive()

        async with open_nursery() as nursery:
            nursery.start_soon(wait)
            await sleep(1)
            closing.close()
        await sleep(10)
        with pytest.raises(trio.ClosedResourceError):
            closing.receive_nowait()
        taken = await select(closing)
        assert isinstance(taken.outcome, Failed)
        one = await updates("t", str).receive()
        one.answer(one.value)
        return 1

    assert await asked(flow, ("t", "a"), every=5) == ["a", 1]


async def test_how_they_look(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        ups = updates("t", int)
        await sleep(10)
        looks = [ups.name, repr(ups)]
        one = await ups.receive()
        looks.append(repr(one))
        one.answer(None)
        return [*looks, repr(one)]

    *_, looks = await asked(flow, ("t", 1), ("t", 2))
    assert looks == [
        "t",
        "<nurselog.Updates 't', 2 unread>",
        "<nurselog.Update 'key 0', open>",
        "<nurselog.Update 'key 0', answered>",
    ]


async def test_outside_and_elsewhere(autojump_clock: Clock) -> None:
    kept: list[Update[int, int]] = []
    ends: list[Updates[int, int]] = []

    @workflow(name="owner")
    async def owner() -> None:
        ends.append(updates("t", int, int))
        kept.append(await ends[0].receive())
        await sleep(100)
        kept[0].answer(1)

    @workflow(name="thief")
    async def thief() -> None:
        with pytest.raises(MisplacedCallError, match=r"Update\.answer was called in workflow 'thief'"):
            kept[0].answer(2)
        with pytest.raises(MisplacedCallError, match=r"Update\.reject was called in workflow 'thief'"):
            kept[0].reject(ValueError("mine"))
        with pytest.raises(MisplacedCallError):
            await ends[0].receive()

    async with in_memory() as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(owner, id="owner")

        async def ask() -> None:
            assert await engine.update("owner", "t", 1) == 1

        nursery.start_soon(ask)
        await settle()
        await engine.run(thief, id="thief")
        with pytest.raises(OutsideWorkflowError):
            kept[0].answer(3)
        with pytest.raises(OutsideWorkflowError):
            updates("t")
        await handle.result()


async def test_one_that_nobody_answers(autojump_clock: Clock) -> None:
    async def flow() -> None:
        await updates("t", int).receive()
        await sleep(10)

    error, _ = await asked(flow, ("t", 1))
    assert isinstance(error, WorkflowEnded)
    assert error.update == "key 0"
    assert str(error) == "workflow 'played' has ended: it is completed, and has not answered update 'key 0'"


# -- replay --------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", ["says nothing", "rejects", "takes another type"])
async def test_code_that_answers_otherwise_than_its_log(autojump_clock: Clock, now: str) -> None:
    changed = False

    async def flow() -> None:
        one = await updates("t", str if changed and now == "takes another type" else int).receive()
        if changed and now == "rejects":
            one.reject(ValueError("changed"))
        elif not (changed and now == "says nothing"):
            one.answer(None)
        await sleep(10)

    async with in_memory() as engine:
        await engine.submit(workflow(name="flow")(flow), id="played")
        await engine.update("played", "t", 1, key="k")
        cut = 1 + [type(event) for event in await events(engine)].index(Answered)
        changed = True
        fork = await engine.fork("played", at=cut)
        await settle()
        expected = {
            "says nothing": r"the log has an answer \(value\) to update 'k'.*; the code did",
            "rejects": r"has an answer \(value\) to update 'k'.*; the code did an answer \(error\) to update 'k'",
            "takes another type": r"has an answer \(value\) to update 'k'.*; the code did an answer \(error\)",
        }[now]
        with pytest.raises(WorkflowStuck, match=expected):
            await fork.result()
