"""Those who look on act: they give something along, and can do no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    UsageError,
    open_engine,
    open_nursery,
    step,
    submit,
    workflow,
)
from nurselog.abc import (
    Happening,
    Instrument,
    Life,
    Submitted,
)
from nurselog.lowlevel import Started
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file
from tests.engine.watching import Painter, Watcher, colour, nap, napping

Clock = trio.testing.MockClock


@step
def paint() -> str:
    return colour.get()


async def test_variables_set_for_a_step_are_seen_by_its_function_and_by_nobody_else(autojump_clock: Clock) -> None:
    seen: list[str] = []

    @workflow(name="acting.painted")
    async def painted() -> list[str]:
        first = await nap(1)
        seen.append(colour.get())
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, 1.0), nursery.go(nap, 1.0)]
        return [first, *[await handle.result() for handle in handles]]

    async with in_memory(workflows=[painted], instruments=[Painter("red")]) as engine:
        assert await engine.run(painted) == ["red for 1", "red for 3", "red for 4"]
    assert seen == ["none"]
    assert colour.get() == "none"


async def test_variables_are_seen_in_threads() -> None:
    @workflow(name="acting.threads")
    async def threads() -> str:
        return await paint()

    async with open_engine("sqlite://", [threads], instruments=[Painter("red")]) as engine:
        assert await engine.run(threads) == "red for 1"


@workflow(name="acting.child")
async def child() -> str:
    return await nap(0)


@workflow(name="acting.parent")
async def parent() -> str:
    await child()
    async with open_nursery() as nursery:
        handle = nursery.go(child)
    await submit(child, id="detached")
    return await handle.result()


@workflow(name="acting.late_parent")
async def late_parent() -> str:
    await nap(5)
    return await child()


def headers_of(watcher: Watcher) -> dict[str, dict[str, str]]:
    return {one.id: one.started.headers for one in watcher.of(Submitted)}


async def test_headers_go_along_from_whoever_submits(autojump_clock: Clock) -> None:
    watcher, red, blue = Watcher(), Painter("red"), Painter("blue")
    colour.set("mine")
    async with in_memory(workflows=[parent, child], instruments=[red, watcher, blue]) as engine:
        await engine.run(parent, id="p")
        log = await (await engine.get("p")).log()
    assert headers_of(watcher) == {
        "p": {"red": "mine:", "blue": "mine:"},
        "p/1": {"red": "p:", "blue": "p:"},
        "p/3": {"red": "p:2", "blue": "p:2"},
        "detached": {"red": "blue for 4:", "blue": "blue for 4:"},
    }
    assert isinstance(log[0].event, Started)
    assert log[0].event.headers == {"red": "mine:", "blue": "mine:"}
    assert [life.id if life else None for life, _ in red.asked] == [None, "p", "p", None]


async def test_children_have_their_parents_headers_where_nobody_looks_on(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    async with on_file(tmp_path / "log.db", clock=clock, instruments=[Painter("red")]) as engine:
        await engine.submit(late_parent, id="p")
    async with on_file(tmp_path / "log.db", late_parent, child, clock=clock) as engine:
        await (await engine.get("p")).result()
        [started, *_] = await (await engine.get("p/2")).log()
    assert isinstance(started.event, Started)
    assert started.event.headers == {"red": "none:"}


class Broken(Instrument):
    def __init__(self, headers: object = None) -> None:
        self._headers = headers
        self.told = 0

    def happened(self, what: Happening) -> None:
        self.told += 1
        if self._headers is None:
            raise RuntimeError("broken")

    def headers(self, parent: Life | None, scope: str) -> Any:
        return {} if self._headers is None else self._headers

    def __repr__(self) -> str:
        return "<Broken>"


@pytest.mark.parametrize("headers", [None, 5, {"a": 1}, {1: "a"}])
async def test_an_instrument_that_raises_is_dropped_and_the_engine_goes_on(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture, headers: object
) -> None:
    before, broken, behind = Watcher(), Broken(headers), Watcher()
    async with in_memory(workflows=[napping], instruments=[before, broken, behind]) as engine:
        await engine.run(napping, 1.0, id="one")
    assert before.all == behind.all
    assert broken.told < len(before.all)
    [record] = caplog.records
    assert record.getMessage() == "instrument <Broken> raised an error: it is told nothing more"
    assert record.exc_info


async def test_an_instrument_need_not_do_anything(autojump_clock: Clock) -> None:
    async with in_memory(workflows=[napping], instruments=[Instrument()]) as engine:
        await engine.run(napping, 1.0, id="one")
        [started, *_] = await (await engine.get("one")).log()
    assert isinstance(started.event, Started)
    assert started.event.headers == {}


@pytest.mark.parametrize("wrong", [[Instrument], ["x"], [None], (object(),), Instrument(), None])
async def test_what_is_no_instrument_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"must be (a list of them|an object of a class that derives)"):
        async with open_engine("sqlite://", [], instruments=wrong):
            pytest.fail("it must not open")
