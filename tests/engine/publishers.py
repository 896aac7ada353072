"""Workflows that publish, and what they have published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from nurselog import WorkflowHandle, open_stream, publish, sleep, step, workflow
from nurselog.lowlevel import Emitted, Published


@step
async def emit(first: int, count: int, pause: float = 0) -> None:
    async with open_stream("items") as stream:
        for number in range(first, first + count):
            await stream.send(number)
            await trio.sleep(pause)


@workflow
async def emitting(first: int, count: int, pause: float) -> None:
    """Send items from a step, with pauses between them."""
    await emit(first, count, pause)
    await sleep(30)


@workflow
async def streaming(count: int, pause: float) -> str:
    """Send items from the workflow, with pauses between them."""
    async with open_stream("items") as stream:
        for number in range(count):
            await stream.send(number)
            await sleep(pause)
    await sleep(30)
    return "done"


@workflow
async def counting(count: int) -> None:
    """Publish a number each second, and nothing for long at the end."""
    for number in range(count):
        publish("number", number)
        await sleep(1)
    await sleep(30)


@workflow
async def failing_midway() -> None:
    """Fail in the middle of a stream."""
    async with open_stream("items") as stream:
        await stream.send(1)
        raise ValueError("midway")


@workflow
async def stuck_midway() -> None:
    """Wait for what never comes, in the middle of a stream."""
    async with open_stream("items") as stream:
        await stream.send(1)
        await trio.sleep_forever()


async def read(handle: WorkflowHandle[Any], name: str = "items", after: int = 0) -> Sequence[Any]:
    return [item.value async for item in handle.follow(name, after=after)]


async def positions(handle: WorkflowHandle[Any], kind: type[Published | Emitted]) -> list[tuple[int, bytes | None]]:
    return [(entry.seq, entry.value) for entry in await handle.log() if isinstance(entry.event, kind)]
