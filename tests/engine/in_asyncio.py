"""Steps that are written for asyncio, as tests make them and run them. What they come to is in `seen`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nurselog import step
from nurselog.lowlevel import Result, StepEnded
from tests.flow.rig import play

seen: list[object] = []


def aio(fn: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Make a step of a function of asyncio's."""
    return step(name=fn.__name__, asyncio=True, **options)(fn)


async def nap(seconds: float) -> float:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    return seconds


async def play_one(step: Callable[..., Awaitable[Any]], *args: object) -> Any:
    """Run one step in a workflow."""

    async def flow() -> Any:
        return await step(*args)

    return await play(flow)


def results(log: list[Any]) -> list[Result]:
    return [event.result for event in log if isinstance(event, StepEnded)]
