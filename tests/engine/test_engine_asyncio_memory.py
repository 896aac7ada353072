"""Steps that are written for asyncio leave nothing that the collector would have to find."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import trio

from nurselog import UsageError, move_on_after, open_nursery, step, workflow
from nurselog._flow.body import Body
from nurselog._flow.call import AwaitedCall
from nurselog._flow.steward import ChildCall
from nurselog._flow.venue import Venue
from tests.engine.rig import in_memory
from tests.neighbours import need

need(Venue.ASYNCIO)
from nurselog._engine.crossing import _Crossing  # noqa: E402 - see above

OF_A_STEP = (_Crossing, Body, AwaitedCall, ChildCall, asyncio.Task)


@step(asyncio=True)
async def nap(seconds: float) -> float:
    await asyncio.gather(asyncio.sleep(seconds), asyncio.sleep(seconds))  # a TaskGroup would leave circles of its own
    return seconds


@step(asyncio=True)
async def forgetful() -> None:
    asyncio.ensure_future(asyncio.sleep(100))  # noqa: RUF006 - the point


@step(asyncio=True)
async def fail() -> None:
    await asyncio.sleep(1)
    raise ValueError


@workflow
async def everything() -> None:
    async with open_nursery() as nursery:
        for seconds in range(3):
            nursery.go(nap, float(seconds))
    if sys.version_info >= (3, 12):  # an error keeps the frames below it, trio-asyncio's, too, which hold its task
        return
    with move_on_after(1):
        await nap(100.0)
    for wrong in (fail, forgetful):
        with pytest.raises((ValueError, UsageError)):
            await wrong()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, OF_A_STEP))


@pytest.mark.usefixtures("no_collector")
async def test_nothing_of_a_step_waits_for_the_collector(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as engine:
        await engine.run(everything)
        before = alive()
        for _ in range(3):
            await engine.run(everything)
        await trio.sleep(200)  # until nobody needs to know any more which steps have begun, or waits for a timer
        left = alive() - before
    assert not left
