"""What an engine has only once somebody needs it: an asyncio loop, worker processes.

Each is opened by a task of the engine's own, in whose context it then is, and closed with the engine, when no step runs
any more. The library behind it is imported at that time, too: most have no need of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias, final

import trio

from .._flow.body import Elsewhere
from .._flow.venue import Venue, library

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Elsewhere]]


@final
class Annex:
    """One of them.

    Args:
        venue: what runs there.
        load: imports what opens it, and returns that.
    """

    def __init__(self, venue: Venue, load: Callable[[], Opener]) -> None:
        self._venue, self._load = venue, load
        self._opened: Elsewhere
        self._wanted, self._ready = trio.Event(), trio.Event()

    async def get(self) -> Elsewhere:
        """Return it, once it is open. A checkpoint.

        Raises:
            UsageError: if its library is missing.
        """
        library(self._venue)
        self._wanted.set()
        await self._ready.wait()
        return self._opened

    async def run(self) -> None:
        """Have it open from when it is first wanted until this is cancelled."""
        await self._wanted.wait()
        async with self._load()() as self._opened:
            self._ready.set()
            await trio.sleep_forever()


def annexes(grace: float) -> Mapping[Venue, Annex]:
    """Return all that an engine may have.

    Args:
        grace: seconds that worker processes get to end.
    """
    return {
        Venue.ASYNCIO: Annex(Venue.ASYNCIO, _load_loop),
        Venue.PROCESS: Annex(Venue.PROCESS, partial(_load_processes, grace)),
    }


def _load_loop() -> Opener:
    from .crossing import open_loop  # noqa: PLC0415 - asyncio takes long to import, and most have no need of it

    return open_loop


def _load_processes(grace: float) -> Opener:
    from .processes import open_processes  # noqa: PLC0415 - as above

    return partial(open_processes, grace)
