"""The lease as an engine knows it: renewed in time, in doubt when nobody has heard, good again, or lost.

An engine lets go of everything before others may take over, by its own clock. But where its event loop was held up, by
code that computes, by a hundred thousand tasks that wake at once, by a machine that sleeps, that time is over before
anybody has asked the store. Letting go then would run everything again for nothing, since as a rule nobody has taken
over; going on would begin steps that somebody else has recorded long ago. So between the two there is doubt: the store
is asked, and until it has answered nothing is taken up, and no body of a step begins. For its answer it has a moment,
and after a pause some turns of the event loop, but not for ever, since a call may outlast any lease.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from ..abc import Lease, Store
from .patience import Outage, patiently
from .unwrap import unwrapped

_BEATS = 3
"""Heartbeats for each lease."""

_MOMENT = 1 / 10
"""What part of the time between two heartbeats the store has for its answer, when it is time to let go."""

_TURNS = 100
"""Of the event loop, that it has besides after a pause: where turns are long, seconds say little. Each round trip takes
one at least, and there is one for each shard."""


class Tenure:
    """Keeps the lease of one engine.

    Args:
        store: who grants it.
        lease: whose it is, and for how long.
    """

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store, self._lease = store, lease
        self._duration = lease.duration / 1e6
        self.beat: float = self._duration / _BEATS
        """Seconds from one renewal to the next."""
        self._moment = self.beat * _MOMENT
        self._expires = math.inf
        self.life: int = 0
        """How often the lease was lost, and everything with it."""
        self._is_lost = False
        """Whether everything was told to leave, and there is no new lease yet."""
        self._is_over = False
        """Whether nobody keeps it any more: the engine closes."""
        self._news = trio.Event()
        """Set, and replaced, when any of that changes."""

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self._lease.worker

    @property
    def left(self) -> float:
        """Seconds until others may take over."""
        return self._expires - trio.current_time()

    @property
    def _let_go_at(self) -> float:
        """When it is time to let go, unless the lease has been renewed by then."""
        return self._expires - self.beat / 2

    @property
    def is_doubtful(self) -> bool:
        """Whether it should have been renewed by now, and nobody knows that it was: nothing more is asked for."""
        return trio.current_time() >= self._let_go_at

    async def settled(self) -> None:
        """Wait while nobody knows whether the lease is good: until it is, or is lost."""
        while self.is_doubtful and not self._is_lost:
            await self._news.wait()

    async def good(self) -> None:
        """Wait until the lease is good, it may be another one then, or until nobody keeps it any more."""
        while self.is_doubtful and not self._is_over:
            await self._news.wait()

    async def open(self) -> None:
        """Enter this engine as a worker."""
        asked = trio.current_time()
        await self._store.open(self._lease)
        self._renewed(asked)

    async def keep(self, let_go: Callable[[], None], look: Callable[[], None]) -> None:
        """Renew the lease for ever.

        Args:
            let_go: called when it is lost: everything must leave, before others take over if possible.
            look: called when it is good after it was not, or when there is another one.
        """
        outage = Outage("the lease cannot be renewed yet")
        try:
            while True:
                await trio.sleep_until(self._expires - (_BEATS - 1) * self.beat)
                if not await self._renew_or_give_up(let_go, look, outage):
                    await patiently(self._enter_again, outage)
                    look()
        finally:
            self._is_over = True
            self._tell()

    async def _renew_or_give_up(self, let_go: Callable[[], None], look: Callable[[], None], outage: Outage) -> bool:
        lost = trio.Event()
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up, lost, let_go)
                asked = await patiently(self._renew, outage, longest=self._moment)
                if asked is None or lost.is_set():  # an answer that comes too late makes no lease: it stays doubtful
                    lost.set()
                else:
                    if self.is_doubtful:
                        look()
                    self._renewed(asked)
                    nursery.cancel_scope.cancel()
        return not lost.is_set()

    async def _renew(self) -> float | None:
        """Ask for a renewal; return when that was, None if it is not granted."""
        asked = trio.current_time()
        return asked if await self._store.renew() else None

    def _renewed(self, asked: float) -> None:
        """The lease runs from the moment at which it was asked for, at the latest."""
        self._expires = asked + self._duration if self._store.shared else math.inf
        self._is_lost = False
        self._tell()

    async def _give_up(self, lost: trio.Event, let_go: Callable[[], None]) -> None:
        """Let go of everything if the lease cannot be renewed, or was not in time.

        Where this wakes late, the event loop was held up: then the store may not even have been asked. Else there is
        one turn more than the moment takes, since the next one may be long, and bring the answer.

        What is let go is not taken up again before the call is over: late, it might find that this worker was removed,
        and let go in the store of what was taken up since.
        """
        with trio.move_on_at(self._let_go_at):
            await lost.wait()
        turns = _TURNS if trio.current_time() > self._let_go_at + self._moment else 2
        for _ in range(turns):
            with trio.move_on_after(self._moment / turns):
                await lost.wait()
                break
        lost.set()
        self.life += 1
        self._is_lost = True
        let_go()
        self._tell()

    async def _enter_again(self) -> None:
        """Get a new lease, and let go of everything that was in memory, in the store, too.

        The store may take the old lease to be good still. Or it has refused it, and has entered this worker anew; but
        what came into memory before that was heard would be this worker's for the store, and for nobody here.
        """
        asked = trio.current_time()
        await self._store.reenter()
        self._renewed(asked)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
