"""What the parts of one running program share."""

from __future__ import annotations

from typing import Any, Protocol

import anyio
import trio

from nurselog import (
    CancelScope,
    Handle,
    Promise,
    Update,
    mailbox,
    open_memory_channel,
    open_stream,
    promise,
    updates,
)
from nurselog.testing.corpus.world import note

SHARED = 3
"""How many there are of each thing to share."""


def shape(exc: BaseException) -> Any:
    """Return what must be the same of an error in each life: the text of a `Cancelled` has addresses of tasks."""
    name = type(exc).__name__
    if isinstance(exc, BaseExceptionGroup):
        return (name, *map(shape, exc.exceptions))
    return name if isinstance(exc, trio.Cancelled) else (name, str(exc))


class Part(Protocol):
    """A part of a program."""

    async def run(self, world: World) -> Any:
        """Do it; this is workflow code."""
        ...


class World:
    """Shared by all strands of one program, in one life."""

    def __init__(self) -> None:
        self.events = [trio.Event() for _ in range(SHARED)]
        self.conditions = [trio.Condition() for _ in range(SHARED)]
        self.lots = [trio.lowlevel.ParkingLot() for _ in range(SHARED)]
        self.guards: dict[str, list[Any]] = {
            "lock": [trio.Lock() for _ in range(SHARED)],
            "fifo": [trio.StrictFIFOLock() for _ in range(SHARED)],
            "semaphore": [trio.Semaphore(1 + n) for n in range(SHARED)],
            "limiter": [trio.CapacityLimiter(1 + n) for n in range(SHARED)],
            "anyio lock": [anyio.Lock() for _ in range(SHARED)],
            "anyio semaphore": [anyio.Semaphore(1 + n) for n in range(SHARED)],
            "anyio limiter": [anyio.CapacityLimiter(1 + n) for n in range(SHARED)],
        }
        self.plain = [trio.open_memory_channel[Any](n) for n in range(SHARED)]
        self.ours = [open_memory_channel[Any](n) for n in range(SHARED)]
        self.boxes = [mailbox(f"topic {n}") for n in range(SHARED)]
        self.asked = [updates(f"name {n}") for n in range(SHARED)]
        self.taken: list[Update[Any, Any]] = []
        """Updates that were received, and are not answered yet."""
        self.streams = [open_stream(f"stream {n}") for n in range(SHARED)]
        self.promises: list[Promise[Any]] = [promise()]
        """All that were ever made; one is there from the beginning."""
        self.scopes: list[Any] = []
        """All cancel scopes that were ever opened: ours, Trio's and AnyIO's."""
        self.nurseries: list[Any] = []
        self.handles: list[Handle[Any]] = []
        """All children that were ever started with `go`."""

    async def run(self, part: Part) -> Any:
        """Run a part of the program between two notes."""
        name = type(part).__name__
        note("in", name)
        try:
            value = await part.run(self)
        except BaseException as exc:
            note("raised", name, shape(exc))
            raise
        note("out", name, value)
        return value

    def open_stream(self, which: int) -> None:
        """Open a stream anew that was closed."""
        self.streams[which] = open_stream(f"stream {which}")

    def opened(self, nursery: Any) -> None:
        """A nursery was opened."""
        self.nurseries.append(nursery)
        self.scopes.append(nursery.cancel_scope)

    def nursery(self, index: int) -> Any:
        """Return one of the nurseries, counted back from the last one opened; None if there are none."""
        return self.nurseries[-1 - index % len(self.nurseries)] if self.nurseries else None

    def scope(self, index: int) -> Any:
        """Return one of the scopes, counted back from the last one opened; None if there are none."""
        return self.scopes[-1 - index % len(self.scopes)] if self.scopes else None

    def handle(self, index: int) -> Handle[Any] | None:
        """Return one of the children, counted back from the last one started; None if there are none."""
        return self.handles[-1 - index % len(self.handles)] if self.handles else None

    def promise(self, index: int) -> Promise[Any]:
        """Return one of the promises, counted back from the last one made."""
        return self.promises[-1 - index % len(self.promises)]


def is_ours(scope: object) -> bool:
    """Whether a cancel scope is a durable one."""
    return isinstance(scope, CancelScope)
