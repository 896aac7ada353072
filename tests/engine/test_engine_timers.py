"""Timers of many workflows in one engine: those that nobody waits for any more, and clocks that break."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import trio

from nurselog import move_on_after, now, open_nursery, sleep, step, workflow
from nurselog._flow.timers import Timer
from tests.clocks import VirtualClock
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


def timers() -> int:
    """Count the timers in memory."""
    gc.collect()
    return sum(isinstance(one, Timer) for one in gc.get_objects())


async def test_timers_that_are_over_do_not_pile_up(autojump_clock: Clock) -> None:
    """A loop with a timeout of a day in each round goes through thousands of them before the first would be due."""

    @workflow(name="looping")
    async def looping(rounds: int) -> list[float]:
        rang: list[float] = []
        begin = now()

        async def ring(seconds: float) -> None:
            await sleep(seconds)
            rang.append((now() - begin).total_seconds())

        async with open_nursery() as nursery:
            for seconds in (3000, 1000, 2000):
                nursery.go(ring, seconds)
            await nap(1)
            for _ in range(rounds):
                with move_on_after(86400):
                    pass
            await nap(10)
        return rang

    async with in_memory(evict_after=1e9) as engine:
        handle = await engine.submit(looping, 2000)
        await trio.sleep(5)
        assert timers() < 600
        assert await handle.result() == [1000, 2000, 3000], "those that somebody waits for ring when they are due"


async def test_a_clock_that_breaks_ends_the_engine_with_its_error(autojump_clock: Clock, tmp_path: Path) -> None:
    """Wherever it is asked: also where the error would otherwise vanish, and the workflow wait for ever."""

    class Breaking(VirtualClock):
        broken = False

        def utc(self) -> int:
            if self.broken:
                raise ZeroDivisionError("in the clock")
            return super().utc()

    @workflow(name="flow")
    async def flow() -> str:
        clock.broken = not mended
        await nap(1)
        return "done"

    mended: list[str] = []
    path, clock = tmp_path / "log.db", Breaking()
    with pytest.raises(ZeroDivisionError, match="in the clock"):
        async with on_file(path, flow, clock=clock) as engine:
            await engine.submit(flow, id="one")
            await trio.sleep(100)
    clock.broken = False
    mended.append("the clock")
    async with on_file(path, flow, clock=clock) as engine:
        assert await (await engine.get("one")).result() == "done"
