"""Generated programs: small trees of whatever workflows are made of, drawn by a seed.

A tree is the input of one workflow, `program`, so that engines that never met can go on with it. All that takes time
takes some share of the run's unit, from a moment to many leases: most of what can go wrong does so in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import trio

from nurselog import (
    CancelScope,
    Handle,
    Retry,
    StepInterrupted,
    StepTimedOut,
    Workflow,
    after,
    gather,
    move_on_after,
    open_memory_channel,
    open_nursery,
    race,
    select,
    sleep,
    uuid4,
)
from tests.simulation.steps import Flop, flaky, pay, release, reserve, work


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


class Then(Node, frozen=True):
    """One after the other."""

    parts: tuple[Program, ...]

    async def run(self) -> Any:
        return [await part.run() for part in self.parts]


class All(Node, frozen=True):
    """Side by side."""

    parts: tuple[Program, ...]

    async def run(self) -> Any:
        async with open_nursery() as nursery:
            return await gather(*[nursery.go(part.run) for part in self.parts])


class First(Node, frozen=True):
    """The first of several; the others are cancelled."""

    parts: tuple[Program, ...]

    async def run(self) -> Any:
        return await race(*[part.run for part in self.parts])


class Within(Node, frozen=True):
    """As long as patience lasts."""

    seconds: float
    part: Program

    async def run(self) -> Any:
        with move_on_after(self.seconds):
            return await self.part.run()
        return "late"


class Held(Node, frozen=True):
    """With something reserved that must be released."""

    seconds: float
    part: Program

    async def run(self) -> Any:
        what = str(uuid4())
        try:
            await reserve(what, self.seconds)
            return await self.part.run()
        finally:
            with CancelScope(shield=True):
                await release(what, self.seconds)


class Pick(Node, frozen=True):
    """Whatever comes first of a part and a time; the other is told to stop."""

    seconds: float
    part: Program

    async def run(self) -> Any:
        async with open_nursery() as nursery:
            handle: Handle[Any] = nursery.go(self.part.run)
            chosen = await select(handle, after(self.seconds))
            nursery.cancel_scope.cancel("chosen")
        return [chosen.index, repr(chosen.outcome)]


class Abort(Node, frozen=True):
    """A part, and a sibling that fails after a while, and cancels it."""

    seconds: float
    part: Program

    async def run(self) -> Any:
        async def fail() -> None:
            await sleep(self.seconds)
            raise Flop("enough")

        async with open_nursery() as nursery:
            nursery.start_soon(fail)
            return await self.part.run()


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


class Careful(Node, frozen=True):
    """A part whose errors are values."""

    part: Program

    async def run(self) -> Any:
        try:
            return await self.part.run()
        except Exception as exc:  # noqa: BLE001 - whatever it is: it is part of the program
            return type(exc).__name__


Program: TypeAlias = (
    Work | Timed | Flaky | Pay | Nap | Then | All | First | Within | Held | Pick | Abort | Pipe | Careful
)

_decoder = msgspec.json.Decoder[Program](Program)


async def _program(source: str) -> str:
    return repr(await _decoder.decode(source).run())


program: Workflow[[str], str] = Workflow(_program, "program", None)
"""Runs a tree; its input is the tree as JSON."""


# -- drawing them --------------------------------------------------------------------------------


class Writer:
    """Writes programs.

    Args:
        chance: draws them.
        unit: seconds; everything takes some share of it.
    """

    def __init__(self, chance: random.Random, unit: float) -> None:
        self._chance, self._unit = chance, unit

    def write(self) -> str:
        """Return a program as JSON."""
        return msgspec.json.encode(self.draw(3)).decode()

    def draw(self, depth: int) -> Program:
        """Draw a part of a program that is so deep at most."""
        inner = depth > 0 and self._chance.random() < 0.75
        return self._chance.choice(self._inner if inner else self._leaves)(depth - 1)

    def _while(self, least: float = -4, most: float = 0.5) -> float:
        return self._unit * 10 ** self._chance.uniform(least, most)

    def _number(self) -> int:
        return self._chance.randrange(100)

    def _parts(self, depth: int) -> tuple[Program, ...]:
        return tuple(self.draw(depth) for _ in range(self._chance.randint(1, 3)))

    @property
    def _leaves(self) -> list[Callable[[int], Program]]:
        return [
            lambda _: Work(self._number(), self._while()),
            lambda _: Timed(self._number(), self._while(), self._while()),
            lambda _: Flaky(self._chance.randrange(4), self._while()),
            lambda _: Pay(self._number(), self._while()),
            lambda _: Nap(self._while(-3, 1)),
            lambda _: Pipe(self._chance.randint(1, 3), self._while(-4, -0.5)),
        ]

    @property
    def _inner(self) -> list[Callable[[int], Program]]:
        return [
            lambda depth: Then(self._parts(depth)),
            lambda depth: Then(self._parts(depth)),
            lambda depth: All(self._parts(depth)),
            lambda depth: First(self._parts(depth)),
            lambda depth: Within(self._while(-2), self.draw(depth)),
            lambda depth: Held(self._while(-4, -1), self.draw(depth)),
            lambda depth: Held(self._while(-4, -1), self.draw(depth)),
            lambda depth: Pick(self._while(-2), self.draw(depth)),
            lambda depth: Abort(self._while(-2), self.draw(depth)),
            lambda depth: Careful(self.draw(depth)),
        ]
