"""Workflows whose steps run in asyncio, in lives that end at each event."""

from __future__ import annotations

import asyncio

import pytest

from nurselog import CancelScope, Retry, attempt, gather, open_nursery, sleep, step, workflow
from nurselog._flow.venue import Venue
from nurselog.testing import cancel_everywhere, crash_everywhere
from tests.neighbours import need

need(Venue.ASYNCIO)


@step(asyncio=True, retry=Retry(attempts=2))
async def fetch(number: int) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(number))
    if attempt() == 1 and number == 2:
        raise OSError
    return number


@step(asyncio=True)
async def undo(number: int) -> None:
    await asyncio.sleep(1)


@workflow
async def order() -> list[int]:
    done: list[int] = []
    try:
        async with open_nursery() as nursery:
            done += await gather(*[nursery.go(fetch, number) for number in range(3)])
        await sleep(5)
        done.append(await fetch(3))
    except BaseException:
        with CancelScope(shield=True):
            for number in done:
                await undo(number)
        raise
    return done


@pytest.mark.parametrize("suspend", [False, True])
def test_crashes(*, suspend: bool) -> None:
    crash_everywhere(order, suspend=suspend)


def test_cancellations() -> None:
    cancel_everywhere(order)
