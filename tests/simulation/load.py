"""Generated programs: small trees of whatever workflows are made of, drawn by a seed.

A tree is the input of one workflow, `program`, so that engines that never met can go on with it. All that takes time
takes some share of the run's unit, from a moment to many leases: most of what can go wrong does so in between.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from nurselog import (
    CancelScope,
    Handle,
    Workflow,
    after,
    gather,
    mailbox,
    move_on_after,
    open_nursery,
    race,
    select,
    sleep,
    submit,
    uuid4,
)
from tests.simulation.nodes import Flaky, Nap, Node, Pay, Pipe, Timed, Work
from tests.simulation.steps import Flop, release, reserve
from tests.simulation.talk import Abandon, Ask, Listen, Serve, Tell


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


class Careful(Node, frozen=True):
    """A part whose errors are values."""

    part: Program

    async def run(self) -> Any:
        try:
            return await self.part.run()
        except Exception as exc:  # noqa: BLE001 - whatever it is: it is part of the program
            return type(exc).__name__


class Kid(Node, frozen=True):
    """A part as a workflow of its own."""

    part: Program

    async def run(self) -> Any:
        return await program(_source(self.part))


class Spawn(Node, frozen=True):
    """A part as a workflow that is nobody's child."""

    part: Program

    async def run(self) -> Any:
        return await submit(program, _source(self.part))


class Brood(Node, frozen=True):
    """Parts as workflows of their own, side by side; one may be told to stop after a while."""

    parts: tuple[Program, ...]
    seconds: float

    async def run(self) -> Any:
        async with open_nursery() as nursery:
            kids = [nursery.go(program, _source(part)) for part in self.parts]
            chosen = await select(*kids, after(self.seconds))
            kids[-1].cancel("too slow")
            return [chosen.index, *[repr(await kid.receive()) for kid in kids]]


class Mind(Node, frozen=True):
    """A part as a workflow of its own, and what others say meanwhile, as long as patience lasts."""

    part: Program
    topic: str
    seconds: float

    async def run(self) -> Any:
        heard = list[str]()
        async with open_nursery() as nursery:
            kid: Handle[str] = nursery.go(program, _source(self.part))
            letters, other, late = mailbox(self.topic, str), nursery.go(Nap(self.seconds / 3).run), after(self.seconds)
            while True:
                chosen = await select(letters, kid, late)
                heard.append(f"{chosen.index} {chosen.outcome!r}")
                if chosen.index > 0:
                    break
            nursery.cancel_scope.cancel("heard enough")
        return [*heard, repr(kid.outcome), repr(other.outcome)]


Program: TypeAlias = (
    Work
    | Timed
    | Flaky
    | Pay
    | Nap
    | Pipe
    | Listen
    | Serve
    | Ask
    | Tell
    | Abandon
    | Then
    | All
    | First
    | Within
    | Held
    | Pick
    | Abort
    | Careful
    | Kid
    | Spawn
    | Brood
    | Mind
)

_decoder = msgspec.json.Decoder[Program](Program)


async def _program(source: str) -> str:
    return repr(await _decoder.decode(source).run())


program: Workflow[[str], str] = Workflow(_program, "program", None)
"""Runs a tree; its input is the tree as JSON."""


def _source(part: Program) -> str:
    return msgspec.json.encode(part).decode()
