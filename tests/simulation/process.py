"""A process, as far as its store and the bodies of its steps know it: whether it lives, stands still, how late it is.

All processes are in one. A *crash* is therefore a word: from then on nothing of the process counts. The database takes
nothing from it any more, and its bodies have no effects; that its code unwinds afterwards, nobody can see. A *stop*, as
by SIGSTOP, holds the process up wherever it meets the world: at the store, at its clock, in bodies. In between its
engine could still move on by itself, which a stopped process does not; but nothing of that leaves it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import trio

from nurselog import Engine, StoreError

BEGIN = 1_893_456_000_000_000
"""UTC microseconds when virtual time begins."""


def true_time() -> int:
    """Return UTC microseconds by a clock that is right: the database's."""
    return BEGIN + round(trio.current_time() * 1e6)


class Gone(StoreError):
    """The process has died: the database takes nothing from it any more."""

    def __init__(self) -> None:
        super().__init__("this process has died")


class Pulse:
    """Whether what runs on a machine goes on."""

    def __init__(self) -> None:
        self._goes_on = trio.Event()
        self._goes_on.set()

    def stop(self) -> None:
        """Let everything stand still."""
        if self._goes_on.is_set():
            self._goes_on = trio.Event()

    def go_on(self) -> None:
        """Let it go on."""
        self._goes_on.set()

    async def felt(self) -> None:
        """Wait until it goes on; no checkpoint while it does."""
        while not self._goes_on.is_set():
            await self._goes_on.wait()


class MachineClock:
    """A machine's clock: off by so much, and set from time to time. It does not wake who stands still."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._off = 0
        self._was_set = trio.Event()

    def utc(self) -> int:
        """Return UTC microseconds, as far as this machine knows."""
        return true_time() + self._off

    def set_off(self, microseconds: int) -> None:
        """Set it, so that it is off by so much."""
        self._off = microseconds
        self._was_set.set()
        self._was_set = trio.Event()

    async def sleep_until(self, due: int) -> None:
        """Wait until it is `due` by this clock. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while (left := due - self.utc()) > 0:
            with trio.move_on_after(left / 1e6):
                await self._was_set.wait()
            await self._pulse.felt()


class Process:
    """One process, from its start to its end."""

    worker: str = ""
    """Its engine's name in the database."""
    engine: Engine | None = None
    """While it is open."""
    clients: trio.Nursery
    """Those who use the engine."""

    def __init__(self, name: str, pulse: Pulse, clock: MachineClock, release: int) -> None:
        self.name, self.pulse, self.clock, self.release = name, pulse, clock, release
        self.alive: bool = True
        self.told: trio.Event = trio.Event()
        """Set when it is told to end."""
        self.down: trio.Event = trio.Event()
        """Set when it has."""

    def crash(self) -> None:
        """Die."""
        self.alive = False
        self.engine = None
        self.pulse.go_on()
        self.told.set()
        self.down.set()

    def check(self) -> None:
        """See that it lives.

        Raises:
            Gone: if it does not.
        """
        if not self.alive:
            raise Gone

    async def awake(self) -> None:
        """Wait while the process stands still.

        Raises:
            Gone: if it has died.
        """
        self.check()
        await self.pulse.felt()
        self.check()


here: ContextVar[Process] = ContextVar("simulated_process")
"""The process in which code runs."""


async def takes(seconds: float) -> None:
    """Take a while, as what a step does outside; the body of a dead process does not come back."""
    await trio.sleep(seconds)
    process: Any = here.get()
    await process.pulse.felt()
    if not process.alive:
        await trio.sleep_forever()
