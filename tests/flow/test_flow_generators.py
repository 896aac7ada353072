"""Async generators that code leaves half-way: what is open in them, and how they are closed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from nurselog import UsageError, open_nursery, sleep, step
from tests.flow.rig import play

Clock = trio.testing.MockClock


@step
async def ok(number: int) -> int:
    return number


async def half_way() -> int:
    async def numbers() -> AsyncIterator[int]:
        async with open_nursery() as nursery:
            nursery.start_soon(sleep, 1000)
            while True:
                yield await nursery.go(ok, 1).result()

    async for number in numbers():
        return number
    raise AssertionError


@pytest.mark.parametrize("way", ["go", "start_soon", "Trio's"])
async def test_a_branch_that_leaves_a_nursery_open(autojump_clock: Clock, way: str) -> None:
    """It is closed in the task that has opened it, when that has returned; and the workflow is told."""

    async def flow() -> int:
        with pytest.RaisesGroup(pytest.RaisesExc(UsageError, match="half_way.* with a nursery left open; .*aclosing")):
            async with trio.open_nursery() if way == "Trio's" else open_nursery() as nursery:
                if way == "go":
                    with pytest.raises(RuntimeError):
                        await nursery.go(half_way).result()
                else:
                    nursery.start_soon(half_way)
        return await ok(2)

    assert await play(flow) == 2


async def test_a_branch_that_leaves_a_nursery_open_and_fails(autojump_clock: Clock) -> None:
    async def failing() -> None:
        await half_way()
        raise KeyError("after that")

    async def flow() -> int:
        with pytest.RaisesGroup(KeyError):
            async with open_nursery() as nursery:
                nursery.start_soon(failing)
        return await ok(2)

    assert await play(flow) == 2


async def test_a_generator_that_makes_a_group_of_being_closed(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield await ok(1)
        except GeneratorExit as exc:
            raise BaseExceptionGroup("as a nursery does", [exc]) from None

    async def flow() -> int:
        async for number in numbers():
            return number
        raise AssertionError

    assert await play(flow) == 1
    assert "an async generator that was left open failed to close" in caplog.text


async def test_something_fatal_when_a_generator_is_closed(autojump_clock: Clock) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield await ok(1)
        finally:
            raise KeyboardInterrupt

    async def flow() -> None:
        async for _ in numbers():
            break

    with pytest.raises(KeyboardInterrupt):
        await play(flow)


async def test_a_generator_that_waits_when_it_is_closed_is_cancelled(autojump_clock: Clock) -> None:
    seen: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield await ok(1)
        finally:
            seen.append("closed")
            await sleep(1)
            seen.append("went on")

    async def flow() -> int:
        async for number in numbers():
            return number
        raise AssertionError

    assert await play(flow) == 1
    assert seen == ["closed"] * 2, "and once more in the replay"
