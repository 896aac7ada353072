"""Logs that are followed for a query: in whose memory, in whose context, and how that ends."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from nurselog import (
    Engine,
    EngineClosed,
    expose,
    mailbox,
    open_engine,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog.testing import VirtualClock
from tests.engine.asked import count, order, pack, ran, with_items
from tests.engine.rig import Hooked, file_store, on_file, settle

Clock = trio.testing.MockClock


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


# -- the replay, and who else is in memory -------------------------------------------------------


async def replaying(engine: Engine) -> None:
    """Wait until a log is being followed."""
    while not engine._service.replays.all:
        await trio.lowlevel.checkpoint()


here_is = contextvars.ContextVar("here_is", default="the engine's")


async def test_from_a_step_and_out_of_whose_context(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="seen")
    async def seen() -> None:
        expose(here_is.get())
        await sleep(1)

    @seen.query
    def where(state: str) -> str:
        return state

    async with on_file(path, seen, clock=clock) as engine:

        @step(name="asks")
        async def asks() -> str:
            here_is.set("the step's")
            return await engine.query("one", where)

        @workflow(name="asking")
        async def asking() -> str:
            return await asks()

        await engine.run(seen, id="one")
        here_is.set("the caller's")
        assert await engine.query("one", where) == "the engine's"
        assert await engine.run(asking) == "the engine's"


async def test_who_asks_is_cancelled_while_the_log_is_followed(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, order, clock=clock) as here, on_file(path, order, clock=clock) as there:
        await with_items(here, *(str(number) for number in range(600)), seconds=1e6)
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.query, "one", count)
                await replaying(there)
                nursery.cancel_scope.cancel()
            assert nursery.cancel_scope.cancelled_caught
        await settle()
        assert there._service.replays.all == set()
        assert await there.query("one", count) == 600


async def test_an_engine_that_closes_while_the_log_is_followed(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    answers: list[object] = []

    async def ask(engine: Engine) -> None:
        try:
            answers.append(await engine.query("one", count))
        except EngineClosed:
            answers.append(EngineClosed)

    async with on_file(path, order, clock=clock) as here, trio.open_nursery() as nursery:
        await with_items(here, *(str(number) for number in range(600)), seconds=1e6)
        async with on_file(path, order, clock=clock) as there:
            nursery.start_soon(ask, there)
            await replaying(there)
        await settle()
        assert await here.query("one", count) == 600
    assert answers == [EngineClosed]


async def test_an_engine_that_closes_while_the_log_is_read(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock, go_on, reading = tmp_path / "log.db", VirtualClock(), trio.Event(), trio.Event()
    store = Hooked(file_store(path, clock))

    async def hold() -> None:
        reading.set()
        await go_on.wait()

    async def ask(engine: Engine) -> None:
        with pytest.raises(EngineClosed):
            await engine.query("one", count)

    async with on_file(path, order, clock=clock) as here, trio.open_nursery() as nursery:
        await with_items(here)
        async with open_engine(store, [order], clock=clock) as there:
            store.after_read = hold
            nursery.start_soon(ask, there)
            await reading.wait()
        go_on.set()


async def test_code_that_will_not_leave_is_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In real time, for virtual time stands still where something always runs."""
    path, over = tmp_path / "log.db", list[bool]()

    @workflow(name="stubborn")
    async def stubborn() -> None:
        expose("state")
        box = mailbox("t")
        while not over:
            with suppress(BaseException):
                await box.receive()

    @stubborn.query
    def look(state: str) -> str:
        return state

    async with on_file(path, stubborn, grace=0.05) as engine:
        await engine.submit(stubborn, id="one")
    caplog.clear()
    store = Hooked(file_store(path, VirtualClock()))
    store.before_claim = trio.sleep_forever  # nobody takes it up
    async with open_engine(store, [stubborn], grace=0.05) as engine:
        assert await engine.query("one", look) == "state"
        assert len(engine._service.replays.all) == 1
        with trio.fail_after(30):
            while engine._service.replays.all:
                await trio.lowlevel.checkpoint()
    over.append(True)
    assert any("was left behind" in record.getMessage() for record in caplog.records)


async def test_something_fatal_while_the_log_is_followed(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock, fatal = tmp_path / "log.db", VirtualClock(), False

    @workflow(name="flow")
    async def flow() -> None:
        expose("state")
        if fatal:
            raise KeyboardInterrupt
        await mailbox("t").receive()

    @flow.query
    def look(state: str) -> str:
        return state

    async with on_file(path, flow, clock=clock) as here:
        await here.submit(flow, id="one")
        await settle()
        fatal = True
        with pytest.raises(KeyboardInterrupt):
            async with on_file(path, flow, clock=clock) as there:
                with pytest.raises(EngineClosed):
                    await there.query("one", look)
        assert await here.query("one", look) == "state"


async def test_something_fatal_in_the_query_itself(autojump_clock: Clock, tmp_path: Path) -> None:
    """As Control-C may be: who asks gets it, and the state leaves memory all the same."""
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="flow")
    async def flow() -> None:
        expose("state")
        await mailbox("t").receive()

    @flow.query
    def look(state: str) -> str:
        raise KeyboardInterrupt

    async with on_file(path, flow, clock=clock) as here, on_file(path, flow, clock=clock) as there:
        await here.submit(flow, id="one")
        await settle()
        with pytest.raises(KeyboardInterrupt):
            await there.query("one", look)
        await trio.sleep(1)
        assert not there._service.replays.all


async def test_generators_and_nurseries_that_are_open_when_it_stops(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()

    async def numbers() -> AsyncIterator[int]:
        number = 0
        while True:
            await pack(str(number))
            yield number
            number += 1

    @workflow(name="flow")
    async def flow() -> None:
        seen: list[int] = []
        expose(seen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep, 1000)
            async for number in numbers():
                seen.append(number)
                if number == 3:
                    (await updates("done").receive()).answer(None)
                    nursery.cancel_scope.cancel()

    @flow.query
    def look(seen: list[int]) -> list[int]:
        return seen

    async with on_file(path, flow, clock=clock) as here, on_file(path, flow, clock=clock) as there:
        handle = await here.submit(flow, id="one")
        await trio.sleep(10)
        assert await there.query("one", look) == [0, 1, 2, 3]
        await there.update("one", "done")
        await handle.result()
        assert await there.query("one", look) == [0, 1, 2, 3]
        assert ran == ["0", "1", "2", "3"]
