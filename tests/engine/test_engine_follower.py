"""A log is followed as it grows: here, from elsewhere, from any place, to the end or to what stands in its way."""

from __future__ import annotations

import trio

from nurselog import sleep, step, workflow
from nurselog._engine.follower import Follower
from nurselog.lowlevel import Ended
from tests.engine.rig import in_memory


@step
async def look(name: str) -> str:
    return name


@workflow
async def looks() -> None:
    await look("one")
    await sleep(100)
    await look("two")


async def kinds(follower: Follower) -> list[str]:
    return [type(entry.event).__name__ for entry in await follower.more()]


async def test_what_is_there_comes_first_and_then_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(looks, id="w")
        await trio.sleep(1)
        follower = Follower(engine, handle._row, 0)
        assert await kinds(follower) == ["Started", "StepEnded", "TimerSet"]
        assert await kinds(follower) == ["TimerFired", "StepEnded", "Ended"]
        assert trio.current_time() >= 100
        assert await kinds(follower) == await kinds(follower) == ["Ended"]
        assert await kinds(Follower(engine, handle._row, 4)) == ["StepEnded", "Ended"]
        [(row, event)] = await Follower(engine, handle._row, 1000).more()
        assert row.seq == 6
        assert isinstance(event, Ended)
