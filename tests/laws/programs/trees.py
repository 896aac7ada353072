"""The inner nodes of generated programs: each runs the parts below it under something that Trio or nurselog has."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeAlias

import anyio
import msgspec
import trio

import nurselog
from nurselog.testing.corpus.world import note
from tests.laws.programs.leaves import AnyLeaf
from tests.laws.programs.steps import STEPS
from tests.laws.programs.world import World, shape


class Tree(msgspec.Struct, frozen=True, tag=str.lower):
    """The base of all inner nodes."""

    async def run(self, world: World) -> Any:
        raise NotImplementedError


class Sequence(Tree, frozen=True):
    """One part after the other."""

    parts: tuple[Node, ...]
    careful: bool = False
    """Whether it goes on after an error."""

    async def run(self, world: World) -> list[Any]:
        return [await (attempt(world, part) if self.careful else world.run(part)) for part in self.parts]


async def attempt(world: World, part: Node) -> Any:
    """Run a part, and return its error as a value."""
    try:
        return await world.run(part)
    except Exception as exc:  # noqa: BLE001 - whatever it is: it is part of the program
        return shape(exc)


class Swallow(Tree, frozen=True):
    """Whatever the part raises, a cancellation or a suspension included, is gone, or gives way to another error."""

    part: Node
    instead: Literal["value", "error"]

    async def run(self, world: World) -> Any:
        try:
            return await world.run(self.part)
        except BaseException as exc:  # noqa: BLE001 - code like this exists
            if self.instead == "error":
                raise KeyError("instead") from None
            return shape(exc)


class Cleanup(Tree, frozen=True):
    """Compensation: steps after the part, always, or only after a cancellation or an error."""

    after: Literal["all", "cancelled", "error"]
    part: Node
    repairs: tuple[str, ...]
    shield: bool = True

    async def run(self, world: World) -> Any:
        try:
            value = await world.run(self.part)
        except trio.Cancelled:
            await self._repair(world, "cancelled")
            raise
        except Exception:
            await self._repair(world, "error")
            raise
        except BaseException:  # a group with `Cancelled`, or a suspension
            await self._repair(world, "all")
            raise
        await self._repair(world, "all")
        return value

    async def _repair(self, world: World, met: str) -> None:
        if self.after in {"all", met}:
            with trio.CancelScope(shield=self.shield):
                for name in self.repairs:
                    note("repaired", await STEPS[name](0))


class Within(Tree, frozen=True):
    """A part in a cancel scope."""

    kind: Literal["move on", "fail", "at", "scope", "shield", "cancelled", "plain", "anyio"]
    seconds: float
    part: Node

    async def run(self, world: World) -> Any:
        with self._open() as scope:
            world.scopes.append(scope)
            return await world.run(self.part)
        return ("left", scope.cancelled_caught)

    def _open(self) -> Any:
        match self.kind:
            case "move on":
                return nurselog.move_on_after(self.seconds)
            case "fail":
                return nurselog.fail_after(self.seconds)
            case "at":
                return nurselog.move_on_at(nurselog.now() + timedelta(seconds=self.seconds))
            case "plain":
                return trio.CancelScope()
            case "anyio":
                return anyio.CancelScope()
            case _:
                scope = nurselog.CancelScope(shield=self.kind == "shield")
                if self.kind == "cancelled":
                    scope.cancel("before it was entered")
                return scope


class Holding(Tree, frozen=True):
    """A part that holds a lock, a semaphore or a limiter's token."""

    guard: Literal["lock", "fifo", "semaphore", "limiter", "anyio lock", "anyio semaphore", "anyio limiter"]
    which: int
    part: Node

    async def run(self, world: World) -> Any:
        async with world.guards[self.guard][self.which]:
            return await world.run(self.part)


class Generated(Tree, frozen=True):
    """An async generator around parts, which is used up, closed early, or left lying."""

    parts: tuple[Node, ...]
    end: Literal["used up", "closed", "abandoned"]

    async def run(self, world: World) -> list[Any]:
        generator = self._generate(world)
        if self.end == "abandoned":
            return [await anext(generator, None)]
        async with aclosing(generator):
            if self.end == "closed":
                return [await anext(generator, None)]
            return [value async for value in generator]

    async def _generate(self, world: World) -> Any:
        try:
            for part in self.parts:
                yield await world.run(part)
        finally:
            note("generator closed")


# -- concurrency ---------------------------------------------------------------------------------


class Spawned(msgspec.Struct, frozen=True):
    """A child of a nursery; in a nursery that has no `go` all are plain tasks."""

    how: Literal["go", "soon"]
    part: Node | None = None
    step: str | None = None
    """A step, instead of a branch."""

    def start(self, world: World, nursery: Any) -> None:
        fn, arg = (world.run, self.part) if self.part is not None else (STEPS[self.step or "quick"], 1)
        if self.how == "go" and isinstance(nursery, nurselog.Nursery):
            world.handles.append(nursery.go(fn, arg))
        else:
            nursery.start_soon(fn, arg)


class Nursery(Tree, frozen=True):
    kind: Literal["ours", "trio", "anyio"]
    children: tuple[Spawned, ...]
    body: Node
    cancel: bool = False

    async def run(self, world: World) -> Any:
        first, value = len(world.handles), None
        async with _NURSERIES[self.kind]() as nursery:
            world.opened(nursery)
            for child in self.children:
                child.start(world, nursery)
            mine = world.handles[first:]
            value = await world.run(self.body)
            if self.cancel:
                nursery.cancel_scope.cancel()
        return (value, [(one.path, repr(one.outcome)) for one in mine])


class Into(Tree, frozen=True):
    """Start a child in any nursery, whoever has opened it and whether it is still open or not."""

    which: int
    child: Spawned

    async def run(self, world: World) -> str | None:
        nursery = world.nursery(self.which)
        return None if nursery is None else self.child.start(world, nursery)


class Started(Tree, frozen=True):
    """`nursery.start`: the caller waits for the first part."""

    kind: Literal["ours", "trio", "anyio"]
    first: Node
    rest: Node
    body: Node

    async def run(self, world: World) -> Any:
        value = None
        async with _NURSERIES[self.kind]() as nursery:
            world.opened(nursery)
            value = await nursery.start(self._serve, world)
            await world.run(self.body)
        return value

    async def _serve(self, world: World, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started(repr(await world.run(self.first)))
        await world.run(self.rest)


class Race(Tree, frozen=True):
    parts: tuple[Node, ...]

    async def run(self, world: World) -> Any:
        return await nurselog.race(*(partial(world.run, part) for part in self.parts))


class Map(Tree, frozen=True):
    parts: tuple[Node, ...]
    limit: int | None

    async def run(self, world: World) -> Any:
        return await nurselog.map_concurrently(world.run, self.parts, limit=self.limit)


_NURSERIES = {"ours": nurselog.open_nursery, "trio": trio.open_nursery, "anyio": anyio.create_task_group}

AnyTree: TypeAlias = Sequence | Swallow | Cleanup | Within | Holding | Generated | Nursery | Into | Started | Race | Map
Node: TypeAlias = AnyLeaf | AnyTree
