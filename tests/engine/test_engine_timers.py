"""Timers of many workflows in one engine: those that nobody waits for any more, and clocks that break."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import trio

from nurselog import Status, after, move_on_after, now, open_nursery, sleep, step, workflow
from nurselog._flow.timers import Timer, Timers
from nurselog.testing import VirtualClock
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


async def test_a_timer_that_is_set_later_and_due_earlier(autojump_clock: Clock) -> None:
    """The engine waits for the first one already, and must look again."""

    @workflow(name="two timers")
    async def two_timers() -> list[float]:
        begin = now()
        rang: list[float] = []

        async def ring(seconds: float) -> None:
            await sleep(seconds)
            rang.append((now() - begin).total_seconds())

        async with open_nursery() as nursery:
            nursery.go(ring, 1000)
            await nap(5)
            nursery.go(ring, 100)
        return rang

    async with in_memory(evict_after=1e9) as engine:
        assert await engine.run(two_timers) == [105, 1000]


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


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_an_alarm_that_nobody_can_wait_for_hides_no_deadlock(autojump_clock: Clock, when: str) -> None:
    @workflow(name="forgetful")
    async def forgetful() -> None:
        circle: list[object] = [after(10)]
        circle.append(circle)
        del circle
        if when == "at once":
            gc.collect()
        await trio.Event().wait()

    gc.disable()
    try:
        async with in_memory() as engine:
            handle = await engine.submit(forgetful)
            await trio.sleep(1)
            gc.collect()
            assert (await handle.status() is Status.STUCK) == (when == "at once")
            await trio.sleep(10)
            assert await handle.status() is Status.STUCK, "when the alarm would have rung, at the latest"
    finally:
        gc.enable()


def test_the_collector_may_come_at_any_moment() -> None:
    """Here in the middle of going live: while the timers are gone through."""
    watched: list[Timer] = []

    def watch(timer: Timer) -> None:
        watched.append(timer)
        timers_.lose(made[2])

    timers_ = Timers(watch)
    made = [Timer(str(n), n, lambda: None) for n in range(4)]
    for timer in made:
        timers_.arm(timer)
    timers_.lose(made[1])
    assert timers_.go_live(0) == made[:1]
    assert watched == made[2:]
    assert [timers_.has(timer) for timer in made] == [True, False, False, True]
    timers_.disarm(made[3])
    timers_.disarm(made[0])
    assert not timers_
