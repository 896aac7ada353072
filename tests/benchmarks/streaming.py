"""Streams: how many items a second, from a step and from workflow code, and how long one takes to who reads it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import trio

from nurselog import Engine, open_stream, step, workflow
from tests.benchmarks.on_nurselog import measured
from tests.benchmarks.plan import Sample

ITEMS = "items"
REST = 0.01
"""Seconds between two items of which each is timed."""


async def send(items: Iterable[object]) -> None:
    async with open_stream(ITEMS) as stream:
        await stream.send_all(items)


@step
async def send_in_a_step(size: int) -> None:
    await send(range(size))


@step
async def send_one_by_one(size: int) -> None:
    async with open_stream(ITEMS) as stream:
        for number in range(size):
            await stream.send(number)


@step
async def send_times(size: int) -> None:
    async with open_stream(ITEMS) as stream:
        for _ in range(size):
            await stream.send(time.perf_counter())
            await trio.sleep(REST)


@workflow
async def streaming(size: int) -> None:
    await send(range(size))


@workflow
async def streaming_in_a_step(size: int) -> None:
    await send_in_a_step(size)


@workflow
async def streaming_one_by_one(size: int) -> None:
    await send_one_by_one(size)


@workflow
async def streaming_times(size: int) -> None:
    await send_times(size)


def stream(size: int, folder: Path) -> Sample:
    """Send items together from workflow code."""
    return measured(lambda engine: engine.run(streaming, size), size, folder)


def stream_in_a_step(size: int, folder: Path) -> Sample:
    """Send items together from a step."""
    return measured(lambda engine: engine.run(streaming_in_a_step, size), size, folder)


def stream_one_by_one(size: int, folder: Path) -> Sample:
    """Send items from a step, with a checkpoint for each."""
    return measured(lambda engine: engine.run(streaming_one_by_one, size), size, folder)


def stream_read(size: int, folder: Path) -> Sample:
    """Send items together from a step while somebody in the same process reads all of them."""

    async def body(engine: Engine) -> None:
        handle = await engine.submit(streaming_in_a_step, size)
        assert len([item async for item in handle.follow(ITEMS, int)]) == size

    return measured(body, size, folder)


def item(size: int, folder: Path) -> Sample:
    """Time from each item's sending in a step to its reader; take the one in the middle."""
    times: list[float] = []

    async def body(engine: Engine) -> None:
        handle = await engine.submit(streaming_times, size)
        async for one in handle.follow(ITEMS, float):
            times.append(time.perf_counter() - one.value)

    measured(body, size, folder)
    return Sample(statistics.median(times), size, p99=statistics.quantiles(times, n=100)[98])
