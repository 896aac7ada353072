"""Instruments that tests give to engines, and what these look at."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

import trio

from nurselog import step, workflow
from nurselog.abc import Happening, Instrument, Life, Recorded, StepBegins
from nurselog.lowlevel import Event

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Watcher(Instrument):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[Happening] = []

    def happened(self, what: Happening) -> None:
        self.all.append(what)

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [what for what in self.all if isinstance(what, kinds)]

    def events(self) -> list[Event]:
        return [what.event for what in self.of(Recorded)]

    def names(self, *but: type[Any]) -> list[str]:
        return [type(what).__name__ for what in self.all if not isinstance(what, but)]


class Painter(Instrument):
    """Sets a variable for each step, and gives headers along."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[tuple[Life | None, str]] = []

    def happened(self, what: Happening) -> None:
        if isinstance(what, StepBegins):
            colour.set(f"{self.name} for {what.path}")

    def headers(self, parent: Life | None, scope: str) -> Mapping[str, str]:
        self.asked.append((parent, scope))
        return {self.name: f"{parent.id if parent else colour.get()}:{scope}"}


@step
async def nap(seconds: float) -> str:
    await trio.sleep(seconds)
    return colour.get()


@workflow(name="instruments.napping")
async def napping(*seconds: float) -> list[str]:
    return [await nap(one) for one in seconds]
