"""Virtual time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from nurselog import now, open_engine, sleep, workflow
from nurselog.testing import VirtualClock
from nurselog.testing.clock import Hold, in_virtual_time

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)


@workflow
async def leap() -> list[str]:
    before = now()
    await sleep(2 * 86400)
    return [f"{before:%Y-%m-%d %H}", f"{now():%Y-%m-%d %H}"]


async def test_utc_goes_with_trios_time(autojump_clock: MockClock) -> None:
    clock = VirtualClock(NOON)
    assert clock.utc() == NOON.timestamp() * 1e6
    async with open_engine("sqlite://", (), clock=clock) as engine:
        assert await engine.run(leap) == ["2026-02-28 12", "2026-03-02 12"]


async def test_a_clock_that_is_set(autojump_clock: MockClock) -> None:
    clock = VirtualClock()
    clock.set(5_000_000)
    await trio.sleep(1)
    assert clock.utc() == 6_000_000
    await clock.sleep_until(0)
    await clock.sleep_until(8_000_000)
    assert trio.current_time() == 3


def test_tests_that_are_interrupted_stop() -> None:
    """In a nursery Trio puts Control-C into a group, which pytest would take for a failure."""

    async def main(_: Hold) -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_virtual_time(main, 0)


def test_other_groups_are_raised_as_they_are() -> None:
    async def main(_: Hold) -> None:
        async with trio.open_nursery():
            raise ValueError("no")

    with pytest.raises(ExceptionGroup):
        in_virtual_time(main, 0)


@pytest.mark.parametrize(("ahead", "lasted"), [(8, 2), (3, 7), (-10, 20)])
async def test_a_clock_that_is_set_while_somebody_sleeps(autojump_clock: MockClock, ahead: int, lasted: float) -> None:
    clock = VirtualClock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.sleep_until, clock.utc() + 10_000_000)
        await trio.sleep(2)
        clock.set(clock.utc() + ahead * 1_000_000)
    assert trio.current_time() == lasted
