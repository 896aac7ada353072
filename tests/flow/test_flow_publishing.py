"""`publish` and `open_stream` from the inside: what becomes of each call, by the place that it is made at."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    EncodingError,
    MisplacedCallError,
    OutsideWorkflowError,
    PayloadTooLargeError,
    Stream,
    UsageError,
    WorkflowStuck,
    move_on_after,
    open_nursery,
    open_stream,
    publish,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Emitted, Event, Published
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file, settle
from tests.flow.rig import events, play_on

Clock = trio.testing.MockClock

TELLING = (Published, Emitted)


async def told(fn: Callable[[], Awaitable[Any]], **options: Any) -> list[Event]:
    """Return what a workflow has told those outside."""
    async with in_memory(**options) as engine:
        await play_on(engine, fn)
        return [event for event in await events(engine) if isinstance(event, TELLING)]


# -- where it is -----------------------------------------------------------------------------------


async def test_values_stand_where_the_code_stood(autojump_clock: Clock) -> None:
    @step(name="tells")
    async def tells() -> None:
        publish("in a step", 1)

    async def branch() -> None:
        publish("in a branch", 1)
        await tells()

    async def flow() -> None:
        publish("at the root", 1)
        async with open_nursery() as nursery:
            nursery.go(branch)

    assert await told(flow) == [
        Published(name="at the root"),
        Published(path="2", name="in a branch"),
        Emitted(path="2.1", name="in a step"),
    ]


async def test_values_shift_no_place(autojump_clock: Clock) -> None:
    @step(name="quiet")
    async def quiet() -> None: ...

    async def flow() -> None:
        publish("value", 1)
        with open_stream("stream") as stream:
            await stream.send(1)
        await quiet()

    async with in_memory() as engine:
        await play_on(engine, flow)
        assert [event.path for event in await events(engine) if event.path] == ["1"]


def test_outside_of_a_workflow() -> None:
    for call in (partial(publish, "name", 1), partial(open_stream, "name")):
        with pytest.raises(OutsideWorkflowError, match="works inside a workflow only"):
            call()


async def test_by_what_a_step_has_left_behind(autojump_clock: Clock) -> None:
    left = list[contextvars.Context]()
    streams = list[Stream]()

    @step(name="leaves something behind")
    async def leaves() -> None:
        left.append(contextvars.copy_context())
        streams.append(open_stream("name"))

    async def flow() -> None:
        await leaves()
        for call in (partial(publish, "name", 1), streams[0].close):
            with pytest.raises(MisplacedCallError, match="step 'leaves something behind' has left behind"):
                left[0].run(call)

    assert await told(flow) == []


async def test_a_stream_is_used_where_it_was_opened(autojump_clock: Clock) -> None:
    streams = dict[str, Stream]()

    @step(name="opens one")
    async def opens() -> None:
        streams["of a step"] = open_stream("name")

    @step(name="uses them")
    async def uses() -> None:
        with pytest.raises(MisplacedCallError, match="step 'opens one' has opened"):
            await streams["of a step"].send(1)
        with pytest.raises(MisplacedCallError, match="inside a step"):
            await streams["of the workflow"].send(1)
        with pytest.raises(MisplacedCallError, match="inside a step"):
            streams["of the workflow"].close()

    async def flow() -> None:
        streams["of the workflow"] = open_stream("name")
        await opens()
        await uses()
        with pytest.raises(MisplacedCallError, match="step 'opens one' has opened"):
            await streams["of a step"].send(1)

    async with in_memory() as engine:
        await play_on(engine, flow)

        @workflow(name="another one")
        async def another() -> None:
            with pytest.raises(MisplacedCallError, match="belongs to workflow"):
                await streams["of a living one"].send(1)

        @workflow(name="a living one")
        async def living() -> None:
            streams["of a living one"] = open_stream("name")
            await sleep(10)

        await engine.submit(living)
        await settle()
        await engine.run(another)


# -- names and values ------------------------------------------------------------------------------


async def test_names(autojump_clock: Clock) -> None:
    async def flow() -> None:
        for name in ("", "x" * 201, "a\nb", 7):
            with pytest.raises(UsageError, match="a name must have 1 to 200 printable characters"):
                publish(name, 1)  # type: ignore[arg-type]  # on purpose
            with pytest.raises(UsageError, match="a stream's name must have 1 to 200 printable characters"):
                open_stream(name)  # type: ignore[arg-type]  # on purpose
        publish("x" * 200, 1)

    assert len(await told(flow)) == 1


@pytest.mark.parametrize("place", ["in the code", "in a step"])
async def test_values_that_cannot_be_published_leave_no_trace(autojump_clock: Clock, place: str) -> None:
    async def tell() -> None:
        async with open_stream("items") as stream:
            with pytest.raises(EncodingError):
                publish("value", object())
            with pytest.raises(EncodingError):
                await stream.send(object())
            with pytest.raises(PayloadTooLargeError, match="what is published as 'value'"):
                publish("value", "x" * 100)
            with pytest.raises(PayloadTooLargeError, match="what is published as 'items'"):
                await stream.send("x" * 100)
            with pytest.raises(PayloadTooLargeError):
                await stream.send_all(["fits", "x" * 100, "never comes to this"])

    tells = step(name="tells nothing")(tell)

    async def flow() -> None:
        await (tell() if place == "in the code" else tells())

    assert [event.end for event in await told(flow, max_payload=50)] == [False, True]  # type: ignore[union-attr]  # both have it


# -- streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["in the code", "in a step"])
async def test_a_stream_ends_once(autojump_clock: Clock, place: str) -> None:
    async def tell() -> None:
        async with open_stream("items") as stream:
            assert repr(stream) == "<nurselog.Stream 'items', open>"
            await stream.send_all([])
            await stream.send_all(range(1000))
            stream.close()
            await stream.aclose()
            assert repr(stream) == "<nurselog.Stream 'items', closed>"
            for call in (partial(stream.send, 1), partial(stream.send_all, [1])):
                with pytest.raises(trio.ClosedResourceError):
                    await call()
        stream.close()

    tells = step(name="tells much")(tell)

    async def flow() -> None:
        await (tell() if place == "in the code" else tells())

    found = await told(flow)
    assert [event.end for event in found] == [False] * 1000 + [True]  # type: ignore[union-attr]  # both have it


@pytest.mark.parametrize("place", ["in the code", "in a step"])
async def test_an_error_that_leaves_the_block_does_not_end_the_stream(autojump_clock: Clock, place: str) -> None:
    async def tell() -> None:
        with pytest.raises(ValueError, match="first"):
            async with open_stream("items") as stream:
                await stream.send(1)
                raise ValueError("first")
        with pytest.raises(trio.ClosedResourceError):
            await stream.send(2)
        with pytest.raises(ValueError, match="second"), open_stream("items") as stream:
            await stream.send(3)
            raise ValueError("second")

    tells = step(name="tells with errors")(tell)

    async def flow() -> None:
        await (tell() if place == "in the code" else tells())

    found = await told(flow)
    assert [event.end for event in found] == [False, False]  # type: ignore[union-attr]  # both have it


@pytest.mark.parametrize("place", ["in the code", "in a step"])
async def test_what_is_cancelled_was_not_sent(autojump_clock: Clock, place: str) -> None:
    async def tell() -> None:
        stream = open_stream("items")
        for call in (partial(stream.send, 1), partial(stream.send_all, [1])):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught

    tells = step(name="tells too late")(tell)

    async def flow() -> None:
        await (tell() if place == "in the code" else tells())

    assert await told(flow) == []


async def test_a_workflow_that_leaves_memory_ends_no_stream(autojump_clock: Clock) -> None:
    ends = list[str]()

    @step(name="tells until it goes")
    async def tells() -> None:
        stream = open_stream("of a step")
        try:
            await trio.sleep_forever()
        finally:
            stream.close()
            ends.append(repr(stream))

    @workflow(name="leaves")
    async def leaves() -> None:
        stream = open_stream("of the workflow")
        try:
            await tells()
        finally:
            stream.close()
            ends.append(repr(stream))
            await stream.aclose()

    async with in_memory() as engine:
        handle = await engine.submit(leaves)
        await trio.sleep(0.5)
        run = engine._runner.runs[handle._row.key]
        log = run.sequencer.log
    assert log.seq == 1
    assert sorted(ends) == ["<nurselog.Stream 'of a step', closed>", "<nurselog.Stream 'of the workflow', closed>"]


# -- threads ---------------------------------------------------------------------------------------


async def test_a_sync_step_publishes_in_its_order() -> None:
    @step(name="counts in a thread")
    def counts() -> None:
        for number in range(3):
            publish("number", number)
        stream = open_stream("items")
        trio.from_thread.run(stream.send, 1)
        stream.close()

    async def flow() -> None:
        await counts()

    assert [(event.name, event.end) for event in await told(flow)] == [  # type: ignore[union-attr]  # both have it
        ("number", False),
        ("number", False),
        ("number", False),
        ("items", False),
        ("items", True),
    ]


async def test_a_thread_that_nobody_waits_for_publishes_nothing() -> None:
    begun, go_on, errors = threading.Event(), threading.Event(), list[str]()
    over = trio.Event()
    token = trio.lowlevel.current_trio_token()

    @step(name="is left to itself", abandon_on_cancel=True)
    def abandoned() -> None:
        begun.set()
        go_on.wait(60)
        try:
            publish("number", 1)
        except MisplacedCallError as exc:
            errors.append(str(exc))
        token.run_sync_soon(over.set)

    async def flow() -> None:
        with move_on_after(0.01):
            await abandoned()
        go_on.set()

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="one")
        await handle.result()
        await over.wait()
        assert not [event for event in await events(engine, "one") if isinstance(event, TELLING)]
    assert begun.is_set()
    assert errors == ["'number' was to be published by what step 'is left to itself' has left behind: the step is over"]


# -- replay ----------------------------------------------------------------------------------------


def version(code: Callable[[], Awaitable[None]]) -> Any:
    return workflow(name="changing")(code)  # type: ignore[arg-type]  # an async function


async def before() -> None:
    publish("state", 1)
    await sleep(1)
    with open_stream("items") as stream:
        await stream.send(1)
    await sleep(1000)


async def another_value() -> None:
    publish("state", 2)
    await sleep(1)
    with open_stream("items") as stream:
        await stream.send(2)
    await sleep(1000)


async def another_name() -> None:
    publish("other", 1)
    await sleep(1)


async def without() -> None:
    await sleep(1)


async def one_more() -> None:
    publish("state", 1)
    publish("state", 2)
    await sleep(1)


async def unended() -> None:
    publish("state", 1)
    await sleep(1)
    await open_stream("items").send(1)
    await sleep(1)


async def longer() -> None:
    publish("state", 1)
    await sleep(1)
    with open_stream("items") as stream:
        await stream.send(1)
        await stream.send(2)
    await sleep(1)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (another_name, "the log has 'state' published at the root; the code did 'other' published at the root"),
        (without, "the log has 'state' published at the root; the code did a timer of sleep"),
        (one_more, "the log has a timer of sleep at path 1; the code did 'state' published at the root"),
        (unended, "the log has the end of 'items' published at the root; the code did a timer of sleep"),
        (longer, "the log has the end of 'items' published at the root; the code did 'items' published at the root"),
    ],
)
async def test_code_that_publishes_something_else_is_stuck(
    autojump_clock: Clock, tmp_path: Path, changed: Callable[[], Awaitable[None]], problem: str
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    old, new = version(before), version(changed)
    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="one")
        await trio.sleep(10)
    async with on_file(path, new, clock=clock) as engine:
        with pytest.raises(WorkflowStuck) as caught:
            await (await engine.get("one")).result()
        assert problem in str(caught.value)


async def test_what_was_published_first_stands(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    old, new = version(before), version(another_value)
    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="one")
        await trio.sleep(10)
    async with on_file(path, new, clock=clock) as engine:
        handle = await engine.get("one")
        await trio.sleep(10)
        assert [item.value async for item in handle.follow("items", int)] == [1]
        latest = await handle.latest("state", int)
        assert latest is not None
        assert latest.value == 1
