"""What a generated program is made of, the parts that have no parts."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from nurselog import (
    Retry,
    StepInterrupted,
    StepTimedOut,
    open_memory_channel,
    open_nursery,
    sleep,
)
from tests.simulation.steps import flaky, pay, work


class Node(msgspec.Struct, frozen=True, tag=str.lower):
    """A part of a program."""

    async def run(self) -> Any:
        """Do it; this is workflow code."""
        raise NotImplementedError


class Work(Node, frozen=True):
    """A step."""

    number: int
    seconds: float

    async def run(self) -> Any:
        return await work(self.number, self.seconds)


class Timed(Node, frozen=True):
    """A step that may be too slow."""

    number: int
    seconds: float
    timeout: float

    async def run(self) -> Any:
        try:
            return await work.using(timeout=self.timeout)(self.number, self.seconds)
        except StepTimedOut:
            return "too slow"


class Flaky(Node, frozen=True):
    """A step that fails some times, perhaps too often."""

    fails: int
    delay: float

    async def run(self) -> Any:
        return await flaky.using(retry=Retry(attempts=3, delay=self.delay))(self.fails)


class Pay(Node, frozen=True):
    """A step that must not run twice."""

    number: int
    seconds: float

    async def run(self) -> Any:
        try:
            return await pay(self.number, self.seconds)
        except StepInterrupted:
            return "interrupted"


class Nap(Node, frozen=True):
    """A while."""

    seconds: float

    async def run(self) -> Any:
        await sleep(self.seconds)


class Pipe(Node, frozen=True):
    """One that makes things and one that uses them, with room for one in between, and a lock around the shelf."""

    count: int
    seconds: float

    async def run(self) -> Any:
        send, receive = open_memory_channel[int](1)
        lock, shelf = trio.Lock(), list[int]()

        async def make() -> None:
            async with send:
                for number in range(self.count):
                    await send.send(await work(number, self.seconds))

        async def use() -> None:
            async for number in receive:
                async with lock:
                    shelf.append(await work(number, self.seconds / 2))

        async with open_nursery() as nursery:
            nursery.start_soon(make)
            nursery.start_soon(use)
            async with lock:
                await sleep(self.seconds)
        return shelf
