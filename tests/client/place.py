"""A place that is opened in a thread, and the way there: what bridges are tried with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import trio

from nurselog._client.bridges import Bridge, OutOfAsyncio, seen_through, waited_for
from nurselog._client.thread import TrioThread
from nurselog._engine.desk import Desk

LETTING_GO = 0.02
"""Seconds: who does not wait for it is sure to be there first."""


class Place:
    """What is opened in the thread: nothing, and it says what becomes of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.broken = trio.Event()

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[Desk]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break)
                yield cast("Desk", self)
                nursery.cancel_scope.cancel()
        finally:
            self.said.append("closed")

    async def _break(self) -> None:
        await self.broken.wait()
        raise OSError("it broke")

    async def wait_for_ever(self, began: Callable[[], object] = lambda: None) -> None:
        try:
            began()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(LETTING_GO)
            self.said.append("let go")


def in_sync(scene: Callable[[Place, Bridge], object]) -> list[str]:
    """Play a scene with a thread; return what was said."""
    place = Place()
    thread = TrioThread(place.opening)
    thread.start()
    waited_for(thread.opened, thread.close)
    try:
        scene(place, Bridge(thread))
    finally:
        thread.close()
        waited_for(thread.ended, thread.close)
        thread.join()
    return place.said


def in_asyncio(scene: Callable[[Place, OutOfAsyncio], Awaitable[object]]) -> list[str]:
    place = Place()

    async def main() -> None:
        thread = TrioThread(place.opening)
        thread.start()
        await seen_through(thread.opened, thread.close)
        try:
            await scene(place, OutOfAsyncio(thread))
        finally:
            thread.close()
            await seen_through(thread.ended, thread.close)
            thread.join()

    asyncio.run(main())
    return place.said


async def twice(n: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * n
